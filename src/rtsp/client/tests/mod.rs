//! The client against a scripted server, on a virtual clock.

mod common;
mod keepalive;
mod keys;
mod play;
mod random;
mod record;
mod review;
mod server;
mod session;
mod setup;
mod start;
mod version;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::*;
use crate::rtsp::message::{Request, Response, Version};
use crate::rtsp::parse::parse_head;
use crate::rtsp::transport::Offer;

const TWO_STREAMS: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=x\r\nt=0 0\r\na=control:*\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:v\r\n\
    m=audio 0 RTP/AVP 0\r\na=control:a\r\n";
const ONE_STREAM: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=x\r\nt=0 0\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:v\r\n";

const TCP_REPLY: &str = "Session: S1;timeout=60\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1";
const TCP_REPLY_2: &str = "Session: S1;timeout=60\nTransport: RTP/AVP/TCP;unicast;interleaved=2-3";
const UDP_REPLY: &str = "Session: S1;timeout=60\nTransport: RTP/AVP;unicast;client_port=5000-5001;server_port=7000-7001";
const PUBLIC: &str = "Public: OPTIONS, DESCRIBE, SETUP, TEARDOWN, PLAY, PAUSE, GET_PARAMETER";

/// What the client did, other than sending.
#[derive(Debug)]
enum Did {
    Connect(String, u16, bool),
    Disconnect,
    Event(Event),
}

struct Peer {
    client: Client,
    now: Instant,
    /// Requests that were not answered yet, and answers of the client.
    wire: VecDeque<Message>,
    did: VecDeque<Did>,
    reviews: VecDeque<(u64, Review)>,
    /// That the server speaks.
    version: Version,
    /// Whether connections, selections and offers are answered at once.
    auto_connect: bool,
    auto_select: bool,
    auto_offer: bool,
    /// The first octet of the keys that are given for secured media.
    own_key: Option<u8>,
    /// Transports that cannot be had here.
    without: Vec<LowerTransport>,
}

impl Peer {
    fn new(config: Config) -> Self {
        Self {
            client: Client::new(config),
            now: Instant::now(),
            wire: VecDeque::new(),
            did: VecDeque::new(),
            reviews: VecDeque::new(),
            version: Version::V1_0,
            auto_connect: true,
            auto_select: true,
            auto_offer: true,
            own_key: Some(1),
            without: Vec::new(),
        }
    }

    fn started(config: Config) -> Self {
        let mut peer = Self::new(config);
        peer.start();
        peer
    }

    /// Two streams, set up; the SETUPs are answered with these headers.
    fn ready(config: Config, replies: [&str; 2]) -> Self {
        let mut peer = Self::started(config);
        peer.answer("OPTIONS", 200, PUBLIC);
        peer.describe(TWO_STREAMS);
        for reply in replies {
            peer.answer("SETUP", 200, reply);
        }
        assert_eq!(peer.client.state(), State::Ready);
        peer
    }

    fn playing(config: Config, replies: [&str; 2]) -> Self {
        let mut peer = Self::ready(config, replies);
        peer.play();
        peer.answer("PLAY", 200, "Session: S1");
        assert_eq!(peer.client.state(), State::Playing);
        peer
    }

    fn start(&mut self) {
        self.client.start(self.now);
        self.pump();
    }

    fn play(&mut self) {
        self.client.play(self.now);
        self.pump();
    }

    fn pause(&mut self) {
        self.client.pause(self.now);
        self.pump();
    }

    fn teardown(&mut self) {
        self.client.teardown(self.now);
        self.pump();
    }

    /// Does what the client wants, as the layer above would.
    fn pump(&mut self) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Connect(url) => {
                    let (host, port) = (url.host_with_zone(), url.port());
                    self.did.push_back(Did::Connect(host, port, url.is_tls()));
                    if self.auto_connect {
                        self.connected();
                    }
                }
                Output::Send(bytes) => self.wire.push_back(parsed(&bytes)),
                Output::Review(id, what) => self.reviews.push_back((id, what)),
                Output::Disconnect => self.did.push_back(Did::Disconnect),
                Output::Event(event) => {
                    match &event {
                        Event::Described { sdp, .. } if self.auto_select => {
                            let all: Vec<_> = sdp.media.iter().map(|media| media.index).collect();
                            self.client.select(&all, self.now);
                        }
                        Event::NeedKeys { media, usage } => {
                            let first = self
                                .own_key
                                .map(|key| key + 10 * u8::from(*usage == KeyUse::Both));
                            self.client.set_keys(*media, first.map(keys::own), self.now);
                        }
                        Event::NeedOffer {
                            media,
                            lower,
                            channels,
                        } if self.auto_offer => {
                            let offer = match lower {
                                LowerTransport::Tcp => Offer::Tcp {
                                    channels: *channels,
                                },
                                LowerTransport::Udp => Offer::Udp {
                                    ports: (5000, 5001),
                                },
                                LowerTransport::UdpMulticast => Offer::Multicast { ports: None },
                            };
                            let offer = Some(offer).filter(|_| !self.without.contains(lower));
                            self.client.offer(*media, offer, self.now);
                        }
                        _ => {}
                    }
                    self.did.push_back(Did::Event(event));
                }
            }
        }
    }

    fn connected(&mut self) {
        self.client.handle_connected(
            "192.0.2.9".parse().unwrap(),
            "192.0.2.1".parse().unwrap(),
            self.now,
        );
        self.pump();
    }

    fn lost(&mut self) {
        self.wire.clear();
        self.client
            .handle_connection_lost("closed by the server".into(), self.now);
        self.pump();
    }

    /// The next request, which must be of this method.
    #[track_caller]
    fn request(&mut self, method: &str) -> Request {
        match self.wire.pop_front() {
            Some(Message::Request(request)) if request.method.as_str() == method => request,
            other => panic!("expected {method}, got {other:#?}, after {:#?}", self.did),
        }
    }

    /// Answers the next request, which must be of this method.
    #[track_caller]
    fn answer(&mut self, method: &str, status: u16, headers: &str) -> Request {
        let request = self.request(method);
        self.reply(&request, status, headers, "");
        request
    }

    #[track_caller]
    fn describe(&mut self, sdp: &str) -> Request {
        let request = self.request("DESCRIBE");
        self.reply(&request, 200, "Content-Type: application/sdp", sdp);
        request
    }

    fn reply(&mut self, request: &Request, status: u16, headers: &str, body: &str) {
        let mut response = Response::new(status, "Reason", self.version);
        response
            .headers
            .push("CSeq", request.headers.get("CSeq").unwrap());
        self.feed(Message::Response(response), headers, body);
    }

    /// A request of the server; gives back the client's answer.
    #[track_caller]
    fn ask(&mut self, method: &str, headers: &str, body: &str) -> Response {
        let request = Request::new(Method::from(method), "rtsp://192.0.2.1/x", self.version);
        self.feed(Message::Request(request), headers, body);
        self.answer_of_client()
    }

    #[track_caller]
    fn answer_of_client(&mut self) -> Response {
        let position = self
            .wire
            .iter()
            .position(|message| matches!(message, Message::Response(_)));
        match position.and_then(|position| self.wire.remove(position)) {
            Some(Message::Response(response)) => response,
            _ => panic!("no answer, {:#?}", self.did),
        }
    }

    fn feed(&mut self, mut message: Message, headers: &str, body: &str) {
        let (into, bytes) = match &mut message {
            Message::Request(request) => (&mut request.headers, &mut request.body),
            Message::Response(response) => (&mut response.headers, &mut response.body),
        };
        for line in headers.lines() {
            let (name, value) = line.split_once(": ").unwrap();
            into.push(name, value);
        }
        *bytes = body.into();
        self.client.handle_message(message, self.now);
        self.pump();
    }

    /// Lets time pass, with all timers on the way.
    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        let mut steps = 0;
        while let Some(at) = self.client.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.client.handle_timeout(self.now);
            self.pump();
            steps += 1;
            assert!(steps < 10_000, "busy loop");
        }
        self.now = end;
    }

    fn seconds(&mut self, seconds: u64) {
        self.wait(Duration::from_secs(seconds));
    }

    /// The first thing of that kind; what came before is forgotten.
    #[track_caller]
    fn event<T>(&mut self, pick: impl Fn(&Event) -> Option<T>) -> T {
        while let Some(did) = self.did.pop_front() {
            if let Did::Event(event) = &did
                && let Some(found) = pick(event)
            {
                return found;
            }
        }
        panic!("no such event")
    }

    #[track_caller]
    fn failed(&mut self) -> Error {
        self.event(|event| match event {
            Event::Failed(error) => Some(error.clone()),
            _ => None,
        })
    }

    #[track_caller]
    fn session_lost(&mut self) -> Error {
        self.event(|event| match event {
            Event::SessionLost(error) => Some(error.clone()),
            _ => None,
        })
    }

    fn saw(&self, test: impl Fn(&Event) -> bool) -> bool {
        self.did
            .iter()
            .any(|did| matches!(did, Did::Event(event) if test(event)))
    }

    fn is_closed(&self) -> bool {
        self.saw(|event| matches!(event, Event::Closed))
    }

    fn connects(&self) -> Vec<(&str, u16, bool)> {
        self.did
            .iter()
            .filter_map(|did| match did {
                Did::Connect(host, port, tls) => Some((host.as_str(), *port, *tls)),
                _ => None,
            })
            .collect()
    }

    fn disconnects(&self) -> usize {
        self.did
            .iter()
            .filter(|did| matches!(did, Did::Disconnect))
            .count()
    }
}

fn parsed(bytes: &[u8]) -> Message {
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("an empty line")
        + 4;
    let head = parse_head(&bytes[..end]).expect("what is sent can be read");
    assert_eq!(head.body_len, bytes.len() - end);
    let mut message = head.message;
    match &mut message {
        Message::Request(request) => request.body = bytes[end..].to_vec(),
        Message::Response(response) => response.body = bytes[end..].to_vec(),
    }
    message
}

fn config(url: &str) -> Config {
    Config {
        user_agent: "test".into(),
        ..Config::new(Url::parse(url).unwrap())
    }
}

fn tcp() -> Config {
    config("rtsp://192.0.2.1/x")
}

fn udp() -> Config {
    Config {
        transports: vec![LowerTransport::Udp],
        ..tcp()
    }
}

fn header(request: &Request, name: &str) -> Option<String> {
    request
        .headers
        .get_str(name)
        .map(|value| value.into_owned())
}

fn cseq(request: &Request) -> u32 {
    header(request, "CSeq").unwrap().parse().unwrap()
}
