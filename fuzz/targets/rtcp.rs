//! RTCP compounds through the parser, the reporter and the synchroniser, on a virtual clock.
#![no_main]

use std::time::{Duration, Instant};

use fuzz::Input;
use fuzz::rtp::feedback::Feedback;
use fuzz::rtp::report::{Bandwidth, Config, Reporter};
use fuzz::rtp::rtcp::{self, Rtcp};
use fuzz::rtp::stats::Reception;
use fuzz::rtp::sync::Synchronizer;
use fuzz::rtsp::limits;
use libfuzzer_sys::fuzz_target;

fn read(data: &[u8]) {
    let mut packets = 0;
    for packet in rtcp::parse(data) {
        packets += 1;
        match packet {
            Rtcp::SenderReport { blocks, .. } | Rtcp::ReceiverReport { blocks, .. } => {
                assert!(blocks.iter().count() <= 31);
            }
            Rtcp::Bye { ssrcs } => assert!(ssrcs.iter().count() <= 31),
            Rtcp::Nack { seqs, .. } => {
                let _ = seqs.iter().count();
            }
            Rtcp::Fir { entries, .. } => {
                let _ = entries.iter().count();
            }
            _ => {}
        }
    }
    // Each packet of a compound may be an SDES of 31 names.
    assert!(packets <= limits::RTCP_PACKETS * 31);
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let flags = input.byte();
    let mut now = Instant::now();
    let config = Config {
        ssrc: (flags & 1 != 0).then_some(7),
        avoid: vec![1],
        cname: "fuzz".into(),
        bandwidth: Bandwidth {
            session: (flags & 2 != 0).then(|| u64::from(input.u32())),
            rs: (flags & 4 != 0).then(|| u64::from(input.u16())),
            rr: (flags & 8 != 0).then(|| u64::from(input.u16())),
        },
        avpf: flags & 16 != 0,
        reduced_size: flags & 32 != 0,
        ..Config::default()
    };
    let mut reporter = Reporter::new(config, now, u64::from(flags));
    let mut synchronizer = Synchronizer::new();
    synchronizer.add_stream(0, 90_000);
    synchronizer.add_stream(1, 8_000);
    let mut reception = Reception::default();
    while !input.is_empty() {
        match input.byte() % 8 {
            0..=2 => {
                let length = usize::from(input.u16() % 2048);
                let compound = input.take(length);
                read(compound);
                let _ = rtcp::is_rtcp(compound);
                reporter.handle_compound(compound, now);
                for packet in rtcp::parse(compound) {
                    if let Rtcp::SenderReport { ssrc, info, .. } = packet {
                        let id = (ssrc & 1) as usize;
                        let (clock, ext) = (u64::from(ssrc) << 16, u64::from(info.rtp));
                        synchronizer.handle_sr(id, None, info.ntp, ext, clock, now);
                        let _ = synchronizer.ntp_of_rtp(id, ext.wrapping_sub(1 << 40));
                        let _ = synchronizer.clock_of_ntp(id, info.ntp);
                    }
                }
                while synchronizer.poll().is_some() {}
            }
            3 => {
                reception.ssrc = Some(input.u32() & 0x0f);
                reception.base_seq = input.u32();
                reception.highest_seq = input.u32();
                reception.received = u64::from(input.u32());
                reception.jitter = input.u32();
            }
            4 => {
                let seqs = (0..input.byte()).map(u16::from).collect();
                reporter.feedback(Feedback::Nack(seqs), now);
            }
            5 => reporter.feedback(Feedback::Pli, now),
            6 => synchronizer.handle_rtp_info(
                usize::from(input.byte() & 1),
                u64::from(input.u32()) << 20,
                u64::from(input.u32()) << 20,
            ),
            _ => now += Duration::from_millis(u64::from(input.u16())),
        }
        let mut sent = 0;
        while let Some(compound) = reporter.poll(&reception, now) {
            let mut packets = rtcp::parse(&compound);
            let count = packets.by_ref().count();
            assert!(count > 0 && compound.len() <= 65_535);
            sent += 1;
            assert!(sent < 10, "busy loop");
        }
        if let Some(at) = reporter.poll_timeout() {
            assert!(at > now, "busy loop");
        }
    }
    let _ = reporter.bye(&reception, now);
});
