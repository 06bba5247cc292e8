//! Encrypted media of gst-rtsp-server, which gives its keys by MIKEY and wants ours for our reports.

use std::sync::{Arc, Mutex};

use gst::glib;
use gst::prelude::*;

use crate::SOON;
use crate::have;
use crate::player::Player;
use crate::process::Server;

const SMALL: [&str; 4] = ["--size", "320x240", "--bitrate", "400"];
const BOTH: [&str; 2] = ["stream_0", "stream_1"];

fn streams(player: &Player) -> Vec<gst::Structure> {
    let list: gst::List = player.stats().get("streams").unwrap();
    list.iter().map(|stream| stream.get().unwrap()).collect()
}

/// What came is H.264 and audio in clear, all of it authentic, and caps know nothing of keys.
fn plays(profiles: &str, transport: &str) {
    if !have(&["srtpenc", "x264enc"]) {
        return;
    }
    let server = Server::start(&[&SMALL[..], &["--profiles", profiles]].concat());
    let player = Player::new(server.url(), &[("protocols", transport)]).play();
    player.wait_packets(&BOTH, 100);
    for stream in streams(&player) {
        assert_eq!(stream.get::<&str>("srtp"), Ok("AES_CM_128_HMAC_SHA1_80"));
        for none in [
            "lost",
            "discarded-unauthentic",
            "discarded-replayed",
            "discarded-invalid",
        ] {
            assert_eq!(stream.get::<u64>(none), Ok(0), "{none} {stream}");
        }
    }
    for pad in player.src.src_pads() {
        let caps = pad.current_caps().unwrap().to_string();
        assert!(caps.starts_with("application/x-rtp,"), "{caps}");
        for secret in ["key", "mikey", "srtp"] {
            assert!(!caps.contains(secret), "{caps}");
        }
    }
}

#[test]
// covers: C-SRTP-11, C-SETUP-19
fn savp_is_played_over_tcp() {
    plays("savp", "tcp");
}

#[test]
// covers: C-SRTP-11
fn savp_is_played_over_udp() {
    plays("savp", "udp");
}

#[test]
fn a_server_killed_and_restarted_gives_new_keys() {
    if !have(&["srtpenc", "x264enc"]) {
        return;
    }
    let mut server = Server::start(&[&SMALL[..], &["--profiles", "savp"]].concat());
    let player = Player::new(server.url(), &[]).play();
    player.wait_packets(&BOTH, 30);
    server.kill();
    player.wait("the loss is told", SOON, |p| p.was_told("connection-lost"));
    server.restart();
    player.wait("it comes back", SOON, |p| p.was_told("connection-restored"));
    player.wait_packets(&BOTH, 30);
    for stream in streams(&player) {
        assert_eq!(
            stream.get::<u64>("discarded-unauthentic"),
            Ok(0),
            "{stream}"
        );
    }
}

#[test]
// covers: C-SRTP-11
fn savpf_is_played_over_tcp_and_udp() {
    plays("savpf", "tcp");
    plays("savpf", "udp");
}

/// The frames that are decoded are those of the test pattern: what was decrypted is right.
#[test]
fn decrypted_video_can_be_decoded() {
    if !have(&["srtpenc", "x264enc", "avdec_h264"]) {
        return;
    }
    let server = Server::start(&[&SMALL[..], &["--profiles", "savp", "--audio", "none"]].concat());
    let pipeline = gst::parse::launch(&format!(
        "rtspsrc2 location={} ! rtph264depay ! h264parse ! avdec_h264 ! appsink name=out sync=false",
        server.url()
    ));
    let pipeline = pipeline.unwrap().downcast::<gst::Bin>().unwrap();
    let out = pipeline.by_name("out").unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    for _ in 0..20 {
        let wait = gst::ClockTime::from_mseconds(SOON.as_millis() as u64);
        let sample = out.emit_by_name::<Option<gst::Sample>>("try-pull-sample", &[&wait]);
        let sample = sample.expect("a picture");
        let map = sample.buffer().unwrap().map_readable().unwrap();
        let (dark, light) = (map.iter().filter(|y| **y < 60).count(), map.len() / 20);
        assert!(dark > light, "the pattern has bars of all colours");
    }
    pipeline.set_state(gst::State::Null).unwrap();
}

/// The application gives the key of our reports. It goes to the server, which reads them, and nowhere else.
#[test]
// covers: C-AUTH-20
fn a_key_of_the_application_is_used_and_shows_nowhere() {
    if !have(&["srtpenc", "x264enc"]) {
        return;
    }
    const KEY: &[u8; 30] = b"0123456789abcdefghijklmnopqrst";
    let lines = Arc::<Mutex<Vec<String>>>::default();
    let log = lines.clone();
    gst::log::remove_default_log_function();
    gst::log::add_log_function(move |category, _, _, _, _, _, message| {
        if category.name().starts_with("rtsp") {
            let text = message.get().unwrap_or_default();
            log.lock().unwrap().push(text.to_string());
        }
    });
    gst::log::set_threshold_from_string("rtspsrc2:9,rtsp2*:9", false);
    let server = Server::start(&[&SMALL[..], &["--profiles", "savp"]].concat());
    let player = Player::new(server.url(), &[]);
    let asked = Arc::<Mutex<Vec<u32>>>::default();
    let indices = asked.clone();
    player
        .src
        .connect("request-rtcp-key", false, move |values| {
            indices.lock().unwrap().push(values[1].get().unwrap());
            let caps = gst::Caps::builder("application/x-srtp")
                .field("srtp-key", gst::Buffer::from_slice(KEY))
                .field("srtp-cipher", "aes-128-icm")
                .field("srtp-auth", "hmac-sha1-80")
                .build();
            Some(caps.to_value())
        });
    let player = player.play();
    player.wait_packets(&BOTH, 30);
    assert_eq!(*asked.lock().unwrap(), [0, 1]);

    let mut said = lines.lock().unwrap().clone();
    assert!(
        said.iter()
            .any(|line| line.contains("keymgmt: (not shown)"))
    );
    said.push(player.stats().to_string());
    for pad in player.src.src_pads() {
        said.push(format!("{:?}", pad.current_caps()));
    }
    let dot = player
        .pipeline
        .debug_to_dot_data(gst::DebugGraphDetails::all());
    said.push(dot.to_string());
    let hex: String = KEY.iter().map(|octet| format!("{octet:02x}")).collect();
    let text = String::from_utf8_lossy(KEY);
    let list = format!("{:?}", &KEY[4..10]);
    let mut forms = vec![hex[8..24].to_string(), text[4..16].to_string()];
    forms.push(list.trim_matches(['[', ']']).to_string());
    // In base64 at each of the three places that it can begin at.
    for before in 0..3 {
        let encoded = glib::base64_encode(&[&vec![0; before][..], KEY].concat());
        forms.push(encoded[8..28].to_string());
    }
    for line in &said {
        for form in &forms {
            assert!(!line.contains(form.as_str()), "{form} in {line}");
        }
    }
}
