//! Seeks to positions.

use gst::prelude::*;

use crate::file::{FRAMES, Film, GOP, Kind};
use crate::player::{Item, Player, frame_at, frames, time_of};

const FLUSH: gst::SeekFlags = gst::SeekFlags::FLUSH;
const ACCURATE: gst::SeekFlags = gst::SeekFlags::FLUSH.union(gst::SeekFlags::ACCURATE);
const KEY_UNIT: gst::SeekFlags = gst::SeekFlags::FLUSH.union(gst::SeekFlags::KEY_UNIT);
/// As a live source, and as a file.
const MODES: [&[(&str, &str)]; 2] = [&[], &[("is-live", "false")]];

/// All frames after the last flush are in order, and their times are those of the film.
#[track_caller]
fn is_in_order(player: &Player, tolerance: f64) {
    let items = player.items();
    let at = items
        .iter()
        .rposition(|item| matches!(item, Item::FlushStop(..)))
        .unwrap_or(0);
    let mut last = None;
    for item in &items[at..] {
        let Item::Frame(number, stream, _) = item else {
            continue;
        };
        assert!(
            last.is_none_or(|last| last < *number),
            "{number} after {last:?}"
        );
        let off = frame_at(*stream) - f64::from(*number);
        assert!(off.abs() <= tolerance, "frame {number} at {stream}");
        last = Some(*number);
    }
}

// covers: C-PLAY-04, C-PLAY-05, C-PLAY-06, C-RTPI-06
#[test]
fn an_accurate_seek_shows_exactly_the_frame_that_was_asked_for() {
    for kind in [Kind::Mp4, Kind::Mkv] {
        let Some(film) = Film::serve(kind) else {
            continue;
        };
        for mode in MODES {
            // A live source goes by arrivals, which jitter.
            let tolerance = if mode.is_empty() { 1 } else { 0 };
            let player = Player::new(&film, kind, mode).play();
            player.wait_frames(5);
            for frame in [130, 60, 61, 74, 80, 10, 2] {
                assert!(player.seek(ACCURATE, frame), "{kind:?} {mode:?} {frame}");
                let shown = player.first_after_flush();
                assert!(
                    shown.abs_diff(frame) <= tolerance,
                    "{kind:?} {mode:?}: {shown} instead of {frame}"
                );
                player.wait_frames(5);
                is_in_order(&player, 1.0);
            }
        }
    }
}

#[test]
fn a_key_unit_seek_begins_where_the_server_does() {
    let Some(film) = Film::serve(Kind::Mp4) else {
        return;
    };
    for mode in MODES {
        let player = Player::new(&film, Kind::Mp4, mode).play();
        player.wait_frames(5);
        assert!(player.seek(KEY_UNIT, 60));
        let shown = player.first_after_flush();
        assert_eq!(shown % GOP, 0, "{mode:?}: {shown}");
        player.wait_frames(5);
        is_in_order(&player, 1.0);
    }
}

#[test]
fn flushes_and_segments_have_the_number_of_the_seek() {
    let Some(film) = Film::serve(Kind::Mp4) else {
        return;
    };
    for mode in MODES {
        let player = Player::new(&film, Kind::Mp4, mode).play();
        player.wait_frames(5);
        player.forget();
        let seqnum = gst::Seqnum::next();
        let seek = gst::event::Seek::builder(
            1.0,
            FLUSH,
            gst::SeekType::Set,
            time_of(100),
            gst::SeekType::None,
            gst::ClockTime::NONE,
        );
        assert!(player.sink.send_event(seek.seqnum(seqnum).build()));
        player.first_after_flush();
        let items = player.items();
        let count = |wanted: &dyn Fn(&Item) -> bool| items.iter().filter(|i| wanted(i)).count();
        assert_eq!(
            count(&|i| matches!(i, Item::FlushStart(s) if *s == seqnum)),
            1
        );
        let reset = !mode.is_empty();
        assert_eq!(
            count(&|i| matches!(i, Item::FlushStop(s, r) if *s == seqnum && *r == reset)),
            1,
            "{mode:?}"
        );
        let begin = items.iter().rposition(|i| matches!(i, Item::FlushStop(..)));
        let segments = items[begin.unwrap()..]
            .iter()
            .filter_map(|item| match item {
                Item::Segment(segment, seqnum) => Some((segment, *seqnum)),
                _ => None,
            });
        let segments: Vec<_> = segments.collect();
        assert_eq!(segments.len(), 1, "{segments:?}");
        assert_eq!(segments[0].1, seqnum);
        assert!(segments[0].0.flags().contains(gst::SegmentFlags::RESET));
    }
}

#[test]
fn a_seek_before_there_is_a_session_is_where_it_starts() {
    let Some(film) = Film::serve(Kind::Mp4) else {
        return;
    };
    for state in [gst::State::Null, gst::State::Ready, gst::State::Paused] {
        for mode in MODES {
            let player = Player::new(&film, Kind::Mp4, mode);
            player.pipeline.set_state(state).unwrap();
            let seek = gst::event::Seek::new(
                1.0,
                ACCURATE,
                gst::SeekType::Set,
                time_of(80),
                gst::SeekType::None,
                gst::ClockTime::NONE,
            );
            assert!(player.src.send_event(seek), "{state:?} {mode:?}");
            player.pipeline.set_state(gst::State::Playing).unwrap();
            player.wait_frames(5);
            let first = player.frames()[0];
            assert!(first.abs_diff(80) <= 1, "{state:?} {mode:?}: {first}");
        }
    }
}

#[test]
fn a_seek_in_paused_shows_its_frame_there() {
    let Some(film) = Film::serve(Kind::Mp4) else {
        return;
    };
    let player = Player::new(&film, Kind::Mp4, MODES[1]);
    player.state(gst::State::Paused);
    for frame in [120, 30, 170] {
        assert!(player.seek(ACCURATE, frame));
        assert_eq!(player.first_after_flush(), frame);
        player.state(gst::State::Paused);
        assert_eq!(frame_at(player.position()).round() as u32, frame);
    }
    player.state(gst::State::Playing);
    player.wait_frames(10);
    is_in_order(&player, 0.1);
}

#[test]
fn what_cannot_be_is_refused_and_playback_goes_on() {
    let Some(film) = Film::serve(Kind::Mp4) else {
        return;
    };
    let player = Player::new(&film, Kind::Mp4, MODES[1]).play();
    player.wait_frames(5);
    player.forget();
    let bytes = gst::event::Seek::new(
        1.0,
        FLUSH,
        gst::SeekType::Set,
        gst::format::Bytes::from_u64(1000),
        gst::SeekType::None,
        gst::format::Bytes::NONE,
    );
    assert!(!player.src.send_event(bytes));
    player.wait_frames(10);
    let items = player.items();
    assert!(!items.iter().any(|item| matches!(item, Item::FlushStart(_))));
    assert!(frames(&items).windows(2).all(|pair| pair[1] == pair[0] + 1));
}

// covers: C-PLAY-10
#[test]
fn a_seek_with_a_stop_ends_there_and_another_one_goes_on() {
    let Some(film) = Film::serve(Kind::Mp4) else {
        return;
    };
    for mode in MODES {
        let player = Player::new(&film, Kind::Mp4, mode).play();
        player.wait_frames(5);
        for (from, to) in [(105, 120), (20, 30)] {
            player.forget();
            player
                .pipeline
                .seek(
                    1.0,
                    ACCURATE,
                    gst::SeekType::Set,
                    time_of(from),
                    gst::SeekType::Set,
                    time_of(to),
                )
                .unwrap();
            player.wait_message(gst::MessageType::Eos);
            let frames = frames(&player.items());
            // The last pictures may lack one that they refer to.
            let in_range = frames.iter().all(|frame| (from - 1..to).contains(frame));
            let first = frames.first().copied().unwrap_or(0);
            assert!(in_range && first.abs_diff(from) <= 1, "{mode:?} {frames:?}");
            assert!(frames.len() as u32 >= to - from - 4, "{mode:?} {frames:?}");
        }
    }
}

#[test]
fn a_segment_seek_ends_in_segment_done_and_loops_without_a_gap() {
    let Some(film) = Film::serve(Kind::Mp4) else {
        return;
    };
    let player = Player::new(&film, Kind::Mp4, MODES[1]).play();
    player.wait_frames(5);
    player.forget();
    let seek = |flags| {
        let flags = flags | gst::SeekFlags::SEGMENT | gst::SeekFlags::ACCURATE;
        player.pipeline.seek(
            1.0,
            flags,
            gst::SeekType::Set,
            time_of(55),
            gst::SeekType::Set,
            time_of(80),
        )
    };
    seek(FLUSH).unwrap();
    for _ in 0..3 {
        player.wait_message(gst::MessageType::SegmentDone);
        seek(gst::SeekFlags::empty()).unwrap();
    }
    player.wait_message(gst::MessageType::SegmentDone);
    player.wait("the last frame", |items| frames(items).len() >= 80);
    let items = player.items();
    assert!(!items.iter().any(|item| matches!(item, Item::Eos)));
    let mut rounds = 0;
    let mut last = None;
    for item in &items {
        let Item::Frame(number, _, running) = item else {
            continue;
        };
        assert!((55..80).contains(number), "{number}");
        rounds += u32::from(*number == 55);
        if let Some(last) = last {
            let gap = running.nseconds() as i64 - last;
            // Pictures at the end may lack one that they refer to.
            assert!((0..=200_000_000).contains(&gap), "{number} after {gap} ns");
        }
        last = Some(running.nseconds() as i64);
    }
    assert_eq!(rounds, 4);
}

/// Seeks anywhere, as fast as they are answered: no error, no stall, no frame of elsewhere.
#[test]
fn random_seeks_end_where_they_should() {
    let Some(film) = Film::serve(Kind::Mp4) else {
        return;
    };
    let rounds = match std::env::var_os("RTSP2_SOAK") {
        Some(_) => 500,
        None => 50,
    };
    for mode in MODES {
        let player = Player::new(&film, Kind::Mp4, mode).play();
        player.wait_frames(5);
        let mut random = 12_345_u32;
        for round in 0..rounds {
            random = random.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            let frame = (random >> 16) % (FRAMES - 30);
            // gst-rtsp-server gives a key frame and the picture after it one time where the
            // sound that it begins with is later than the key frame.
            let frame = match frame % GOP {
                0 | 1 => frame + 2,
                _ => frame,
            };
            assert!(player.seek(ACCURATE, frame), "{mode:?} round {round}");
            let shown = player.first_after_flush();
            assert!(
                shown.abs_diff(frame) <= u32::from(mode.is_empty()),
                "{mode:?} round {round}: {shown} instead of {frame}"
            );
            if round % 10 == 0 {
                player.wait_frames(3);
                is_in_order(&player, 1.0);
                player.forget();
            }
        }
    }
}

#[test]
fn a_storm_of_seeks_ends_at_the_last() {
    let Some(film) = Film::serve(Kind::Mp4) else {
        return;
    };
    for mode in MODES {
        let player = Player::new(&film, Kind::Mp4, mode).play();
        player.wait_frames(5);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let player = &player;
                scope.spawn(move || {
                    for i in 0..25 {
                        player.seek(KEY_UNIT, (i * 7 + thread * 31) % 150);
                    }
                });
            }
        });
        assert!(player.seek(ACCURATE, 60));
        assert!(player.first_after_flush().abs_diff(60) <= 1, "{mode:?}");
        player.wait_frames(10);
        is_in_order(&player, 1.0);
    }
}
