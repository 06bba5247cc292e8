//! PAUSED and PLAYING of recordings.

use gst::prelude::*;

use crate::file::{FRAMES, Film, Kind};
use crate::player::{Player, frame_at};

const FILE: &[(&str, &str)] = &[("is-live", "false")];

#[test]
fn what_is_not_live_fills_the_pipeline_in_paused_and_plays_to_its_last_frame() {
    for kind in [Kind::Mp4, Kind::Mkv] {
        let Some(film) = Film::serve(kind) else {
            continue;
        };
        let player = Player::new(&film, kind, FILE);
        let change = player.pipeline.set_state(gst::State::Paused);
        assert_eq!(change, Ok(gst::StateChangeSuccess::Async));
        player.state(gst::State::Paused);
        assert_eq!(player.frames(), [0], "{kind:?}: the first picture");
        player.state(gst::State::Playing);
        player.wait_message(gst::MessageType::Eos);
        assert_eq!(player.frames(), (0..FRAMES).collect::<Vec<_>>(), "{kind:?}");
    }
}

#[test]
fn a_live_source_plays_to_the_last_frame_too() {
    let Some(film) = Film::serve(Kind::Mp4) else {
        return;
    };
    let player = Player::new(&film, Kind::Mp4, &[]).play();
    player.wait_message(gst::MessageType::Eos);
    assert_eq!(player.frames(), (0..FRAMES).collect::<Vec<_>>());
}

// covers: C-PLAY-03
#[test]
fn the_position_holds_over_ten_pauses() {
    let Some(film) = Film::serve(Kind::Mp4) else {
        return;
    };
    for mode in [&[][..], FILE] {
        let player = Player::new(&film, Kind::Mp4, mode).play();
        for _ in 0..10 {
            player.wait_frames(5);
            player.pipeline.set_state(gst::State::Paused).unwrap();
            let (first, again) = (player.position(), player.position());
            assert_eq!(first, again);
            player.pipeline.set_state(gst::State::Playing).unwrap();
        }
        player.wait_frames(5);
        for item in player.items() {
            let crate::player::Item::Frame(number, stream, _) = item else {
                continue;
            };
            let off = frame_at(stream) - f64::from(number);
            // Live, pictures that come at once after a start are brought closer together.
            let most = if mode.is_empty() { 8.0 } else { 3.0 };
            assert!(off.abs() < most, "{mode:?}: frame {number} at {stream}");
        }
    }
}
