//! The session against a server of a few lines, over real sockets.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gst::prelude::*;

use super::*;
use crate::rtp::packet::RtpPacket as Parsed;
use crate::rtsp::sdp::write::{Format, MediaDescription};
use crate::rtsp::transport::{LowerTransport, Profile};
use crate::rtsp::url::Url;
use crate::session::NtpTimeSource;
use crate::session::Policy;
use crate::session::config;

/// Every wait of these tests.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
enum Seen {
    Request(String),
    Frame(u8, Vec<u8>),
    Closed,
}

/// What one connection of the server does.
#[derive(Clone, Default)]
struct Behaviour {
    /// Ports of the server's media sockets; it takes UDP only if there are some.
    udp: Option<(u16, u16)>,
    /// Status instead of 200, by method.
    refuse: Option<(&'static str, u16)>,
    /// Reads nothing more after the answer to this.
    deaf_after: Option<&'static str>,
    /// Closes after so many frames.
    frames: Option<usize>,
}

struct Server {
    url: String,
    seen: Receiver<Seen>,
    early: VecDeque<Seen>,
}

impl Server {
    /// Serves one connection after the other, as the behaviours say.
    fn start(behaviours: Vec<Behaviour>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("rtsp://{}/live", listener.local_addr().unwrap());
        let (sender, seen) = channel();
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for behaviour in behaviours {
                let Ok((stream, _)) = listener.accept() else {
                    return;
                };
                held.extend(serve(stream, &behaviour, &sender));
                let _ = sender.send(Seen::Closed);
            }
            // A deaf connection stays open until the test is over.
            while sender.send(Seen::Closed).is_ok() && !held.is_empty() {
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        Self {
            url,
            seen,
            early: VecDeque::new(),
        }
    }

    fn next(&mut self) -> Seen {
        self.early
            .pop_front()
            .unwrap_or_else(|| self.seen.recv_timeout(PATIENCE).unwrap())
    }

    /// The next request, and the frames before it.
    fn request(&mut self) -> (String, Vec<(u8, Vec<u8>)>) {
        let mut frames = Vec::new();
        loop {
            match self.next() {
                Seen::Request(text) => return (text, frames),
                Seen::Frame(channel, data) => frames.push((channel, data)),
                Seen::Closed => {}
            }
        }
    }

    fn expect(&mut self, method: &str) -> String {
        let (text, _) = self.request();
        assert!(text.starts_with(method), "{method} expected, got {text}");
        text
    }

    /// The next packets of media on channel 0.
    fn packets(&mut self, count: usize) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        while packets.len() < count {
            match self.next() {
                Seen::Frame(0, data) => packets.push(data),
                Seen::Frame(..) => {}
                Seen::Request(text) => assert!(!text.starts_with("TEARDOWN"), "too early"),
                Seen::Closed => {}
            }
        }
        packets
    }
}

fn serve(mut stream: TcpStream, behaviour: &Behaviour, seen: &Sender<Seen>) -> Option<TcpStream> {
    let mut buffer = Vec::new();
    let mut frames = 0;
    loop {
        while let Some((item, used)) = parse(&buffer) {
            buffer.drain(..used);
            let method = match &item {
                Seen::Request(text) => {
                    let method = text.split(' ').next().unwrap().to_string();
                    let answer = answer(text, &method, behaviour);
                    let _ = stream.write_all(answer.as_bytes());
                    Some(method)
                }
                _ => {
                    frames += 1;
                    None
                }
            };
            if seen.send(item).is_err() || behaviour.frames.is_some_and(|max| frames >= max) {
                return None;
            }
            if method.is_some() && method.as_deref() == behaviour.deaf_after {
                return Some(stream);
            }
        }
        let mut chunk = [0; 65536];
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return None,
            Ok(n) => buffer.extend_from_slice(&chunk[..n]),
        }
    }
}

fn parse(buffer: &[u8]) -> Option<(Seen, usize)> {
    if buffer.first() == Some(&b'$') {
        let length = usize::from(u16::from_be_bytes([*buffer.get(2)?, *buffer.get(3)?]));
        let data = buffer.get(4..4 + length)?;
        return Some((Seen::Frame(buffer[1], data.to_vec()), 4 + length));
    }
    let end = buffer.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
    let body = header(&head, "Content-Length").map_or(0, |l| l.parse().unwrap());
    let text = String::from_utf8(buffer.get(..end + body)?.to_vec()).unwrap();
    Some((Seen::Request(text), end + body))
}

fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn answer(text: &str, method: &str, behaviour: &Behaviour) -> String {
    let cseq = header(text, "CSeq").unwrap();
    let mut status = behaviour
        .refuse
        .filter(|(refused, _)| *refused == method)
        .map_or(200, |(_, status)| status);
    let mut headers = String::new();
    if method != "OPTIONS" {
        headers.push_str("Session: 1;timeout=60\r\n");
    }
    if let Some(offer) = header(text, "Transport") {
        let offer = offer.split(',').next().unwrap();
        match behaviour.udp {
            Some((rtp, rtcp)) if offer.contains("client_port") => {
                headers.push_str(&format!("Transport: {offer};server_port={rtp}-{rtcp}\r\n"));
            }
            None if offer.contains("interleaved") => {
                headers.push_str(&format!("Transport: {offer}\r\n"));
            }
            _ => status = 461,
        }
    }
    format!("RTSP/1.0 {status} Whatever\r\nCSeq: {cseq}\r\n{headers}\r\n")
}

#[derive(Debug, PartialEq)]
enum Call {
    Ready,
    KeyUnit(u32),
    SentAll(u32),
}

struct TestHost {
    element: gst::Element,
    calls: Mutex<Sender<Call>>,
}

impl TestHost {
    fn call(&self, call: Call) {
        let _ = self.calls.lock().unwrap().send(call);
    }
}

impl CertificateHost for TestHost {
    fn accept_certificate(&self, _: &gio::TlsCertificate, _: gio::TlsCertificateFlags) -> bool {
        false
    }
}

impl PublishHost for TestHost {
    fn reviews(&self, _: &Review) -> bool {
        false
    }

    fn review(&self, _: Review) -> Reviewed {
        Reviewed::Unchanged
    }

    fn element(&self) -> Option<gst::Element> {
        Some(self.element.clone())
    }
    fn ready(&self) {
        self.call(Call::Ready);
    }
    fn force_key_unit(&self, stream: u32, _: bool, _: u32) {
        self.call(Call::KeyUnit(stream));
    }
    fn sent_all(&self, stream: u32) {
        self.call(Call::SentAll(stream));
    }
    fn packet_too_large(&self, _: u32, _: usize) {}
    fn estimated_bitrate(&self, _: u64, _: bool) {}
}

struct Test {
    publisher: Publisher,
    calls: Receiver<Call>,
    bus: gst::Bus,
    sequence: u16,
}

impl Test {
    fn start(server: &Server, transports: &[LowerTransport]) -> Self {
        gst::init().unwrap();
        let element: gst::Element = gst::Bin::new().upcast();
        element.set_element_flags(gst::ElementFlags::SINK);
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        let clock = gst::SystemClock::obtain();
        element.set_clock(Some(&clock)).unwrap();
        element.set_base_time(clock.time());
        let (sender, calls) = channel();
        let host = Arc::new(TestHost {
            element,
            calls: Mutex::new(sender),
        });
        let config = PublishConfig {
            server: config::Server {
                url: Url::parse(&server.url).unwrap(),
                credentials: None,
                user_agent: "test".into(),
                transports: transports.to_vec(),
                keep_alive: true,
                response_timeout: Duration::from_secs(20),
                port_range: None,
                port_tries: 10,
                udp_buffer_size: 0,
                multicast_iface: None,
                retries: Policy {
                    connect_attempts: 1,
                    reconnect_attempts: -1,
                    initial_delay: Duration::from_millis(10),
                    max_delay: Duration::from_millis(50),
                },
                teardown_timeout: Duration::from_millis(100),
                http: Default::default(),
                tls: Default::default(),
            },
            max_queue_time: Duration::from_secs(1),
            rtx_time: Duration::ZERO,
            profile: Profile::Avp,
            rtcp: true,
            ntp_time_source: NtpTimeSource::Ntp,
        };
        let publisher = Publisher::start(config, host, Predecessor::default()).unwrap();
        publisher.announce(1, vec![description()]);
        publisher.record();
        Self {
            publisher,
            calls,
            bus,
            sequence: 0,
        }
    }

    /// Pushes a frame of so many packets; those of key frames are IDR slices.
    fn push(&mut self, packets: usize, key: bool) -> Result<(), Closed> {
        self.push_to(0, packets, key)
    }

    fn push_to(&mut self, stream: u32, packets: usize, key: bool) -> Result<(), Closed> {
        let timestamp = u32::from(self.sequence) * 3000;
        let buffers: Vec<_> = (0..packets)
            .map(|_| {
                self.sequence = self.sequence.wrapping_add(1);
                gst::Buffer::from_mut_slice(packet(self.sequence, timestamp, key))
            })
            .collect();
        self.publisher
            .sender(stream)
            .push(buffers.iter().map(|buffer| RtpPacket {
                buffer,
                running_time: Some(gst::ClockTime::from_mseconds(1)),
            }))
    }

    fn expect(&self, call: Call) {
        loop {
            let next = self.calls.recv_timeout(PATIENCE).unwrap();
            if next == call {
                return;
            }
            assert!(matches!(next, Call::KeyUnit(_)), "{next:?}, not {call:?}");
        }
    }

    /// The numbers of the packets that were sent of the first stream.
    fn sent(&self) -> u64 {
        self.publisher.lanes.get(0).stats().sender.packets
    }

    fn message(&self, name: &str) -> gst::Message {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let message = self.bus.timed_pop(gst::ClockTime::from_mseconds(100));
            let found = |m: &gst::Message| {
                m.structure().is_some_and(|s| s.name() == name)
                    || name == "error" && m.type_() == gst::MessageType::Error
            };
            if let Some(message) = message.filter(found) {
                return message;
            }
        }
        panic!("no message {name}");
    }
}

fn packet(sequence: u16, timestamp: u32, key: bool) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend(sequence.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend([0, 0, 0, 7]);
    packet.push(if key { 0x65 } else { 0x41 });
    packet.resize(1200, 1);
    packet
}

fn description() -> StreamDescription {
    StreamDescription {
        stream: 0,
        name: "sink_0".into(),
        media: MediaDescription {
            kind: "video".into(),
            profile: Profile::Avp,
            formats: vec![Format {
                payload_type: 96,
                encoding_name: "H264".into(),
                clock_rate: 90_000,
                channels: None,
                parameters: vec![("packetization-mode".into(), Some("1".into()))],
                feedback: Vec::new(),
            }],
            bandwidth: None,
            attributes: Vec::new(),
            control: String::new(),
        },
        ssrc: Some(7),
        exact: true,
    }
}

fn sequences(packets: &[Vec<u8>]) -> Vec<u16> {
    let parsed = packets.iter().map(|packet| Parsed::parse(packet).unwrap());
    parsed.map(|packet| packet.sequence).collect()
}

fn version(announce: &str) -> u64 {
    let origin = announce
        .lines()
        .find(|line| line.starts_with("o="))
        .unwrap();
    origin.split(' ').nth(2).unwrap().parse().unwrap()
}

// covers: P-PUB-01, P-PUB-07, P-PUB-11
#[test]
fn what_was_queued_before_record_is_sent_after_it_and_the_end_is_bye_and_teardown() {
    let mut server = Server::start(vec![Behaviour::default()]);
    let mut test = Test::start(&server, &[LowerTransport::Tcp]);
    test.push(20, true).unwrap();
    server.expect("OPTIONS");
    let announce = server.expect("ANNOUNCE");
    assert!(announce.contains("a=control:streamid=0"), "{announce}");
    let setup = server.expect("SETUP");
    assert!(setup.contains("mode=record"), "{setup}");
    test.expect(Call::Ready);
    let (record, before) = server.request();
    assert!(
        record.starts_with("RECORD") && before.is_empty(),
        "{record}"
    );
    test.push(80, false).unwrap();
    assert_eq!(
        sequences(&server.packets(100)),
        (1..=100).collect::<Vec<u16>>()
    );
    test.publisher.eos(0);
    let (teardown, last) = server.request();
    assert!(teardown.starts_with("TEARDOWN"), "{teardown}");
    let (channel, rtcp) = last.last().unwrap();
    // A sender report, and a BYE at the end of the compound.
    assert_eq!((*channel, rtcp[1]), (1, 200));
    assert_eq!(rtcp[rtcp.len() - 7], 203, "{rtcp:x?}");
    test.expect(Call::SentAll(0));
}

#[test]
fn datagrams_leave_in_order_and_whole() {
    let (rtp, rtcp) = loop {
        let rtp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let next = rtp.local_addr().unwrap().port().saturating_add(1);
        if let Ok(rtcp) = UdpSocket::bind(("127.0.0.1", next)) {
            break (rtp, rtcp);
        }
    };
    rtp.set_read_timeout(Some(PATIENCE)).unwrap();
    rtcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let port = |socket: &UdpSocket| socket.local_addr().unwrap().port();
    let server = Server::start(vec![Behaviour {
        udp: Some((port(&rtp), port(&rtcp))),
        ..Behaviour::default()
    }]);
    // TCP is refused first.
    let mut test = Test::start(&server, &[LowerTransport::Tcp, LowerTransport::Udp]);
    test.push(10, true).unwrap();
    for _ in 0..9 {
        test.push(10, false).unwrap();
    }
    let mut packets = Vec::new();
    let mut buffer = [0; 2000];
    while packets.len() < 100 {
        let n = rtp.recv(&mut buffer).unwrap();
        packets.push(buffer[..n].to_vec());
    }
    assert_eq!(sequences(&packets), (1..=100).collect::<Vec<u16>>());
    assert!(packets.iter().all(|packet| packet.len() == 1200));
    let n = rtcp.recv(&mut buffer).unwrap();
    assert_eq!(buffer[..n][1], 200, "a sender report");
    test.publisher.stop().wait_until(PATIENCE);
}

// covers: P-PUB-11
#[test]
fn a_lost_server_gets_a_newer_description_and_first_a_key_frame() {
    let mut server = Server::start(vec![
        Behaviour {
            frames: Some(5),
            ..Behaviour::default()
        },
        Behaviour::default(),
    ]);
    let mut test = Test::start(&server, &[LowerTransport::Tcp]);
    server.expect("OPTIONS");
    let first = server.expect("ANNOUNCE");
    test.push(4, true).unwrap();
    test.push(1, false).unwrap();
    test.message("rtspsink2-connection-lost");
    // Nobody is there, and nothing fails.
    test.push(5, false).unwrap();
    let second = loop {
        let (text, _) = server.request();
        if text.starts_with("ANNOUNCE") {
            break text;
        }
    };
    assert!(version(&second) > version(&first));
    test.message("rtspsink2-connection-restored");
    test.expect(Call::Ready);
    assert_eq!(test.calls.recv_timeout(PATIENCE).unwrap(), Call::KeyUnit(0));
    test.push(5, false).unwrap();
    test.push(5, true).unwrap();
    // Nothing before the key frame is sent, and the numbers count what is.
    let packets = server.packets(5);
    assert_eq!(sequences(&packets), [6, 7, 8, 9, 10]);
    let parsed = Parsed::parse(&packets[0]).unwrap();
    assert_eq!((parsed.timestamp, parsed.payload[0]), (15 * 3000, 0x65));
    test.publisher.stop().wait_until(PATIENCE);
}

// covers: P-PUB-14
#[test]
fn a_server_that_reads_nothing_neither_blocks_a_push_nor_takes_memory() {
    let mut server = Server::start(vec![Behaviour {
        deaf_after: Some("RECORD"),
        ..Behaviour::default()
    }]);
    let mut test = Test::start(&server, &[LowerTransport::Tcp]);
    while !server.request().0.starts_with("RECORD") {}
    test.push(10, true).unwrap();
    let sent: u64 = 80 * 1024 * 1024;
    let mut pushed = 0;
    for frame in 0.. {
        test.push(100, frame % 10 == 0).unwrap();
        pushed += 100 * 1200;
        if pushed > sent {
            break;
        }
    }
    let queued = test.publisher.lanes.get(0).stats().queued_bytes;
    assert!(queued <= crate::rtsp::limits::SEND_QUEUE, "{queued}");
    let overflow = test.message("rtspsink2-overflow");
    assert!(
        overflow
            .structure()
            .unwrap()
            .get::<u64>("dropped-units")
            .unwrap()
            > 0
    );
    // The end is told all the same.
    test.publisher.eos(0);
    test.expect(Call::Ready);
    test.expect(Call::SentAll(0));
}

// covers: P-PUB-10
#[test]
fn a_refused_announce_is_an_error_and_nothing_more_is_taken() {
    let server = Server::start(vec![Behaviour {
        refuse: Some(("ANNOUNCE", 403)),
        ..Behaviour::default()
    }]);
    let mut test = Test::start(&server, &[LowerTransport::Tcp]);
    let error = test.message("error");
    let gst::MessageView::Error(error) = error.view() else {
        unreachable!()
    };
    assert!(error.error().matches(gst::ResourceError::NotAuthorized));
    let deadline = Instant::now() + PATIENCE;
    while test.push(1, true) != Err(Closed::Failed) {
        assert!(Instant::now() < deadline);
    }
}

#[test]
fn a_stop_sends_what_is_queued_and_then_takes_nothing() {
    let mut server = Server::start(vec![Behaviour::default()]);
    let mut test = Test::start(&server, &[LowerTransport::Tcp]);
    test.push(1, true).unwrap();
    // It records.
    server.packets(1);
    test.push(50, true).unwrap();
    let ending = test.publisher.stop();
    assert_eq!(test.push(1, true), Err(Closed::Stopped));
    let (teardown, frames) = server.request();
    assert!(teardown.starts_with("TEARDOWN"), "{teardown}");
    let media = frames.iter().filter(|(channel, _)| *channel == 0).count();
    assert_eq!(media, 50);
    ending.wait_until(PATIENCE);
}

#[test]
fn a_pause_sends_what_is_queued_and_a_resume_goes_on_without_announce() {
    let mut server = Server::start(vec![Behaviour::default()]);
    let mut test = Test::start(&server, &[LowerTransport::Tcp]);
    test.push(1, true).unwrap();
    // It records.
    server.packets(1);
    test.push(30, true).unwrap();
    test.publisher.pause();
    let (pause, frames) = server.request();
    assert!(pause.starts_with("PAUSE"), "{pause}");
    let media = frames.iter().filter(|(channel, _)| *channel == 0).count();
    assert_eq!(media, 30);
    test.push(5, false).unwrap();
    test.publisher.record();
    let (record, frames) = server.request();
    assert!(record.starts_with("RECORD"), "{record}");
    assert!(frames.iter().all(|(channel, _)| *channel != 0), "in PAUSE");
    assert_eq!(sequences(&server.packets(5)), [32, 33, 34, 35, 36]);
    test.publisher.stop().wait_until(PATIENCE);
}

#[test]
fn the_last_packets_go_before_teardown() {
    let mut server = Server::start(vec![Behaviour::default()]);
    let mut test = Test::start(&server, &[LowerTransport::Tcp]);
    test.push(1, true).unwrap();
    server.packets(1);
    // More than a batch of the writer and than the kernel takes at once.
    for _ in 0..10 {
        test.push(100, false).unwrap();
    }
    test.publisher.eos(0);
    let (teardown, frames) = server.request();
    assert!(teardown.starts_with("TEARDOWN"), "{teardown}");
    let media: Vec<Vec<u8>> = frames
        .into_iter()
        .filter_map(|(channel, data)| (channel == 0).then_some(data))
        .collect();
    assert_eq!(sequences(&media), (2..=1001).collect::<Vec<u16>>());
    assert_eq!(test.sent(), 1001, "what was pushed");
    test.expect(Call::Ready);
    test.expect(Call::SentAll(0));
}

#[test]
fn a_stream_that_goes_on_after_the_end_of_all_is_published_again() {
    let mut server = Server::start(vec![Behaviour::default(), Behaviour::default()]);
    let mut test = Test::start(&server, &[LowerTransport::Tcp]);
    test.push(10, true).unwrap();
    server.packets(10);
    test.publisher.eos(0);
    test.expect(Call::Ready);
    test.expect(Call::SentAll(0));
    // Nothing of it is lost, whatever it begins with.
    test.publisher.resume(0);
    test.push(10, false).unwrap();
    let mut announced = 0;
    let mut media = Vec::new();
    while media.len() < 10 {
        match server.next() {
            Seen::Request(text) => announced += usize::from(text.starts_with("ANNOUNCE")),
            Seen::Frame(0, data) => media.push(data),
            _ => {}
        }
    }
    assert_eq!(announced, 1, "once more");
    assert_eq!(sequences(&media), (11..=20).collect::<Vec<u16>>());
    // And ends again.
    test.publisher.eos(0);
    test.expect(Call::SentAll(0));
    test.publisher.stop().wait_until(PATIENCE);
}

#[test]
fn a_stream_that_comes_after_the_end_of_all_is_published() {
    let mut server = Server::start(vec![Behaviour::default(), Behaviour::default()]);
    let mut test = Test::start(&server, &[LowerTransport::Tcp]);
    test.push(10, true).unwrap();
    server.packets(10);
    test.publisher.eos(0);
    test.expect(Call::Ready);
    test.expect(Call::SentAll(0));
    test.push_to(1, 10, true).unwrap();
    let other = StreamDescription {
        stream: 1,
        ..description()
    };
    test.publisher.announce(2, vec![other]);
    while !server.request().0.starts_with("ANNOUNCE") {}
    assert_eq!(
        sequences(&server.packets(10)),
        (11..=20).collect::<Vec<u16>>()
    );
    test.publisher.stop().wait_until(PATIENCE);
}

#[test]
fn an_announcement_that_comes_after_a_later_one_is_void() {
    let mut server = Server::start(vec![Behaviour::default(), Behaviour::default()]);
    let test = Test::start(&server, &[LowerTransport::Tcp]);
    let other = StreamDescription {
        stream: 1,
        ..description()
    };
    test.publisher.announce(3, vec![description(), other]);
    test.publisher.announce(2, vec![description()]);
    // The first may have gone out already.
    while !server.request().0.starts_with("RECORD") {}
    let streams = test.publisher.stats().get::<gst::List>("streams").unwrap();
    assert_eq!(streams.len(), 2);
    test.publisher.stop().wait_until(PATIENCE);
}

#[test]
fn datagrams_that_come_back_as_undeliverable_make_it_go_over_to_tcp() {
    // A pair of ports that nobody has: the kernel answers with ICMP.
    let closed = loop {
        let rtp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = rtp.local_addr().unwrap().port();
        if let Some(next) = port.checked_add(1)
            && UdpSocket::bind(("127.0.0.1", next)).is_ok()
        {
            break (port, next);
        }
    };
    let server = Server::start(vec![
        Behaviour {
            udp: Some(closed),
            ..Behaviour::default()
        },
        Behaviour::default(),
    ]);
    let mut test = Test::start(&server, &[LowerTransport::Udp, LowerTransport::Tcp]);
    let deadline = Instant::now() + PATIENCE;
    // A frame every 20 ms, as a source has them, until one comes over TCP.
    loop {
        assert!(Instant::now() < deadline);
        test.push(2, true).unwrap();
        let seen = server.seen.recv_timeout(Duration::from_millis(20));
        if let Ok(Seen::Frame(0, _)) = seen {
            break;
        }
    }
    let message = test.message("rtspsink2-transport-switched");
    let message = message.structure().unwrap();
    assert_eq!(message.get::<&str>("from"), Ok("udp"));
    assert_eq!(message.get::<&str>("to"), Ok("tcp"));
    test.publisher.stop().wait_until(PATIENCE);
}
