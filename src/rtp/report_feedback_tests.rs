use super::super::super::rtcp::Flaw;
use super::super::super::schedule::LOWER_LAYERS;
use super::*;

// covers: B-FB-02
#[test]
fn feedback_waits_for_the_report_without_avpf() {
    let start = Instant::now();
    let mut reporter = Reporter::new(config(), start, 1);
    reporter.handle_reception(&received(1), start);
    reporter.feedback(Feedback::Pli, start);
    assert_eq!(reporter.poll_timeout(), Some(reporter.schedule.tn));
    let sent = run(&mut reporter, &mut 1, start, start + 3 * SECOND);
    assert_eq!(
        feedback_of(&sent[0].1),
        [Rtcp::Pli {
            ssrc: 7,
            media_ssrc: MEDIA
        }]
    );
}

// covers: B-FB-02, B-FB-03
#[test]
fn early_feedback_goes_at_once_with_one_peer_as_a_compound() {
    let start = Instant::now();
    let mut reporter = Reporter::new(avpf(), start, 1);
    reporter.handle_reception(&received(1), start);
    reporter.feedback(Feedback::Nack(vec![5, 7]), start);
    assert!(reporter.poll_timeout().unwrap() <= start);
    let data = reporter.poll(&received(1), start).unwrap();
    let mut compound = rtcp::parse(&data);
    assert!(matches!(compound.next(), Some(Rtcp::ReceiverReport { .. })));
    assert!(matches!(compound.next(), Some(Rtcp::Cname { .. })));
    assert!(matches!(compound.next(), Some(Rtcp::Nack { seqs, .. }) if seqs.iter().eq([5, 7])));
    assert_eq!(reporter.poll(&received(1), start), None);
}

// covers: B-FB-02
#[test]
fn feedback_never_exceeds_the_rtcp_bandwidth_on_average() {
    let start = Instant::now();
    // 5 % of 64 kbit/s: 400 octets/s for both members, so 200 for one.
    let bandwidth = Bandwidth {
        session: Some(64_000),
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
    let mut octets = 0;
    // The average size, which the interval follows, settles in the first minute.
    let (settled, span) = (60_000, 120_000);
    for ms in 0..span {
        let now = start + ms * MS;
        if ms % 5 == 0 {
            reporter.feedback(Feedback::Nack(vec![ms as u16]), now);
        }
        while let Some(data) = reporter.poll(&received(ms + 1), now) {
            if ms >= settled {
                octets += data.len() + LOWER_LAYERS;
            }
        }
    }
    let rate = octets as f64 / f64::from((span - settled) / 1000);
    assert!(rate > 150.0 && rate <= 204.0, "{rate} octets/s");
}

// covers: B-FB-02
#[test]
fn early_feedback_in_a_group_is_dithered() {
    let now = Instant::now();
    let mut delays = vec![];
    for seed in 0..20 {
        let mut reporter = Reporter::new(avpf(), now, seed);
        for ssrc in 100..150 {
            reporter.handle_compound(&rr(ssrc), now);
        }
        reporter.handle_reception(&received(1), now);
        reporter.feedback(Feedback::Pli, now);
        delays.push(reporter.early_at().unwrap() - now);
    }
    delays.sort();
    delays.dedup();
    assert!(delays.len() > 10, "{delays:?}");
}

// covers: C-FB-06
#[test]
fn key_units_are_asked_for_once_in_500_ms() {
    let start = Instant::now();
    let mut reporter = Reporter::new(avpf(), start, 1);
    let mut plis = vec![];
    for ms in 0..2000u32 {
        let now = start + ms * MS;
        if ms < 1200 {
            reporter.feedback(Feedback::Pli, now);
        }
        while let Some(data) = reporter.poll(&received(ms + 1), now) {
            if !feedback_of(&data).is_empty() {
                plis.push(ms);
            }
        }
    }
    // The last request is not lost, it waits.
    assert_eq!(plis, [0, 500, 1000, 1500]);
}

// covers: B-FB-05
#[test]
fn reduced_size_is_for_early_feedback_only() {
    let start = Instant::now();
    let mut reporter = Reporter::new(
        Config {
            reduced_size: true,
            ..avpf()
        },
        start,
        1,
    );
    reporter.handle_reception(&received(1), start);
    reporter.feedback(Feedback::Fir { seq: 3 }, start);
    let early = reporter.poll(&received(1), start).unwrap();
    let mut compound = rtcp::parse(&early);
    assert!(
        matches!(compound.next(), Some(Rtcp::Fir { entries, .. }) if entries.iter().eq([(MEDIA, 3)]))
    );
    assert_eq!(
        (compound.next(), compound.flaw()),
        (None, Some(Flaw::FirstType))
    );
    let sent = run(&mut reporter, &mut 1, start, start + 20 * SECOND);
    for (_, data) in sent {
        assert!(block_of(&data).is_some());
    }
}

// covers: B-FB-03
#[test]
fn a_nack_that_could_not_be_sent_in_time_is_dropped() {
    let start = Instant::now();
    let mut reporter = Reporter::new(config(), start, 1);
    reporter.handle_reception(&received(1), start);
    reporter.feedback(Feedback::Nack(vec![1]), start);
    reporter.schedule.tn = start + 600 * MS;
    reporter.schedule.tp = start - 10 * SECOND;
    let data = reporter.poll(&received(1), start + 600 * MS).unwrap();
    assert!(feedback_of(&data).is_empty());
    // And what waits is bounded.
    reporter.feedback(Feedback::Nack((0..u16::MAX).collect()), start + SECOND);
    assert_eq!(reporter.nacks.len(), limits::NACK_MISSING);
}

// covers: B-FB-03
#[test]
fn no_feedback_before_the_source_is_known() {
    let start = Instant::now();
    let mut reporter = Reporter::new(avpf(), start, 1);
    reporter.feedback(Feedback::Pli, start);
    assert_eq!(reporter.poll(&Reception::default(), start), None);
    assert!(
        reporter
            .poll(&received(1), start)
            .is_some_and(|d| !feedback_of(&d).is_empty())
    );
}
