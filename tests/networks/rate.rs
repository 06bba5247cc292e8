//! A link that carries half of what is sent, for a while.

use std::time::Duration;

use crate::delay::{delays, is_steady, last, least, most, travels};
use crate::link::{Link, Weather};
use crate::support::mini::{Media, Mini, Script};
use crate::support::player::Player;

/// Bytes a second that the server sends: three packets of 92 bytes a frame, each
/// in a frame of TCP, as fast as this machine is today.
fn rate(player: &Player) -> u64 {
    let begin = std::time::Instant::now();
    player.flows("stream_0", 300);
    (300.0 * 96.0 / begin.elapsed().as_secs_f64()) as u64
}

fn play(transport: &str) -> (Mini, Link, Player) {
    let mini = Mini::new(Script::default());
    let link = Link::to(mini.address().into(), Weather::default());
    let player = Player::new(&link.url(&mini.url()))
        .with_str("protocols", transport)
        .play();
    (mini, link, player)
}

/// Waits until the delay is what it was, and returns how long that took.
fn recovers(player: &Player, mini: &Mini, before: f64, limit: Duration) -> Duration {
    let begin = std::time::Instant::now();
    crate::process::wait_for("the former delay", limit, || {
        player.flows("stream_0", 30);
        let delays = delays(player, mini, "stream_0", Media::H264);
        let travels = travels(player, mini, "stream_0", Media::H264);
        most(last(&delays, 60)) < before + 15.0 && least(last(&travels, 60)) < before + 15.0
    });
    begin.elapsed()
}

#[test]
fn over_tcp_nothing_is_lost_and_the_delay_comes_back() {
    let (mini, link, player) = play("tcp");
    let half = rate(&player) / 2;
    let before = least(&delays(&player, &mini, "stream_0", Media::H264));
    link.set(|weather| weather.rate = Some(half));
    player.flows("stream_0", 450);
    let at_its_worst = most(&travels(&player, &mini, "stream_0", Media::H264));
    link.set(|weather| weather.rate = None);
    let took = recovers(&player, &mini, before, Duration::from_secs(40));
    println!("before {before:.1} ms, at worst {at_its_worst:.1} ms, back after {took:?}");
    assert!(at_its_worst > before + 100.0, "{at_its_worst} ms");
    assert_eq!(player.stream_stats(0).get::<u64>("lost"), Ok(0));
    assert!(is_steady(&player, "stream_0"));
    player.has_no_error();
    assert!(player.log(|log| log.told("rtspsrc2-connection-lost").is_empty()));
}

#[test]
fn over_udp_what_the_link_dropped_is_lost_and_no_more() {
    let (mini, link, player) = play("udp");
    let half = rate(&player) / 2;
    let before = least(&delays(&player, &mini, "stream_0", Media::H264));
    link.set(|weather| {
        weather.rate = Some(half);
        weather.queue = Duration::from_millis(100);
    });
    link.carried(link.counts().packets + 900);
    link.set(|weather| weather.rate = None);
    let took = recovers(&player, &mini, before, Duration::from_secs(40));
    println!(
        "before {before:.1} ms, back after {took:?}, {:?}",
        link.counts()
    );
    link.carried(mini.quiet());
    let lost = || player.stream_stats(0).get::<u64>("lost").expect("a count");
    crate::process::wait_for("the losses", Duration::from_secs(20), || {
        lost() >= link.counts().lost
    });
    assert!(link.counts().lost > 200, "{:?}", link.counts());
    assert_eq!(lost(), link.counts().lost);
    assert!(is_steady(&player, "stream_0"));
    player.has_no_error();
}
