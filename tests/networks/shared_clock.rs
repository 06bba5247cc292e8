//! Presentation times by a clock that sender and receiver share.

use std::sync::atomic::Ordering::*;
use std::time::{Duration, Instant};

use gst::prelude::*;

use crate::delay::{delays, is_steady, last, least, most};
use crate::link::{Link, Weather};
use crate::ntp_server::NtpServer;
use crate::support::mini::{Media, Mini, Script};
use crate::support::player::{PATIENCE, Player};

fn script() -> Script {
    Script {
        reports: Some(Duration::from_millis(200)),
        ..Script::default()
    }
}

#[track_caller]
fn wait_for_timing(player: &Player, timing: &str) {
    player.flows("stream_0", 1);
    let is = || player.stream_stats(0).get::<String>("timing");
    let deadline = Instant::now() + PATIENCE;
    while is().as_deref() != Ok(timing) {
        assert!(Instant::now() < deadline, "{:?}, not {timing}", is());
        player.flows("stream_0", 3);
    }
}

/// Both sources play to their own sinks in one pipeline's time.
fn in_one_time(first: &Player, second: &Player) {
    let clock = gst::SystemClock::obtain();
    let base = clock.time();
    for player in [first, second] {
        player.pipeline.use_clock(Some(&clock));
        player.pipeline.set_start_time(gst::ClockTime::NONE);
        player.pipeline.set_base_time(base);
        player.state(gst::State::Playing);
    }
}

#[test]
fn two_sources_with_ntp_sync_are_within_5_ms() {
    // The path of one is 80 ms longer, with jitter.
    let (near, far) = (Mini::new(script()), Mini::new(script()));
    let link = Link::to(
        far.address().into(),
        Weather {
            delay: Duration::from_millis(80),
            jitter: Duration::from_millis(20),
            ..Weather::default()
        },
    );
    let players = [near.url(), link.url(&far.url())].map(|url| {
        Player::new(&url)
            .with_str("protocols", "udp")
            .with("ntp-sync", true)
    });
    in_one_time(&players[0], &players[1]);
    for player in &players {
        wait_for_timing(player, "ntp");
        player.flows("stream_0", 150);
    }
    let shown = [(&players[0], &near), (&players[1], &far)].map(|(player, mini)| {
        let delays = delays(player, mini, "stream_0", Media::H264);
        assert!(is_steady(player, "stream_0"));
        last(&delays, 100).to_vec()
    });
    let all: Vec<f64> = shown.concat();
    // Presentation times are capture times, so the two are as one.
    let (least, most) = (least(&all), most(&all));
    println!("presentation less capture time: {least:.3} to {most:.3} ms");
    assert!(most - least < 5.0, "{least} to {most} ms");
    assert!(least > -2.5 && most < 2.5, "{least} to {most} ms");
}

#[test]
fn ntp_sync_can_be_switched_while_playing() {
    let mini = Mini::new(script());
    let link = Link::to(
        mini.address().into(),
        Weather {
            delay: Duration::from_millis(100),
            ..Weather::default()
        },
    );
    let player = Player::new(&link.url(&mini.url()))
        .with_str("protocols", "udp")
        .play();
    player.flows("stream_0", 60);
    let arrival = delays(&player, &mini, "stream_0", Media::H264);
    assert!(least(&arrival) > 90.0, "{}", least(&arrival));
    let player = player.with("ntp-sync", true);
    wait_for_timing(&player, "ntp");
    player.flows("stream_0", 150);
    let ntp = delays(&player, &mini, "stream_0", Media::H264);
    let ntp = last(&ntp, 60);
    assert!(least(ntp) > -2.5 && most(ntp) < 2.5, "{ntp:?}");
    let player = player.with("ntp-sync", false);
    wait_for_timing(&player, "arrival");
    player.flows("stream_0", 60);
    let again = delays(&player, &mini, "stream_0", Media::H264);
    assert!(least(last(&again, 30)) > 90.0, "{:?}", last(&again, 30));
    assert!(is_steady(&player, "stream_0"));
}

// covers: C-CLK-03
#[test]
fn a_clock_beyond_max_ts_offset_is_not_followed() {
    let mini = Mini::new(Script {
        ntp_ahead: 10_000,
        ..script()
    });
    let player = Player::new(&mini.url()).with("ntp-sync", true).play();
    player.flows("stream_0", 200);
    wait_for_timing(&player, "arrival");
    // Without a limit it is.
    let player = player.with("max-ts-offset", 0i64);
    wait_for_timing(&player, "ntp");
    player.flows("stream_0", 60);
    let ahead = delays(&player, &mini, "stream_0", Media::H264);
    let ahead = last(&ahead, 30);
    assert!(
        least(ahead) > 9_990.0 && most(ahead) < 10_010.0,
        "{ahead:?}"
    );
}

// covers: C-CLK-03
#[test]
fn rfc7273_follows_the_ntp_server_of_the_description() {
    // Nobody else has this time.
    let ahead = Duration::from_millis(700);
    let ntp = NtpServer::start(ahead);
    let mini = Mini::new(Script {
        refclk: Some(ntp.name()),
        ..Script::default()
    });
    let player = Player::new(&mini.url()).with("rfc7273-sync", true).play();
    wait_for_timing(&player, "rfc7273");
    // Times come nearer by less than what passes: no two frames have one.
    player.flows("stream_0", 600);
    let shown = delays(&player, &mini, "stream_0", Media::H264);
    let shown = last(&shown, 60);
    // On the server's clock the media was captured 700 ms earlier.
    let expected = -(ahead.as_millis() as f64);
    println!("{:.2} to {:.2} ms", least(shown), most(shown));
    assert!(least(shown) > expected - 5.0, "{shown:?}");
    assert!(most(shown) < expected + 5.0, "{shown:?}");
    assert!(is_steady(&player, "stream_0"));
}

// covers: C-CLK-03
#[test]
fn a_clock_that_does_not_answer_changes_nothing() {
    // A port where nobody answers.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = silent.local_addr().expect("an address");
    for clock in [format!("ntp={address}"), "ntp=no-such-host.invalid".into()] {
        let mini = Mini::new(Script {
            refclk: Some(clock),
            ..Script::default()
        });
        let player = Player::new(&mini.url()).with("rfc7273-sync", true).play();
        player.flows("stream_0", 150);
        assert_eq!(
            player.stream_stats(0).get::<String>("timing").as_deref(),
            Ok("arrival")
        );
        player.has_no_error();
    }
}

#[test]
fn a_clock_is_asked_only_when_it_is_wanted() {
    let ntp = NtpServer::start(Duration::ZERO);
    let mini = Mini::new(Script {
        refclk: Some(ntp.name()),
        ..Script::default()
    });
    let player = Player::new(&mini.url()).play();
    player.flows("stream_0", 150);
    assert_eq!(ntp.asked.load(Relaxed), 0);
}
