//! Pausing, stopping and starting again.

use std::process::Command;
use std::time::{Duration, Instant};

use gst::prelude::*;

use crate::player::Player;
use crate::process::{Process, Server, wait_for};
use crate::{SOON, init};

const BOTH: [&str; 2] = ["stream_0", "stream_1"];

#[test]
fn pausing_ten_times_resumes_each_time() {
    let server = Server::start(&["--size", "320x240", "--bitrate", "400"]);
    for transport in ["tcp", "udp"] {
        let player = Player::new(server.url(), &[("protocols", transport)]).play();
        player.wait_packets(&BOTH, 10);
        for round in 0..10 {
            player.set_state(gst::State::Paused);
            let paused = player.pipeline.state(gst::ClockTime::from_seconds(5));
            assert_eq!(paused.1, gst::State::Paused, "{transport} round {round}");
            player.set_state(gst::State::Playing);
            player.wait_packets(&BOTH, 5);
        }
        for pad in BOTH {
            player.log(pad, |log| {
                assert_eq!(log.segments, 1);
                let disconts = log.packets.iter().filter(|packet| packet.discont).count();
                assert!(
                    disconts >= 10,
                    "{transport} {pad}: {disconts} discontinuities"
                );
                let back = log.packets.is_sorted_by_key(|packet| packet.pts);
                assert!(back, "{transport} {pad}: running time never goes back");
            });
        }
        assert!(!player.has_ended());
    }
}

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

fn count(folder: &str) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

fn names_of_threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
    };
    tasks.filter_map(name).collect()
}

#[test]
fn thirty_starts_leave_no_thread_file_or_element_behind() {
    alone(
        "lifecycle::thirty_starts_leave_no_thread_file_or_element_behind",
        || {
            init();
            let server = Server::start(&["--size", "320x240", "--bitrate", "400"]);
            for transport in ["tcp", "udp"] {
                let player = Player::new(server.url(), &[("protocols", transport)]);
                let cycle = || {
                    player.forget();
                    player.set_state(gst::State::Playing);
                    player.wait_packets(&["stream_0"], 1);
                    player.set_state(gst::State::Null);
                    assert_eq!(player.src.num_pads(), 0);
                };
                // What is made once and kept.
                for _ in 0..3 {
                    cycle();
                }
                let count = || (count("/proc/self/task"), count("/proc/self/fd"));
                let (threads, files) = count();
                for _ in 0..30 {
                    cycle();
                }
                // What winds down by itself may take its time.
                let limit = Instant::now() + SOON;
                let mut now = count();
                while (now.0 > threads || now.1 > files) && Instant::now() < limit {
                    std::thread::sleep(Duration::from_millis(50));
                    now = count();
                }
                assert!(
                    now.0 <= threads && now.1 <= files,
                    "{transport}: threads and files {now:?}, were {:?}: {:?}",
                    (threads, files),
                    names_of_threads()
                );
                let pads: Vec<_> = player.pads().iter().map(|pad| pad.downgrade()).collect();
                let src = player.src.downgrade();
                drop(player);
                wait_for("the element and its pads are gone", SOON, || {
                    src.upgrade().is_none() && pads.iter().all(|pad| pad.upgrade().is_none())
                });
            }
        },
    );
}

#[test]
fn a_state_change_right_after_another_is_harmless() {
    let server = Server::start(&["--size", "320x240", "--bitrate", "400"]);
    let player = Player::new(server.url(), &[]);
    for _ in 0..10 {
        player.set_state(gst::State::Playing);
        player.set_state(gst::State::Ready);
        player.set_state(gst::State::Paused);
        player.set_state(gst::State::Null);
    }
    player.set_state(gst::State::Playing);
    player.wait_packets(&BOTH, 20);
}
