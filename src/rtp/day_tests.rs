//! A day of media in simulated time: clocks that drift and jump.

use super::receiver::Receiver;
use super::stats::Nanos;
use super::sync::{SyncEvent, Synchronizer};
use super::{Config, Output, SyncMode};
use std::time::{Duration, Instant};

const MS: Nanos = 1_000_000;
const SECOND: Nanos = 1_000 * MS;
const DAY: Nanos = 24 * 3600 * SECOND;
const START: Nanos = 77 * SECOND;
const FRAME: Nanos = 40 * MS;
/// The shortest way of a packet to here.
const PATH: Nanos = 30 * MS;

/// A camera that sends 25 frames a second by a clock of its own.
struct Camera {
    receiver: Receiver<Vec<u8>>,
    /// How fast its clock is, in parts per million.
    ppm: i64,
    seq: u16,
    noise: u64,
    out: Vec<Output<Vec<u8>>>,
    /// What the RTP and the NTP clock were set by.
    rtp_set: i64,
    ntp_set: i64,
}

impl Camera {
    fn new(ppm: i64) -> Self {
        let config = Config {
            payload_types: vec![96],
            known_ssrc: Some(1),
            ..Config::default()
        };
        Self {
            receiver: Receiver::new(config),
            ppm,
            seq: 0,
            noise: 1,
            out: Vec::new(),
            rtp_set: 0,
            ntp_set: 0,
        }
    }

    /// Its clock at a true time.
    fn clock(&self, at: Nanos) -> i64 {
        let at = at.cast_signed();
        at + at / 1_000_000 * self.ppm
    }

    fn rtp(&self, at: Nanos) -> u32 {
        let ticks = (self.clock(at) + self.rtp_set) / 100_000 * 9;
        (ticks as u32).wrapping_add(u32::MAX - 1_000)
    }

    /// Sends the frame of this time; presentation less capture time, and
    /// whether it is a discontinuity.
    fn frame(&mut self, at: Nanos) -> (i64, bool) {
        let mut packet = vec![0x80, 96];
        packet.extend(self.seq.to_be_bytes());
        packet.extend(self.rtp(at).to_be_bytes());
        packet.extend(1_u32.to_be_bytes());
        self.seq = self.seq.wrapping_add(1);
        self.noise = self.noise.wrapping_mul(6_364_136_223_846_793_005);
        self.noise = self.noise.wrapping_add(1_442_695_040_888_963_407);
        let jitter = (self.noise >> 33) % (15 * MS);
        let arrival = START + at + PATH + jitter;
        self.receiver.handle_rtp(packet, arrival, &mut self.out);
        let mut shown = None;
        for output in self.out.drain(..) {
            if let Output::Packet(p) = output {
                shown = Some((p.pts.cast_signed() - (START + at).cast_signed(), p.discont));
            }
        }
        shown.expect("packets in order come out at once")
    }

    fn report(&mut self, at: Nanos) -> (u64, u32) {
        let ntp = self.clock(at) + self.ntp_set + 3_900_000_000_i64 * SECOND as i64;
        let ntp = super::ntp::from_nanos(ntp.cast_unsigned());
        let rtp = self.rtp(at);
        let now = START + at + PATH;
        self.receiver.handle_sr(1, ntp, rtp, now, &mut self.out);
        (ntp, rtp)
    }
}

/// A day; `each` sees the time and what became of the frame.
fn day(camera: &mut Camera, mut each: impl FnMut(Nanos, i64, bool)) {
    let mut last = i64::MIN;
    let mut at = 0;
    while at < DAY {
        let (after, discont) = camera.frame(at);
        let pts = at.cast_signed() + after;
        assert!(pts > last, "at {} s: not after the one before", at / SECOND);
        last = pts;
        each(at, after, discont);
        at += FRAME;
    }
}

#[test]
fn a_clock_300_ppm_off_gives_steady_times_and_no_growing_delay() {
    for ppm in [-300, 300] {
        let mut camera = Camera::new(ppm);
        let (mut least, mut most, mut disconts) = (i64::MAX, i64::MIN, 0);
        let mut unsteady = 0;
        let mut before = None;
        day(&mut camera, |at, after, discont| {
            disconts += u32::from(discont);
            if at < 10 * SECOND {
                return;
            }
            (least, most) = (least.min(after), most.max(after));
            let step = before.replace(after).map_or(0, |b: i64| (after - b).abs());
            unsteady = unsteady.max(step);
        });
        // In a day the clock goes wrong by 26 s; what is shown does not.
        let ms = |ns: i64| ns as f64 / MS as f64;
        let (least, most) = (ms(least), ms(most));
        assert!(least > 25.0 && most < 36.0, "{ppm}: {least} to {most} ms");
        assert!(
            ms(unsteady) < 2.1,
            "{ppm}: a frame moves {} ms",
            ms(unsteady)
        );
        assert_eq!(disconts, 1);
    }
}

#[test]
fn a_clock_that_jumps_by_an_hour_changes_nothing_that_is_shown() {
    let mut camera = Camera::new(300);
    let mut disconts = 0;
    let mut at = 0;
    let mut last = i64::MIN;
    while at < DAY {
        match at / FRAME {
            // After 6 h forward, after 12 h back, after 18 h back once more.
            540_000 => camera.rtp_set += 3600 * SECOND as i64,
            1_080_000 | 1_620_000 => camera.rtp_set -= 3600 * SECOND as i64,
            _ => {}
        }
        if at % (5 * SECOND) == 0 {
            camera.report(at);
        }
        let (after, discont) = camera.frame(at);
        disconts += u32::from(discont);
        let pts = at.cast_signed() + after;
        assert!(pts > last, "at {} s", at / SECOND);
        last = pts;
        if at > 10 * SECOND {
            let ms = after as f64 / MS as f64;
            assert!((20.0..60.0).contains(&ms), "at {} s: {ms} ms", at / SECOND);
        }
        at += FRAME;
    }
    let reception = camera.receiver.reception();
    assert_eq!((reception.timestamp_jumps, disconts), (3, 4));
    assert_eq!(reception.timeline_steps, 0);
}

// covers: B-RTCP-09
#[test]
fn streams_stay_in_step_for_a_day_though_the_senders_clock_is_set() {
    // Two streams of a camera whose clock runs 300 ppm fast; each hour it is
    // set: a correction, and once a whole hour.
    let mut cameras = [Camera::new(300), Camera::new(300)];
    let mut sync = Synchronizer::new();
    sync.add_stream(0, 90_000);
    sync.add_stream(1, 90_000);
    let began = Instant::now();
    let (mut at, mut worst) = (0, 0);
    while at < DAY {
        if at % (3600 * SECOND) == 0 && at > 0 {
            let by = match at / (3600 * SECOND) {
                12 => 3600 * SECOND as i64,
                _ => -1080 * MS as i64,
            };
            cameras.iter_mut().for_each(|camera| camera.ntp_set += by);
        }
        for (id, camera) in cameras.iter_mut().enumerate() {
            // The second stream's reports come a while later.
            if at % (5 * SECOND) == id as u64 * 2 * SECOND {
                let (ntp, rtp) = camera.report(at);
                if let Some(mapping) = camera.receiver.rtp_to_clock() {
                    let ext_rtp = mapping.extend(rtp);
                    let clock = mapping.clock_of(ext_rtp).cast_unsigned();
                    let now = began + Duration::from_nanos(at);
                    sync.handle_sr(id, Some(b"camera"), ntp, ext_rtp, clock, now);
                }
            }
        }
        while let Some(event) = sync.poll() {
            if let SyncEvent::Offset { id, offset } = event {
                let mode = match offset.step {
                    true => SyncMode::Step,
                    false => SyncMode::Slew,
                };
                cameras[id].receiver.set_sync_offset(offset.ns, mode);
            }
        }
        let [first, second] = cameras.each_mut().map(|camera| camera.frame(at).0);
        if at > 20 * SECOND {
            worst = worst.max((first - second).abs());
            let late = first.max(second) as f64 / MS as f64;
            assert!(late < 60.0, "at {} s: {late} ms", at / SECOND);
        }
        at += FRAME;
    }
    assert!(worst < 25 * MS as i64, "{} ms", worst as f64 / MS as f64);
}
