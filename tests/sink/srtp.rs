//! Publishing encrypted media to gst-rtsp-server.

use gst_rtsp::RTSPProfile;

use crate::publisher::Publisher;
use crate::recorder::Recorder;
use crate::{h264, have};

const FRAMES: usize = 100;

/// A film arrives whole and in clear at the depayloader of the server, and its reports are read.
fn is_published(profile: RTSPProfile, settings: &str) {
    if !have(&["x264enc", "srtpdec"]) {
        return;
    }
    let recorder = Recorder::with(&["rtph264depay"], profile, |_| {});
    let video = h264(FRAMES as i32, false);
    let publisher = Publisher::new(recorder.url(), settings, &[&video]).play();
    publisher.wait_eos();
    recorder.wait_film(0, FRAMES);
    recorder.track(0, |track| {
        let numbers: Vec<u16> = track.packets.iter().map(|packet| packet.seq).collect();
        let in_order = numbers
            .windows(2)
            .all(|pair| pair[1] == pair[0].wrapping_add(1));
        assert!(in_order, "{numbers:?}");
    });
    let stream = publisher.stream_stats(0).unwrap();
    assert_eq!(stream.get::<&str>("srtp"), Ok("AES_CM_128_HMAC_SHA1_80"));
    assert_eq!(stream.get::<u64>("reports-unauthentic"), Ok(0), "{stream}");
    assert_eq!(publisher.errors(), Vec::<String>::new());
}

#[test]
// covers: P-SRTP-17
fn savp_is_published_over_tcp() {
    is_published(RTSPProfile::SAVP, "profiles=savp protocols=tcp");
}

#[test]
// covers: P-SRTP-17
fn savp_is_published_over_udp() {
    is_published(RTSPProfile::SAVP, "profiles=savp protocols=udp");
}

#[test]
// covers: P-SRTP-17
fn savpf_is_published_over_both() {
    is_published(RTSPProfile::SAVPF, "profiles=savpf protocols=tcp");
    is_published(RTSPProfile::SAVPF, "profiles=savpf protocols=udp");
}

#[test]
fn a_live_stream_goes_on_while_the_server_reports() {
    if !have(&["x264enc", "srtpdec"]) {
        return;
    }
    let recorder = Recorder::with(&["rtph264depay"], RTSPProfile::SAVP, |_| {});
    let settings = "profiles=savp protocols=udp";
    let publisher = Publisher::new(recorder.url(), settings, &[&h264(-1, true)]).play();
    recorder.wait_frames(0, 100);
    crate::process::wait_for("a report of the server", crate::SOON, || {
        let stream = publisher.stream_stats(0).unwrap();
        assert_eq!(stream.get::<u64>("reports-unauthentic"), Ok(0), "{stream}");
        stream.get::<u64>("reports").unwrap() > 0
    });
}
