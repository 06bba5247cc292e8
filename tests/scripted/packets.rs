//! The packets that scripts send.

use crate::script::{Line, hex};

/// A stream that a connection sends while it serves.
pub struct Stream {
    /// `$0`, `udp0` …
    pub target: String,
    pub every: u64,
    pub packets: u64,
    pub payload_type: u8,
    pub ssrc: u32,
    pub seq: u16,
    pub ts: u32,
    pub step: u32,
    pub size: usize,
    pub payload: Vec<u8>,
}

impl Stream {
    pub fn new(line: &Line) -> Self {
        let clock = line.number("clock", 90_000);
        let every = line.number("every", 10);
        Self {
            target: line.word(1).into(),
            every,
            packets: line.number("packets", 1),
            payload_type: line.number("pt", 96) as u8,
            ssrc: line.hex("ssrc", 0x1122_3344),
            seq: line.number("seq", 1) as u16,
            ts: line.number("ts", 0) as u32,
            step: line.number("step", clock * every / 1000) as u32,
            size: line.number("size", 40) as usize,
            payload: payload(line),
        }
    }

    /// The packets of the next frame.
    pub fn frame(&mut self) -> Vec<Vec<u8>> {
        let packets = (1..=self.packets).map(|n| {
            let seq = self.seq;
            self.seq = seq.wrapping_add(1);
            rtp(
                0x80,
                u8::from(n == self.packets) << 7 | self.payload_type,
                seq,
                self.ts,
                self.ssrc,
                &self.payload,
                self.size,
            )
        });
        let packets = packets.collect();
        self.ts = self.ts.wrapping_add(self.step);
        packets
    }
}

/// What the payload begins with; unless said otherwise a slice of an H.264 key frame.
fn payload(line: &Line) -> Vec<u8> {
    line.value("payload").map_or(vec![0x65], hex)
}

fn rtp(
    first: u8,
    second: u8,
    seq: u16,
    ts: u32,
    ssrc: u32,
    payload: &[u8],
    size: usize,
) -> Vec<u8> {
    let mut packet = vec![first, second];
    packet.extend(seq.to_be_bytes());
    packet.extend(ts.to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(payload);
    packet.resize(packet.len().max(12 + size), 0xff);
    packet
}

/// The packets that `$0 rtp …`, `$1 sr …`, `udp0 raw …` stand for.
pub fn packets(line: &Line) -> Vec<Vec<u8>> {
    let ssrc = line.hex("ssrc", 0x1122_3344);
    let size = line.number("size", 40) as usize;
    match line.word(1) {
        "rtp" => {
            let (seq, ts) = (line.number("seq", 1), line.number("ts", 0));
            let (count, step) = (line.number("count", 1), line.number("step", 900));
            let second = u8::from(!line.flag("unmarked")) << 7 | line.number("pt", 96) as u8;
            let first = line.hex("first", 0x80) as u8;
            let stride = line.number("stride", 1);
            (0..count)
                .map(|n| {
                    let (seq, ts) = (seq + n * stride, ts + n * step);
                    rtp(
                        first,
                        second,
                        seq as u16,
                        ts as u32,
                        ssrc,
                        &payload(line),
                        size,
                    )
                })
                .collect()
        }
        "sr" => {
            let mut packet = vec![0x80, 200, 0, 6];
            packet.extend(ssrc.to_be_bytes());
            // The upper half counts seconds since 1900.
            packet.extend((line.number("ntp", 3_900_000_000) as u32).to_be_bytes());
            packet.extend([0; 4]);
            packet.extend((line.number("ts", 0) as u32).to_be_bytes());
            packet.extend([0; 8]);
            vec![packet]
        }
        "bye" => {
            let mut packet = vec![0x80, 201, 0, 1];
            packet.extend(ssrc.to_be_bytes());
            packet.extend([0x81, 203, 0, 1]);
            packet.extend(ssrc.to_be_bytes());
            vec![packet]
        }
        "raw" => vec![hex(line.word(2)); line.number("count", 1) as usize],
        other => panic!("{}: no packet {other}", line.place),
    }
}
