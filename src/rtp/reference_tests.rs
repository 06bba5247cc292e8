//! Presentation times that follow a clock of sender and receiver.

use super::*;
use crate::rtp::receiver::Receiver;
use crate::rtp::{Config, Event, Output};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
/// Pipeline-clock time of the start; the shared clock shows `EPOCH` then.
const START: u64 = 500 * SECOND;
const EPOCH: u64 = 3_900_000_000 << 32;
const RATE: u32 = 90_000;

/// A sender at 25 fps whose frames arrive `delay` after they were captured.
struct Sender {
    receiver: Receiver<Vec<u8>>,
    frame: u64,
    delay: fn(u64) -> u64,
    /// What the sender's clock is ahead of the receiver's.
    ahead: i64,
    extension: bool,
    refused: Vec<i64>,
}

/// What became of a frame.
struct Shown {
    /// Presentation less capture time.
    after: i64,
    discont: bool,
    ntp: Option<u64>,
    capture: u64,
}

impl Sender {
    fn new(delay: fn(u64) -> u64) -> Self {
        let config = Config {
            payload_types: vec![96],
            known_ssrc: Some(1),
            ..Config::default()
        };
        Self {
            receiver: Receiver::new(config),
            frame: 0,
            delay,
            ahead: 0,
            extension: false,
            refused: Vec::new(),
        }
    }

    /// As `ntp-sync` does: the receiver's clock at the time of the last frame.
    fn follow(&mut self) {
        self.receiver
            .set_reference(Some(self.reference(3 * SECOND)));
    }

    fn reference(&self, max_offset: u64) -> Reference {
        let clock = START + self.capture();
        Reference {
            timing: Timing::Ntp,
            clock,
            time: EPOCH + ntp::from_nanos(self.capture()),
            by_reports: true,
            direct: None,
            max_offset,
        }
    }

    fn capture(&self) -> u64 {
        self.frame * 40 * MS
    }

    fn rtp(&self) -> u32 {
        (self.capture() * 9 / 100_000) as u32
    }

    fn ntp(&self) -> u64 {
        let sent = self.capture().cast_signed() + self.ahead;
        EPOCH + ntp::from_nanos(sent.max(0).cast_unsigned())
    }

    fn report(&mut self) {
        let (ntp, rtp) = (self.ntp(), self.rtp());
        let now = START + self.capture();
        self.receiver.handle_sr(1, ntp, rtp, now, &mut Vec::new());
    }

    fn frames(&mut self, count: u64) -> Vec<Shown> {
        (0..count).filter_map(|_| self.next()).collect()
    }

    fn next(&mut self) -> Option<Shown> {
        let mut packet = vec![0x80, 96];
        packet.extend((self.frame as u16).to_be_bytes());
        packet.extend(self.rtp().to_be_bytes());
        packet.extend(1_u32.to_be_bytes());
        if self.extension {
            packet[0] |= 0x10;
            packet.extend([0xab, 0xac, 0, 3]);
            packet.extend(self.ntp().to_be_bytes());
            packet.extend([0; 4]);
        }
        packet.push(b'x');
        let capture = self.capture();
        let arrival = START + capture + (self.delay)(capture);
        let mut out = Vec::new();
        self.receiver.handle_rtp(packet, arrival, &mut out);
        self.frame += 1;
        let mut shown = None;
        for output in out {
            match output {
                Output::Packet(p) => {
                    let after = p.pts.cast_signed() - (START + capture).cast_signed();
                    shown = Some(Shown {
                        after,
                        discont: p.discont,
                        ntp: p.ntp,
                        capture,
                    });
                }
                Output::Event(Event::ReferenceRefused { ns }) => self.refused.push(ns),
                _ => {}
            }
        }
        shown
    }

    fn timing(&self) -> Timing {
        self.receiver.reception().timing
    }
}

fn worst(shown: &[Shown]) -> i64 {
    let off = shown.iter().map(|frame| frame.after.abs());
    off.max().expect("frames")
}

/// One timestamp of 90 kHz, and the rounding of NTP.
const EXACT: i64 = 12_000;

#[test]
fn times_are_the_senders_own_whatever_the_path_does() {
    // The path is 80 ms long, with jitter of 30 ms, and becomes 400 ms longer.
    let delay = |t: u64| {
        let jitter = (t / MS * 7_919) % 30 * MS;
        let longer = if t > 60 * SECOND { 400 * MS } else { 0 };
        80 * MS + jitter + longer
    };
    let mut sender = Sender::new(delay);
    let before = sender.frames(50);
    assert!(before.iter().all(|frame| frame.after >= 80 * MS as i64));
    assert_eq!(sender.timing(), Timing::Arrival);
    sender.follow();
    sender.report();
    let shown = sender.frames(75);
    let mut last = i64::MIN;
    for frame in &shown {
        let pts = frame.after + frame.capture.cast_signed();
        assert!(pts > last, "two frames have one time");
        last = pts;
    }
    assert!(worst(&shown[10..]) <= EXACT, "{}", worst(&shown[10..]));
    assert_eq!(sender.timing(), Timing::Ntp);
    for _ in 0..20 {
        sender.follow();
        sender.report();
        let shown = sender.frames(125);
        assert!(worst(&shown) <= EXACT, "{}", worst(&shown));
        assert!(shown.iter().all(|frame| !frame.discont));
    }
    assert!(sender.refused.is_empty());
}

#[test]
fn a_reference_that_is_known_before_the_first_packet_holds_from_it_on() {
    let mut sender = Sender::new(|_| 150 * MS);
    sender.extension = true;
    sender.follow();
    let shown = sender.frames(50);
    assert!(worst(&shown) <= EXACT, "{}", worst(&shown));
    // Each packet says when it was captured (ONVIF Streaming §6.3).
    for frame in &shown {
        let ntp = frame.ntp.expect("the time of the extension");
        let expected = EPOCH + ntp::from_nanos(frame.capture);
        assert_eq!(ntp, expected);
    }
}

// covers: C-CLK-03
#[test]
fn a_clock_that_is_wrong_is_not_followed_and_said_so_once() {
    let mut sender = Sender::new(|_| 50 * MS);
    sender.ahead = 3600 * SECOND as i64;
    sender.follow();
    for _ in 0..5 {
        sender.report();
        let shown = sender.frames(50);
        assert!(shown.iter().all(|f| f.after == 50 * MS as i64));
    }
    assert_eq!(sender.refused.len(), 1);
    assert_eq!(sender.timing(), Timing::Arrival);
    // It is set right, and then wrong again.
    sender.ahead = 0;
    sender.report();
    assert!(worst(&sender.frames(50)[10..]) <= EXACT);
    sender.ahead = -3600 * SECOND as i64;
    sender.report();
    let shown = sender.frames(50);
    assert!(
        shown
            .iter()
            .all(|f| (f.after - 50 * MS as i64).abs() <= EXACT)
    );
    assert_eq!(sender.refused.len(), 2);
}

#[test]
fn without_a_limit_any_clock_is_followed() {
    let mut sender = Sender::new(|_| 50 * MS);
    sender.ahead = 3600 * SECOND as i64;
    sender.receiver.set_reference(Some(sender.reference(0)));
    sender.report();
    let shown = sender.frames(10);
    assert!(
        shown
            .iter()
            .all(|f| (f.after - sender.ahead).abs() <= EXACT)
    );
}

#[test]
fn reports_that_are_a_little_off_are_followed_slowly() {
    let mut sender = Sender::new(|_| 50 * MS);
    sender.extension = true;
    sender.follow();
    sender.frames(100);
    sender.extension = false;
    // 20 ms off: 1 % of the media time, so two seconds.
    sender.ahead = 20 * MS as i64;
    sender.report();
    let shown = sender.frames(100);
    assert!(
        shown
            .windows(2)
            .all(|w| (w[1].after - w[0].after).abs() <= 401_000)
    );
    assert!((shown[99].after - sender.ahead).abs() <= EXACT);
}

#[test]
fn what_is_switched_off_ends_without_a_step_back() {
    let mut sender = Sender::new(|_| 120 * MS);
    sender.extension = true;
    sender.follow();
    sender.frames(100);
    sender.receiver.set_reference(None);
    let shown = sender.frames(100);
    assert!(shown.iter().all(|f| f.after == 120 * MS as i64));
    assert_eq!(shown.iter().filter(|f| f.discont).count(), 1);
    assert_eq!(sender.timing(), Timing::Arrival);
}

/// RTP derived from a clock of RFC 7273 §5.2.
fn direct(sender: &Sender) -> Reference {
    Reference {
        timing: Timing::Rfc7273,
        by_reports: false,
        direct: Some(DirectClock {
            // What makes timestamp 0 the moment EPOCH.
            offset: Some(
                0_u32.wrapping_sub(
                    DirectClock {
                        offset: Some(0),
                        rate: (1, 1),
                    }
                    .rtp_at(ntp::to_nanos(EPOCH), RATE)
                    .expect("an offset"),
                ),
            ),
            rate: (1, 1),
        }),
        ..sender.reference(3 * SECOND)
    }
}

// covers: B-CLK-02
#[test]
fn a_clock_of_the_description_gives_times_without_a_report() {
    let mut sender = Sender::new(|_| 70 * MS);
    for second in 0..30 {
        let reference = direct(&sender);
        sender.receiver.set_reference(Some(reference));
        let shown = sender.frames(25);
        assert!(worst(&shown) <= 2 * EXACT, "{second}: {}", worst(&shown));
        for frame in &shown {
            let expected = EPOCH + ntp::from_nanos(frame.capture);
            let off = ntp::span(expected, frame.ntp.expect("a time"));
            assert!(off.abs() <= 2 * EXACT, "{off}");
        }
    }
    assert_eq!(sender.timing(), Timing::Rfc7273);
}

// covers: B-CLK-02
#[test]
fn what_the_sender_reports_wins_over_the_offset_of_the_description() {
    let mut sender = Sender::new(|_| 70 * MS);
    let reference = Reference {
        by_reports: true,
        ..direct(&sender)
    };
    sender.receiver.set_reference(Some(reference));
    sender.ahead = 30 * MS as i64;
    sender.report();
    let shown = sender.frames(50);
    assert!(
        shown
            .iter()
            .all(|f| (f.after - sender.ahead).abs() <= 2 * EXACT)
    );
}

#[test]
fn two_streams_of_two_senders_are_shown_as_they_were_captured() {
    let mut near = Sender::new(|_| 5 * MS);
    let mut far = Sender::new(|t| 200 * MS + t / MS % 50 * MS);
    for sender in [&mut near, &mut far] {
        sender.frames(30);
        sender.follow();
        sender.report();
        sender.frames(100);
    }
    let pairs = near.frames(500).into_iter().zip(far.frames(500));
    let apart = pairs.map(|(a, b)| (a.after - b.after).abs()).max();
    assert!(apart.expect("frames") <= 5 * MS as i64, "{apart:?}");
}

#[test]
fn a_reference_is_followed_for_a_day() {
    // RTP time at 90 kHz wraps every 13 h 15 min, and is nearer to the start the other
    // way round after half of that.
    let mut sender = Sender::new(|_| 20 * MS);
    for second in 0..26 * 3600 {
        sender.frame = second * 25;
        // Sequence numbers follow the frames; only their first of each second comes.
        sender.report();
        sender.follow();
        let shown = sender.frames(2);
        assert!(sender.refused.is_empty(), "{second}: {:?}", sender.refused);
        for frame in shown {
            assert!(
                frame.after.abs() <= 20 * MS as i64,
                "{second}: {}",
                frame.after
            );
        }
        sender
            .receiver
            .handle_timeout(START + sender.capture() + SECOND / 2, &mut Vec::new());
    }
    assert_eq!(sender.receiver.reception().timing, Timing::Ntp);
}
