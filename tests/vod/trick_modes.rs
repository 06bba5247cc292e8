//! Other speeds, and backwards.

use gst::prelude::*;

use crate::file::{Film, Kind};
use crate::player::{Item, Player, frame_at, frames, time_of};

const FLUSH: gst::SeekFlags = gst::SeekFlags::FLUSH;

/// Running and stream time of the frames after the last flush, and their numbers.
fn shown(player: &Player) -> Vec<(u32, f64, f64)> {
    let items = player.items();
    let at = items
        .iter()
        .rposition(|item| matches!(item, Item::FlushStop(..)))
        .unwrap_or(0);
    let frames = items[at..].iter().filter_map(|item| match item {
        Item::Frame(number, stream, running) => {
            Some((*number, frame_at(*stream), running.nseconds() as f64 / 1e9))
        }
        _ => None,
    });
    frames.collect()
}

#[test]
fn other_speeds_play_the_same_frames_in_less_or_more_time() {
    let Some(film) = Film::serve(Kind::Mp4) else {
        return;
    };
    for mode in [&[][..], &[("is-live", "false")]] {
        let player = Player::new(&film, Kind::Mp4, mode).play();
        player.wait_frames(5);
        for rate in [2.0, 0.5, 4.0, 1.0] {
            player.forget();
            let seek = player.pipeline.seek(
                rate,
                FLUSH,
                gst::SeekType::Set,
                time_of(60),
                gst::SeekType::None,
                gst::ClockTime::NONE,
            );
            assert!(seek.is_ok(), "{mode:?} rate {rate}");
            player.wait("frames", |items| {
                frames(items).iter().filter(|f| **f > 60).count() > 40
            });
            // Those before the position have no time of their own from gst-rtsp-server.
            let mut shown = shown(&player);
            shown.retain(|(number, ..)| *number > 60);
            let (first, last) = (shown[0], shown[shown.len() - 1]);
            let media = f64::from(last.0 - first.0) / 25.0;
            let passed = last.2 - first.2;
            assert!(
                (media / passed / rate - 1.0).abs() < 0.25,
                "{mode:?} rate {rate}: {media} s in {passed} s"
            );
            for (number, stream, _) in &shown {
                let off = (stream - f64::from(*number)).abs();
                assert!(
                    off < 1.0 + rate,
                    "{mode:?} rate {rate}: frame {number} at {stream}"
                );
            }
        }
    }
}
