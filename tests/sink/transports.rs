//! Publishing to gst-rtsp-server, over each transport.

use std::sync::atomic::Ordering;

use gst_rtsp_server::prelude::*;

use crate::publisher::Publisher;
use crate::recorder::Recorder;
use crate::{h264, have};

const FRAMES: usize = 100;

/// A file's length of video leaves from the first packet to the last, EOS comes when it is
/// sent, and it arrives but for what the server lets go of at TEARDOWN.
fn all_of_it_arrives(settings: &str) {
    if !have(&["x264enc"]) {
        return;
    }
    let recorder = Recorder::new(&["rtph264depay"]);
    let video = h264(FRAMES as i32, false);
    let publisher = Publisher::new(recorder.url(), settings, &[&video]);
    let pushed = publisher.count_packets();
    let publisher = publisher.play();
    publisher.wait_eos();
    let stats = publisher.stream_stats(0).unwrap();
    let sent = stats.get::<u64>("packets").unwrap();
    assert_eq!(sent, pushed.load(Ordering::SeqCst), "{stats}");
    recorder.wait_film(0, FRAMES);
    recorder.track(0, |track| {
        let seqs: Vec<u16> = track.packets.iter().map(|packet| packet.seq).collect();
        let in_order = seqs
            .windows(2)
            .all(|pair| pair[1] == pair[0].wrapping_add(1));
        assert!(in_order, "{seqs:?}");
        let caps = track.caps.as_ref().unwrap().to_string();
        for field in ["H264", "sprop-parameter-sets", "profile-level-id"] {
            assert!(caps.contains(field), "{caps}");
        }
        let largest = track.packets.iter().map(|packet| packet.size).max();
        assert!(largest <= Some(1350), "{largest:?}");
    });
    assert_eq!(publisher.errors(), Vec::<String>::new());
}

#[test]
// covers: P-PUB-01 P-PUB-07
fn a_file_is_published_over_tcp() {
    all_of_it_arrives("protocols=tcp");
}

#[test]
// covers: P-PUB-06
fn a_file_is_published_over_udp() {
    all_of_it_arrives("protocols=udp");
}

#[test]
fn a_server_without_tcp_gets_udp() {
    if !have(&["x264enc"]) {
        return;
    }
    let server = crate::process::Server::start(&[
        "--protocols",
        "udp",
        "--record",
        "rtph264depay name=depay0 ! fakesink",
    ]);
    let publisher = Publisher::new(server.url(), "", &[&h264(-1, true)]).play();
    publisher.wait_sent(100);
    assert_eq!(publisher.stats().get::<&str>("transport"), Ok("udp"));
}

#[test]
fn two_pads_are_two_streams_in_their_order() {
    if !have(&["x264enc", "opusenc"]) {
        return;
    }
    let recorder = Recorder::new(&["rtph264depay", "rtpopusdepay"]);
    let audio = "audiotestsrc num-buffers=100 ! audio/x-raw,rate=48000,channels=1 ! opusenc";
    let publisher =
        Publisher::new(recorder.url(), "", &[&h264(FRAMES as i32, false), audio]).play();
    publisher.wait_eos();
    recorder.wait_frames(1, 50);
    recorder.wait_film(0, FRAMES);
}

#[test]
fn rtp_that_is_ready_made_goes_as_it_is() {
    if !have(&["x264enc"]) {
        return;
    }
    let recorder = Recorder::new(&["rtph264depay"]);
    let video = format!(
        "{} ! rtph264pay pt=101 mtu=900 config-interval=-1",
        h264(FRAMES as i32, false)
    );
    let publisher = Publisher::new(recorder.url(), "", &[&video]).play();
    publisher.wait_eos();
    recorder.wait_film(0, FRAMES);
    recorder.track(0, |track| {
        let caps = track.caps.as_ref().unwrap().to_string();
        assert!(caps.contains("payload=(int)101"), "{caps}");
        assert!(track.packets.iter().all(|packet| packet.size <= 900));
    });
}

fn with_login(method: gst_rtsp::RTSPAuthMethod) {
    if !have(&["x264enc"]) {
        return;
    }
    let recorder = Recorder::with(
        &["rtph264depay"],
        gst_rtsp::RTSPProfile::AVP,
        move |server| {
            let auth = gst_rtsp_server::RTSPAuth::new();
            let token = gst_rtsp_server::RTSPToken::builder()
                .field("media.factory.role", "user")
                .build();
            auth.set_supported_methods(method);
            if method == gst_rtsp::RTSPAuthMethod::Basic {
                let basic = gst_rtsp_server::RTSPAuth::make_basic("user", "S3cret");
                auth.add_basic(&basic, &token);
            } else {
                auth.add_digest("user", "S3cret", &token);
            }
            server.set_auth(Some(&auth));
        },
    );
    let login = "user-id=user user-pw=S3cret";
    let publisher = Publisher::new(recorder.url(), login, &[&h264(-1, true)]).play();
    recorder.wait_frames(0, 20);
    drop(publisher);

    let login = "user-id=user user-pw=wr0ng";
    let publisher = Publisher::new(recorder.url(), login, &[&h264(-1, true)]).play();
    let (error, text) = publisher.wait_error();
    assert!(error.matches(gst::ResourceError::NotAuthorized), "{text}");
    assert!(!text.contains("wr0ng"), "{text}");
}

#[test]
// covers: P-PUB-09
fn basic_credentials_are_answered() {
    with_login(gst_rtsp::RTSPAuthMethod::Basic);
}

#[test]
// covers: P-PUB-09
fn digest_credentials_are_answered() {
    with_login(gst_rtsp::RTSPAuthMethod::Digest);
}
