//! Publishing over networks that are cut or lose packets.
//!
//! The kernel of the machine that builds may have no netem, so the scripted server
//! loses what has come to it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::netns::{Namespace, namespace};
use crate::publisher::Publisher;
use crate::refusals::RTP;
use crate::scripted::{Rules, Scripted};
use crate::SOON;

const QUICK: &str = "reconnect-initial-delay=50000000 reconnect-max-delay=500000000";

fn seq(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[2], packet[3]])
}

fn field(packet: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(packet[at..at + 4].try_into().unwrap())
}

fn count(stats: &gst::Structure, name: &str) -> u64 {
    stats.get(name).expect("a count")
}

/// Publishes over a link that is cut for so long; how often it was begun anew.
fn cut(transport: &str, length: Duration) -> Option<u64> {
    crate::init();
    let namespace = namespace(Namespace::new())?;
    let server = Scripted::inside(
        &namespace,
        Rules {
            udp: transport == "udp",
            ..Default::default()
        },
    );
    let settings = format!("protocols={transport} {QUICK}");
    let publisher = Publisher::new(&server.url(), &settings, &[RTP]).play();
    server.wait_frames(0, 50);
    namespace.cut().unwrap();
    std::thread::sleep(length);
    let before = server.frames(0);
    namespace.mend().unwrap();
    let mended = Instant::now();
    server.wait_frames(0, before + 100);
    let took = mended.elapsed();
    let packets = server.wait_frames(0, before + 100);
    let mut missing = 0;
    for pair in packets.windows(2) {
        let (one, two) = (&pair[0], &pair[1]);
        assert_eq!(field(one, 8), field(two, 8), "one SSRC");
        let forward = seq(two).wrapping_sub(seq(one));
        assert!((1..5_000).contains(&forward), "{forward}");
        missing += u64::from(forward) - 1;
        // 160 samples each: what is missing has taken its numbers and its time.
        let later = field(two, 4).wrapping_sub(field(one, 4));
        assert_eq!(later, u32::from(forward) * 160);
    }
    let reconnects = count(&publisher.stats(), "reconnects");
    println!(
        "{transport}, cut of {length:?}: {missing} packets missing, 100 more {took:?} after its \
         end, begun anew {reconnects} times"
    );
    assert_eq!(publisher.errors(), Vec::<String>::new());
    Some(reconnects)
}

#[test]
// covers: P-PUB-11
fn a_short_cut_goes_by_without_a_new_connection() {
    for transport in ["tcp", "udp"] {
        let reconnects = cut(transport, Duration::from_millis(1500));
        assert!(matches!(reconnects, None | Some(0)), "{transport}");
    }
}

#[test]
// covers: P-PUB-11
fn after_a_long_cut_publishing_goes_on_by_itself() {
    if std::env::var_os("RTSP2_LONG").is_none() {
        eprintln!("skipped: RTSP2_LONG=1 is not set");
        return;
    }
    for transport in ["tcp", "udp"] {
        cut(transport, Duration::from_secs(15));
    }
}

/// A generic NACK (RFC 4585 §6.2.1) after an empty receiver report.
fn nack(ssrc: u32, missing: &[u16]) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1, 0, 0, 0, 1, 0x81, 205];
    packet.extend((missing.len() as u16 + 2).to_be_bytes());
    packet.extend(1u32.to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    for seq in missing {
        packet.extend(seq.to_be_bytes());
        packet.extend([0, 0]);
    }
    packet
}

/// What follows `name` in the description, up to the end of the word.
fn told(sdp: &str, name: &str) -> u32 {
    let (_, rest) = sdp.split_once(name).expect(name);
    let word = rest.split(|c: char| !c.is_ascii_digit()).next();
    word.unwrap().parse().expect(name)
}

#[test]
// covers: P-PUB-12
fn three_percent_of_loss_is_made_good_by_retransmission() {
    crate::init();
    let server = Scripted::new(Rules {
        udp: true,
        lost: 30,
        ..Default::default()
    });
    // 200 packets a second. A busy machine may ask late.
    let stream = RTP.replace("samplesperbuffer=160", "samplesperbuffer=40");
    let settings = "protocols=udp profiles=avpf rtx-time=60000";
    let publisher = Publisher::new(&server.url(), settings, &[&stream]).play();
    let sdp = server.wait_request("ANNOUNCE", 1).body;
    let rtx_ssrc = told(&sdp, &format!("FID {} ", told(&sdp, "FID ")));
    let media_ssrc = told(&sdp, "FID ");
    let rtx_type = (0..128u8)
        .find(|pt| sdp.contains(&format!("a=rtpmap:{pt} rtx/8000")))
        .expect("a retransmission format");
    assert_eq!(told(&sdp, &format!("a=fmtp:{rtx_type} apt=")), 0);

    // By number: what came, of both kinds.
    let mut original = BTreeMap::<u16, Vec<u8>>::new();
    let mut again = BTreeMap::<u16, Vec<u8>>::new();
    let deadline = Instant::now() + SOON * 2;
    loop {
        for arrival in server.arrivals(0) {
            let packet = arrival.packet;
            match (packet[1] & 0x7f, field(&packet, 8)) {
                (0, ssrc) if ssrc == media_ssrc => {
                    original.insert(seq(&packet), packet);
                }
                (kind, ssrc) if kind == rtx_type && ssrc == rtx_ssrc => {
                    again.insert(u16::from_be_bytes([packet[12], packet[13]]), packet);
                }
                other => panic!("neither media nor retransmission: {other:?}"),
            }
        }
        let missing: Vec<u16> = span(original.keys().copied())
            .filter(|seq| !original.contains_key(seq) && !again.contains_key(seq))
            .collect();
        if original.len() >= 1000 && missing.is_empty() {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "{missing:?} of {} are missing, {} were retransmitted",
            original.len(),
            again.len()
        );
        if !missing.is_empty() {
            server.send(1, &nack(media_ssrc, &missing[..missing.len().min(100)]));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // What was lost is here again, as it was (RFC 4588 §4).
    let mut made_good = 0;
    for lost in server.lost() {
        let is_media = field(&lost, 8) == media_ssrc;
        let Some(packet) = again.get(&seq(&lost)).filter(|_| is_media) else {
            continue;
        };
        assert_eq!(packet[14..], lost[12..], "the payload");
        assert_eq!(field(packet, 4), field(&lost, 4), "the time");
        assert_eq!(packet[1] & 0x80, lost[1] & 0x80, "the marker");
        made_good += 1;
    }
    println!("{made_good} of {} made good", original.len() + made_good);
    assert!(made_good >= 10, "{made_good}");
    let stats = publisher.stream_stats(0).unwrap();
    assert!(
        count(&stats, "retransmitted") >= made_good as u64,
        "{stats}"
    );
    assert_eq!(publisher.errors(), Vec::<String>::new());
}

/// All from the first to the last of numbers that may have wrapped.
fn span(seqs: impl Iterator<Item = u16> + Clone) -> impl Iterator<Item = u16> {
    let wraps = seqs.clone().any(|s| s < 0x2000) && seqs.clone().any(|s| s > 0xe000);
    let turned = if wraps { 0x8000 } else { 0 };
    let order = seqs.map(|seq: u16| seq.wrapping_add(turned));
    let (first, last) = (order.clone().min(), order.max());
    let all = first.zip(last).map(|(first, last)| first..=last);
    all.into_iter()
        .flatten()
        .map(move |seq| seq.wrapping_sub(turned))
}
