//! Pausing, stopping, starting again, and what that leaves behind.

use std::process::Command;
use std::time::{Duration, Instant};

use gst::prelude::*;

use crate::SOON;
use crate::process::Process;
use crate::publisher::Publisher;
use crate::refusals::RTP;
use crate::scripted::{Rules, Scripted};

/// Runs `test` in a process of its own, whose threads and files it may count.
fn alone(name: &str, test: impl FnOnce()) {
    const MARK: &str = "RTSP2_TEST_ALONE";
    if std::env::var_os(MARK).is_some() {
        return test();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", name, "--nocapture"])
        .env(MARK, "1");
    let status = Process::spawn(&mut command).wait(SOON * 5);
    assert!(status.success(), "{name} alone: {status}");
}

fn counts() -> (usize, usize) {
    let count = |folder: &str| std::fs::read_dir(folder).unwrap().count();
    (count("/proc/self/task"), count("/proc/self/fd"))
}

#[test]
fn many_starts_leave_no_thread_file_or_element_behind() {
    alone(
        "lifecycle::many_starts_leave_no_thread_file_or_element_behind",
        || {
            crate::init();
            let server = Scripted::new(Rules::default());
            let publisher = Publisher::new(&server.url(), "", &[RTP, RTP]);
            let mut rounds = 0;
            let mut cycle = || {
                rounds += 1;
                publisher.set_state(gst::State::Playing);
                server.wait_request("RECORD", rounds);
                publisher.set_state(gst::State::Null);
                server.wait_request("TEARDOWN", rounds);
                server.drop_connections();
            };
            // What is made once and kept.
            for _ in 0..3 {
                cycle();
            }
            let before = counts();
            // The waits of one round add up to a quarter of a second.
            for _ in 0..if crate::long() { 200 } else { 30 } {
                cycle();
            }
            // What winds down by itself may take its time.
            let limit = Instant::now() + SOON;
            let mut now = counts();
            while (now.0 > before.0 || now.1 > before.1) && Instant::now() < limit {
                std::thread::sleep(Duration::from_millis(50));
                now = counts();
            }
            assert!(
                now.0 <= before.0 && now.1 <= before.1,
                "{now:?}, were {before:?}"
            );
            // Its two inner sinks, and nothing of the starts.
            let bin = publisher.sink.downcast_ref::<gst::Bin>().unwrap();
            assert_eq!(bin.children().len(), 2);
            let sink = publisher.sink.downgrade();
            drop(publisher);
            crate::process::wait_for("the element is gone", SOON, || sink.upgrade().is_none());
        },
    );
}

#[test]
fn pausing_does_not_announce_again() {
    crate::init();
    let server = Scripted::new(Rules::default());
    let publisher = Publisher::new(&server.url(), "", &[RTP]).play();
    server.wait_frames(0, 5);
    for round in 1..4 {
        publisher.set_state(gst::State::Paused);
        server.wait_request("PAUSE", round);
        publisher.set_state(gst::State::Playing);
        server.wait_request("RECORD", round + 1);
        let more = server.frames(0) + 5;
        server.wait_frames(0, more);
    }
    assert_eq!(
        server.methods().iter().filter(|m| *m == "ANNOUNCE").count(),
        1
    );
    assert_eq!(publisher.errors(), Vec::<String>::new());
}

#[test]
// covers: P-PUB-11
fn the_end_is_said_when_everything_is_sent() {
    crate::init();
    let server = Scripted::new(Rules::default());
    let stream = RTP.replace("is-live=true", "num-buffers=50");
    let publisher = Publisher::new(&server.url(), "", &[&stream]).play();
    publisher.wait_eos();
    server.wait_request("TEARDOWN", 1);
    assert_eq!(server.frames(0), 50);
    // BYE (RFC 3550 §6.6) in the last compound of RTCP.
    let reports = server.wait_frames(1, 1);
    let last = reports.last().unwrap();
    let mut rest = last.as_slice();
    let mut types = Vec::new();
    while let [_, kind, high, low, ..] = *rest {
        types.push(kind);
        let words = usize::from(u16::from_be_bytes([high, low])) + 1;
        rest = &rest[(words * 4).min(rest.len())..];
    }
    assert!(types.contains(&203), "{types:?}");
}

#[test]
// covers: P-PUB-11
fn the_end_comes_although_the_server_is_dead() {
    crate::init();
    let server = Scripted::new(Rules::default());
    let stream = RTP.replace("is-live=true", "num-buffers=100");
    let publisher = Publisher::new(&server.url(), "", &[&stream]).play();
    server.wait_frames(0, 5);
    server.set(|rules| rules.deaf = true);
    publisher.wait_eos();
}

#[test]
fn quick_starts_and_stops_are_harmless() {
    crate::init();
    let server = Scripted::new(Rules::default());
    let publisher = Publisher::new(&server.url(), "", &[RTP]);
    for _ in 0..10 {
        publisher.set_state(gst::State::Playing);
        publisher.set_state(gst::State::Ready);
        publisher.set_state(gst::State::Paused);
        publisher.set_state(gst::State::Null);
    }
    publisher.set_state(gst::State::Playing);
    server.wait_frames(0, 20);
    assert_eq!(publisher.errors(), Vec::<String>::new());
}

#[test]
fn after_a_flushing_seek_at_the_end_it_is_published_again() {
    crate::init();
    let server = Scripted::new(Rules::default());
    let folder = crate::process::Folder::new();
    let file = folder.file("sound.wav");
    // 100 packets of 20 ms.
    let make = format!(
        "audiotestsrc num-buffers=100 samplesperbuffer=160 ! audio/x-raw,rate=8000,channels=1 \
         ! mulawenc ! wavenc ! filesink location={}",
        file.display()
    );
    let maker = gst::parse::launch(&make).unwrap();
    maker.set_state(gst::State::Playing).unwrap();
    let end = maker.bus().unwrap();
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = end.timed_pop_filtered(gst::ClockTime::from_seconds(30), &kinds);
    assert_eq!(end.unwrap().type_(), gst::MessageType::Eos);
    maker.set_state(gst::State::Null).unwrap();

    let stream = format!(
        "filesrc location={} ! wavparse ! rtppcmupay min-ptime=20000000 max-ptime=20000000",
        file.display()
    );
    let publisher = Publisher::new(&server.url(), "", &[&stream]).play();
    publisher.wait_eos();
    server.wait_request("TEARDOWN", 1);
    let before = server.frames(0);
    publisher.forget();
    let flags = gst::SeekFlags::FLUSH;
    let begin = gst::ClockTime::ZERO;
    publisher.pipeline.seek_simple(flags, begin).unwrap();
    publisher.wait_eos();
    server.wait_request("TEARDOWN", 2);
    assert_eq!(server.frames(0), 2 * before, "all of it once more");
    assert_eq!(publisher.errors(), Vec::<String>::new());
}
