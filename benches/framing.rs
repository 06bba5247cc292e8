//! The cost of a frame of TCP interleaved data (RFC 2326 §10.12), read as it is read from a socket.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gstrtsp2::rtsp::framing::{Decoder, Step};

const PACKET: usize = 1400;
const READ: usize = 64 << 10;

/// `count` frames of video, as in a burst.
fn frames(count: usize) -> Vec<u8> {
    let mut wire = Vec::new();
    for seq in 0..count {
        wire.extend_from_slice(&[b'$', 0]);
        wire.extend_from_slice(&(PACKET as u16).to_be_bytes());
        wire.extend_from_slice(&[0x80, 96]);
        wire.extend_from_slice(&(seq as u16).to_be_bytes());
        wire.extend_from_slice(&[0x5a; PACKET - 4]);
    }
    wire
}

/// Everything that `wire` holds, handed over `read` bytes at a time.
fn decode_all(wire: &[u8], read: usize) -> usize {
    let mut decoder = Decoder::new();
    decoder.assign_channel(0);
    let (mut start, mut end, mut bytes) = (0, 0, 0);
    while end < wire.len() {
        end = (end + read).min(wire.len());
        loop {
            let consumed = match decoder.decode(&wire[start..end]) {
                Ok(Step::Frame {
                    payload, consumed, ..
                }) => {
                    bytes += black_box(payload).len();
                    consumed
                }
                Ok(Step::Message { consumed, .. } | Step::Skip { consumed, .. }) => consumed,
                Ok(Step::NeedMore { .. }) => break,
                Err(error) => panic!("the stream is valid: {error}"),
            };
            start += consumed;
        }
    }
    bytes
}

fn framing(c: &mut Criterion) {
    const COUNT: usize = 1000;
    let wire = frames(COUNT);
    let mut group = c.benchmark_group("framing");
    group.throughput(Throughput::Elements(COUNT as u64));
    for (name, read) in [("64 KiB reads", READ), ("1 KiB reads", 1 << 10)] {
        assert_eq!(decode_all(&wire, read), COUNT * PACKET);
        group.bench_function(name, |b| b.iter(|| decode_all(black_box(&wire), read)));
    }

    let reply = b"RTSP/1.0 200 OK\r\nCSeq: 7\r\nSession: 12345678;timeout=60\r\n\
        Date: Mon, 23 Nov 2026 13:00:00 GMT\r\nServer: camera\r\nContent-Length: 0\r\n\r\n";
    group.throughput(Throughput::Elements(1));
    group.bench_function("reply to a keep-alive", |b| {
        b.iter(|| decode_all(black_box(reply), READ))
    });
    group.finish();
}

criterion_group!(benches, framing);
criterion_main!(benches);
