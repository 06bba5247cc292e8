//! Eight hours of a stream in simulated time: client, receiver and reports without sockets, with jitter,
//! loss, reordering and duplicates, a sender that is 200 ppm fast, and a reconnection each hour.

use std::time::{Duration, Instant};

use gstrtsp2::rtp::report::{Config as ReportConfig, Reporter};
use gstrtsp2::rtp::{Config, Output, Receiver, rtcp};
use gstrtsp2::rtsp::client::{self, Client, Event};
use gstrtsp2::rtsp::message::{Message, Method, Response, Version};
use gstrtsp2::rtsp::parse::parse_head;
use gstrtsp2::rtsp::transport::Offer;
use gstrtsp2::rtsp::url::Url;

use crate::SOON;
use crate::held::{alone, memory};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
const HOUR: u64 = 3_600 * SECOND;
/// On the sender's clock.
const FRAME: u64 = 40 * MS;
const PACKETS: u64 = 3;
const DELAY: u64 = 10 * MS;
const JITTER: u64 = 15 * MS;

/// Numbers without a pattern, the same in each run.
struct Noise(u64);

impl Noise {
    fn below(&mut self, max: u64) -> u64 {
        let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = next.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % max
    }
}

/// What a client does with a server that grants all.
struct Session {
    client: Client,
    keep_alives: u64,
}

impl Session {
    fn new(now: Instant) -> Self {
        let url = Url::parse("rtsp://192.0.2.1/live").expect("a URL");
        let mut session = Self {
            client: Client::new(client::Config::new(url)),
            keep_alives: 0,
        };
        session.client.start(now);
        session.client.play(now);
        session.pump(now);
        assert_eq!(session.client.state(), client::State::Playing);
        session
    }

    fn pump(&mut self, now: Instant) {
        while let Some(output) = self.client.poll_output() {
            match output {
                client::Output::Connect { .. } => {
                    let (local, peer) = ([192, 0, 2, 9].into(), [192, 0, 2, 1].into());
                    self.client.handle_connected(local, peer, now);
                }
                client::Output::Send(bytes) => self.answer(&bytes, now),
                client::Output::Event(Event::Described { .. }) => self.client.select(&[0], now),
                client::Output::Event(Event::NeedOffer {
                    media, channels, ..
                }) => {
                    let offer = Some(Offer::Tcp { channels });
                    self.client.offer(media, offer, now);
                }
                client::Output::Event(Event::SessionLost(error) | Event::Failed(error)) => {
                    panic!("{error}")
                }
                _ => {}
            }
        }
    }

    fn answer(&mut self, bytes: &[u8], now: Instant) {
        let head = parse_head(bytes).expect("a request");
        let Message::Request(request) = head.message else {
            panic!("a request");
        };
        let mut response = Response::new(200, "OK", Version::V1_0);
        let headers = &mut response.headers;
        let cseq = request.headers.get("CSeq").expect("a CSeq");
        headers.push("CSeq", cseq);
        match request.method {
            Method::Options => headers.push("Public", "DESCRIBE, SETUP, PLAY, GET_PARAMETER"),
            Method::Describe => {
                headers.push("Content-Type", "application/sdp");
                let sdp =
                    "v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:v\r\n";
                response.body = sdp.into();
            }
            Method::Setup => {
                headers.push("Session", "1;timeout=60");
                let transport = request.headers.get("Transport").expect("a Transport");
                headers.push("Transport", transport);
            }
            Method::GetParameter => self.keep_alives += 1,
            _ => {}
        }
        self.client.handle_message(Message::Response(response), now);
    }

    fn passes(&mut self, now: Instant) {
        while self.client.poll_timeout().is_some_and(|at| at <= now) {
            self.client.handle_timeout(now);
            self.pump(now);
        }
    }
}

#[derive(Default)]
struct Tally {
    sent: u64,
    dropped: u64,
    delivered: u64,
    lost: u64,
    last_seq: u64,
    last_pts: u64,
    last_rtp: u64,
    /// Presentation less sending time, summed up, and how many frames that was.
    lag: (u64, u64),
}

/// What left when: the sending time of a timestamp.
fn sent_at(start: u64, frame: u64) -> u64 {
    // 200 ppm fast: its 40 ms are shorter than ours.
    start + frame * FRAME - frame * FRAME / 5_000
}

impl Tally {
    fn take(&mut self, out: &mut Vec<Output<Vec<u8>>>, start: u64) {
        for output in out.drain(..) {
            match output {
                Output::Packet(packet) => {
                    assert!(packet.ext_seq > self.last_seq, "order");
                    self.last_seq = packet.ext_seq;
                    self.delivered += 1;
                    if packet.ext_rtp == self.last_rtp {
                        assert_eq!(packet.pts, self.last_pts, "one frame, one time");
                        continue;
                    }
                    assert!(packet.pts > self.last_pts, "time goes on");
                    (self.last_rtp, self.last_pts) = (packet.ext_rtp, packet.pts);
                    let [.., f0, f1, f2, f3] = packet.data[..] else {
                        panic!("a frame number");
                    };
                    let frame = u64::from(u32::from_be_bytes([f0, f1, f2, f3]));
                    let lag = packet.pts.checked_sub(sent_at(start, frame));
                    self.lag.0 += lag.expect("after it was sent");
                    self.lag.1 += 1;
                }
                Output::Lost(lost) => self.lost += u64::from(lost.count),
                Output::Event(_) => {}
            }
        }
    }

    /// The mean since the last call.
    fn lag(&mut self) -> u64 {
        let (sum, frames) = std::mem::take(&mut self.lag);
        sum / frames.max(1)
    }
}

fn packet(seq: u16, rtp: u32, ssrc: u32, frame: u64, marker: bool) -> Vec<u8> {
    let mut data = vec![0x80, 96 | u8::from(marker) << 7];
    data.extend(seq.to_be_bytes());
    data.extend(rtp.to_be_bytes());
    data.extend(ssrc.to_be_bytes());
    data.extend((frame as u32).to_be_bytes());
    data
}

// covers: C-KA-07
#[test]
fn eight_hours_of_media_stay_in_time_and_in_memory() {
    let name = "hours::eight_hours_of_media_stay_in_time_and_in_memory";
    alone(name, &[], 15 * SOON, eight_hours);
}

fn eight_hours() {
    let origin = Instant::now();
    let at = |nanos: u64| origin + Duration::from_nanos(nanos);
    let mut noise = Noise(3);
    let mut receiver = Receiver::new(Config::default());
    let mut session = Session::new(at(0));
    let mut tally = Tally::default();
    let mut out = Vec::new();
    let (mut compounds, mut memory_after) = (0u64, Vec::new());
    let mut lags = Vec::new();
    // Wraps in the first hour, as the sequence numbers do every quarter of an hour.
    let mut rtp_base = u32::MAX - 90_000 * 1_800;
    for hour in 0..8u64 {
        let start = SECOND + hour * HOUR;
        let ssrc = 0x1000 + hour as u32;
        let config = ReportConfig {
            cname: "client".into(),
            ..ReportConfig::default()
        };
        let mut reporter = Reporter::new(config, at(start), hour);
        let mut seq = noise.below(65_536) as u16;
        let mut arrival = start;
        let mut late: Option<Vec<u8>> = None;
        let mut frame = 0u64;
        // A second is left for the reconnection.
        while sent_at(start, frame) < start + HOUR - SECOND {
            let sent = sent_at(start, frame);
            // A quarter of them is not held up at all.
            let jitter = noise.below(JITTER * 4 / 3).saturating_sub(JITTER / 3);
            arrival = (arrival + MS / 10).max(sent + DELAY + jitter);
            let rtp = rtp_base.wrapping_add((frame * 3_600) as u32);
            while let Some(due) = receiver.poll_timeout().filter(|due| *due <= arrival) {
                receiver.handle_timeout(due, &mut out);
                tally.take(&mut out, start);
            }
            for index in 0..PACKETS {
                let data = packet(seq, rtp, ssrc, frame, index + 1 == PACKETS);
                seq = seq.wrapping_add(1);
                tally.sent += 1;
                match noise.below(1_000) {
                    // Not the first ones, by which a source is known.
                    0..3 if frame > 2 => tally.dropped += 1,
                    3..6 if frame > 2 && late.is_none() => late = Some(data),
                    6..8 => {
                        receiver.handle_rtp(data.clone(), arrival, &mut out);
                        receiver.handle_rtp(data, arrival, &mut out);
                    }
                    _ => receiver.handle_rtp(data, arrival, &mut out),
                }
            }
            if let Some(data) = late.take_if(|_| noise.below(2) == 0) {
                receiver.handle_rtp(data, arrival, &mut out);
            }
            tally.take(&mut out, start);
            if frame.is_multiple_of(125) {
                // NTP time of the sender's clock.
                let ntp = ((u128::from(frame * FRAME) << 32) / u128::from(SECOND)) as u64;
                receiver.handle_sr(ssrc, ntp | 1, rtp, arrival, &mut out);
            }
            if frame.is_multiple_of(5) {
                let reception = receiver.reception();
                while let Some(compound) = reporter.poll(&reception, at(arrival)) {
                    assert!(rtcp::parse(&compound).count() >= 2);
                    compounds += 1;
                }
                session.passes(at(arrival));
            }
            frame += 1;
            if frame.is_multiple_of(15_000) {
                lags.push(tally.lag());
            }
        }
        // What was late is lost with the connection, or given up before.
        tally.dropped += u64::from(late.is_some());
        receiver.flush(&mut out);
        tally.take(&mut out, start);
        let next = start + HOUR - SECOND / 2;
        receiver.reset(next);
        receiver.set_floor(tally.last_pts);
        tally.last_seq = 0;
        rtp_base = noise.below(1 << 32) as u32;
        memory_after.push(memory());
    }
    let (missing, late) = (tally.sent - tally.delivered, receiver.reception().late);
    println!(
        "{} packets, {} dropped on the way, {late} too late, {} reported lost; {} keep-alives, {compounds} reports; \
         lag {:?}; memory {memory_after:?}",
        tally.sent, tally.dropped, tally.lost, session.keep_alives, lags
    );
    // What is too late at the end of a connection is counted as dropped as well.
    let gone = tally.dropped + late;
    assert!(
        (gone - 8..=gone).contains(&missing),
        "all that came in time was delivered"
    );
    // The last packets of a connection may be lost without anybody knowing.
    assert!(missing - tally.lost <= 8 * PACKETS);
    // Each half of the session's timeout, give or take the moment at which time is looked at.
    assert!((8 * 3_600 / 31..=8 * 3_600 / 15).contains(&session.keep_alives));
    // At least one in 5 s, with the randomisation of RFC 3550 §6.3.1 on top.
    assert!(compounds > 8 * 3_600 / 8, "{compounds} reports");
    // Never behind by more than the jitter; and it does not grow.
    let most = lags.iter().max().expect("lags");
    assert!(*most < DELAY + JITTER, "lag {most} ns");
    let grown = lags.last().expect("lags").abs_diff(lags[1]);
    assert!(grown < 3 * MS, "the lag has changed by {grown} ns");
    let grown = memory_after[7].saturating_sub(memory_after[0]);
    assert!(grown < 256 * 1024, "{grown} bytes more");
}
