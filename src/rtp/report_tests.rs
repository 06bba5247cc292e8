use super::super::rtcp::SenderInfo;
use super::*;

#[path = "report_feedback_tests.rs"]
mod feedback;

const CNAME: &str = "q0dD0Nq1dYmVb0dy";
const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MEDIA: u32 = 0x1111;

fn config() -> Config {
    Config {
        ssrc: Some(7),
        cname: CNAME.into(),
        ..Default::default()
    }
}

fn avpf() -> Config {
    Config {
        avpf: true,
        bandwidth: Bandwidth {
            session: Some(2_000_000),
            ..Default::default()
        },
        ..config()
    }
}

fn received(n: u32) -> Reception {
    Reception {
        ssrc: Some(MEDIA),
        base_seq: 1000,
        highest_seq: 999 + n,
        received: n.into(),
        ..Default::default()
    }
}

fn sr(ssrc: u32, ntp: u64) -> Vec<u8> {
    let sender = Some(SenderInfo {
        ntp,
        ..Default::default()
    });
    Report {
        ssrc,
        sender,
        cname: "peer",
        ..Default::default()
    }
    .write()
}

fn rr(ssrc: u32) -> Vec<u8> {
    Report {
        ssrc,
        cname: &ssrc.to_string(),
        ..Default::default()
    }
    .write()
}

fn bye(ssrc: u32) -> Vec<u8> {
    Report {
        ssrc,
        cname: "peer",
        bye: true,
        ..Default::default()
    }
    .write()
}

/// Runs the timers from one instant to another; gives when what was sent.
/// Each step has received one more packet.
fn run(
    reporter: &mut Reporter,
    count: &mut u32,
    from: Instant,
    to: Instant,
) -> Vec<(Duration, Vec<u8>)> {
    let mut sent = vec![];
    let mut now = from;
    while let Some(at) = reporter.poll_timeout().filter(|at| *at <= to) {
        now = now.max(at);
        *count += 1;
        while let Some(data) = reporter.poll(&received(*count), now) {
            sent.push((now - from, data));
            assert!(sent.len() < 100_000);
        }
    }
    sent
}

fn block_of(data: &[u8]) -> Option<ReportBlock> {
    match rtcp::parse(data).next() {
        Some(Rtcp::ReceiverReport { blocks, .. }) => blocks.iter().next(),
        other => panic!("{other:?}"),
    }
}

fn feedback_of(data: &[u8]) -> Vec<Rtcp<'_>> {
    rtcp::parse(data)
        .filter(|p| matches!(p, Rtcp::Pli { .. } | Rtcp::Fir { .. } | Rtcp::Nack { .. }))
        .collect()
}

// covers: B-RTCP-06, C-RTCP-07
#[test]
fn reports_come_after_1_6_to_4_9_s_and_the_first_in_half_of_it() {
    let start = Instant::now();
    let mut intervals = vec![];
    for seed in 0..200 {
        let mut reporter = Reporter::new(config(), start, seed);
        reporter.handle_reception(&received(1), start);
        let sent = run(&mut reporter, &mut 1, start, start + 60 * SECOND);
        let times: Vec<_> = sent.iter().map(|(at, _)| *at).collect();
        assert!(
            times[0] >= 815 * MS && times[0] <= 2470 * MS,
            "{:?}",
            times[0]
        );
        intervals.extend(times.windows(2).map(|w| w[1] - w[0]));
    }
    let (min, max) = (
        intervals.iter().min().unwrap(),
        intervals.iter().max().unwrap(),
    );
    assert!(*min >= 1640 * MS && *max <= 4930 * MS, "{min:?} {max:?}");
    assert!(*max - *min > 2 * SECOND, "not random: {min:?} {max:?}");
}

// covers: B-RTCP-06
#[test]
fn the_interval_follows_group_size_and_bandwidth() {
    let start = Instant::now();
    // 100 receivers share 75 % of 5 % of 64 kbit/s = 300 octets/s.
    let bandwidth = Bandwidth {
        session: Some(64_000),
        ..Default::default()
    };
    let mut reporter = Reporter::new(
        Config {
            bandwidth,
            ..config()
        },
        start,
        1,
    );
    reporter.handle_reception(&received(1), start);
    for ssrc in 1000..1099 {
        reporter.handle_compound(&rr(ssrc), start);
    }
    reporter.schedule.avg_size = 90.0;
    assert_eq!(
        reporter.schedule.interval(Duration::ZERO),
        90.0 * 100.0 / 300.0
    );
    // The share of receivers is what RR says.
    reporter.schedule.bandwidth.rr = Some(8 * 900);
    reporter.schedule.bandwidth.rs = Some(8 * 300);
    assert_eq!(
        reporter.schedule.interval(Duration::ZERO),
        90.0 * 100.0 / 900.0
    );
    // When more than RS/(RS+RR) of all send, all share all.
    for ssrc in 1000..1040 {
        reporter.schedule.members.heard_media(ssrc, start);
    }
    assert_eq!(
        reporter.schedule.interval(Duration::ZERO),
        90.0 * 101.0 / 1200.0
    );
}

// covers: B-RTCP-06
#[test]
fn rr_0_disables_receiver_reports() {
    let start = Instant::now();
    let bandwidth = Bandwidth {
        rr: Some(0),
        ..Default::default()
    };
    let mut reporter = Reporter::new(
        Config {
            bandwidth,
            ..avpf()
        },
        start,
        1,
    );
    reporter.feedback(Feedback::Pli, start);
    assert_eq!(reporter.poll_timeout(), None);
    assert_eq!(reporter.poll(&received(1), start + 60 * SECOND), None);
    assert_eq!(reporter.bye(&received(1), start + 60 * SECOND), None);
}

// covers: C-RTCP-07
#[test]
fn the_first_rr_comes_within_the_initial_interval_after_a_late_first_packet() {
    for seed in 0..100 {
        let start = Instant::now();
        let mut reporter = Reporter::new(config(), start, seed);
        let none = Reception::default();
        let mut last = start;
        while let Some(at) = reporter
            .poll_timeout()
            .filter(|at| *at < start + 30 * SECOND)
        {
            last = at;
            if let Some(data) = reporter.poll(&none, at) {
                assert_eq!(block_of(&data), None, "an empty RR");
            }
        }
        let first = last + 10 * MS;
        reporter.handle_reception(&received(1), first);
        let sent = run(&mut reporter, &mut 1, first, first + 2470 * MS);
        assert!(!sent.is_empty(), "seed {seed}");
    }
}

// covers: C-RTCP-07
#[test]
fn intervals_can_be_shortened() {
    let start = Instant::now();
    let mut reporter = Reporter::new(
        Config {
            min_interval: SECOND,
            ..config()
        },
        start,
        1,
    );
    let sent = run(&mut reporter, &mut 0, start, start + 60 * SECOND);
    assert!(sent.len() > 45, "{}", sent.len());
}

// covers: B-RTCP-04, B-RTCP-05
#[test]
fn every_regular_report_is_rr_and_sdes_with_the_same_cname() {
    let start = Instant::now();
    let mut reporter = Reporter::new(config(), start, 3);
    for (_, data) in run(&mut reporter, &mut 0, start, start + 100 * SECOND) {
        let packets: Vec<_> = rtcp::parse(&data).collect();
        let [
            Rtcp::ReceiverReport { ssrc: 7, .. },
            Rtcp::Cname { ssrc: 7, cname },
        ] = packets[..]
        else {
            panic!("{packets:?}");
        };
        assert_eq!(cname, CNAME.as_bytes());
    }
}

// covers: B-RTCP-05
#[test]
fn sdes_items_of_the_application_follow_the_cname() {
    let start = Instant::now();
    let sdes = vec![(1, "ignored".to_string()), (6, "a tool".to_string())];
    let mut reporter = Reporter::new(Config { sdes, ..config() }, start, 3);
    let sent = run(&mut reporter, &mut 0, start, start + 10 * SECOND);
    let data = &sent[0].1;
    let cnames: Vec<_> = rtcp::parse(data)
        .filter_map(|packet| match packet {
            Rtcp::Cname { cname, .. } => Some(cname.to_vec()),
            _ => None,
        })
        .collect();
    assert_eq!(cnames, [CNAME.as_bytes()], "one, and ours");
    let tool = b"\x06\x06a tool";
    assert!(
        data.windows(tool.len()).any(|part| part == tool),
        "{data:?}"
    );
}

// covers: B-RTCP-11
#[test]
fn a_source_that_falls_silent_has_timed_out_once_after_five_intervals() {
    let start = Instant::now();
    let mut reporter = Reporter::new(config(), start, 3);
    let mut count = 0;
    run(&mut reporter, &mut count, start, start + 30 * SECOND);
    assert_eq!(reporter.timed_out(), None, "it sends");
    let silent = |reporter: &mut Reporter, from: Instant, to: Instant| {
        let mut at = Vec::new();
        let mut now = from;
        while let Some(next) = reporter.poll_timeout().filter(|next| *next <= to) {
            now = now.max(next);
            while reporter.poll(&received(count), now).is_some() {}
            at.extend(reporter.timed_out().map(|ssrc| (now - from, ssrc)));
        }
        at
    };
    let from = start + 30 * SECOND;
    let gone = silent(&mut reporter, from, from + 120 * SECOND);
    let [(after, MEDIA)] = gone[..] else {
        panic!("{gone:?}");
    };
    // 5 × 4 s since the last packet, seen with the next report.
    assert!(after > 15 * SECOND && after < 26 * SECOND, "{after:?}");
}

// covers: B-RTCP-05
#[test]
fn cname_is_random_and_16_characters() {
    let name = random_cname([0xff; 12]);
    assert_eq!(name, "////////////////");
    assert_ne!(random_cname([1; 12]), random_cname([2; 12]));
}

// covers: B-RTCP-08
#[test]
fn report_block_follows_the_appendix() {
    let start = Instant::now();
    let mut reporter = Reporter::new(config(), start, 1);
    reporter.handle_compound(&sr(MEDIA, 0xb44d_b705_2000_0000), start);
    // 16 expected across the wrap, 14 came.
    let first = Reception {
        ssrc: Some(MEDIA),
        base_seq: 65_530,
        highest_seq: 65_536 + 9,
        received: 14,
        jitter: 77,
        ..Default::default()
    };
    let block = reporter.block(&first, start + 5250 * MS).unwrap();
    let expected = ReportBlock {
        ssrc: MEDIA,
        fraction_lost: (2 * 256 / 16) as u8,
        cumulative_lost: 2,
        highest_seq: 65_545,
        jitter: 77,
        last_sr: 0xb705_2000,
        delay_since_last_sr: 0x0005_4000,
    };
    assert_eq!(block, expected);
    // Nothing since: no block.
    assert_eq!(reporter.block(&first, start + 6 * SECOND), None);
    // 10 more expected, 14 more came (late ones and duplicates).
    let second = Reception {
        highest_seq: 65_555,
        received: 28,
        ..first
    };
    let block = reporter.block(&second, start + 7 * SECOND).unwrap();
    assert_eq!((block.fraction_lost, block.cumulative_lost), (0, -2));
    // A restart of the source counts afresh.
    let restart = Reception {
        base_seq: 100,
        highest_seq: 199,
        received: 50,
        ..second
    };
    let block = reporter.block(&restart, start + 8 * SECOND).unwrap();
    assert_eq!((block.fraction_lost, block.cumulative_lost), (128, 50));
    // So does another source, which sent no SR yet.
    let other = Reception {
        ssrc: Some(9),
        ..restart
    };
    let block = reporter.block(&other, start + 9 * SECOND).unwrap();
    assert_eq!(
        (block.ssrc, block.fraction_lost, block.last_sr),
        (9, 128, 0)
    );
    assert_eq!(block.delay_since_last_sr, 0);
}

// covers: B-RTCP-08
#[test]
fn the_fraction_is_clamped() {
    for (expected, received, fraction) in [
        (0, 0, 0),
        (0, 5, 0),
        (10, 10, 0),
        (10, 12, 0),
        (4, 1, 192),
        (10, 0, 255),
        (u64::MAX, 0, 1),
    ] {
        assert_eq!(
            fraction_lost(expected, received),
            fraction,
            "{expected} {received}"
        );
    }
}

// covers: B-RTCP-10
#[test]
fn bye_is_sent_once_and_only_by_who_has_sent() {
    let start = Instant::now();
    let mut silent = Reporter::new(config(), start, 1);
    assert_eq!(silent.bye(&received(1), start), None);
    let mut reporter = Reporter::new(config(), start, 1);
    run(&mut reporter, &mut 0, start, start + 10 * SECOND);
    let now = start + 10 * SECOND;
    let data = reporter.bye(&received(50), now).unwrap();
    let packets: Vec<_> = rtcp::parse(&data).collect();
    let [
        Rtcp::ReceiverReport { .. },
        Rtcp::Cname { .. },
        Rtcp::Bye { ssrcs },
    ] = packets[..]
    else {
        panic!("{packets:?}");
    };
    assert_eq!(ssrcs.iter().collect::<Vec<_>>(), [7]);
    assert_eq!(reporter.bye(&received(50), now), None);
    assert_eq!(reporter.poll_timeout(), None);
    assert_eq!(reporter.poll(&received(60), now + 60 * SECOND), None);
}

// covers: B-RTCP-10
#[test]
fn a_large_group_is_left_without_bye() {
    let start = Instant::now();
    let mut reporter = Reporter::new(config(), start, 1);
    reporter.sent = true;
    for ssrc in 100..150 {
        reporter.handle_compound(&rr(ssrc), start);
    }
    assert_eq!(reporter.bye(&received(1), start), None);
}

// covers: B-RTCP-11
#[test]
fn a_collision_is_answered_by_bye_and_another_ssrc() {
    let start = Instant::now();
    let mut reporter = Reporter::new(config(), start, 1);
    run(&mut reporter, &mut 0, start, start + 10 * SECOND);
    let now = start + 10 * SECOND;
    reporter.handle_compound(&rr(7), now);
    assert_ne!(reporter.ssrc(), 7);
    assert!(reporter.poll_timeout().unwrap() <= now);
    let data = reporter.poll(&received(20), now).unwrap();
    let said = rtcp::parse(&data).any(|p| matches!(p, Rtcp::Bye { ssrcs } if ssrcs.iter().eq([7])));
    assert!(said, "BYE of the old source");
    assert!(!matches!(reporter.poll(&received(20), now), Some(data) if data == rr(7)));
    let sent = run(&mut reporter, &mut 30, now, now + 6 * SECOND);
    assert!(matches!(rtcp::parse(&sent[0].1).next(),
        Some(Rtcp::ReceiverReport { ssrc, .. }) if ssrc == reporter.ssrc()));
}

// covers: B-RTCP-11
#[test]
fn media_with_our_ssrc_is_a_collision_but_our_own_echo_is_not() {
    let now = Instant::now();
    let mut reporter = Reporter::new(config(), now, 1);
    reporter.handle_reception(
        &Reception {
            ssrc: Some(7),
            ..received(3)
        },
        now,
    );
    let ssrc = reporter.ssrc();
    assert_ne!(ssrc, 7);
    let echo = reporter.report().write();
    reporter.handle_compound(&echo, now);
    assert_eq!(
        (reporter.ssrc(), reporter.schedule.members.count()),
        (ssrc, 1)
    );
}

// covers: B-RTCP-11
#[test]
fn a_peer_that_follows_our_ssrc_does_not_keep_us_changing() {
    let now = Instant::now();
    let mut reporter = Reporter::new(config(), now, 1);
    let mut seen = vec![];
    for _ in 0..100 {
        reporter.handle_compound(&rr(reporter.ssrc()), now);
        seen.push(reporter.ssrc());
    }
    seen.dedup();
    assert_eq!(seen.len(), COLLISIONS as usize);
}

// covers: B-RTCP-11
#[test]
fn ssrcs_of_transport_are_avoided() {
    let now = Instant::now();
    let taken = Reporter::new(
        Config {
            ssrc: None,
            ..config()
        },
        now,
        5,
    )
    .ssrc();
    let avoid = vec![taken, 7];
    let reporter = Reporter::new(
        Config {
            ssrc: None,
            avoid: avoid.clone(),
            ..config()
        },
        now,
        5,
    );
    assert!(!avoid.contains(&reporter.ssrc()));
    let reporter = Reporter::new(
        Config {
            avoid: avoid.clone(),
            ..config()
        },
        now,
        5,
    );
    assert!(!avoid.contains(&reporter.ssrc()));
}

// covers: B-RTCP-06, B-RTCP-10, H-35
#[test]
fn bye_of_members_brings_the_report_forward_but_ours_is_not_believed() {
    let now = Instant::now();
    let mut reporter = Reporter::new(config(), now, 1);
    for ssrc in 100..109 {
        reporter.handle_compound(&rr(ssrc), now);
    }
    (reporter.schedule.pmembers, reporter.schedule.tn) = (10, now + 20 * SECOND);
    for ssrc in 100..105 {
        reporter.handle_compound(&bye(ssrc), now);
    }
    assert_eq!(reporter.schedule.members.count(), 5);
    let ahead = reporter.schedule.tn - now;
    assert!(ahead >= 9900 * MS && ahead <= 10_100 * MS, "{ahead:?}");
    let forged = [
        &[0x80, 201, 0, 1, 0, 0, 0, 99, 0x81, 203, 0, 1][..],
        &[0, 0, 0, 7],
    ]
    .concat();
    reporter.handle_compound(&forged, now);
    assert_eq!(reporter.ssrc(), 7);
    assert!(reporter.poll_timeout().is_some());
}

// covers: B-RTCP-06
#[test]
fn a_report_that_is_due_is_put_off_when_the_group_has_grown() {
    let start = Instant::now();
    let bandwidth = Bandwidth {
        session: Some(8_000),
        ..Default::default()
    };
    let mut reporter = Reporter::new(
        Config {
            bandwidth,
            ..config()
        },
        start,
        1,
    );
    reporter.handle_reception(&received(1), start);
    let due = reporter.poll_timeout().unwrap();
    for ssrc in 1000..1400 {
        reporter.handle_compound(&rr(ssrc), start);
    }
    assert_eq!(reporter.poll(&received(2), due), None);
    assert!(reporter.poll_timeout().unwrap() > due + 60 * SECOND);
}

// covers: B-RTCP-11
#[test]
fn ssrcs_of_members_are_avoided() {
    let now = Instant::now();
    let collided = |known: Option<u32>| {
        let mut reporter = Reporter::new(config(), now, 5);
        known
            .into_iter()
            .for_each(|ssrc| reporter.schedule.members.heard(ssrc, now));
        reporter.collide();
        reporter.ssrc()
    };
    let taken = collided(None);
    assert_ne!(collided(Some(taken)), taken);
}
