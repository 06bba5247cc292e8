use super::super::feedback::Feedback;
use super::*;
use proptest::prelude::*;

const CNAME: &str = "q0dD0Nq1dYmVb0dy";
const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MEDIA: u32 = 0x1111;
const READER: u32 = 0x2222;
const RTX: u32 = 0x3333;

fn config() -> Config {
    Config {
        cname: CNAME.into(),
        rtx: Some(retransmit::Config {
            ssrc: RTX,
            payload_types: vec![(96, 97)],
            time: 500 * MS,
        }),
        ..Default::default()
    }
}

struct Test {
    sender: Sender<Vec<u8>>,
    start: Instant,
    now: Instant,
    next: u16,
}

impl Test {
    fn new(config: Config) -> Self {
        let now = Instant::now();
        Self {
            sender: Sender::new(config, now, 1),
            start: now,
            now,
            next: 100,
        }
    }

    fn running(&self) -> Nanos {
        (self.now - self.start).as_nanos() as Nanos
    }

    /// Running time 0 was at 1000 s of NTP.
    fn clock(&self) -> ClockTime {
        ClockTime {
            running_time: self.running(),
            ntp: ntp::from_nanos(1_000_000_000_000 + self.running()),
        }
    }

    fn send_as(&mut self, ssrc: u32) {
        let mut data = vec![0x80, 96];
        data.extend(self.next.to_be_bytes());
        let rtp = (self.running() * 9 / 100_000) as u32;
        data.extend(rtp.to_be_bytes());
        data.extend(ssrc.to_be_bytes());
        data.extend([1, 2, 3, 4, 5]);
        let sent = Sent::of(&data, self.running()).unwrap();
        self.sender.handle_sent(&sent, || data, self.now);
        self.next = self.next.wrapping_add(1);
    }

    fn send(&mut self) {
        self.send_as(MEDIA);
    }

    fn poll(&mut self) -> Option<Vec<u8>> {
        self.sender.poll(self.clock(), self.now)
    }

    fn bye(&mut self) -> Option<Vec<u8>> {
        self.sender.bye(self.clock(), self.now)
    }

    fn hear(&mut self, data: &[u8]) -> Heard {
        self.sender.handle_rtcp(data, self.now)
    }

    /// Lets time pass, with a packet every 100 ms if `media`; gives when
    /// which compounds went.
    fn run(&mut self, span: Duration, media: bool) -> Vec<(Duration, Vec<u8>)> {
        let mut sent = vec![];
        let end = self.now + span;
        while self.now < end {
            self.now += 100 * MS;
            if media {
                self.send();
            }
            if let Some(data) = self.poll() {
                sent.push((self.now - self.start, data));
                assert_eq!(self.poll(), None);
            }
        }
        sent
    }
}

fn info_of(data: &[u8]) -> Option<(u32, SenderInfo)> {
    match rtcp::parse(data).next() {
        Some(Rtcp::SenderReport { ssrc, info, .. }) => Some((ssrc, info)),
        Some(Rtcp::ReceiverReport { ssrc: MEDIA, .. }) => None,
        other => panic!("{other:?}"),
    }
}

fn rr(blocks: &[ReportBlock]) -> Vec<u8> {
    Report {
        ssrc: READER,
        blocks,
        cname: "reader",
        ..Default::default()
    }
    .write()
}

fn feedback(feedback: Feedback) -> Vec<u8> {
    Report {
        ssrc: READER,
        cname: "reader",
        media_ssrc: MEDIA,
        feedback: &[feedback],
        ..Default::default()
    }
    .write()
}

fn byes(data: &[u8]) -> Vec<u32> {
    let mut all = vec![];
    for packet in rtcp::parse(data) {
        if let Rtcp::Bye { ssrcs } = packet {
            all.extend(ssrcs.iter());
        }
    }
    all
}

// covers: P-PUB-07, B-RTCP-04
#[test]
fn the_first_packet_brings_a_sender_report_at_once() {
    let mut t = Test::new(config());
    assert_eq!((t.sender.poll_timeout(), t.poll()), (None, None));
    t.now += 20 * MS;
    t.send();
    t.send();
    t.now += 10 * MS;
    assert!(t.sender.poll_timeout().unwrap() <= t.now);
    let data = t.poll().unwrap();
    let (ssrc, info) = info_of(&data).unwrap();
    assert_eq!((ssrc, info.packets, info.octets), (MEDIA, 2, 10));
    // RTP and NTP time of now, 30 ms of running time.
    assert_eq!((info.ntp, info.rtp), (t.clock().ntp, 2700));
    let parts: Vec<_> = rtcp::parse(&data).collect();
    assert!(matches!(parts[1], Rtcp::Cname { ssrc: MEDIA, cname } if cname == CNAME.as_bytes()));
    assert_eq!(parts.len(), 2);
    assert_eq!(t.poll(), None);
}

// covers: B-RTCP-06, P-PUB-07
#[test]
fn reports_follow_the_interval_and_a_silent_sender_is_none() {
    let mut t = Test::new(config());
    t.send();
    assert!(t.poll().is_some());
    let sent = t.run(300 * SECOND, true);
    for pair in sent.windows(2) {
        let apart = pair[1].0 - pair[0].0;
        assert!((1640 * MS..=5030 * MS).contains(&apart), "{apart:?}");
    }
    assert!(sent.iter().all(|(_, data)| info_of(data).is_some()));
    let silent = t.run(60 * SECOND, false);
    let senders = silent.iter().filter(|(_, data)| info_of(data).is_some());
    assert!(senders.count() <= 2 && silent.len() > 10);
    t.send();
    let again = t.run(6 * SECOND, true);
    assert!(info_of(&again[0].1).is_some());
}

// covers: P-PUB-07
#[test]
fn audio_and_video_stay_in_step_whatever_waits() {
    // Both were captured at the same instants; video leaves 900 ms later.
    let capture_of = |waited: u64| {
        let mut t = Test::new(config());
        for n in 0..20_u64 {
            t.now = t.start + SECOND * n as u32;
            let sent = Sent {
                ssrc: MEDIA,
                sequence: n as u16,
                timestamp: (n * 90_000).wrapping_sub(waited * 90) as u32,
                len: 100,
                payload: 88,
                running_time: (n * 1000).saturating_sub(waited) * 1_000_000,
            };
            if n > 0 {
                t.sender.handle_sent(&sent, Vec::new, t.now);
            }
        }
        let (_, info) = info_of(&t.poll().unwrap()).unwrap();
        // The picture of 10 s.
        let ticks = i64::from(900_000u32.wrapping_sub(info.rtp).cast_signed());
        ntp::to_nanos(info.ntp).wrapping_add_signed(ticks * 1_000_000_000 / 90_000)
    };
    let (audio, video) = (capture_of(0), capture_of(900));
    assert!(audio.abs_diff(video) < 100_000, "{audio} {video}");
    assert!(audio.abs_diff(1_010_000_000_000) < 100_000, "{audio}");
}

// covers: B-RTCP-10, P-PUB-11
#[test]
fn bye_ends_it_once_and_is_for_those_who_sent() {
    let mut t = Test::new(config());
    assert_eq!(t.bye(), None);
    let mut t = Test::new(config());
    t.send();
    let data = t.bye().unwrap();
    assert_eq!(info_of(&data).unwrap().1.packets, 1);
    assert_eq!(byes(&data), [MEDIA]);
    assert!(matches!(rtcp::parse(&data).last(), Some(Rtcp::Bye { .. })));
    assert_eq!(
        (t.bye(), t.poll(), t.sender.poll_timeout()),
        (None, None, None)
    );
}

// covers: P-PUB-11, B-RTX-01
#[test]
fn retransmissions_report_and_leave_as_a_source_of_their_own() {
    let mut t = Test::new(config());
    t.send();
    t.hear(&feedback(Feedback::Nack(vec![100])));
    let data = t.poll().unwrap();
    let mut compound = rtcp::parse(&data);
    let sources: Vec<_> = (&mut compound)
        .filter_map(|p| match p {
            Rtcp::SenderReport { ssrc, info, .. } => Some((ssrc, info.packets, info.octets)),
            _ => None,
        })
        .collect();
    assert_eq!(sources, [(MEDIA, 1, 5), (RTX, 1, 7)]);
    assert_eq!(compound.flaw(), None);
    assert_eq!(byes(&t.bye().unwrap()), [MEDIA, RTX]);
}

// covers: B-RTCP-08, P-PUB-12
#[test]
fn the_round_trip_time_is_that_of_the_rfc() {
    // RFC 3550 §6.4.1, figure 2: 6.125 s.
    let mut t = Test::new(config());
    t.send();
    let (_, info) = info_of(&t.poll().unwrap()).unwrap();
    t.now += Duration::from_millis(11_375);
    let block = ReportBlock {
        ssrc: MEDIA,
        fraction_lost: 64,
        cumulative_lost: -3,
        jitter: 900,
        last_sr: ntp::middle(info.ntp),
        delay_since_last_sr: 0x0005_4000,
        ..Default::default()
    };
    let other = ReportBlock {
        ssrc: 9,
        fraction_lost: 255,
        ..Default::default()
    };
    let report = t.hear(&rr(&[other, block])).report.unwrap();
    assert_eq!(report.fraction_lost, 0.25);
    assert_eq!(report.rtt, Some(6125 * MS));
    let stats = t.sender.stats();
    assert_eq!((stats.reports, stats.cumulative_lost), (1, -3));
    assert_eq!((stats.jitter, stats.rtt), (10 * MS, Some(6125 * MS)));
    // The same report again says nothing new.
    assert_eq!(t.hear(&rr(&[block])).report.unwrap().rtt, None);
    assert_eq!(t.sender.stats().rtt, Some(6125 * MS));
    assert_eq!(t.hear(&rr(&[other])).report, None);
}

// covers: P-PUB-12, H-35
#[test]
fn impossible_round_trips_are_not_believed() {
    let mut t = Test::new(config());
    t.send();
    let (_, info) = info_of(&t.poll().unwrap()).unwrap();
    t.now += SECOND;
    let mut rtt = |last_sr, delay_since_last_sr| {
        let block = ReportBlock {
            ssrc: MEDIA,
            last_sr,
            delay_since_last_sr,
            ..Default::default()
        };
        t.hear(&rr(&[block])).report.unwrap().rtt
    };
    let sr = ntp::middle(info.ntp);
    assert_eq!(rtt(0, 0), None);
    assert_eq!(rtt(sr, 0), None);
    assert_eq!(rtt(sr, u32::MAX), None);
    assert_eq!(rtt(sr.wrapping_add(1), 65_536), None);
    // Its clock is a little faster than ours.
    assert_eq!(rtt(sr, 65_536 + 200), Some(Duration::ZERO));
}

// covers: P-PUB-12, B-FB-03, B-FB-04
#[test]
fn pli_and_new_fir_ask_for_a_key_unit() {
    let mut t = Test::new(config());
    t.send();
    assert!(t.hear(&feedback(Feedback::Pli)).key_unit);
    for (seq, asks) in [(0, true), (0, false), (1, true), (1, false), (0, true)] {
        let heard = t.hear(&feedback(Feedback::Fir { seq }));
        assert_eq!(heard.key_unit, asks, "{seq}");
    }
    // The numbers of another reader are its own.
    let other = Report {
        ssrc: 5,
        cname: "other",
        media_ssrc: MEDIA,
        feedback: &[Feedback::Fir { seq: 0 }],
        ..Default::default()
    };
    assert!(t.hear(&other.write()).key_unit);
    // Reduced size, and of another source.
    let foreign = Report {
        media_ssrc: 77,
        feedback: &[Feedback::Pli, Feedback::Fir { seq: 9 }],
        ..other
    };
    assert!(!t.hear(&foreign.write_reduced()).key_unit);
    let ours = Report {
        media_ssrc: MEDIA,
        ..foreign
    };
    assert!(t.hear(&ours.write_reduced()).key_unit);
    let stats = t.sender.stats();
    assert_eq!((stats.pli, stats.fir, stats.malformed), (2, 7, 0));
}

// covers: P-PUB-12, H-35
#[test]
fn the_readers_whose_fir_is_remembered_are_bounded() {
    let mut t = Test::new(config());
    t.send();
    for ssrc in 0..1000 {
        let report = Report {
            ssrc,
            cname: "reader",
            media_ssrc: MEDIA,
            feedback: &[Feedback::Fir { seq: 1 }],
            ..Default::default()
        };
        assert!(t.hear(&report.write()).key_unit);
    }
    assert_eq!(t.sender.firs.len(), limits::FIR_SOURCES);
}

// covers: P-PUB-12, B-RTX-04
#[test]
fn a_nack_is_answered_with_retransmissions_once_in_a_round_trip() {
    let mut t = Test::new(config());
    for _ in 0..5 {
        t.send();
    }
    let heard = t.hear(&feedback(Feedback::Nack(vec![101, 104, 300])));
    let numbers: Vec<_> = heard
        .retransmissions
        .iter()
        .map(|data| RtpPacket::parse(data).unwrap().payload[1])
        .collect();
    assert_eq!(numbers, [101, 104]);
    let again = t.hear(&feedback(Feedback::Nack(vec![101])));
    assert!(again.retransmissions.is_empty());
    let stats = t.sender.stats();
    assert_eq!((stats.nacked, stats.retransmitted), (4, 2));
    assert_eq!(
        (stats.not_retransmitted, stats.retransmitted_bytes),
        (2, 38)
    );
    assert_eq!(stats.packets, 5);
    t.now += 501 * MS;
    let late = t.hear(&feedback(Feedback::Nack(vec![104])));
    assert!(late.retransmissions.is_empty());
}

// covers: P-PUB-12, B-RTX-05
#[test]
fn without_retransmission_a_nack_is_counted_only() {
    let mut t = Test::new(Config {
        rtx: None,
        ..config()
    });
    t.send();
    let heard = t.hear(&feedback(Feedback::Nack(vec![100])));
    assert_eq!(heard, Heard::default());
    assert_eq!(t.sender.stats().not_retransmitted, 1);
}

// covers: P-PUB-12, B-FB-07, H-35
#[test]
fn unknown_packets_are_ignored_and_broken_ones_counted() {
    let mut t = Test::new(config());
    t.send();
    let head = rr(&[]);
    let media = MEDIA.to_be_bytes();
    let reader = READER.to_be_bytes();
    // REMB (PSFB 15), transport-wide feedback (RTPFB 15), XR, APP.
    for (count, kind) in [(15, 206), (15, 205), (0, 207), (0, 204)] {
        let unknown = [
            &[0x80 | count, kind, 0, 3],
            &reader[..],
            &media[..],
            b"REMB",
        ]
        .concat();
        let heard = t.hear(&[&head[..], &unknown].concat());
        assert_eq!(heard, Heard::default());
    }
    assert_eq!(t.sender.stats().malformed, 0);
    for broken in [
        &head[..head.len() - 5],
        &[0x80, 201, 0, 9],
        &[0x40, 201, 0, 0],
        &[0x80],
    ] {
        assert_eq!(t.hear(broken), Heard::default());
    }
    assert_eq!(t.sender.stats().malformed, 4);
}

// covers: B-RTCP-11
#[test]
fn our_own_echo_is_not_a_reader() {
    let mut t = Test::new(config());
    t.send();
    let own = t.poll().unwrap();
    assert_eq!(t.hear(&own), Heard::default());
    assert_eq!(t.sender.schedule.members.count(), 1);
}

// covers: B-SDP-16
#[test]
fn rs_0_disables_the_reports() {
    let mut t = Test::new(Config {
        bandwidth: Bandwidth {
            rs: Some(0),
            ..Default::default()
        },
        ..config()
    });
    t.send();
    assert_eq!(t.sender.poll_timeout(), None);
    assert!(t.run(20 * SECOND, true).is_empty());
    assert_eq!(t.bye(), None);
}

// covers: P-PUB-11
#[test]
fn over_a_reconnection_source_counters_and_clock_go_on() {
    let mut t = Test::new(config());
    t.run(10 * SECOND, true);
    t.hear(&feedback(Feedback::Nack(vec![t.next - 1])));
    let rtx_number = t.sender.history.as_ref().unwrap().sequence();
    assert!(t.bye().is_some());
    t.now += 15 * SECOND;
    t.sender.restart(config().rtx, t.now);
    assert_eq!((t.sender.poll_timeout(), t.bye()), (None, None));
    t.sender.restart(config().rtx, t.now);
    // Nothing of before is sent again.
    let asked = t.hear(&feedback(Feedback::Nack(vec![t.next - 1])));
    assert!(asked.retransmissions.is_empty());
    t.send();
    let data = t.poll().expect("at once");
    let (ssrc, info) = info_of(&data).unwrap();
    assert_eq!((ssrc, info.packets), (MEDIA, 101));
    assert_eq!(info.rtp, 25 * 90_000);
    assert_eq!(t.sender.history.as_ref().unwrap().sequence(), rtx_number);
    assert_eq!(t.sender.stats().packets, 101);
}

// covers: P-PUB-07
#[test]
fn a_second_source_beside_the_first_is_not_the_media() {
    let mut t = Test::new(config());
    for _ in 0..10 {
        t.send();
        t.send_as(0xfec);
        t.now += 100 * MS;
    }
    let (ssrc, info) = info_of(&t.poll().unwrap()).unwrap();
    assert_eq!((ssrc, info.packets), (MEDIA, 10));
    assert_eq!(t.sender.stats().packets, 20);
    // After a second of silence it is.
    t.now += SECOND;
    t.send_as(0xfec);
    assert_eq!(t.sender.stats().ssrc, Some(0xfec));
    let (ssrc, info) = info_of(&t.bye().unwrap()).unwrap();
    assert_eq!((ssrc, info.packets), (0xfec, 1));
}

// covers: B-RTCP-11
#[test]
fn readers_that_left_are_forgotten() {
    let mut t = Test::new(config());
    t.send();
    t.poll();
    t.hear(&rr(&[]));
    assert_eq!(t.sender.schedule.members.count(), 2);
    let leaves = Report {
        ssrc: READER,
        cname: "reader",
        bye: true,
        ..Default::default()
    };
    t.hear(&leaves.write());
    assert_eq!(t.sender.schedule.members.count(), 1);
    // Its end is no end of ours.
    assert!(t.sender.poll_timeout().is_some());
    t.hear(&rr(&[]));
    t.run(60 * SECOND, true);
    assert_eq!(t.sender.schedule.members.count(), 1);
}

proptest! {
    // covers: H-35
    #[test]
    fn no_panic_on_arbitrary_rtcp(
        mut data in proptest::collection::vec(any::<u8>(), 0..120),
        kind in 200_u8..208,
        count in 0_u8..32,
    ) {
        let mut t = Test::new(config());
        t.send();
        t.hear(&data);
        if let [first, second, high, low, ..] = &mut data[..] {
            (*first, *second, *high, *low) = (0x80 | count, kind, 0, 28);
        }
        data.resize(116, 7);
        t.hear(&data);
        let _ = t.poll();
        let _ = t.bye();
    }
}
