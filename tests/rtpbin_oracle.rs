//! The same packets at the same arrival times through GStreamer's `rtpbin` and
//! through `rtp::Receiver`: order and losses must be equal, presentation times
//! within 5 ms after 10 s. Time is that of a test clock; none passes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gstrtsp2::rtp::sync::{SyncEvent, Synchronizer};
use gstrtsp2::rtp::{Config, Lost, Output, Packet, Receiver, SyncMode};

#[path = "rtpbin_oracle/rtpbin.rs"]
mod rtpbin;
#[path = "support/skip.rs"]
mod skip;

use rtpbin::Rtpbin;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
const LATENCY: u64 = 200 * MS;
/// The first packet of a trace arrives at this running time or later.
const START: u64 = SECOND;

// ---------------------------------------------------------------- traces

/// One packet on its way.
#[derive(Debug, Clone)]
struct Sent {
    arrival: u64,
    ssrc: u32,
    seq: u16,
    rtp: u32,
    /// Arrives when both sides must have given it up.
    too_late: bool,
}

impl Sent {
    fn data(&self) -> Vec<u8> {
        let mut data = vec![0x80, 96];
        data.extend(self.seq.to_be_bytes());
        data.extend(self.rtp.to_be_bytes());
        data.extend(self.ssrc.to_be_bytes());
        data.extend([0; 32]);
        data
    }
}

struct Noise(u64);

impl Noise {
    fn below(&mut self, max: u64) -> u64 {
        let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = next.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % max
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// A sender of 50 packets a second, each with a timestamp of its own.
#[derive(Clone, Copy)]
struct Sender {
    ssrc: u32,
    seq: u16,
    rtp: u32,
    ppm: i64,
    seconds: u64,
}

impl Sender {
    fn new(ssrc: u32) -> Self {
        // Both counters wrap within the trace.
        Self {
            ssrc,
            seq: 65_000,
            rtp: u32::MAX - 500_000,
            ppm: 0,
            seconds: 30,
        }
    }

    /// In order of arrival. `fate`: delay beyond that of the path, or lost.
    fn send(self, mut fate: impl FnMut(u64) -> Option<u64>) -> Vec<Sent> {
        let count = self.seconds * 50;
        let mut sent: Vec<_> = (0..count)
            .filter_map(|i| {
                let capture = i * 20 * MS;
                // Both ends of a trace are clean, for both sides to start and
                // end alike.
                let clean = i < 10 || i + 50 > count;
                let delay = match fate(i) {
                    Some(delay) => delay,
                    None if clean => 0,
                    None => return None,
                };
                let delay = if clean { delay.min(5 * MS) } else { delay };
                let sender = capture.saturating_add_signed(capture as i64 / 1_000_000 * self.ppm);
                Some(Sent {
                    arrival: START + capture + delay,
                    ssrc: self.ssrc,
                    seq: self.seq.wrapping_add(i as u16),
                    rtp: self.rtp.wrapping_add((sender * 9 / 100_000) as u32),
                    too_late: delay > LATENCY,
                })
            })
            .collect();
        sent.sort_by_key(|s| s.arrival);
        sent
    }
}

/// What one side made of it: packets and losses in order.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Outcome {
    /// Sequence number, and presentation time unless the packet was lost.
    items: Vec<(u16, Option<u64>)>,
}

impl Outcome {
    fn order(&self) -> Vec<(u16, bool)> {
        self.items
            .iter()
            .map(|(seq, pts)| (*seq, pts.is_some()))
            .collect()
    }
}

type Outcomes = BTreeMap<u32, Outcome>;

// ------------------------------------------------------------- our side

fn run_receiver(trace: &[Sent]) -> Outcomes {
    let config = Config {
        payload_types: vec![96],
        latency: LATENCY,
        ..Config::default()
    };
    let mut receiver = Receiver::new(config);
    let mut outcomes = Outcomes::new();
    let mut out = Vec::new();
    for sent in trace {
        while let Some(due) = receiver.poll_timeout().filter(|due| *due <= sent.arrival) {
            receiver.handle_timeout(due, &mut out);
        }
        receiver.handle_rtp(sent.data(), sent.arrival, &mut out);
        collect(&mut out, sent.ssrc, &mut outcomes);
    }
    receiver.flush(&mut out);
    collect(&mut out, 0, &mut outcomes);
    outcomes
}

fn collect(out: &mut Vec<Output<Vec<u8>>>, ssrc: u32, outcomes: &mut Outcomes) {
    let mut ssrc = ssrc;
    for output in out.drain(..) {
        match output {
            Output::Packet(Packet { data, pts, .. }) => {
                ssrc = u32::from_be_bytes(data[8..12].try_into().unwrap());
                let seq = u16::from_be_bytes([data[2], data[3]]);
                outcomes
                    .entry(ssrc)
                    .or_default()
                    .items
                    .push((seq, Some(pts)));
            }
            Output::Lost(Lost { seq, count, .. }) => {
                let items = &mut outcomes.entry(ssrc).or_default().items;
                items.extend((0..count).map(|i| (seq.wrapping_add(i as u16), None)));
            }
            Output::Event(_) => (),
        }
    }
}

// -------------------------------------------------------- rtpbin's side

fn run_rtpbin(trace: &[Sent], want: &Outcomes) -> Option<Outcomes> {
    let rtpbin = Rtpbin::new(1)?;
    for sent in trace {
        rtpbin.advance(sent.arrival);
        if sent.too_late {
            // Its loss is due since long; it must be seen before the packet is.
            rtpbin.settle(sent.arrival, 0, "given up a late packet", |o| {
                o.get(&sent.ssrc)
                    .is_some_and(|o| o.items.contains(&(sent.seq, None)))
            });
        }
        rtpbin.push(&rtpbin.rtp[0], sent.data(), sent.arrival);
    }
    let end = trace.last().unwrap().arrival;
    let count = |o: &Outcomes| o.values().map(|o| o.items.len()).sum::<usize>();
    rtpbin.settle(end, 10 * MS, "handed out all", |o| count(o) >= count(want));
    let outcomes = rtpbin.seen.outcomes.lock().unwrap().clone();
    Some(outcomes)
}

// ----------------------------------------------------------- comparison

/// Compares what came out from 10 s after the first packet of a source on.
fn compare_times(ours: &Outcome, theirs: &Outcome) {
    let first = ours.items[0].1.unwrap();
    let mut worst = 0_i64;
    for ((seq, ours), (_, theirs)) in ours.items.iter().zip(&theirs.items) {
        let (Some(ours), Some(theirs)) = (ours, theirs) else {
            continue;
        };
        if *ours >= first + 10 * SECOND {
            let difference = *ours as i64 - *theirs as i64;
            assert!(
                difference.unsigned_abs() <= 5 * MS,
                "{seq} differs by {difference} ns"
            );
            worst = if difference.abs() > worst.abs() {
                difference
            } else {
                worst
            };
        }
    }
    println!(
        "greatest difference of presentation times: {} µs",
        worst / 1000
    );
}

fn check(trace: &[Sent]) {
    let ours = run_receiver(trace);
    let Some(theirs) = run_rtpbin(trace, &ours) else {
        return;
    };
    assert_eq!(
        ours.keys().collect::<Vec<_>>(),
        theirs.keys().collect::<Vec<_>>()
    );
    for (ssrc, ours) in &ours {
        let theirs = &theirs[ssrc];
        let (a, b) = (ours.order(), theirs.order());
        let differs = a.iter().zip(&b).position(|(a, b)| a != b);
        if let Some(at) = differs {
            let near = at.saturating_sub(3)..at + 5;
            panic!(
                "source {ssrc}, item {at}: {:?}, rtpbin: {:?}",
                &a[near.clone()],
                &b[near]
            );
        }
        assert_eq!(a.len(), b.len());
        compare_times(ours, theirs);
    }
}

#[test]
fn in_order_with_both_counters_wrapping() {
    check(&Sender::new(1).send(|_| Some(0)));
}

#[test]
fn jitter() {
    let mut noise = Noise(1);
    check(&Sender::new(1).send(|_| Some(noise.below(15 * MS))));
}

#[test]
fn loss_of_1_percent() {
    let mut noise = Noise(2);
    check(&Sender::new(1).send(|_| (!noise.one_in(100)).then(|| noise.below(10 * MS))));
}

#[test]
fn loss_of_10_percent() {
    let mut noise = Noise(3);
    check(&Sender::new(1).send(|_| (!noise.one_in(10)).then(|| noise.below(10 * MS))));
}

#[test]
fn reordering() {
    let mut noise = Noise(4);
    check(&Sender::new(1).send(|_| {
        let most = if noise.one_in(10) { 90 * MS } else { 10 * MS };
        Some(noise.below(most))
    }));
}

#[test]
fn reordering_and_loss_and_packets_that_are_too_late() {
    let mut noise = Noise(5);
    check(&Sender::new(1).send(|_| match noise.below(100) {
        0..5 => None,
        5..15 => Some(noise.below(90 * MS)),
        15 => Some(700 * MS),
        _ => Some(noise.below(10 * MS)),
    }));
}

#[test]
fn skew_of_500_ppm() {
    for ppm in [-500, 500] {
        let mut noise = Noise(6);
        let sender = Sender {
            ppm,
            seconds: 60,
            ..Sender::new(1)
        };
        check(&sender.send(|_| Some(noise.below(10 * MS))));
    }
}

#[test]
fn change_of_the_source() {
    let mut noise = Noise(7);
    let mut trace = Sender::new(1).send(|_| Some(noise.below(10 * MS)));
    let after = trace.last().unwrap().arrival - START + 1100 * MS;
    let sender = Sender {
        seq: 77,
        rtp: 12_345,
        ..Sender::new(2)
    };
    let mut second = sender.send(|_| Some(noise.below(10 * MS)));
    second.iter_mut().for_each(|s| s.arrival += after);
    trace.extend(second);
    check(&trace);
}

// ------------------------------------------------------- synchronisation

/// A compound of sender report and CNAME (RFC 3550 §6.4.1, §6.5).
fn sender_report(ssrc: u32, ntp: u64, rtp: u32) -> Vec<u8> {
    let mut data = vec![0x80, 200, 0, 6];
    data.extend(ssrc.to_be_bytes());
    data.extend(ntp.to_be_bytes());
    data.extend(rtp.to_be_bytes());
    data.extend([0; 8]);
    // SDES of one chunk: CNAME "same", end, padding.
    data.extend([0x81, 202, 0, 3]);
    data.extend(ssrc.to_be_bytes());
    data.extend([1, 4, b's', b'a', b'm', b'e', 0, 0]);
    // The chunk is three words: SSRC, item, rest of item and end.
    data
}

fn ntp_of(capture: u64) -> u64 {
    ((3_900_000_000 + capture / SECOND) << 32) | (((capture % SECOND) << 32) / SECOND)
}

/// Two streams of one sender on paths of different length: after the reports
/// what was captured together is presented together.
#[test]
fn two_streams_are_synchronised_by_their_reports() {
    let mut noise = Noise(8);
    let video = Sender::new(1).send(|_| Some(noise.below(5 * MS)));
    let sender = Sender {
        seq: 9,
        rtp: 1000,
        ..Sender::new(2)
    };
    let mut audio = sender.send(|_| Some(noise.below(5 * MS)));
    // The path of the audio is 80 ms longer.
    audio.iter_mut().for_each(|s| s.arrival += 80 * MS);
    let senders = [Sender::new(1), sender];

    // (arrival, stream, report of which capture time or packet)
    enum Input {
        Packet(Sent),
        Report(u64),
    }
    let mut inputs = Vec::new();
    for (stream, trace) in [video, audio].into_iter().enumerate() {
        inputs.extend(
            trace
                .into_iter()
                .map(|s| (s.arrival, stream, Input::Packet(s))),
        );
        for second in [1, 5, 9, 13, 17, 21, 25] {
            let capture = second * SECOND + 7 * MS;
            let arrival = START + capture + if stream == 1 { 80 * MS } else { 0 };
            inputs.push((arrival, stream, Input::Report(capture)));
        }
    }
    inputs.sort_by_key(|i| i.0);

    let config = Config {
        payload_types: vec![96],
        latency: LATENCY,
        ..Config::default()
    };
    let mut receivers = [Receiver::new(config.clone()), Receiver::new(config)];
    let mut sync = Synchronizer::new();
    sync.add_stream(0, 90_000);
    sync.add_stream(1, 90_000);
    let mut ours = Outcomes::new();
    let mut out = Vec::new();
    let rtpbin = Rtpbin::new(2);
    let started = Instant::now();
    for (arrival, stream, input) in inputs {
        let receiver = &mut receivers[stream];
        if let Some(rtpbin) = &rtpbin {
            rtpbin.advance(arrival);
        }
        match input {
            Input::Packet(sent) => {
                while let Some(due) = receiver.poll_timeout().filter(|due| *due <= arrival) {
                    receiver.handle_timeout(due, &mut out);
                }
                receiver.handle_rtp(sent.data(), arrival, &mut out);
                collect(&mut out, sent.ssrc, &mut ours);
                if let Some(rtpbin) = &rtpbin {
                    rtpbin.push(&rtpbin.rtp[stream], sent.data(), arrival);
                }
            }
            Input::Report(capture) => {
                let ssrc = senders[stream].ssrc;
                let rtp = senders[stream]
                    .rtp
                    .wrapping_add((capture * 9 / 100_000) as u32);
                let ntp = ntp_of(capture);
                receiver.handle_sr(ssrc, ntp, rtp, arrival, &mut out);
                if let Some(mapping) = receiver.rtp_to_clock() {
                    let ext_rtp = mapping.extend(rtp);
                    let clock = mapping.clock_of(ext_rtp) as u64;
                    let now = started + Duration::from_nanos(arrival);
                    sync.handle_sr(stream, Some(b"same"), ntp, ext_rtp, clock, now);
                }
                while let Some(event) = sync.poll() {
                    let SyncEvent::Offset { id, offset } = event else {
                        panic!("{event:?}");
                    };
                    let mode = if offset.step {
                        SyncMode::Step
                    } else {
                        SyncMode::Slew
                    };
                    receivers[id].set_sync_offset(offset.ns, mode);
                }
                if let Some(rtpbin) = &rtpbin {
                    rtpbin.push(&rtpbin.rtcp[stream], sender_report(ssrc, ntp, rtp), arrival);
                }
            }
        }
    }
    // By capture time, both streams have packets each 20 ms.
    let late = |o: &Outcomes| -> Vec<(u64, u64)> {
        let pts = |ssrc| {
            o[&ssrc]
                .items
                .iter()
                .filter_map(|i| i.1)
                .skip(500)
                .collect::<Vec<_>>()
        };
        pts(1).into_iter().zip(pts(2)).collect()
    };
    for (video, audio) in late(&ours) {
        assert!(video.abs_diff(audio) <= 2 * MS, "{video} and {audio}");
    }
    let Some(rtpbin) = rtpbin else {
        return;
    };
    let count = |o: &Outcomes| o.values().map(|o| o.items.len()).sum::<usize>();
    rtpbin.settle(START + 31 * SECOND, 10 * MS, "handed out all", |o| {
        count(o) >= count(&ours)
    });
    let theirs = rtpbin.seen.outcomes.lock().unwrap().clone();
    for ssrc in [1, 2] {
        assert_eq!(ours[&ssrc].order(), theirs[&ssrc].order());
        compare_times(&ours[&ssrc], &theirs[&ssrc]);
    }
}
