//! A session description, all that is asked of it, and the caps that are made of it.
#![no_main]

use fuzz::caps::{self, PlayFields};
use fuzz::rtp::refclk::{MediaClock, ReferenceClock};
use fuzz::rtsp::limits;
use fuzz::rtsp::sdp::{BandwidthKind, Media, Session};
use libfuzzer_sys::fuzz_target;

fn look(session: &Session, media: &Media) {
    let _ = session.is_backchannel(media);
    let _ = (media.control(), media.mid(), media.framerate());
    let _ = (media.range(session), media.multicast_group(session));
    let _ = media.bandwidth(session, BandwidthKind::As);
    let _ = (media.rtcp_bandwidth(session), media.rtcp_mux());
    let _ = (media.rtcp_port(), media.rtx(), media.extmaps(session));
    for filter in media.source_filters(session) {
        assert!(filter.sources.len() <= limits::SDP_FILTER_SOURCES);
    }
    let _ = media.ssrc_attributes().count() + media.ssrc_groups().count();
    if let Some(clock) = media.ts_refclk(session) {
        let _ = ReferenceClock::parse(clock);
    }
    if let Some(MediaClock::Direct(direct)) = media.mediaclk(session).and_then(MediaClock::parse) {
        let _ = direct.rtp_at(u64::MAX / 3, 90_000);
    }
    for payload_type in &media.formats {
        let _ = media.fmtp(*payload_type);
        let _ = (media.rtcp_fb(*payload_type), media.framesize(*payload_type));
    }
    for payload_type in caps::pad_payload_types(media) {
        if let Some(made) = caps::payload_caps(session, media, payload_type) {
            assert!(made.is_fixed());
            let _ = made.to_string();
        }
    }
    if let Some(made) = caps::media_caps(session, media) {
        let fields = PlayFields {
            ssrc: Some(u32::MAX),
            seqnum_base: Some(1),
            clock_base: None,
            play_speed: Some(1.0),
            ..PlayFields::default()
        };
        assert!(caps::with_play_fields(&made, &fields).is_fixed());
    }
}

fuzz_target!(
    init: {
        gst::init().expect("GStreamer");
    },
    |data: &[u8]| {
        let Ok(session) = Session::parse(data) else {
            return;
        };
        assert!(session.media.len() <= limits::SDP_MEDIA);
        assert!(session.warnings.len() <= limits::SDP_WARNINGS);
        let _ = (session.control(), session.range());
        for media in &session.media {
            assert!(media.attributes.len() <= limits::SDP_ATTRIBUTES);
            assert!(media.formats.len() <= limits::SDP_FORMATS);
            look(&session, media);
        }
    }
);
