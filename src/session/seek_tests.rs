use super::*;

const S: u64 = 1_000_000_000;

fn track(range: &str, onvif: bool) -> Option<Track> {
    Track::of(Range::parse(range).as_ref(), onvif)
}

fn request(rate: f64, flags: gst::SeekFlags, start: Option<u64>, stop: Option<u64>) -> SeekRequest {
    gst::init().unwrap();
    let at = |time: Option<u64>| match time {
        Some(time) => (
            gst::SeekType::Set,
            Some(gst::ClockTime::from_nseconds(time)),
        ),
        None => (gst::SeekType::None, None),
    };
    SeekRequest {
        rate,
        flags,
        start: at(start),
        stop: at(stop),
        seqnum: gst::Seqnum::next(),
        interval: None,
    }
}

fn target(request: &SeekRequest, range: &str) -> Option<Target> {
    let mut current = gst::FormattedSegment::new();
    current.set_start(gst::ClockTime::ZERO);
    let position = gst::ClockTime::from_seconds(30);
    Target::of(request, &current, Some(position), &track(range, false)?)
}

fn asked(request: SeekRequest, range: &str) -> Option<String> {
    target(&request, range).map(|target| target.range.to_string())
}

const FLUSH: gst::SeekFlags = gst::SeekFlags::FLUSH;

// covers: B-RANGE-12, C-PLAY-05
#[test]
fn stream_time_is_play_time_or_counts_from_the_start_of_the_range() {
    let npt = track("npt=5-60", false).unwrap();
    assert_eq!((npt.start, npt.end), (Some(5 * S), Some(60 * S)));
    let clock = track("clock=20260101T000000Z-20260101T000100Z", false).unwrap();
    assert_eq!((clock.start, clock.end), (Some(0), Some(60 * S)));
    let from = request(1.0, FLUSH, Some(10 * S), None);
    assert_eq!(
        asked(from.clone(), "clock=20260101T000000Z-20260101T000100Z").as_deref(),
        Some("clock=20260101T000010Z-")
    );
    assert_eq!(
        asked(from, "smpte-25=10:00:00-10:01:00").as_deref(),
        Some("smpte-25=10:00:10:00-")
    );
    let reply = Range::parse("clock=20260101T000012Z-").unwrap();
    assert_eq!(clock.start_of(&reply), Some(12 * S));
    assert_eq!(npt.start_of(&reply), None, "another unit");
}

// covers: C-ONVIF-12, B-RANGE-06
#[test]
fn with_onvif_stream_time_is_utc_since_1900() {
    let track = track("clock=20260101T000000Z-", true).unwrap();
    let unix = 1_767_225_600;
    assert_eq!(track.start, Some((unix + 2_208_988_800) * S));
    assert_eq!(track.end, None);
    assert_eq!(track.server_time(track.start.unwrap()), Some(unix * S));
    assert!(
        Track::of(None, true).is_some(),
        "replay URLs may say nothing"
    );
}

#[test]
fn what_is_live_is_not_seeked_in() {
    for range in ["npt=now-", "npt=0-", "npt=0-0", "clock=20260101T000000Z-"] {
        assert_eq!(track(range, false), None, "{range}");
    }
    assert_eq!(Track::of(None, false), None);
}

// covers: C-PLAY-01
#[test]
fn a_seek_becomes_a_range() {
    let range = "npt=0-60";
    let ask = |rate, start, stop| asked(request(rate, FLUSH, start, stop), range);
    assert_eq!(ask(1.0, Some(20 * S), None).as_deref(), Some("npt=20-"));
    assert_eq!(
        ask(1.0, Some(20 * S), Some(25 * S)).as_deref(),
        Some("npt=20-25")
    );
    assert_eq!(
        ask(1.0, Some(20 * S), Some(90 * S)).as_deref(),
        Some("npt=20-"),
        "beyond the end"
    );
    assert_eq!(
        ask(2.0, None, None).as_deref(),
        Some("npt=30-"),
        "from where it is"
    );
    assert_eq!(
        ask(-1.0, Some(0), Some(40 * S)).as_deref(),
        Some("npt=40-0")
    );
    assert_eq!(
        ask(1.0, Some(61 * S), None).as_deref(),
        Some("npt=60-"),
        "no further than the end"
    );
    assert_eq!(ask(1.0, Some(20 * S), Some(10 * S)), None);
    let mut from_end = request(1.0, FLUSH, Some(0), None);
    from_end.start = (gst::SeekType::End, Some(gst::ClockTime::ZERO));
    assert_eq!(asked(from_end, range).as_deref(), Some("npt=60-"));
}

// covers: C-PLAY-12, C-PLAY-13
#[test]
fn trick_modes_ask_for_scale_and_plain_rates_for_speed() {
    let pace = |rate, flags| {
        let target = target(&request(rate, FLUSH | flags, Some(0), None), "npt=0-60").unwrap();
        (target.scale, target.speed)
    };
    let none = gst::SeekFlags::empty();
    let trick = gst::SeekFlags::TRICKMODE;
    assert_eq!(pace(1.0, none), (1.0, 1.0));
    assert_eq!(pace(16.0, none), (1.0, 16.0));
    assert_eq!(pace(-0.25, none), (-1.0, 0.25));
    assert_eq!(pace(-4.0, trick), (-4.0, 1.0));
    assert_eq!(pace(8.0, gst::SeekFlags::TRICKMODE_KEY_UNITS), (8.0, 1.0));
}

#[test]
fn a_seek_that_nobody_answers_was_refused() {
    let (answer, awaited) = question();
    assert_eq!(awaited.wait(Duration::ZERO), None);
    drop(answer);
    assert_eq!(awaited.wait(Duration::from_secs(1)), Some(false));
    let (answer, awaited) = question();
    answer.give(true);
    answer.give(false);
    assert_eq!(awaited.wait(Duration::ZERO), Some(true));
}
