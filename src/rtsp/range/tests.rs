use super::*;
use proptest::prelude::*;

const S: u64 = NS_PER_SECOND;

fn npt(value: &str) -> (Option<Point>, Option<Point>) {
    let range = Range::parse(value).unwrap_or_else(|| panic!("{value}"));
    assert_eq!(range.unit, Unit::Npt);
    (range.start, range.end)
}

// covers: B-RANGE-01, B-RANGE-02, B-RANGE-03, B-RANGE-04, B-RANGE-08
#[test]
fn npt_vectors() {
    let at = |ns| Some(Point::Npt(ns));
    for (value, start, end) in [
        ("npt=0-", at(0), None),
        ("npt=0.000-", at(0), None),
        ("npt=0.-", at(0), None),
        ("npt=7-", at(7 * S), None),
        ("npt=7.-", at(7 * S), None),
        ("npt=7.0-", at(7 * S), None),
        ("npt=7.123456789-", at(7_123_456_789), None),
        ("npt=10.25-20.5", at(10_250_000_000), at(20_500_000_000)),
        ("npt=00:01:10.5-", at(70_500_000_000), None),
        ("npt=0:1:10.5-", at(70_500_000_000), None),
        ("npt=392:00:06-", at(1_411_206 * S), None),
        ("npt=now-", Some(Point::Now), None),
        ("NPT = now -", Some(Point::Now), None),
        ("npt=5-now", at(5 * S), Some(Point::Now)),
        ("npt=-12.5", None, at(12_500_000_000)),
        ("npt=1.1234567899-", at(1_123_456_789), None),
        ("npt=18446744073.709551615-", at(u64::MAX), None),
        ("npt=1-2;time=19970123T143720Z", at(S), at(2 * S)),
        ("npt=1-2, clock=19970123T143720Z-", at(S), at(2 * S)),
        ("foo=1-2,npt=3-", at(3 * S), None),
    ] {
        assert_eq!(npt(value), (start, end), "{value}");
    }
}

// covers: B-RANGE-01, B-RANGE-02, B-RANGE-03, B-RANGE-09, H-30
#[test]
fn malformed_ranges_are_no_range() {
    let many = format!("npt={}-", "9".repeat(400));
    for value in [
        "npt=-",
        "npt=",
        "npt=1e3-",
        "npt=+5-",
        "npt=00:60:00-",
        "npt=00:00:60-",
        "npt=5,0-",
        "npt=99999999999999999999-",
        "npt=9999999999999999999-",
        "npt=18446744073.709551616-",
        "npt=1e308-",
        "npt=nan-inf",
        "nan-inf",
        "",
        "=",
        "npt",
        "npt=5",
        "npt=1:2-",
        "npt=1:2:3:4-",
        "npt=1--2",
        "npt=-1-2",
        "npt=.-",
        "utc=1-2",
        "npt=0:001:00-",
        "smpte=99:99:99:99-",
        "clock=20231399T256199Z-",
        "clock=now-",
        "smpte-60=00:00:01-",
        &many,
    ] {
        assert_eq!(Range::parse(value), None, "{value}");
    }
}

// covers: B-RANGE-03, H-30
#[test]
fn an_end_that_is_not_after_the_start_is_no_duration() {
    let range = Range::parse("npt=20-10").unwrap();
    assert!(range.is_reversed() && !range.is_closed());
    assert_eq!(range.duration(), None);
    let live = Range::parse("npt=0-0.000").unwrap();
    assert!(!live.is_closed() && !live.is_reversed());
    assert!(!Range::parse("npt=0-").unwrap().is_closed());
    assert!(!Range::parse("npt=-5").unwrap().is_closed());
    assert!(Range::parse("npt=now-").unwrap().starts_now());
    assert_eq!(
        Range::parse("npt=1-3.5").unwrap().duration(),
        Some(2_500_000_000)
    );
}

// covers: B-RANGE-06
#[test]
fn absolute_time_vectors() {
    for (value, unix_ns, ntp) in [
        (
            "clock=20090615T114900.440Z-",
            1_245_066_540_440_000_000,
            0xCDE0_B3AC_70A3_D70A,
        ),
        (
            "clock=20100217T143720.257Z-",
            1_266_417_440_257_000_000,
            0xCF26_7DA0_41CA_C083,
        ),
        (
            "clock=20000229T235959Z-",
            951_868_799 * S,
            0xBC66_DBFF_0000_0000,
        ),
        ("clock=19700101T000000Z-", 0, 2_208_988_800 << 32),
        (
            "clock=20161231T235960Z-",
            1_483_228_800 * S,
            (1_483_228_800 + 2_208_988_800) << 32,
        ),
    ] {
        let range = Range::parse(value).unwrap();
        assert_eq!(range.unit, Unit::Clock);
        assert_eq!(range.start, Some(Point::Clock(unix_ns)), "{value}");
        assert_eq!(unix_to_ntp64(unix_ns), ntp, "{value}");
    }
    // 2036-02-07T06:28:16Z is second 0 of the next era.
    assert_eq!(unix_to_ntp64(2_085_978_496 * S), 0);
    let _ = unix_to_ntp64(u64::MAX);
}

// covers: B-RANGE-06
#[test]
fn absolute_time_is_range_checked() {
    for value in [
        "20091301T000000Z",
        "20090001T000000Z",
        "20230229T000000Z",
        "20000230T000000Z",
        "20090100T000000Z",
        "20090131T240000Z",
        "20090131T006000Z",
        "20090131T000061Z",
        "20090131 000000Z",
        "20090131000000Z",
        "99990101T000000Z",
        "19691231T235959Z",
        "2009013T000000Z",
        "20090131T00Z",
        "2009\u{e9}31T000000Z",
        "20090131T0000+1Z",
        "20090131T000000.5.5Z",
    ] {
        assert_eq!(Range::parse(&format!("clock={value}-")), None, "{value}");
    }
    assert!(
        Range::parse("clock=20240229T000000Z-20240229T000001z")
            .unwrap()
            .is_closed()
    );
}

// covers: B-RANGE-07
#[test]
fn clock_without_seconds_or_zone_is_utc_and_never_produced() {
    let range = Range::parse("clock=19961110T1925-19961110T2015").unwrap();
    assert_eq!(range.duration(), Some(50 * 60 * S));
    assert_eq!(range.to_string(), "clock=19961110T192500Z-19961110T201500Z");
    assert!(
        Range::parse("clock=19971113T2115-19971113T2203")
            .unwrap()
            .is_closed()
    );
}

// covers: B-RANGE-05
#[test]
fn smpte_vectors() {
    for (value, ns) in [
        ("smpte-25=00:00:10:12-", 10_480_000_000),
        ("smpte-30-drop=00:00:59:29-", 60_026_633_333),
        ("smpte-30-drop=00:01:00:02-", 60_060_000_000),
        ("smpte-30-drop=00:10:00:00-", 599_999_400_000),
        ("smpte-30-drop=01:00:00:00-", 3_599_996_400_000),
        ("SMPTE=00:00:00-", 0),
        ("smpte-25=00:00:00:01.50-", 60_000_000),
    ] {
        assert_eq!(
            Range::parse(value).and_then(|r| r.start_ns()),
            Some(ns),
            "{value}"
        );
    }
    // 10:12:33 is 36,753 s; 612 minutes less 61 tens drop two frames each.
    let frame = 36_753 * 30 - 2 * (612 - 61);
    let range = Range::parse("smpte=10:12:33-").unwrap();
    assert_eq!(range.start_ns(), Some(frame * 1_001_000_000_000 / 30_000));
    for value in [
        "smpte-30-drop=00:01:00:00-",
        "smpte-30-drop=00:01:00:01-",
        "smpte-25=00:00:00:25-",
        "smpte=00:00:00:30-",
        "smpte=00:60:00-",
        "smpte=00:00:60-",
        "smpte=00:00-",
        "smpte=1:2:3:4:5-",
    ] {
        assert_eq!(Range::parse(value), None, "{value}");
    }
    // A whole second needs no frame number, also where frame 00 is dropped.
    assert_eq!(
        Range::parse("smpte=00:01:00-").and_then(|r| r.start_ns()),
        Some(60_060_000_000)
    );
}

// covers: B-RANGE-11
#[test]
fn ranges_are_written_plainly() {
    for (range, text) in [
        (Range::npt_from(0), "npt=0-"),
        (Range::npt_from(1_500_000_000), "npt=1.5-"),
        (Range::npt_from(1), "npt=0.000000001-"),
        (Range::npt_from(u64::MAX), "npt=18446744073.709551615-"),
        (Range::npt_now(), "npt=now-"),
        (
            Range {
                unit: Unit::Clock,
                start: None,
                end: Some(Point::Clock(951_868_799 * S + 1000)),
            },
            "clock=-20000229T235959.000001Z",
        ),
    ] {
        assert_eq!(range.to_string(), text);
        assert_eq!(Range::parse(text), Some(range));
    }
    for text in ["smpte-25=00:00:10:12.05-00:01:00:00", "smpte=00:01:00:02-"] {
        assert_eq!(Range::parse(text).unwrap().to_string(), text);
    }
}

// covers: C-PLAY-14, H-30
#[test]
fn scale_and_speed_are_decimal_and_not_zero() {
    let many = "9".repeat(400);
    for (text, value) in [
        ("1", Some(1.0)),
        ("-2.5", Some(-2.5)),
        (" 0.5 ", Some(0.5)),
        ("3.", Some(3.0)),
        ("", None),
        ("-", None),
        (".5", None),
        ("NaN", None),
        ("inf", None),
        ("-infinity", None),
        ("1e3", None),
        ("1e400", None),
        ("0", None),
        ("-0", None),
        ("0.000", None),
        ("+1", None),
        ("--1", None),
        ("1,5", None),
        ("1.0-2.0", None),
        (many.as_str(), None),
    ] {
        assert_eq!(parse_decimal(text), value, "{text}");
    }
}

proptest! {
    // covers: B-RANGE-06, B-RANGE-11
    #[test]
    fn what_is_written_reads_back(start: u64, end: u64, clock: bool) {
        let point = if clock { Point::Clock } else { Point::Npt };
        let unit = if clock { Unit::Clock } else { Unit::Npt };
        let range = Range { unit, start: Some(point(start)), end: Some(point(end)) };
        prop_assert_eq!(Range::parse(&range.to_string()), Some(range));
    }

    // covers: H-30
    #[test]
    fn arbitrary_text_never_panics(value in "(npt|clock|smpte|smpte-25)=[-0-9:.TZnow]{0,40}|\\PC{0,60}") {
        if let Some(range) = Range::parse(&value) {
            let _ = (range.duration(), range.to_string());
        }
        let _ = parse_decimal(&value);
    }
}

// covers: B-RANGE-05, B-RANGE-11
#[test]
fn a_time_is_written_in_the_unit_of_the_presentation() {
    let write = |unit, start, end| Range::between(unit, start, end).map(|range| range.to_string());
    let s = 1_000_000_000;
    assert_eq!(
        write(Unit::Npt, Some(s / 2), Some(61 * s)).as_deref(),
        Some("npt=0.5-61")
    );
    assert_eq!(write(Unit::Npt, None, Some(s)).as_deref(), Some("npt=-1"));
    assert_eq!(write(Unit::Npt, None, None), None);
    assert_eq!(
        write(Unit::Clock, Some(0), None).as_deref(),
        Some("clock=19700101T000000Z-")
    );
    let smpte = |kind, ns| write(Unit::Smpte(kind), Some(ns), None).unwrap();
    assert_eq!(
        smpte(SmpteType::Fps25, 3661 * s + s / 2),
        "smpte-25=01:01:01:12-"
    );
    // Every frame of 20 minutes is read back as the time that it was made of.
    for frame in 0..36_000u64 {
        let ns = (frame * 1_001_000_000).div_ceil(30);
        let text = smpte(SmpteType::Drop30, ns);
        let back = Range::parse(&text).and_then(|range| range.start_ns());
        assert!(
            back.is_some_and(|back| back.abs_diff(ns) <= 1),
            "{frame} {text} {back:?}"
        );
    }
    assert_eq!(
        Range::between(Unit::Smpte(SmpteType::Fps25), Some(100 * 3600 * s), None),
        None
    );
}
