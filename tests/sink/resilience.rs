//! Servers that die, restart, or stop reading.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use gst::prelude::*;
use nix::sys::signal::Signal;

use crate::process::{Folder, Server, wait_for};
use crate::publisher::Publisher;
use crate::refusals::RTP;
use crate::scripted::{Rules, Scripted};
use crate::{SOON, h264, have};

const QUICK: &str = "reconnect-initial-delay=50000000 reconnect-max-delay=500000000";

#[test]
// covers: P-PUB-11
fn a_server_that_restarts_is_published_to_again() {
    is_published_to_again("avp");
}

#[test]
// covers: P-PUB-11 P-SRTP-17
fn a_server_that_restarts_gets_new_keys() {
    is_published_to_again("savp");
}

fn is_published_to_again(profile: &str) {
    if !have(&["x264enc", "srtpdec"]) {
        return;
    }
    let folder = Folder::new();
    let file = folder.file("recorded.264");
    let launch = format!(
        "rtph264depay name=depay0 ! h264parse ! filesink location={}",
        file.display()
    );
    let mut server = Server::start(&["--record", &launch, "--profiles", profile]);
    let settings = format!("{QUICK} profiles={profile}");
    let publisher = Publisher::new(server.url(), &settings, &[&h264(-1, true)]).play();
    let size = || file.metadata().map_or(0, |file| file.len());
    wait_for("the recording grows", SOON, || size() > 20_000);
    server.kill();
    publisher.wait_element_message("rtspsink2-connection-lost");
    std::fs::remove_file(&file).unwrap();
    server.restart();
    publisher.wait_element_message("rtspsink2-connection-restored");
    wait_for("the second recording grows", SOON, || size() > 20_000);
    assert_eq!(publisher.errors(), Vec::<String>::new());
    assert_eq!(publisher.stats().get::<u64>("reconnects"), Ok(1));
}

#[test]
fn sequence_numbers_go_on_after_a_loss() {
    crate::init();
    let server = Scripted::new(Rules::default());
    let _publisher = Publisher::new(&server.url(), QUICK, &[RTP]).play();
    server.wait_frames(0, 20);
    server.drop_connections();
    server.wait_request("RECORD", 2);
    let before = server.frames(0);
    let packets = server.wait_frames(0, before + 20);
    let field = |packet: &Vec<u8>, at: usize| {
        packet[at..at + 4]
            .iter()
            .fold(0u32, |n, byte| n << 8 | u32::from(*byte))
    };
    let seq = |packet: &Vec<u8>| field(packet, 0) as u16;
    let (first, last) = (packets.first().unwrap(), packets.last().unwrap());
    assert_eq!(field(first, 8), field(last, 8), "one SSRC");
    for pair in packets.windows(2) {
        let forward = seq(&pair[1]).wrapping_sub(seq(&pair[0]));
        let later = field(&pair[1], 4).wrapping_sub(field(&pair[0], 4));
        // What was on its way when the connection broke is missing, nothing else.
        assert!((1..1000).contains(&forward), "{forward}");
        assert!((160..1 << 31).contains(&later), "{later}");
    }
    let announces: Vec<_> = server
        .requests()
        .into_iter()
        .filter(|r| r.method == "ANNOUNCE")
        .collect();
    let version = |sdp: &str| {
        let origin = sdp.lines().find(|line| line.starts_with("o=")).unwrap();
        let mut words = origin.split(' ').skip(1);
        (
            words.next().unwrap().to_string(),
            words.next().unwrap().parse::<u64>().unwrap(),
        )
    };
    let (one, two) = (version(&announces[0].body), version(&announces[1].body));
    assert!(one.0 == two.0 && one.1 < two.1, "{one:?} {two:?}");
}

#[test]
fn without_reconnecting_a_loss_is_an_error() {
    crate::init();
    let server = Scripted::new(Rules::default());
    let publisher = Publisher::new(&server.url(), "reconnect-attempts=0", &[RTP]).play();
    server.wait_frames(0, 20);
    server.drop_connections();
    publisher.wait_error();
}

#[test]
// covers: P-PUB-14
fn a_stopped_server_does_not_stop_the_source() {
    if !have(&["x264enc"]) {
        return;
    }
    let server = Server::start(&["--record", "rtph264depay name=depay0 ! fakesink"]);
    // 8 Mbit/s of noise fill the sockets within a second or two.
    let video = "videotestsrc is-live=true pattern=snow \
        ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 \
        ! identity name=source signal-handoffs=true \
        ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 bitrate=8000";
    let publisher = Publisher::new(server.url(), "max-queue-time=500000000", &[video]);
    let (sender, came) = mpsc::channel();
    let source = publisher.pipeline.by_name("source").unwrap();
    source.connect("handoff", false, move |_| {
        let _ = sender.send(());
        None
    });
    let publisher = publisher.play();
    publisher.wait_sent(500);
    server.signal(Signal::SIGSTOP);
    while came.try_recv().is_ok() {}
    let dropped = || {
        let stats = publisher.stream_stats(0)?;
        stats.get::<u64>("dropped-units").ok()
    };
    let deadline = Instant::now() + SOON;
    while dropped().is_none_or(|dropped| dropped == 0) {
        assert!(
            Instant::now() < deadline,
            "nothing is dropped: {}",
            publisher.stats()
        );
        came.recv_timeout(Duration::from_secs(10))
            .expect("frames go on");
    }
    // Two more seconds of frames, with everything full.
    for _ in 0..50 {
        came.recv_timeout(Duration::from_secs(10))
            .expect("frames go on");
    }
    assert_eq!(publisher.errors(), Vec::<String>::new());
    server.signal(Signal::SIGCONT);
    let before = Instant::now();
    publisher.set_state(gst::State::Null);
    assert!(before.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_server_that_hangs_while_it_is_left_holds_nobody_up() {
    if !have(&["x264enc"]) {
        return;
    }
    let server = Server::start(&["--record", "rtph264depay name=depay0 ! fakesink"]);
    let publisher = Publisher::new(server.url(), "", &[&h264(-1, true)]).play();
    publisher.wait_sent(50);
    server.signal(Signal::SIGSTOP);
    let before = Instant::now();
    publisher.set_state(gst::State::Null);
    let took = before.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    server.signal(Signal::SIGCONT);
}

#[test]
// covers: P-PUB-12
fn a_picture_loss_indication_asks_the_encoder() {
    if !have(&["x264enc"]) {
        return;
    }
    let server = Scripted::new(Rules::default());
    let video = format!("{} ! identity name=probe", h264(-1, true));
    let publisher = Publisher::new(&server.url(), "profiles=avp+avpf", &[&video]);
    let (sender, asked) = mpsc::channel();
    let probe = publisher
        .pipeline
        .by_name("probe")
        .unwrap()
        .static_pad("sink")
        .unwrap();
    probe.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
        if let Some(gst::PadProbeData::Event(event)) = &info.data
            && event
                .structure()
                .is_some_and(|s| s.name() == "GstForceKeyUnit")
        {
            let _ = sender.send(());
        }
        gst::PadProbeReturn::Ok
    });
    let publisher = publisher.play();
    let first = server.wait_frames(0, 10);
    while asked.try_recv().is_ok() {}
    let ssrc = &first[0][8..12];
    // An empty receiver report and PLI (RFC 4585 §6.3.1).
    let mut report = vec![0x80, 201, 0, 1, 0, 0, 0, 1, 0x81, 206, 0, 2, 0, 0, 0, 1];
    report.extend(ssrc);
    let deadline = Instant::now() + SOON;
    // One that comes right after the session's own is rightly swallowed.
    while asked.recv_timeout(Duration::from_millis(300)).is_err() {
        assert!(Instant::now() < deadline, "nobody asked for a key frame");
        server.send(1, &report);
    }
    drop(publisher);
}
