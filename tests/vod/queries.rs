//! What the element says about a recording.

use gst::prelude::*;

use crate::file::{Film, Kind};
use crate::player::Player;

fn seeking(
    element: &gst::Element,
) -> (bool, gst::GenericFormattedValue, gst::GenericFormattedValue) {
    let mut query = gst::query::Seeking::new(gst::Format::Time);
    assert!(element.query(&mut query));
    query.result()
}

#[test]
fn a_recording_has_a_duration_and_can_be_seeked_in() {
    let Some(film) = Film::serve(Kind::Mp4) else {
        return;
    };
    let player = Player::new(&film, Kind::Mp4, &[("is-live", "false")]);
    player.state(gst::State::Paused);
    let duration = player.src.query_duration::<gst::ClockTime>().unwrap();
    assert!(duration.mseconds().abs_diff(8_000) < 100, "{duration}");
    let (seekable, start, end) = seeking(&player.src);
    assert!(seekable);
    assert_eq!(start, gst::ClockTime::ZERO.into());
    assert_eq!(end, duration.into());
    let mut bytes = gst::query::Seeking::new(gst::Format::Bytes);
    assert!(player.src.query(&mut bytes) && !bytes.result().0);
    let mut latency = gst::query::Latency::new();
    assert!(player.src.query(&mut latency));
    assert_eq!(
        latency.result(),
        (false, gst::ClockTime::ZERO, gst::ClockTime::NONE)
    );
    let mut scheduling = gst::query::Scheduling::new();
    assert!(player.src.src_pads()[0].query(&mut scheduling));
    assert!(scheduling.has_scheduling_mode(gst::PadMode::Push));
    assert!(!scheduling.has_scheduling_mode(gst::PadMode::Pull));
    let mut segment = gst::query::Segment::new(gst::Format::Time);
    assert!(player.src.query(&mut segment));
    assert_eq!(segment.result().0, 1.0);
    assert_eq!(player.position(), gst::ClockTime::ZERO);
    player.state(gst::State::Playing);
    player.wait_frames(25);
    let position = player.src.query_position::<gst::ClockTime>().unwrap();
    assert!(position >= gst::ClockTime::SECOND, "{position}");
}

#[test]
fn what_is_live_cannot_be_seeked_in() {
    crate::init();
    let server = crate::process::Server::start(&["--size", "320x240", "--audio", "none"]);
    let pipeline = gst::parse::launch(&format!(
        "rtspsrc2 name=src location={} ! fakesink name=sink async=false sync=false",
        server.url()
    ));
    let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let src = pipeline.by_name("src").unwrap();
    let sink = pipeline.by_name("sink").unwrap();
    crate::process::wait_for("a buffer", crate::SOON, || {
        let last = sink.property::<Option<gst::Sample>>("last-sample");
        last.is_some()
    });
    assert!(!seeking(&src).0);
    assert_eq!(src.query_duration::<gst::ClockTime>(), None);
    let to = gst::ClockTime::from_seconds(1);
    assert!(pipeline.seek_simple(gst::SeekFlags::FLUSH, to).is_err());
    pipeline.set_state(gst::State::Null).unwrap();
}
