//! What a link loses, doubles, damages and reorders, counted against the link.

use std::time::Duration;

use crate::delay::{delays, is_steady, last, most};
use crate::link::{Counts, Link, Weather};
use crate::support::mini::{Media, Mini, Script};
use crate::support::player::Player;

const MS: Duration = Duration::from_millis(1);

struct Outcome {
    link: Counts,
    lost: u64,
    duplicate: u64,
    reordered: u64,
    late: u64,
    /// Packets on the pad.
    shown: u64,
    steady: bool,
    /// The longest delay of the last packets, in milliseconds.
    delay: f64,
}

/// Plays over UDP through a link that is clear at first, then has this weather
/// for `packets` packets, and is clear again at the end.
fn through(weather: Weather, latency: u32, interval: Duration, packets: u64) -> Outcome {
    let mini = Mini::new(Script {
        interval,
        ..Script::default()
    });
    let link = Link::to(mini.address().into(), Weather::default());
    let player = Player::new(&link.url(&mini.url()))
        .with_str("protocols", "udp")
        .with("latency", latency)
        .play();
    player.flows("stream_0", 30);
    link.set(|w| *w = weather);
    link.carried(link.counts().packets + packets);
    link.set(|w| *w = Weather::default());
    player.flows("stream_0", 60);
    let delays = delays(&player, &mini, "stream_0", Media::H264);
    let delay = most(last(&delays, 30));
    // The last packets of what is sent are not lost: all are accounted for.
    link.carried(mini.quiet());
    // What is damaged may not be taken for a packet of the stream.
    let arrived = || {
        let counts = link.counts();
        let expected = counts.packets - counts.lost + counts.doubled - counts.damaged;
        let packets = player.stream_stats(0).get::<u64>("packets");
        packets.expect("a count") >= expected
    };
    crate::process::wait_for("all packets", Duration::from_secs(20), arrived);
    // What a gap still holds back comes out after the latency.
    let shown = || player.log(|log| log.packets("stream_0").len() as u64);
    let link = link.counts();
    let stat = |name: &str| player.stream_stats(0).get::<u64>(name).expect("a count");
    crate::process::wait_for("what was held", Duration::from_secs(20), || {
        shown() + stat("duplicate") + stat("late") + link.damaged >= stat("packets")
            && stat("lost") >= link.lost
    });
    println!(
        "{link:?}: lost {}, duplicate {}, reordered {}, late {}, shown {}, delay {delay:.1} ms",
        stat("lost"),
        stat("duplicate"),
        stat("reordered"),
        stat("late"),
        shown()
    );
    player.has_no_error();
    Outcome {
        link,
        lost: stat("lost"),
        duplicate: stat("duplicate"),
        reordered: stat("reordered"),
        late: stat("late"),
        shown: shown(),
        steady: is_steady(&player, "stream_0"),
        delay,
    }
}

#[test]
// covers: B-RTCP-02
fn five_percent_of_loss_is_counted_to_the_packet() {
    let weather = Weather {
        lost: 50,
        ..Weather::default()
    };
    let seen = through(weather, 200, 10 * MS, 1500);
    assert!(seen.link.lost > 30, "{:?}", seen.link);
    assert_eq!(seen.lost, seen.link.lost);
    assert_eq!(seen.shown, seen.link.packets - seen.link.lost);
    assert_eq!((seen.duplicate, seen.late), (0, 0));
    assert!(seen.steady);
}

#[test]
fn loss_at_a_latency_of_two_seconds_costs_only_what_the_link_lost() {
    let weather = Weather {
        lost: 50,
        ..Weather::default()
    };
    // 3,000 packets a second, if the machine can.
    let seen = through(weather, 2000, MS, 6000);
    assert!(seen.link.lost > 150, "{:?}", seen.link);
    assert_eq!(seen.lost, seen.link.lost);
    assert_eq!(seen.shown, seen.link.packets - seen.link.lost);
    assert!(seen.steady);
}

#[test]
fn jitter_of_20_ms_reorders_and_loses_nothing() {
    let weather = Weather {
        jitter: 20 * MS,
        ..Weather::default()
    };
    // A busy machine may hold the link itself up for longer than 200 ms.
    let seen = through(weather, 2000, 5 * MS, 1500);
    assert!(seen.reordered > 100, "{}", seen.reordered);
    assert_eq!((seen.lost, seen.late), (0, 0));
    assert_eq!(seen.shown, seen.link.packets);
    assert!(seen.steady);
}

#[test]
fn doubled_packets_are_shown_once() {
    let weather = Weather {
        doubled: 200,
        jitter: 5 * MS,
        ..Weather::default()
    };
    let seen = through(weather, 2000, 10 * MS, 1000);
    assert!(seen.link.doubled > 100, "{:?}", seen.link);
    assert_eq!(seen.duplicate, seen.link.doubled);
    assert_eq!((seen.lost, seen.shown), (0, seen.link.packets));
    assert!(seen.steady);
}

#[test]
fn all_of_it_together_is_told_apart() {
    let weather = Weather {
        lost: 50,
        doubled: 50,
        jitter: 20 * MS,
        ..Weather::default()
    };
    let seen = through(weather, 2000, 5 * MS, 2000);
    assert_eq!(seen.lost, seen.link.lost);
    assert_eq!(seen.duplicate, seen.link.doubled);
    assert_eq!(seen.shown, seen.link.packets - seen.link.lost);
    assert!(seen.steady);
}

#[test]
fn damage_of_one_percent_costs_packets_and_no_delay() {
    // One bit of each, headers too: UDP's checksum would have dropped them.
    let weather = Weather {
        damaged: 10,
        ..Weather::default()
    };
    let seen = through(weather, 200, 5 * MS, 4000);
    assert!(seen.link.damaged > 20, "{:?}", seen.link);
    // A damaged timestamp has a wrong time, and what follows its own again.
    assert!(seen.delay < 50.0, "{} ms", seen.delay);
    // A number far ahead holds those behind it for late until it is reached.
    let missing = seen.link.packets.saturating_sub(seen.shown);
    assert!(
        missing < seen.link.packets / 6,
        "{missing} of {} missing, {} damaged",
        seen.link.packets,
        seen.link.damaged
    );
}
