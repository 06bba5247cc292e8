use proptest::prelude::*;

use super::*;
use crate::rtp::stats::Discarded;

pub(super) const MS: Nanos = 1_000_000;
pub(super) const START: Nanos = 50 * SECOND;

pub(super) type Packet = Vec<u8>;

/// A packet of payload type 96; the timestamp grows by 90 (1 ms) with each
/// sequence number.
pub(super) fn rtp_of(ssrc: u32, seq: u16) -> Packet {
    packet(ssrc, 96, seq, u32::from(seq).wrapping_mul(90))
}

pub(super) fn rtp(seq: u16) -> Packet {
    rtp_of(1, seq)
}

pub(super) fn packet(ssrc: u32, pt: u8, seq: u16, timestamp: u32) -> Packet {
    let mut p = vec![0x80, pt];
    p.extend(seq.to_be_bytes());
    p.extend(timestamp.to_be_bytes());
    p.extend(ssrc.to_be_bytes());
    p.push(b'x');
    p
}

pub(super) fn config() -> Config {
    Config {
        payload_types: vec![96],
        known_ssrc: Some(1),
        ..Config::default()
    }
}

pub(super) fn receiver(config: Config) -> Receiver<Packet> {
    Receiver::new(config)
}

/// One line for what came out.
pub(super) fn show(out: &mut Vec<Output<Packet>>) -> String {
    let line = |o: Output<Packet>| match o {
        Output::Packet(p) => format!("{}{}", p.ext_seq as u16, if p.discont { "!" } else { "" }),
        Output::Lost(l) => format!("lost({},{})", l.seq, l.count),
        Output::Event(Event::NewSource { ssrc }) => format!("new({ssrc})"),
        Output::Event(Event::Bye { ssrc }) => format!("bye({ssrc})"),
        Output::Event(Event::Resync { expected, seq }) => format!("resync({expected},{seq})"),
        Output::Event(Event::TimestampJump { .. }) => "jump".into(),
        Output::Event(Event::ReferenceRefused { ns }) => format!("refused({ns})"),
        Output::Event(Event::Nack { ssrc, seqs }) => format!("nack({ssrc},{seqs:?})"),
    };
    out.drain(..).map(line).collect::<Vec<_>>().join(" ")
}

/// Feeds sequence numbers, 1 ms apart from `at` on.
pub(super) fn feed(
    r: &mut Receiver<Packet>,
    at: Nanos,
    seqs: impl IntoIterator<Item = u16>,
) -> String {
    let mut out = Vec::new();
    for (i, seq) in seqs.into_iter().enumerate() {
        r.handle_rtp(rtp(seq), START + (at + i as u64) * MS, &mut out);
    }
    show(&mut out)
}

pub(super) fn timeout(r: &mut Receiver<Packet>, at: Nanos) -> String {
    let mut out = Vec::new();
    r.handle_timeout(START + at * MS, &mut out);
    show(&mut out)
}

pub(super) fn next_timeout(r: &Receiver<Packet>) -> Option<f64> {
    r.poll_timeout()
        .map(|t| (t as f64 - START as f64) / MS as f64)
}

pub(super) fn join(seqs: impl IntoIterator<Item = u16>) -> String {
    seqs.into_iter()
        .map(|s| s.to_string())
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn packets_in_order_leave_at_once() {
    let mut r = receiver(config());
    assert_eq!(feed(&mut r, 0, [7, 8, 9]), "new(1) 7! 8 9");
    assert_eq!(r.poll_timeout(), None);
    let s = r.reception();
    assert_eq!((s.ssrc, s.packets, s.bytes, s.lost), (Some(1), 3, 39, 0));
    assert_eq!((s.base_seq, s.highest_seq, s.received), (7, 9, 3));
    assert_eq!(s.last_arrival, Some(START + 2 * MS));
}

// covers: B-RTCP-02
#[test]
fn a_gap_waits_for_the_missing_packet() {
    let mut r = receiver(config());
    feed(&mut r, 0, [1, 2]);
    assert_eq!(feed(&mut r, 2, [5, 4]), "");
    assert_eq!(feed(&mut r, 4, [3]), "3 4 5");
    assert_eq!(r.poll_timeout(), None);
    let s = r.reception();
    assert_eq!((s.reordered, s.lost, s.late), (2, 0, 0));
    assert_eq!((s.expected(), s.cumulative_lost()), (5, 0));
}

// covers: B-RTCP-02, B-RTCP-08
#[test]
fn a_gap_waits_at_most_the_latency() {
    let mut r = receiver(config());
    feed(&mut r, 0, [1, 2]);
    // 5 is 1 ms early: by its timestamp it is due at 4 ms.
    assert_eq!(feed(&mut r, 3, [5, 6]), "");
    let due = next_timeout(&r).unwrap();
    assert!((202.0..=203.0).contains(&due), "{due}");
    assert_eq!(timeout(&mut r, 202), "");
    assert_eq!(timeout(&mut r, 203), "lost(3,2) 5! 6");
    assert_eq!(feed(&mut r, 210, [3, 6, 4]), "");
    let s = r.reception();
    assert_eq!((s.lost, s.late, s.duplicates), (2, 2, 1));
    // Late and duplicate packets count as received (RFC 3550 §6.4.1).
    assert_eq!((s.expected(), s.received, s.cumulative_lost()), (6, 7, -1));
    // Of two gaps the second has its own time.
    assert_eq!(feed(&mut r, 300, [8]), "");
    assert_eq!(feed(&mut r, 350, [10]), "");
    let first = r.poll_timeout().unwrap();
    let mut out = Vec::new();
    r.handle_timeout(first, &mut out);
    assert_eq!(show(&mut out), "lost(7,1) 8!");
    assert!(r.poll_timeout().unwrap() > first);
    r.set_latency(0);
    assert!(r.poll_timeout().unwrap() <= first);
}

#[test]
fn what_is_lost_has_the_times_in_between() {
    let mut r = receiver(config());
    feed(&mut r, 0, [10, 11]);
    feed(&mut r, 5, [15]);
    let mut out = Vec::new();
    r.flush(&mut out);
    let [Output::Lost(lost), Output::Packet(p)] = out.as_slice() else {
        panic!("{out:?}");
    };
    assert_eq!((lost.seq, lost.count), (12, 3));
    assert_eq!((lost.pts, lost.duration), (START + 2 * MS, 3 * MS));
    assert_eq!(p.pts, START + 5 * MS);
}

#[test]
fn a_packet_that_is_late_already_is_not_waited_for_longer() {
    let mut r = receiver(config());
    feed(&mut r, 0, 0..100);
    // 150 ms late: half of the latency is left of the wait.
    feed(&mut r, 251, [101]);
    assert_eq!(next_timeout(&r), Some(351.0));
}

#[test]
fn over_a_reliable_transport_nothing_waits() {
    let mut r = receiver(Config {
        reliable: true,
        known_ssrc: None,
        ..config()
    });
    assert_eq!(feed(&mut r, 0, [5, 6, 9]), "new(1) 5! 6 lost(7,2) 9!");
    assert_eq!(r.poll_timeout(), None);
    assert_eq!(feed(&mut r, 3, [7, 9, 10]), "10");
    // No server loses so many packets.
    assert_eq!(
        feed(&mut r, 6, [20_000, 20_001]),
        "resync(11,20000) jump 20000! 20001"
    );
}

// covers: B-RTCP-08
#[test]
fn sequence_and_timestamp_wrap() {
    let mut r = receiver(config());
    let mut out = Vec::new();
    for i in 0..100_u16 {
        let seq = 65_500_u16.wrapping_add(i);
        let ts = (u32::MAX - 4_000).wrapping_add(u32::from(i) * 90);
        r.handle_rtp(packet(1, 96, seq, ts), START + u64::from(i) * MS, &mut out);
    }
    let packets: Vec<_> = out
        .iter()
        .filter_map(|o| {
            if let Output::Packet(p) = o {
                Some(p)
            } else {
                None
            }
        })
        .collect();
    assert_eq!(packets.len(), 100);
    for (i, p) in packets.iter().enumerate() {
        assert_eq!(p.pts, START + i as u64 * MS);
        assert_eq!(p.ext_seq, packets[0].ext_seq + i as u64);
        assert_eq!(p.ext_rtp, packets[0].ext_rtp + i as u64 * 90);
    }
    let s = r.reception();
    assert_eq!(
        (s.base_seq, s.highest_seq, s.expected()),
        (65_500, 65_599, 100)
    );
}

// covers: B-RTCP-01, H-34
#[test]
fn what_is_no_packet_of_the_stream_is_dropped_and_counted() {
    let mut r = receiver(config());
    let mut out = Vec::new();
    for data in [vec![], vec![0x80; 11], vec![0x40; 20], vec![0x8f, 96, 0, 1]] {
        r.handle_rtp(data, START, &mut out);
    }
    r.handle_rtp(packet(1, 97, 1, 0), START, &mut out);
    assert_eq!(show(&mut out), "");
    let discarded = Discarded {
        invalid: 4,
        payload_type: 1,
        ..Default::default()
    };
    assert_eq!(
        r.reception(),
        Reception {
            discarded,
            ..Default::default()
        }
    );
    let mut any = receiver(Config {
        payload_types: vec![],
        ..config()
    });
    any.handle_rtp(packet(1, 127, 1, 0), START, &mut out);
    assert_eq!(show(&mut out), "new(1) 1!");
}

// covers: B-RTCP-02
// covers: B-RTCP-02
// covers: B-RTCP-02
// covers: B-RTCP-02
// covers: B-RTCP-02
// covers: H-34
// covers: B-RTCP-02
// covers: B-RTCP-02
// covers: H-34
#[test]
fn more_than_half_the_sequence_space_waits_for_one_packet() {
    // 2 s of 20,000 packets a second behind one that is missing.
    let mut r = receiver(Config {
        latency: 2 * SECOND,
        ..config()
    });
    let mut out = Vec::new();
    let feed = |r: &mut Receiver<Packet>, i: u32, late: u64, out: &mut Vec<_>| {
        let p = packet(1, 96, i as u16, i / 20 * 90);
        r.handle_rtp(p, START + u64::from(i) * 50_000 + late, out);
    };
    for i in (0..39_000).filter(|i| *i != 100) {
        feed(&mut r, i, 0, &mut out);
    }
    assert_eq!(out.len(), 101);
    feed(&mut r, 100, 39_000 * 50_000, &mut out);
    assert_eq!(out.len(), 39_001);
    let s = r.reception();
    assert_eq!((s.lost, s.reordered, s.resyncs), (0, 1, 0));
    assert_eq!(s.discarded, Discarded::default());
}

#[test]
fn times_go_on_over_reset_and_the_source_need_not_prove_itself() {
    let mut r = receiver(Config {
        known_ssrc: None,
        ..config()
    });
    feed(&mut r, 0, [1, 2, 4]);
    r.reset(START + 5 * MS);
    assert_eq!(r.reception().discarded.flushed, 1);
    assert_eq!(r.poll_timeout(), None);
    let mut out = Vec::new();
    r.handle_rtp(packet(1, 96, 9000, 77), START + 9 * MS, &mut out);
    let Some(Output::Packet(p)) = out.last() else {
        panic!("{out:?}")
    };
    assert_eq!((p.pts, p.discont), (START + 9 * MS, true));
}

// covers: C-PLAY-06, C-RTPI-07
#[test]
fn packets_of_the_old_position_are_dropped_after_a_seek() {
    let anchor = |seq| Anchor {
        seq: Some(seq),
        rtptime: None,
        pts: 0,
        after_seek: true,
    };
    let mut r = receiver(config());
    feed(&mut r, 0, [90, 91]);
    r.reset(START + 2 * MS);
    r.set_anchor(anchor(100));
    assert_eq!(feed(&mut r, 3, [92, 93, 100, 99, 101]), "new(1) 100! 101");
    let s = r.reception();
    assert_eq!((s.discarded.flushed, s.late), (2, 1));
    // Bogus values, and a start that is no seek, drop nothing.
    for (seq, after_seek) in [
        (0, true),
        (1, true),
        (40_000, true),
        (200, false),
        (3092, true),
    ] {
        let mut r = receiver(config());
        r.set_anchor(Anchor {
            after_seek,
            ..anchor(seq)
        });
        assert_eq!(feed(&mut r, 0, [91, 92]), "new(1) 91! 92", "{seq}");
    }
    // Nor does one that does not come, for long.
    let mut r = receiver(config());
    r.set_anchor(anchor(3000));
    assert_eq!(feed(&mut r, 0, 0..1002), "new(1) 1000! 1001");
}

// covers: C-RTPI-06
#[test]
fn stored_media_has_the_times_of_its_timestamps() {
    let mut r = receiver(Config {
        live: false,
        reliable: true,
        ..config()
    });
    let pts = 30 * SECOND;
    r.set_anchor(Anchor {
        seq: None,
        rtptime: Some(450),
        pts,
        after_seek: false,
    });
    let mut out = Vec::new();
    for i in 0..100_u16 {
        r.handle_rtp(rtp(10 + i), START, &mut out);
    }
    let times = out.iter().filter_map(|o| {
        if let Output::Packet(p) = o {
            Some(p.pts)
        } else {
            None
        }
    });
    assert!(times.eq((0..100).map(|i| pts + (5 + i) * MS)));
    assert_eq!(r.confirmed_anchor().map(|a| a as u32), Some(450));
}

#[test]
fn missing_packets_are_asked_for_and_repaired() {
    let mut r = receiver(Config {
        nack: true,
        ..config()
    });
    assert_eq!(feed(&mut r, 0, [1, 3, 4, 5]), "new(1) 1!");
    assert!(r.poll_timeout().unwrap() <= START + 3 * MS);
    assert_eq!(timeout(&mut r, 3), "nack(1,[2])");
    assert_eq!((r.requested(2), r.requested(3)), (Some(1), None));
    let mut out = Vec::new();
    let jitter = r.reception().jitter;
    r.handle_retransmission(rtp(2), START + 50 * MS, &mut out);
    assert_eq!(show(&mut out), "2 3 4 5");
    let s = r.reception();
    assert_eq!(
        (s.retransmitted, s.received, s.lost, s.jitter),
        (1, 4, 0, jitter)
    );
    assert_eq!((r.poll_timeout(), r.requested(2)), (None, None));
}

proptest! {
    // covers: H-34
    #[test]
    fn arbitrary_packets_do_not_panic_and_come_out_in_order(
        packets in prop::collection::vec(
            (0_u32..3, any::<u16>(), 0_u16..200, any::<u32>(), 0_u64..400, any::<bool>()),
            0..300,
        ),
        reliable in any::<bool>(), live in any::<bool>(),
    ) {
        let config = Config { reliable, live, nack: true, known_ssrc: None, ..config() };
        let mut r = receiver(config);
        let mut out = Vec::new();
        let mut now = START;
        for (ssrc, wild, seq, ts, wait, far) in packets {
            now += wait * MS;
            if let Some(due) = r.poll_timeout().filter(|due| *due <= now) {
                r.handle_timeout(due.max(START), &mut out);
            }
            r.handle_rtp(packet(ssrc, 96, if far { wild } else { seq }, ts), now, &mut out);
            match wild % 50 {
                0 => r.handle_bye(ssrc, now, &mut out),
                1 => r.handle_sr(ssrc, u64::from(ts) << 20, ts, now, &mut out),
                2 => r.reset(now),
                3 => r.set_anchor(Anchor {
                    seq: Some(seq), rtptime: Some(ts), pts: wait, after_seek: true,
                }),
                _ => (),
            }
        }
        r.flush(&mut out);
        let mut last = None;
        for o in out {
            match o {
                Output::Packet(p) => {
                    prop_assert!(last < Some(p.ext_seq));
                    last = Some(p.ext_seq);
                }
                // After a reset the numbers start anew.
                Output::Event(Event::NewSource { .. }) => last = None,
                _ => (),
            }
        }
    }

    /// Losses and order are those of the input, however packets are delayed
    /// within the latency.
    #[test]
    fn delays_within_the_latency_change_nothing(
        delays in prop::collection::vec(prop::option::weighted(0.9, 0_u64..190), 2..300),
    ) {
        let mut r = receiver(config());
        let mut out = Vec::new();
        r.handle_rtp(rtp(999), START, &mut out);
        let mut arrivals: Vec<_> = delays
            .iter()
            .enumerate()
            .filter_map(|(i, d)| d.map(|d| ((i as u64 + d) * MS, 1000 + i as u16)))
            .collect();
        arrivals.sort();
        let received = arrivals.len();
        for (at, seq) in arrivals {
            while let Some(due) = r.poll_timeout().filter(|due| *due <= START + at) {
                r.handle_timeout(due, &mut out);
            }
            r.handle_rtp(rtp(seq), START + at, &mut out);
        }
        r.flush(&mut out);
        let packets = out.iter().filter(|o| matches!(o, Output::Packet(_))).count();
        prop_assert_eq!(packets, received + 1);
        prop_assert_eq!(r.reception().late, 0);
        let lost: u32 =
            out.iter().map(|o| if let Output::Lost(l) = o { l.count } else { 0 }).sum();
        let end = delays.iter().rposition(Option::is_some).map_or(0, |i| i + 1);
        prop_assert_eq!(lost as usize, end - received);
    }
}
