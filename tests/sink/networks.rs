//! Publishing over networks that are cut, lose, become narrow or take only small
//! packets.
//!
//! The kernel of the machine that builds may have no netem, so the scripted server
//! loses what has come to it, and reads as fast as the link should be.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gst::prelude::*;

use crate::netns::{Namespace, namespace};
use crate::process::wait_for;
use crate::publisher::Publisher;
use crate::refusals::RTP;
use crate::scripted::{Rules, Scripted};
use crate::{SOON, have};

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
    if !crate::long() {
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

/// How much later than the fastest each packet came, by its RTP time.
fn delays(server: &Scripted) -> Vec<(Instant, f64)> {
    let arrivals = server.arrivals(0);
    let (Some(first), clock_rate) = (arrivals.first(), 90_000.0) else {
        return vec![];
    };
    let (begin, zero) = (first.at, field(&first.packet, 4));
    let travel = arrivals.iter().map(|arrival| {
        let media = field(&arrival.packet, 4).wrapping_sub(zero).cast_signed();
        let came = arrival.at.duration_since(begin).as_secs_f64();
        (arrival.at, came - f64::from(media) / clock_rate)
    });
    let travel: Vec<_> = travel.collect();
    let least = travel.iter().map(|(_, t)| *t).fold(f64::MAX, f64::min);
    travel.into_iter().map(|(at, t)| (at, t - least)).collect()
}

#[test]
fn an_encoder_follows_a_link_that_becomes_a_third() {
    if !have(&["x264enc"]) {
        return;
    }
    // The 32 KB that the kernel may hold back are half a second of a third.
    const INITIAL: u32 = 1_500;
    let server = Scripted::new(Rules {
        rate: Some(100_000_000),
        ..Default::default()
    });
    let video = format!(
        "videotestsrc is-live=true pattern=snow \
         ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 \
         ! x264enc name=encoder tune=zerolatency speed-preset=ultrafast key-int-max=50 \
         bitrate={INITIAL} vbv-buf-capacity=200"
    );
    let settings = "protocols=tcp adaptive-bitrate=true";
    let publisher = Publisher::new(&server.url(), settings, &[&video]).play();
    let encoder = publisher.pipeline.by_name("encoder").unwrap();
    let bitrate = || encoder.property::<u32>("bitrate");
    server.wait_frames(0, 100);
    // Bytes a second of this machine, today.
    let (begin, seen) = (Instant::now(), server.frames(0));
    server.wait_frames(0, seen + 250);
    let took = begin.elapsed().as_secs_f64();
    let sent: usize = server.arrivals(0)[seen..seen + 250]
        .iter()
        .map(|arrival| arrival.packet.len())
        .sum();
    let third = sent as f64 / took / 3.0;
    let before = bitrate();
    server.set(|rules| rules.rate = Some(third as u64));
    let narrow = Instant::now();
    wait_for("a lower bitrate", SOON, || {
        assert_eq!(publisher.errors(), Vec::<String>::new());
        bitrate() * 2 < before
    });
    let followed = narrow.elapsed();
    // For a few seconds more.
    let seen = server.frames(0);
    server.wait_frames(0, seen + 250);
    let late = delays(&server);
    let late: Vec<f64> = late
        .into_iter()
        .filter_map(|(at, delay)| (at > narrow).then_some(delay))
        .collect();
    let worst = late.iter().copied().fold(0.0, f64::max);
    println!(
        "{} kbit/s of link; {before} kbit/s of encoder, {} after {followed:?}; delay at most \
         {worst:.3} s, {:.3} at the end, estimate {}",
        third * 8.0 / 1000.0,
        bitrate(),
        late.last().unwrap(),
        publisher.sink.property::<u64>("estimated-bitrate"),
    );
    assert!(worst < 2.0, "{worst} s");
    assert_eq!(publisher.errors(), Vec::<String>::new());
}

/// Raw video, whose packets are as large as they may be.
const RAW: &str = "videotestsrc is-live=true \
    ! video/x-raw,format=UYVY,width=320,height=240,framerate=25/1";

#[test]
fn packets_that_no_network_takes_are_made_smaller_where_they_are_made() {
    crate::init();
    let server = Scripted::new(Rules {
        udp: true,
        ..Default::default()
    });
    let publisher = Publisher::new(&server.url(), "protocols=udp", &[RAW]).play();
    server.wait_frames(0, 20);
    let bin = publisher.sink.downcast_ref::<gst::Bin>().unwrap();
    let found = bin.iterate_all_by_element_factory_name("rtpvrawpay").next();
    let payloader = found.unwrap().expect("a payloader");
    // With its headers more than a datagram holds: EMSGSIZE.
    payloader.set_property("mtu", 65_530u32);
    wait_for("a smaller mtu", SOON, || {
        payloader.property::<u32>("mtu") == 1_200
    });
    let seen = server.frames(0);
    server.wait_frames(0, seen + 20);
    assert_eq!(publisher.errors(), Vec::<String>::new());
}

#[test]
fn ready_made_packets_that_no_network_takes_are_warned_of() {
    crate::init();
    let server = Scripted::new(Rules {
        udp: true,
        ..Default::default()
    });
    let stream = format!("{RAW} ! rtpvrawpay mtu=65530");
    let publisher = Publisher::new(&server.url(), "protocols=udp", &[&stream]).play();
    let warning = publisher.wait_warning();
    assert!(warning.contains("`mtu`"), "{warning}");
    // What is left of each frame goes on.
    server.wait_frames(0, 3);
    assert_eq!(publisher.errors(), Vec::<String>::new());
}
