//! The cost of a packet in the RTP engine: in order, with losses, and out of order.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gstrtsp2::rtp::{Config, Output, Receiver};

const COUNT: u32 = 10_000;
const PACKETS_PER_FRAME: u32 = 50;
/// 200 Mbit/s in packets of 1,400 bytes.
const INTERVAL: u64 = 56_000;

/// A packet without a payload to speak of: the engine reads only its header.
fn packet(index: u32) -> Vec<u8> {
    let frame = index / PACKETS_PER_FRAME;
    let marker = if index % PACKETS_PER_FRAME == PACKETS_PER_FRAME - 1 {
        0x80
    } else {
        0
    };
    let mut packet = vec![0x80, 96 | marker];
    packet.extend_from_slice(&(index as u16).to_be_bytes());
    packet.extend_from_slice(&(frame * 1500).to_be_bytes());
    packet.extend_from_slice(&0x1234_5678_u32.to_be_bytes());
    packet.extend_from_slice(&[0x5a; 20]);
    packet
}

/// Packet numbers in the order of their arrival.
fn arrivals(kind: &str) -> Vec<u32> {
    let all = 0..COUNT;
    match kind {
        "one lost of 100" => all.filter(|i| i % 100 != 50).collect(),
        // Neighbours change places, a distance of up to 8, everywhere.
        "reordered" => {
            let mut order: Vec<u32> = all.collect();
            order.chunks_mut(8).for_each(<[u32]>::reverse);
            order
        }
        _ => all.collect(),
    }
}

fn receiver<'a>(reliable: bool) -> Receiver<&'a [u8]> {
    let payload_types = vec![96];
    let known_ssrc = Some(0x1234_5678);
    Receiver::new(Config {
        payload_types,
        reliable,
        known_ssrc,
        ..Config::default()
    })
}

/// Returns how many packets came out.
fn run<'a>(mut receiver: Receiver<&'a [u8]>, packets: &'a [(Vec<u8>, u64)]) -> usize {
    let (mut out, mut count, mut now) = (Vec::new(), 0, 0);
    let mut take = |out: &mut Vec<Output<&[u8]>>| {
        let packets = out
            .drain(..)
            .filter(|o| matches!(black_box(o), Output::Packet(_)));
        count += packets.count();
    };
    for (packet, arrival) in packets {
        now = *arrival;
        if receiver.poll_timeout().is_some_and(|at| at <= now) {
            receiver.handle_timeout(now, &mut out);
        }
        receiver.handle_rtp(packet, now, &mut out);
        take(&mut out);
    }
    receiver.handle_timeout(now + 1_000_000_000, &mut out);
    receiver.flush(&mut out);
    take(&mut out);
    count
}

fn reorder(c: &mut Criterion) {
    let mut group = c.benchmark_group("reorder");
    for (kind, reliable) in [
        ("in order, TCP", true),
        ("in order", false),
        ("one lost of 100", false),
        ("reordered", false),
    ] {
        let packets: Vec<_> = arrivals(kind)
            .into_iter()
            .enumerate()
            .map(|(n, index)| (packet(index), 1_000_000_000 + n as u64 * INTERVAL))
            .collect();
        assert!(
            run(receiver(reliable), &packets) >= packets.len() - 8,
            "{kind}"
        );
        group.throughput(Throughput::Elements(packets.len() as u64));
        group.bench_function(kind, |b| {
            b.iter(|| run(receiver(reliable), &packets));
        });
    }
    group.finish();
}

criterion_group!(benches, reorder);
criterion_main!(benches);
