//! The client as a whole: what a server says and an application wishes, on a virtual clock.
//!
//! The input is a script whose records are separated by lines of `%%`. The first letter of a record
//! says what happens: `a` the oldest request is answered (status, header lines, an empty line and the
//! body follow), `h` it is answered as a good server would, `r` these very bytes come, `w` so many
//! milliseconds pass, `p` PLAY, `u` PAUSE, `g` and `s` a parameter, `t` TEARDOWN, `l` the connection
//! is lost, `m` connections are no longer opened at once, `c` one opens, `f` it does not, `n` no
//! transport can be offered.
#![no_main]

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use fuzz::rtp::srtp::{Keys, MasterKey, Suite};
use fuzz::rtsp::client::{Client, Config, ErrorKind, Event, Output, OwnKeys, Review, Reviewed};
use fuzz::rtsp::framing::{Decoder, Step};
use fuzz::rtsp::message::Version;
use fuzz::rtsp::message::{Message, Method, Request};
use fuzz::rtsp::mikey::Fresh;
use fuzz::rtsp::parse::parse_head;
use fuzz::rtsp::transport::{LowerTransport, Offer};
use fuzz::rtsp::url::{Credentials, Url};
use libfuzzer_sys::fuzz_target;

const PASSWORD: &str = "c0rrect-h0rse-battery";
const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=x\r\nt=0 0\r\na=control:*\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:v\r\n\
    m=audio 0 RTP/AVP 0\r\na=control:a\r\n";

struct Peer {
    client: Client,
    now: Instant,
    decoder: Decoder,
    buffer: Vec<u8>,
    requests: VecDeque<Request>,
    auto_connect: bool,
    offers: bool,
    closed: u32,
}

impl Peer {
    fn pump(&mut self) {
        let mut outputs = 0;
        while let Some(output) = self.client.poll_output() {
            outputs += 1;
            assert!(outputs < 10_000, "it never stops");
            match output {
                Output::Connect { .. } if self.auto_connect => self.connected(),
                Output::Connect { .. } => {}
                Output::Send(bytes) => self.sent(&bytes),
                Output::Disconnect => self.forget(),
                Output::Review(id, what) => self.review(id, what),
                Output::Event(event) => self.event(&event),
            }
        }
    }

    /// Lets everything through, and now and then holds a request back.
    fn review(&mut self, id: u64, what: Review) {
        let reviewed = match what {
            Review::Request(request) if id % 11 == 10 => {
                drop(request);
                Reviewed::NotSent
            }
            _ => Reviewed::Unchanged,
        };
        self.client.reviewed(id, reviewed, self.now);
    }

    /// What is left of a connection goes with it.
    fn forget(&mut self) {
        self.decoder = Decoder::new();
        self.buffer.clear();
        self.requests.clear();
    }

    fn sent(&mut self, bytes: &[u8]) {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let head = end.and_then(|end| bytes.get(..end + 4));
        let head = parse_head(head.expect("an empty line")).expect("what is sent can be read");
        if let Message::Request(request) = head.message {
            self.requests.push_back(request);
        }
    }

    fn event(&mut self, event: &Event) {
        assert!(!format!("{event:?}").contains(PASSWORD), "{event:?}");
        match event {
            Event::Described { sdp, .. } => {
                let all: Vec<_> = sdp.media.iter().map(|media| media.index).collect();
                self.client.select(&all, self.now);
            }
            Event::NeedKeys { media, .. } => {
                let material = [7; 30];
                let suite = Suite::AesCm128Sha1_80;
                let master = MasterKey::new(suite, &material).expect("of that length");
                let fresh = Fresh {
                    bundle: 1,
                    rand: [2; 16],
                    ntp: 3,
                };
                let own = OwnKeys::new(Keys::new(suite, master), &fresh);
                self.client.set_keys(*media, Some(own), self.now);
            }
            Event::NeedOffer {
                media,
                lower,
                channels,
            } => {
                let offer = match lower {
                    LowerTransport::Tcp => Offer::Tcp {
                        channels: *channels,
                    },
                    LowerTransport::Udp => Offer::Udp {
                        ports: (5000, 5001),
                    },
                    LowerTransport::UdpMulticast => Offer::Multicast { ports: None },
                };
                let offer = Some(offer).filter(|_| self.offers);
                self.client.offer(*media, offer, self.now);
            }
            Event::Closed => {
                self.closed += 1;
                assert_eq!(self.closed, 1, "one end");
            }
            // To what was asked for afterwards.
            Event::Reply { .. } => {}
            _ => assert_eq!(self.closed, 0, "nothing follows the end: {event:?}"),
        }
    }

    fn connected(&mut self) {
        let (local, peer) = ([192, 0, 2, 9].into(), [192, 0, 2, 1].into());
        self.client.handle_connected(local, peer, self.now);
        self.pump();
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        loop {
            let consumed = match self.decoder.decode(&self.buffer) {
                Ok(Step::Frame { consumed, .. } | Step::Skip { consumed, .. }) => consumed,
                Ok(Step::Message { message, consumed }) => {
                    self.client.handle_message(message, self.now);
                    consumed
                }
                Ok(Step::NeedMore { .. }) => break,
                Err(error) => {
                    self.forget();
                    let reason = error.to_string();
                    self.client.handle_connection_lost(reason, self.now);
                    self.pump();
                    break;
                }
            };
            // `Disconnect` may have emptied it.
            self.buffer.drain(..consumed.min(self.buffer.len()));
            self.pump();
        }
    }

    fn answer(&mut self, status: &str, headers: &str, body: &str) {
        let Some(request) = self.requests.pop_front() else {
            return;
        };
        let cseq = request.headers.get_str("CSeq").unwrap_or_default();
        let mut response = format!("RTSP/1.0 {status} Reason\r\nCSeq: {cseq}\r\n");
        for line in headers.lines() {
            let _ = write!(response, "{line}\r\n");
        }
        let _ = write!(response, "Content-Length: {}\r\n\r\n{body}", body.len());
        self.bytes(response.as_bytes());
    }

    fn help(&mut self) {
        let Some(request) = self.requests.front() else {
            return;
        };
        let transport = request.headers.get_str("Transport").unwrap_or_default();
        let granted = format!("Session: S1;timeout=60\nTransport: {transport};ssrc=0000000A");
        let (headers, body) = match request.method {
            Method::Options => ("Public: DESCRIBE, SETUP, PLAY, PAUSE, GET_PARAMETER", ""),
            Method::Describe => ("Content-Type: application/sdp", SDP),
            Method::Setup => (granted.as_str(), ""),
            _ => ("Session: S1", ""),
        };
        self.answer("200", headers, body);
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        let mut steps = 0;
        while let Some(at) = self.client.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.client.handle_timeout(self.now);
            self.pump();
            steps += 1;
            assert!(steps < 100_000, "busy loop");
        }
        self.now = end;
    }

    fn record(&mut self, kind: u8, rest: &[u8]) {
        let text = || String::from_utf8_lossy(rest);
        let now = self.now;
        match kind {
            b'a' => {
                let text = text();
                let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
                let (status, headers) = head.split_once('\n').unwrap_or((head, ""));
                self.answer(status.trim(), headers, body);
            }
            b'h' => self.help(),
            b'r' => self.bytes(rest),
            b'w' => {
                let time = text().trim().parse().unwrap_or(0u64).min(1_000_000);
                self.wait(Duration::from_millis(time));
            }
            b'p' => self.client.play(now),
            b'u' => self.client.pause(now),
            b'g' => self.client.get_parameter(1, None, rest.to_vec(), now),
            b's' => self
                .client
                .set_parameter(2, Some("text/x"), rest.to_vec(), now),
            b't' => self.client.teardown(now),
            b'l' => {
                self.forget();
                self.client.handle_connection_lost("lost".into(), now);
            }
            b'm' => self.auto_connect = false,
            b'c' => self.connected(),
            b'f' => self
                .client
                .handle_connect_failed(ErrorKind::Connect, "refused".into(), now),
            b'n' => self.offers = false,
            _ => {}
        }
        self.pump();
        self.wait(Duration::ZERO);
    }
}

fn separate(script: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(script);
    std::iter::from_fn(move || {
        let script = rest?;
        let end = script.windows(4).position(|four| four == b"\n%%\n");
        rest = end.and_then(|end| script.get(end + 4..));
        Some(&script[..end.unwrap_or(script.len())])
    })
}

fuzz_target!(|data: &[u8]| {
    let url = Url::parse("rtsp://192.0.2.1/x").expect("a URL");
    let now = Instant::now();
    let config = Config {
        credentials: Some(Credentials {
            user: "user".into(),
            password: PASSWORD.into(),
        }),
        user_agent: "fuzz".into(),
        wall_clock: Some((now, 0)),
        // By length, so that the seeds of one kind stay what they are.
        review: data.len() % 2 == 1,
        backchannel: data.len() % 3 == 2,
        version: match data.len() % 5 {
            4 => Version::V2_0,
            _ => Version::V1_0,
        },
        ..Config::new(url)
    };
    let mut peer = Peer {
        client: Client::new(config),
        now,
        decoder: Decoder::new(),
        buffer: Vec::new(),
        requests: VecDeque::new(),
        auto_connect: true,
        offers: true,
        closed: 0,
    };
    peer.client.start(now);
    peer.pump();
    for record in separate(data) {
        if let Some((kind, rest)) = record.split_first() {
            peer.record(*kind, rest);
        }
    }
    peer.client.teardown(peer.now);
    peer.auto_connect = true;
    peer.connected();
    peer.wait(Duration::from_secs(120));
    assert_eq!(peer.closed, 1, "it ends");
    assert_eq!(peer.client.poll_timeout(), None);
});
