//! A stream of RTP packets, whole or made up from a few bytes each, with all else that happens to a
//! receiver, on a virtual clock.
#![no_main]

use fuzz::Input;
use fuzz::rtp::packet::RtpPacket;
use fuzz::rtp::refclk::DirectClock;
use fuzz::rtp::stats::Timing;
use fuzz::rtp::{Anchor, Config, Event, Output, Receiver, Reference, SyncMode, rtx};
use libfuzzer_sys::fuzz_target;

const MS: u64 = 1_000_000;
const NTP_EXTENSION: u8 = 3;

struct Stream {
    receiver: Receiver<Vec<u8>>,
    now: u64,
    seq: u16,
    time: u32,
    /// Extended number of the last packet that came out, until numbering may start anew.
    last: Option<u64>,
    /// Timestamp and presentation time of the last packet, until they may start anew.
    shown: Option<(u64, u64)>,
    given: usize,
    came: usize,
}

impl Stream {
    fn check(&mut self, out: &mut Vec<Output<Vec<u8>>>) {
        for output in out.drain(..) {
            match output {
                Output::Packet(packet) => {
                    self.came += 1;
                    assert!(self.last.is_none_or(|last| packet.ext_seq > last), "order");
                    self.last = Some(packet.ext_seq);
                    if let Some((rtp, pts)) = self.shown {
                        // Pictures may be sent in another order than they are shown in.
                        let later = packet.ext_rtp > rtp;
                        assert!(!later || packet.pts >= pts, "time goes back");
                        let same = packet.ext_rtp == rtp;
                        assert!(!same || packet.pts == pts, "one frame has one time");
                    }
                    self.shown = Some((packet.ext_rtp, packet.pts));
                }
                Output::Event(Event::NewSource { .. } | Event::Resync { .. }) => {
                    self.last = None;
                    self.shown = None;
                }
                Output::Lost(lost) => assert!(lost.count > 0),
                Output::Event(Event::Nack { seqs, .. }) => assert!(!seqs.is_empty()),
                Output::Event(_) => {}
            }
        }
        assert!(self.came <= self.given, "no packet is made up");
    }

    fn packet(&mut self, packet: Vec<u8>, retransmitted: bool) {
        let mut out = Vec::new();
        self.given += 1;
        match retransmitted {
            false => self.receiver.handle_rtp(packet, self.now, &mut out),
            true => self
                .receiver
                .handle_retransmission(packet, self.now, &mut out),
        }
        self.check(&mut out);
    }

    fn wait(&mut self, nanos: u64) {
        let end = self.now + nanos;
        let mut steps = 0;
        let mut out = Vec::new();
        while let Some(at) = self.receiver.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.receiver.handle_timeout(self.now, &mut out);
            self.check(&mut out);
            steps += 1;
            assert!(steps < 100_000, "busy loop");
        }
        self.now = end;
    }
}

/// A clock that the sender has as well, right or wrong.
fn reference(input: &mut Input, now: u64) -> Option<Reference> {
    let flags = input.byte();
    let direct = DirectClock {
        offset: (flags & 1 == 0).then(|| input.u32()),
        rate: (input.u32(), input.u32()),
    };
    (flags & 2 == 0).then(|| Reference {
        timing: Timing::Ntp,
        clock: now,
        time: u64::from(input.u32()) << 24,
        by_reports: flags & 4 == 0,
        direct: (flags & 8 == 0).then_some(direct),
        max_offset: u64::from(input.u16()) * MS,
    })
}

fn made_up(stream: &mut Stream, input: &mut Input) -> Vec<u8> {
    stream.seq = stream
        .seq
        .wrapping_add_signed(i16::from(input.byte() as i8));
    let step = i32::from(input.byte() as i8) * 900;
    stream.time = stream.time.wrapping_add_signed(step);
    let source = input.byte();
    let [s0, s1] = stream.seq.to_be_bytes();
    let [t0, t1, t2, t3] = stream.time.to_be_bytes();
    let mut packet = vec![0x80, 96 | source & 0x80, s0, s1, t0, t1, t2, t3];
    packet.extend([0, 0, 0, source & 0x0f]);
    if source & 0x40 != 0 {
        // The NTP time in a header extension of one-byte form (RFC 6051 §3.3, RFC 8285 §4.2).
        packet[0] |= 0x10;
        packet.extend([0xbe, 0xde, 0, 3, NTP_EXTENSION << 4 | 7]);
        packet.extend((u64::from(input.u32()) << 24).to_be_bytes());
        packet.extend([0; 3]);
    }
    packet.extend([0x65, 0xff]);
    packet
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let flags = input.byte();
    let config = Config {
        clock_rate: [90_000, 8_000, 1, u32::MAX][usize::from(flags & 3)],
        payload_types: if flags & 4 == 0 { vec![] } else { vec![96] },
        latency: u64::from(input.byte()) * 10 * MS,
        reliable: flags & 8 != 0,
        live: flags & 16 == 0,
        known_ssrc: (flags & 32 != 0).then_some(1),
        nack: flags & 64 != 0,
        rtx_time: (flags & 128 != 0).then_some(500 * MS),
        ntp_extension: Some(NTP_EXTENSION),
        ..Config::default()
    };
    let mut unwrapper = rtx::Unwrapper::new(&rtx::Config {
        apt: vec![(97, 96)],
        fid: vec![(1, 2)],
    });
    let mut stream = Stream {
        receiver: Receiver::new(config),
        now: 1_000 * MS,
        seq: 65_530,
        time: u32::MAX - 90_000,
        last: None,
        shown: None,
        given: 0,
        came: 0,
    };
    while !input.is_empty() {
        let mut out = Vec::new();
        match input.byte() % 21 {
            0..=5 => {
                let packet = made_up(&mut stream, &mut input);
                stream.packet(packet, false);
            }
            6 => {
                let length = usize::from(input.byte());
                stream.packet(input.take(length).to_vec(), false);
            }
            7 => {
                let length = usize::from(input.byte());
                let data = input.take(length);
                let original = unwrapper.unwrap(data, |seq| stream.receiver.requested(seq));
                if let Some(original) = original {
                    assert!(RtpPacket::parse(&original).is_some());
                    stream.packet(original, true);
                }
                if let Some(packet) = RtpPacket::parse(data) {
                    let _ = packet.extension_elements().count();
                }
            }
            8 => {
                let packet = made_up(&mut stream, &mut input);
                stream.packet(packet, true);
            }
            9..=11 => stream.wait(u64::from(input.byte()) * MS),
            12 => stream.wait(u64::from(input.u16()) * 100 * MS),
            13 => {
                let (ssrc, ntp) = (u32::from(input.byte() & 0x0f), u64::from(input.u32()) << 24);
                let (time, now) = (input.u32(), stream.now);
                stream.receiver.handle_sr(ssrc, ntp, time, now, &mut out);
            }
            14 => {
                let (ssrc, now) = (u32::from(input.byte() & 0x0f), stream.now);
                stream.receiver.handle_bye(ssrc, now, &mut out);
            }
            15 => {
                (stream.last, stream.shown) = (None, None);
                match input.byte() % 3 {
                    0 => stream.receiver.reset(stream.now),
                    1 => stream.receiver.change_clock(stream.now),
                    _ => stream.receiver.set_floor(u64::from(input.u32()) * MS),
                }
            }
            16 => {
                let (seq, rtptime) = (input.u16(), input.u32());
                // A recording goes on anywhere after a seek.
                stream.shown = None;
                stream.receiver.set_anchor(Anchor {
                    seq: (seq != 0).then_some(seq),
                    rtptime: (rtptime != 0).then_some(rtptime),
                    pts: u64::from(input.u16()) * MS,
                    after_seek: input.byte() & 1 == 1,
                });
            }
            17 => {
                let mode = [SyncMode::Step, SyncMode::Slew][usize::from(input.byte() & 1)];
                let offset = i64::from(input.u32() as i32) * 1000;
                stream.receiver.set_sync_offset(offset, mode);
            }
            18 => match input.byte() % 2 {
                0 => stream.receiver.set_latency(u64::from(input.u16()) * MS),
                _ => stream.receiver.set_rtt(u64::from(input.u32())),
            },
            19 => {
                let reference = reference(&mut input, stream.now);
                stream.receiver.set_reference(reference);
            }
            _ => stream.receiver.flush(&mut out),
        }
        stream.check(&mut out);
        let reception = stream.receiver.reception();
        let _ = (reception.expected(), reception.cumulative_lost());
    }
    stream.wait(3_600_000 * MS);
});
