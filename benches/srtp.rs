//! The cost of encryption for each packet of 1,200 octets, by suite: what a publisher and a receiver
//! spend beside everything else.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use gstrtsp2::rtp::srtp::{Inbound, Keys, MasterKey, Outbound, Suite};

const PAYLOAD: usize = 1200;
/// Fewer than a replay window holds, so that the same packets can be read again by a new receiver.
const COUNT: u16 = 500;

fn keys(suite: Suite) -> Keys {
    let material = [7; 64];
    let length = suite.key_len() + suite.salt_len();
    let master = MasterKey::new(suite, &material[..length]).expect("of that length");
    Keys::new(suite, master)
}

fn packets() -> Vec<Vec<u8>> {
    let packet = |sequence: u16| {
        let mut packet = Vec::with_capacity(PAYLOAD + 40);
        packet.extend([0x80, 96]);
        packet.extend(sequence.to_be_bytes());
        packet.extend([0, 0, 0, 0, 0, 0, 0, 9]);
        packet.extend([0x5a; PAYLOAD]);
        packet
    };
    (0..COUNT).map(packet).collect()
}

fn srtp(c: &mut Criterion) {
    let mut group = c.benchmark_group("srtp");
    group.throughput(Throughput::Elements(COUNT.into()));
    for suite in Suite::ALL {
        let sealed = |mut packets: Vec<Vec<u8>>| {
            let mut outbound = Outbound::new(keys(suite)).expect("keys of the suite");
            for packet in &mut packets {
                outbound.rtp(black_box(packet)).expect("a packet");
            }
            packets
        };
        group.bench_function(format!("protect {}", suite.name()), |b| {
            b.iter_batched(packets, sealed, BatchSize::LargeInput)
        });
        let wire = sealed(packets());
        group.bench_function(format!("unprotect {}", suite.name()), |b| {
            b.iter_batched(
                || wire.clone(),
                |mut packets| {
                    let mut inbound = Inbound::new(keys(suite)).expect("keys of the suite");
                    for packet in &mut packets {
                        inbound.rtp(black_box(packet)).expect("an authentic packet");
                    }
                    packets
                },
                BatchSize::LargeInput,
            )
        });
    }
    group.finish();
}

criterion_group!(benches, srtp);
criterion_main!(benches);
