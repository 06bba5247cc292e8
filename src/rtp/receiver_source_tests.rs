//! Who is received: probation, restarts, change of source (RFC 3550 §A.1, §8.2).

use super::tests::*;
use super::*;
use crate::rtp::stats::Discarded;

#[test]
fn an_unknown_source_is_held_until_two_packets_are_in_order() {
    let mut r = receiver(Config {
        known_ssrc: None,
        ..config()
    });
    assert_eq!(feed(&mut r, 0, [65_534]), "");
    assert_eq!(feed(&mut r, 1, [65_535]), "new(1) 65534! 65535");
    // Those of before that are out of order are delivered in order.
    let mut r = receiver(Config {
        known_ssrc: None,
        ..config()
    });
    assert_eq!(feed(&mut r, 0, [101, 100]), "");
    assert_eq!(feed(&mut r, 2, [102, 103]), "new(1) 100! 101 102 103");
    // A stray one is not.
    let mut r = receiver(Config {
        known_ssrc: None,
        ..config()
    });
    assert_eq!(feed(&mut r, 0, [30_000, 5, 6]), "new(1) 5! 6");
    assert_eq!(r.reception().discarded.source, 1);
}

#[test]
fn a_sender_report_names_the_source_and_its_time() {
    let mut r = receiver(Config {
        known_ssrc: None,
        ..config()
    });
    let mut out = Vec::new();
    r.handle_rtp(rtp(10), START, &mut out);
    assert_eq!(show(&mut out), "");
    let ntp = 3_900_000_000_u64 << 32;
    r.handle_sr(1, ntp, 900, START, &mut out);
    assert_eq!(
        r.reception().last_sr,
        Some(LastSr {
            ntp,
            arrival: START
        })
    );
    let Some(Output::Packet(p)) = out.last() else {
        panic!("{out:?}")
    };
    assert_eq!(p.ntp, Some(ntp));
    out.clear();
    r.handle_rtp(rtp(11), START + MS, &mut out);
    let Some(Output::Packet(p)) = out.last() else {
        panic!("{out:?}")
    };
    assert_eq!(p.ntp, Some(ntp + (1 << 32) / 1000));
    // No time, or one of other timestamps, is not used.
    for (ntp, rtp_time) in [(0, 900), (5 << 32, 900 + 61 * 90_000)] {
        r.handle_sr(1, ntp, rtp_time, START, &mut out);
    }
    out.clear();
    r.handle_rtp(rtp(12), START + 2 * MS, &mut out);
    let Some(Output::Packet(p)) = out.last() else {
        panic!("{out:?}")
    };
    assert_eq!(p.ntp, Some(ntp + 2 * (1 << 32) / 1000));
}

#[test]
fn a_restart_is_followed_with_the_second_packet() {
    let mut r = receiver(config());
    feed(&mut r, 0, [100, 101, 103]);
    // One packet from far away changes nothing.
    assert_eq!(feed(&mut r, 3, [40_000, 104]), "");
    assert_eq!(feed(&mut r, 5, [102]), "102 103 104");
    assert_eq!(r.reception().discarded.sequence, 1);
    // Two of them do, forward …
    assert_eq!(feed(&mut r, 6, [106, 40_000]), "");
    let all = "lost(105,1) 106! resync(107,40000) jump 40000! 40001 40002";
    assert_eq!(feed(&mut r, 8, [40_001, 40_002]), all);
    // … and backward.
    assert_eq!(
        feed(&mut r, 2000, [40_003, 10, 11]),
        "40003 resync(40004,10) jump 10! 11"
    );
    let s = r.reception();
    assert_eq!(
        (s.resyncs, s.base_seq, s.highest_seq, s.received),
        (2, 10, 11, 2)
    );
    // The step at which it begins is max-dropout and max-misorder.
    let mut r = receiver(Config {
        latency: 0,
        ..config()
    });
    feed(&mut r, 0, [5000]);
    assert_eq!(feed(&mut r, 1, [8000]), "");
    assert_eq!(timeout(&mut r, 2), "lost(5001,2999) jump 8000!");
    assert_eq!(feed(&mut r, 3, [11_001]), "");
    assert_eq!(r.poll_timeout(), None);
}

#[test]
fn a_restart_a_little_further_back_is_followed_within_a_second() {
    let mut r = receiver(config());
    feed(&mut r, 0, 100..200);
    let out = feed(&mut r, 100, (150..1200).take(1000));
    assert!(
        out.contains("resync(200,1") || out.starts_with("200"),
        "{out}"
    );
    // Slower: 20 packets a second, 60 behind.
    let mut r = receiver(config());
    feed(&mut r, 0, 100..200);
    let mut out = Vec::new();
    for i in 0..20_u16 {
        r.handle_rtp(
            rtp(140 + i),
            START + (150 + u64::from(i) * 50) * MS,
            &mut out,
        );
    }
    let out = show(&mut out);
    assert!(out.starts_with("resync(200,1"), "{out}");
}

#[test]
fn a_burst_of_late_packets_is_no_restart() {
    // 500 packets took a path that is 150 ms longer than the latency.
    let mut r = receiver(Config {
        latency: 50 * MS,
        ..config()
    });
    feed(&mut r, 0, 0..1000);
    feed(&mut r, 1500, 1500..1600);
    timeout(&mut r, 1560);
    feed(&mut r, 1600, 1600..1700);
    assert_eq!(feed(&mut r, 1700, 1000..1400), "");
    let s = r.reception();
    assert_eq!((s.late, s.lost, s.resyncs), (400, 500, 0));
    assert_eq!(feed(&mut r, 2200, [1700]), "1700");
}

#[test]
fn a_long_outage_is_a_loss_and_a_restart_of_the_sender_is_none() {
    // 5 s of a sender that went on.
    let mut r = receiver(config());
    feed(&mut r, 0, 0..100);
    feed(&mut r, 5100, [5100, 5101]);
    let s = r.reception();
    assert_eq!((s.lost, s.resyncs), (5000, 1));
    // The same numbers at once are another sequence.
    let mut r = receiver(config());
    feed(&mut r, 0, 0..100);
    feed(&mut r, 100, [5100, 5101]);
    let s = r.reception();
    assert_eq!((s.lost, s.resyncs), (0, 1));
}

#[test]
fn a_source_that_takes_over_from_many_keeps_what_was_held() {
    let mut r = receiver(Config {
        known_ssrc: None,
        ..config()
    });
    feed(&mut r, 0, 0..10);
    let mut out = Vec::new();
    // As many as there are places, and the one that goes on alone.
    for ssrc in 100..131 {
        r.handle_rtp(rtp_of(ssrc, 7), START + 20 * MS, &mut out);
    }
    for seq in 8..12 {
        r.handle_rtp(rtp_of(100, seq), START + 21 * MS, &mut out);
    }
    assert_eq!(show(&mut out), "");
    r.handle_timeout(START + 1500 * MS, &mut out);
    assert!(show(&mut out).starts_with("new(100)"));
}

#[test]
fn a_damaged_sequence_number_costs_its_packet_alone() {
    // One of 100 a second is damaged, by bits 3 to 11; the others come 1 ms apart.
    for bit in 3..12 {
        let mut r = receiver(config());
        let mut out = String::new();
        for seq in 0..2000_u16 {
            let at = u64::from(seq);
            out += &timeout(&mut r, at);
            out += &match seq {
                1000 => feed(&mut r, at, [seq ^ 1 << bit]),
                _ => feed(&mut r, at, [seq]),
            };
        }
        timeout(&mut r, 2300);
        let s = r.reception();
        let ahead = (1000 ^ 1 << bit) > 1000;
        // Where it is close the sequence reaches it before it is given up; then the real
        // packet of its number is a duplicate.
        let (late, twice, bad) = (s.late, s.duplicates, s.discarded.sequence);
        assert_eq!((s.lost, s.resyncs), (1, 0), "{bit}: {out}");
        assert_eq!(late + twice + bad, 1, "{bit}: {late} {twice} {bad}");
        assert_eq!(bad > 0, ahead && bit > 7, "{bit}");
        assert_eq!(s.highest_seq as u16, 1999, "{bit}");
    }
}

#[test]
fn a_packet_before_a_pause_is_not_taken_for_damaged() {
    // 14 came early, 13 is lost, and the sender pauses.
    let mut r = receiver(config());
    assert_eq!(feed(&mut r, 0, [10, 11]), "new(1) 10! 11");
    assert_eq!(feed(&mut r, 2, [14]), "");
    assert_eq!(feed(&mut r, 4, [12]), "12");
    assert_eq!(timeout(&mut r, 300), "lost(13,1) 14!");
}

#[test]
fn a_sequence_that_jumps_with_each_packet_is_bounded() {
    let mut r = receiver(config());
    let mut out = Vec::new();
    for i in 0..1000_u16 {
        r.handle_rtp(
            rtp(i.wrapping_mul(12_345)),
            START + u64::from(i) * MS,
            &mut out,
        );
    }
    let s = r.reception();
    assert!(s.discarded.sequence > 500 && s.resyncs == 0, "{s:?}");
    assert!(s.highest_seq < 65_536);
    // What happens to lie within a gap waits no longer than the latency.
    timeout(&mut r, 1200);
    assert_eq!(r.poll_timeout(), None);
}

#[test]
fn another_source_takes_over_after_silence() {
    let mut r = receiver(config());
    feed(&mut r, 0, 0..10);
    let mut out = Vec::new();
    for i in 0..300_u16 {
        r.handle_rtp(
            rtp_of(2, 500 + i),
            START + (10 + 3 * u64::from(i)) * MS,
            &mut out,
        );
    }
    assert_eq!(show(&mut out), "");
    assert_eq!(next_timeout(&r), Some(1009.0));
    r.handle_timeout(START + 1008 * MS, &mut out);
    assert_eq!(show(&mut out), "");
    r.handle_timeout(START + 1009 * MS, &mut out);
    assert_eq!(show(&mut out), format!("new(2) 500! {}", join(501..800)));
    assert_eq!(r.reception().ssrc, Some(2));
    assert_eq!(r.poll_timeout(), None);
    // The old one has to wait in turn.
    assert_eq!(feed(&mut r, 1010, [10, 11]), "");
    assert_eq!(r.reception().discarded, Discarded::default());
}

#[test]
fn another_source_takes_over_at_once_after_bye_or_when_named() {
    let mut r = receiver(config());
    let mut out = Vec::new();
    feed(&mut r, 0, [1]);
    r.handle_rtp(rtp_of(2, 7), START + MS, &mut out);
    r.handle_rtp(rtp_of(2, 8), START + 2 * MS, &mut out);
    r.handle_bye(1, START + 3 * MS, &mut out);
    assert_eq!(show(&mut out), "bye(1) new(2) 7! 8");
    r.handle_sr(3, 1 << 32, 0, START + 4 * MS, &mut out);
    assert_eq!(show(&mut out), "");
    r.handle_rtp(rtp_of(3, 50), START + 5 * MS, &mut out);
    assert_eq!(show(&mut out), "new(3) 50!");
    // Two that both report do not take turns.
    for i in 0..100 {
        let now = START + (6 + 2 * u64::from(i)) * MS;
        r.handle_sr(2, 1 << 32, 0, now, &mut out);
        r.handle_rtp(rtp_of(2, 9 + i), now, &mut out);
        r.handle_rtp(rtp_of(3, 51 + i), now + MS, &mut out);
    }
    assert_eq!(show(&mut out), join(51..151));
}

#[test]
fn many_sources_do_not_disturb_the_active_one() {
    let mut r = receiver(config());
    feed(&mut r, 0, [0]);
    let mut out = Vec::new();
    for i in 1..2000_u16 {
        let now = START + u64::from(i) * MS;
        r.handle_rtp(rtp_of(0x1000 + u32::from(i), i), now, &mut out);
        r.handle_rtp(rtp(i), now, &mut out);
    }
    assert_eq!(show(&mut out), join(1..2000));
}
