//! Streams whose sinks block do not hold up the others.

use std::time::{Duration, Instant};

use gst::prelude::*;

use crate::support::mini::{Mini, Script};
use crate::support::player::{PATIENCE, Player};

const BLOCKED: usize = 100;
const STREAM: &str = "stream_0";

/// Threads of this process by the beginning of their name.
fn threads(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("procfs");
    tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok())
        .filter(|comm| comm.starts_with(name))
        .count()
}

// covers: C-KA-07
#[test]
fn a_hundred_blocked_streams_do_not_hold_up_the_next() {
    let script = || Script {
        timeout: 2,
        interval: Duration::from_millis(20),
        ..Script::default()
    };
    let (mini, other) = (Mini::new(script()), Mini::new(script()));
    let start = |url: &str| Player::new(url).with_str("delivery", "auto").play();
    let blocked: Vec<Player> = (0..BLOCKED).map(|_| start(&mini.url())).collect();
    let free = start(&other.url());
    for player in blocked.iter().chain([&free]) {
        player.flows(STREAM, 3);
    }
    for player in &blocked {
        player.change(|log| log.blocked = true);
    }
    for player in &blocked {
        player.wait("a push that blocks", |log| log.waiting == 1);
    }
    let (keep_alives, begin) = (mini.count("GET_PARAMETER"), Instant::now());
    let before = free.log(|log| log.packets(STREAM).len());
    // Two rounds of keep-alives of all that are blocked, and of the one that is not.
    mini.wait_for("GET_PARAMETER", keep_alives + 2 * BLOCKED);
    let free_keep_alives = other.count("GET_PARAMETER");
    other.wait_for("GET_PARAMETER", free_keep_alives + 1);
    let mut of_connection = vec![0; BLOCKED];
    for request in &mini.requests()[..] {
        if request.method == "GET_PARAMETER" {
            of_connection[request.connection as usize] += 1;
        }
    }
    assert!(
        of_connection.iter().all(|count| *count >= 2),
        "{of_connection:?}"
    );
    let gap = free.log(|log| {
        let times: Vec<Instant> = log.packets(STREAM)[before..].iter().map(|p| p.at).collect();
        assert!(
            times.len() > 30,
            "{} packets in {:?}",
            times.len(),
            begin.elapsed()
        );
        let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
        gaps.max().unwrap_or_default()
    });
    let own = threads("rtspsrc2:");
    println!("largest gap {gap:?} beside {BLOCKED} blocked streams, {own} own threads");
    assert!(gap < Duration::from_secs(1), "{gap:?}");
    // At most one more for each blocked stream; a little for the other tests of this process.
    assert!(own <= BLOCKED + 30, "{own} threads");

    for player in &blocked {
        player.change(|log| log.blocked = false);
    }
    for player in blocked.iter().chain([&free]) {
        player.flows(STREAM, 3);
        player.has_no_error();
        player.log(|log| assert!(log.told("rtspsrc2-connection-lost").is_empty()));
    }
    // They share one wait for their TEARDOWNs when they are stopped together; here each alone.
    for player in &blocked {
        player.src.set_property("teardown-timeout", 0u64);
    }
}

#[test]
fn delivery_on_own_threads_announces_them() {
    let mini = Mini::new(Script::default());
    let player = Player::new(&mini.url())
        .with_str("delivery", "thread")
        .play();
    player.flows("stream_0", 20);
    player.wait("STREAM_STATUS", |log| {
        let kinds: Vec<_> = log
            .of_type(gst::MessageType::StreamStatus)
            .iter()
            .filter(|m| m.src().is_some_and(|s| s.name() == "stream_0"))
            .filter_map(|message| match message.view() {
                gst::MessageView::StreamStatus(status) => Some(status.get().0),
                _ => None,
            })
            .collect();
        kinds.starts_with(&[gst::StreamStatusType::Create, gst::StreamStatusType::Enter])
    });
}

// covers: C-IL-10
#[test]
fn a_blocked_stream_keeps_its_session_and_drops_up_to_a_key_frame() {
    let mini = Mini::new(Script {
        timeout: 2,
        ..Script::default()
    });
    let player = Player::new(&mini.url()).play();
    player.flows(STREAM, 10);
    player.change(|log| log.blocked = true);
    player.wait("the warning of a queue that overflowed", |log| {
        !log.of_type(gst::MessageType::Warning).is_empty()
    });
    player.change(|log| log.blocked = false);
    player.flows(STREAM, 100);
    assert!(player.stream_stats(0).get::<u64>("dropped").unwrap() > 0);
    player.log(|log| {
        let packets = log.packets(STREAM);
        let again = packets
            .iter()
            .rposition(|p| p.discont)
            .expect("a discontinuity");
        assert!(again > 0);
        // Key frames are every tenth, of three packets each: none was cut.
        let jump = packets[again].seq.wrapping_sub(packets[again - 1].seq);
        assert!(jump > 1, "something was dropped");
        assert_eq!(packets[again].seq.wrapping_sub(packets[0].seq) % 30, 0);
        assert_eq!(
            log.of_type(gst::MessageType::Warning).len(),
            1,
            "it is told once"
        );
    });
}

#[test]
fn a_blocked_stream_does_not_hold_up_its_sibling_and_ends_at_once() {
    use crate::support::mini::Media;
    let mini = Mini::new(Script {
        streams: vec![Media::Pcmu, Media::Pcmu],
        ..Script::default()
    });
    let player = Player::new(&mini.url()).play();
    player.flows("stream_0", 5);
    player.flows("stream_1", 5);
    // A probe of the test that stands before all others of the pad.
    let gate = std::sync::Arc::new((std::sync::Mutex::new(false), std::sync::Condvar::new()));
    let pad = player.log(|log| log.pads[0].0.clone());
    let (name, held) = (pad.name(), gate.clone());
    pad.add_probe(
        gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST,
        move |_, _| {
            let open = held.0.lock().unwrap();
            let _ = held.1.wait_timeout_while(open, PATIENCE, |open| !*open);
            gst::PadProbeReturn::Ok
        },
    );
    let other = if name == "stream_0" {
        "stream_1"
    } else {
        "stream_0"
    };
    player.flows(other, 100);
    // Up to READY no state change waits for the push; deactivating the sink's pad would.
    let begin = Instant::now();
    player.src.set_locked_state(true);
    player.src.set_state(gst::State::Ready).expect("READY");
    let took = begin.elapsed();
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    assert!(took < Duration::from_millis(500), "{took:?}");
    player.src.set_locked_state(false);
}
