//! The server that a script describes.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::*};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gstrtsp2::rtp::srtp::{Keys, MasterKey, Outbound, Suite};
use gstrtsp2::rtsp::mikey;

use crate::packets::{self, Stream};
use crate::script::{Line, Script, expand, hex, unescape};
use crate::support::mini::{Request, Response, free_address, lock};
use crate::support::player::PATIENCE;
use crate::support::wire::{self, Incoming};

/// What the connections have seen, for the checks.
#[derive(Default)]
pub struct Seen {
    pub connections: usize,
    /// Methods, in order.
    pub requests: Vec<String>,
    /// RTCP packets over TCP.
    pub reports: usize,
    /// Statements that did not come true.
    pub errors: Vec<String>,
    /// Connections whose statements are done.
    done: usize,
}

pub struct Server {
    pub address: SocketAddrV4,
    pub seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    blocks: usize,
}

impl Server {
    pub fn start(script: &Script) -> Self {
        let address = free_address();
        let listener = TcpListener::bind(address).expect("the address is ours");
        let seen = Arc::<Mutex<Seen>>::default();
        let stop = Arc::<AtomicBool>::default();
        let (blocks, variables) = (script.connections.clone(), script.variables.clone());
        let server = Self {
            address,
            seen: seen.clone(),
            stop: stop.clone(),
            blocks: blocks.len(),
        };
        let repeats_last = script.repeats_last;
        std::thread::spawn(move || {
            for (index, stream) in listener.incoming().enumerate() {
                if stop.load(Acquire) {
                    return;
                }
                let last = blocks.last().filter(|_| repeats_last);
                let block = blocks.get(index).or(last).cloned();
                lock(&seen).connections += 1;
                let (Ok(stream), Some(block)) = (stream, block) else {
                    lock(&seen)
                        .errors
                        .push(format!("connection {index}: not expected"));
                    continue;
                };
                let (seen, variables) = (seen.clone(), variables.clone());
                std::thread::spawn(move || {
                    let mut connection = Connection::new(stream, address, variables, seen.clone());
                    let result = connection.run(&block);
                    connection.close();
                    let mut seen = lock(&seen);
                    seen.errors.extend(result.err());
                    seen.done += 1;
                });
            }
        });
        server
    }

    /// Waits until all that the script says has happened.
    pub fn finish(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = lock(&self.seen);
            assert!(seen.errors.is_empty(), "server: {:#?}", seen.errors);
            if seen.done >= self.blocks.max(seen.connections) {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "server: {} of {} connections came, {} are through; requests: {:?}",
                seen.connections,
                self.blocks,
                seen.done,
                seen.requests
            );
            drop(seen);
            std::thread::sleep(Duration::from_millis(5));
        }
        self.stop.store(true, Release);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}

/// What a SETUP over UDP has led to.
struct Udp {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    client: SocketAddr,
}

struct Connection {
    stream: TcpStream,
    address: SocketAddrV4,
    variables: BTreeMap<String, String>,
    seen: Arc<Mutex<Seen>>,
    incoming: Receiver<Option<Incoming>>,
    requests: VecDeque<Request>,
    responses: VecDeque<Response>,
    reports: VecDeque<u8>,
    /// The client has closed.
    closed: bool,
    /// Nothing can be written any more.
    broken: bool,
    /// The end is to be a reset: nothing shuts the socket down before it is closed.
    reset: bool,
    request: Option<Request>,
    /// By SETUP.
    udp: Vec<Udp>,
    streams: Vec<Stream>,
    srtp: Option<Outbound>,
}

type Outcome = Result<(), String>;

impl Connection {
    fn new(
        stream: TcpStream,
        address: SocketAddrV4,
        variables: BTreeMap<String, String>,
        seen: Arc<Mutex<Seen>>,
    ) -> Self {
        let reading = stream.try_clone().expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        let patience = Some(Duration::from_secs(5));
        stream.set_write_timeout(patience).expect("a socket");
        let (sender, incoming) = channel();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(reading);
            while let Ok(message) = wire::read(&mut reader) {
                if sender.send(Some(message)).is_err() {
                    return;
                }
            }
            let _ = sender.send(None);
        });
        Self {
            stream,
            address,
            variables,
            seen,
            incoming,
            requests: VecDeque::new(),
            responses: VecDeque::new(),
            reports: VecDeque::new(),
            closed: false,
            broken: false,
            reset: false,
            request: None,
            udp: Vec::new(),
            streams: Vec::new(),
            srtp: None,
        }
    }

    fn close(&self) {
        if !self.reset {
            let _ = self.stream.shutdown(Shutdown::Both);
        }
    }

    fn run(&mut self, block: &[Line]) -> Outcome {
        for line in block {
            self.statement(line)
                .map_err(|error| format!("{}: {error}", line.place))?;
        }
        Ok(())
    }

    fn statement(&mut self, line: &Line) -> Outcome {
        let first = line.word(0);
        match first {
            "expect" => return self.expect(line),
            "reply" => self.reply(line),
            "send" => {
                let end = match line.word(1) {
                    "lf" => "\n",
                    "cr" => "\r",
                    "bare" => "",
                    _ => "\r\n",
                };
                let lines: Vec<String> = line.text.iter().map(|t| self.expand(t) + end).collect();
                self.write(&unescape(&lines.concat()));
            }
            "bytes" => {
                let byte = hex(line.word(1));
                let mut left: usize = line.word(2).parse().expect("a number");
                let chunk = byte.repeat(65_536);
                while left > 0 && !self.broken {
                    let part = left.min(chunk.len());
                    self.write(&chunk[..part]);
                    left -= part;
                }
            }
            "stream" => {
                let new = Stream::new(line);
                let same = |old: &Stream| old.target == new.target && old.ssrc == new.ssrc;
                self.streams.retain(|old| !same(old));
                self.streams.push(new);
            }
            // What follows is protected.
            "srtp" => self.protect(line)?,
            // Another UDP pair for the last SETUP.
            "bind" => drop(self.variable("server_port")),
            "serve" => return self.serve(line),
            "wait" => {
                let millis = line.word(1).parse().expect("milliseconds");
                let until = Instant::now() + Duration::from_millis(millis);
                while Instant::now() < until && !self.closed {
                    self.receive(until);
                }
            }
            "close" => self.close(),
            "reset" => {
                // Nothing is sent before the reset then.
                let socket = socket2::SockRef::from(&self.stream);
                let _ = socket.set_linger(Some(Duration::ZERO));
                // Ends the reader, whose handle would keep the socket open.
                let _ = self.stream.shutdown(Shutdown::Read);
                self.reset = true;
                while !self.closed {
                    self.receive(Instant::now() + PATIENCE);
                }
            }
            "let" => {
                let value = line.words.get(2..).unwrap_or_default().join(" ");
                self.variables.insert(line.word(1).into(), value);
            }
            "sdp" => {
                let text = line.body.join("\r\n") + "\r\n";
                self.variables.insert("sdp".into(), text);
            }
            "repeat" => {
                let count = match line.word(1) {
                    "forever" => u64::MAX,
                    count => count.parse().expect("a number"),
                };
                for round in 0..count {
                    if self.broken || self.closed {
                        break;
                    }
                    self.variables.insert("round".into(), round.to_string());
                    self.run(&line.inner)?;
                }
            }
            _ if first.starts_with('$') || first.starts_with("udp") => {
                let mut line = line.clone();
                for word in &mut line.words {
                    *word = self.expand(word);
                }
                for packet in packets::packets(&line) {
                    let mut packet = self.protected(line.word(1), &packet)?;
                    if let Some(octet) = packet.get_mut(line.number("flip", u64::MAX) as usize) {
                        *octet ^= 1;
                    }
                    for _ in 0..line.number("times", 1) {
                        self.transmit(line.word(0), line.word(1), &packet)?;
                    }
                }
            }
            other => return Err(format!("no statement {other}")),
        }
        Ok(())
    }

    fn expect(&mut self, line: &Line) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        match line.word(1) {
            "close" => {
                while !self.closed {
                    self.receive(deadline);
                    if Instant::now() >= deadline {
                        return Err("the client does not close".into());
                    }
                }
                Ok(())
            }
            "nothing" => {
                let millis = line.word(2).parse().expect("milliseconds");
                let until = Instant::now() + Duration::from_millis(millis);
                while Instant::now() < until && !self.closed {
                    self.receive(until);
                }
                match self.requests.front() {
                    Some(request) => Err(format!("{} came", request.method)),
                    None => Ok(()),
                }
            }
            "response" => {
                self.wait(deadline, "a response", |c| !c.responses.is_empty())?;
                let response = self.responses.pop_front().expect("a response");
                if response.status.to_string() != line.word(2) {
                    return Err(format!("the response is {}", response.status));
                }
                self.has_headers(line, &response.headers)
            }
            "rtcp" => {
                let channel: u8 = line.word(2).parse().expect("a channel");
                self.wait(deadline, "RTCP", |c| c.reports.contains(&channel))
            }
            method => {
                self.wait(deadline, method, |c| !c.requests.is_empty())?;
                let request = self.requests.pop_front().expect("a request");
                let (came, uri) = (request.method.clone(), request.uri.clone());
                self.request = Some(request.clone());
                if came != method {
                    return Err(format!("{came} {uri} came instead of {method}"));
                }
                let wanted = self.expand(line.word(2));
                let right = match wanted.contains("://") {
                    true => uri == wanted,
                    false => uri.ends_with(&wanted),
                };
                if !right {
                    return Err(format!("the URL is {uri} instead of {wanted}"));
                }
                self.has_headers(line, &request.headers)
            }
        }
    }

    /// `Name: part of the value`, `-Name` for one that must be missing, `-Name: part` for
    /// a part that must be missing.
    fn has_headers(&mut self, line: &Line, headers: &[(String, String)]) -> Outcome {
        for condition in &line.text {
            let condition = self.expand(condition);
            let (absent, rest) = match condition.strip_prefix('-') {
                Some(rest) => (true, rest),
                None => (false, condition.as_str()),
            };
            let (name, part) = rest.split_once(':').unwrap_or((rest, ""));
            let value = wire::header(headers, name.trim());
            let found = value.is_some_and(|value| value.contains(part.trim()));
            if found == absent {
                return Err(format!("not so: {condition}; the headers are {headers:?}"));
            }
        }
        Ok(())
    }

    fn wait(&mut self, deadline: Instant, what: &str, done: impl Fn(&Self) -> bool) -> Outcome {
        while !done(self) {
            if self.closed {
                return Err(format!("the client closed instead of {what}"));
            }
            if Instant::now() >= deadline {
                return Err(format!("no {what} within {PATIENCE:?}"));
            }
            self.receive(deadline);
        }
        Ok(())
    }

    /// Takes one thing that the client has sent, if one comes in time.
    fn receive(&mut self, deadline: Instant) {
        let patience = deadline.saturating_duration_since(Instant::now());
        match self.incoming.recv_timeout(patience) {
            Ok(Some(Incoming::Request {
                method,
                uri,
                headers,
                body,
            })) => {
                lock(&self.seen).requests.push(method.clone());
                self.requests.push_back(Request {
                    method,
                    uri,
                    headers,
                    body,
                    connection: 0,
                });
            }
            Ok(Some(Incoming::Response {
                status,
                headers,
                body,
            })) => {
                self.responses.push_back(Response {
                    status,
                    headers,
                    body,
                });
            }
            Ok(Some(Incoming::Frame { channel, .. })) => {
                lock(&self.seen).reports += 1;
                self.reports.push_back(channel);
            }
            Ok(None) | Err(RecvTimeoutError::Disconnected) => self.closed = true,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }

    fn reply(&mut self, line: &Line) {
        let has = |name: &str| {
            let name = format!("{name}:");
            let mut text = line.text.iter();
            text.any(|t| {
                t.get(..name.len())
                    .is_some_and(|t| t.eq_ignore_ascii_case(&name))
            })
        };
        let status = line.words.get(1..).unwrap_or_default().join(" ");
        let mut reply = self.expand("RTSP/{version} ") + &status + "\r\n";
        if !has("CSeq") {
            reply += &self.expand("CSeq: {cseq}\r\n");
        }
        for text in &line.text {
            reply += &(self.expand(text) + "\r\n");
        }
        let mut body = String::new();
        for text in &line.body {
            body += &self.expand(text);
            if !body.ends_with("\r\n") {
                body += "\r\n";
            }
        }
        let mut reply = unescape(&reply);
        let body = unescape(&body);
        if !body.is_empty() && !has("Content-Length") {
            reply.extend(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        reply.extend(b"\r\n");
        reply.extend(body);
        self.write(&reply);
    }

    /// Sends the streams in their pace and answers what comes: for ever, `until METHOD`, which is
    /// left to the next `expect`, or for so many `frames`.
    fn serve(&mut self, line: &Line) -> Outcome {
        let until = (line.word(1) == "until").then(|| line.word(2));
        let frames = line.number("frames", u64::MAX);
        let start = Instant::now();
        let deadline = start + 3 * PATIENCE;
        let mut sent = vec![0u64; self.streams.len()];
        loop {
            while let Some(request) = self.requests.front() {
                if until == Some(request.method.as_str()) {
                    return Ok(());
                }
                let request = self.requests.pop_front().expect("a request");
                let ends = request.method == "TEARDOWN";
                self.request = Some(request);
                let answer = self
                    .expand("RTSP/{version} 200 OK\r\nCSeq: {cseq}\r\nSession: {session}\r\n\r\n");
                self.write(answer.as_bytes());
                if ends {
                    return Ok(());
                }
            }
            if self.closed {
                return match until {
                    Some(method) => Err(format!("the client closed instead of {method}")),
                    None => Ok(()),
                };
            }
            let mut next = deadline;
            let mut streams = std::mem::take(&mut self.streams);
            for (stream, sent) in streams.iter_mut().zip(&mut sent) {
                let due = |sent: u64| start + Duration::from_millis(stream.every * sent);
                let mut at = due(*sent);
                while at <= Instant::now() && *sent < frames {
                    for packet in stream.frame() {
                        self.packet(&stream.target.clone(), "rtp", &packet)?;
                    }
                    *sent += 1;
                    at = start + Duration::from_millis(stream.every * *sent);
                }
                if *sent < frames {
                    next = next.min(at);
                }
            }
            self.streams = streams;
            if frames != u64::MAX && sent.iter().all(|sent| *sent >= frames) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err("served for too long".into());
            }
            self.receive(next);
        }
    }

    /// `srtp KEY` with key and salt in base64, `srtp client` with those of the last request.
    fn protect(&mut self, line: &Line) -> Outcome {
        let keys = match line.word(1) {
            "client" => {
                let request = self.request.as_ref().ok_or("no request")?;
                let header = request.header("KeyMgmt").ok_or("no KeyMgmt")?;
                let data = header
                    .split("data=\"")
                    .nth(1)
                    .and_then(|d| d.split('"').next());
                let message = STANDARD.decode(data.unwrap_or_default());
                let message = message.map_err(|error| error.to_string())?;
                mikey::parse(&message).map_err(|error| error.to_string())?
            }
            key => srtp_keys(&self.expand(key)).ok_or("no key")?,
        };
        self.srtp = Some(Outbound::new(keys).ok_or("no key")?);
        Ok(())
    }

    fn protected(&mut self, kind: &str, packet: &[u8]) -> Result<Vec<u8>, String> {
        let mut packet = packet.to_vec();
        if let Some(srtp) = &mut self.srtp {
            let result = match kind {
                "rtp" => srtp.rtp(&mut packet),
                _ => srtp.rtcp(&mut packet),
            };
            result.map_err(|error| format!("{error:?}"))?;
        }
        Ok(packet)
    }

    fn packet(&mut self, target: &str, kind: &str, packet: &[u8]) -> Outcome {
        let packet = self.protected(kind, packet)?;
        self.transmit(target, kind, &packet)
    }

    fn transmit(&mut self, target: &str, kind: &str, packet: &[u8]) -> Outcome {
        if let Some(channel) = target.strip_prefix('$') {
            let channel = channel.parse().map_err(|_| "no channel")?;
            self.write(&wire::frame(channel, packet));
            return Ok(());
        }
        let index: usize = target.trim_start_matches("udp").parse().unwrap_or(0);
        let udp = self.udp.get(index).ok_or("no UDP was set up")?;
        if kind == "rtp" {
            let _ = udp.rtp.send_to(packet, udp.client);
        } else {
            let to = SocketAddr::new(udp.client.ip(), udp.client.port() + 1);
            let _ = udp.rtcp.send_to(packet, to);
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) {
        // What the client has closed is found out by what is expected next.
        self.broken |= self.stream.write_all(bytes).is_err();
    }

    fn expand(&mut self, text: &str) -> String {
        expand(text, |name| self.variable(name))
    }

    fn variable(&mut self, name: &str) -> Option<String> {
        let header = |name: &str| {
            let request = self.request.as_ref()?;
            request.header(name).map(str::to_string)
        };
        let asked = || header("Transport").unwrap_or_default();
        let parameter = |name: &str| {
            let asked = asked();
            let value = asked.split(';').find_map(|part| {
                let value = part.strip_prefix(name)?.strip_prefix('=')?;
                Some(value.to_string())
            });
            value.unwrap_or_default()
        };
        Some(match name {
            name if name.starts_with("mikey") => {
                let (kind, key) = name.split_once(' ')?;
                let fresh = mikey::Fresh {
                    bundle: 1,
                    rand: [2; 16],
                    ntp: 3,
                };
                let mut message = mikey::write(&srtp_keys(key)?, &fresh).to_vec();
                match kind {
                    "mikey-padded" => message.extend([0; 15]),
                    "mikey-cut" => message.truncate(60),
                    _ => {}
                }
                STANDARD.encode(message)
            }
            "cseq" => header("CSeq").unwrap_or_default(),
            "uri" => self.request.as_ref()?.uri.clone(),
            "address" => self.address.to_string(),
            "host" => self.address.ip().to_string(),
            "port" => self.address.port().to_string(),
            "url" => format!("rtsp://{}/live", self.address),
            "transport" => asked(),
            "client_port" => parameter("client_port"),
            "channels" => parameter("interleaved"),
            "granted" if asked().contains("client_port") => {
                asked() + ";server_port=" + &self.variable("server_port")?
            }
            "granted" => asked(),
            "server_rtp" => {
                let ports = self.variable("server_port")?;
                ports.split('-').next()?.to_string()
            }
            "server_port" => {
                let client = parameter("client_port");
                let client = client.split('-').next()?.parse().ok()?;
                let peer = self.stream.peer_addr().ok()?.ip();
                let from = self
                    .variables
                    .get("from")
                    .and_then(|from| from.parse().ok());
                let from: Ipv4Addr = from.unwrap_or(*self.address.ip());
                let (rtp, rtcp) = wire::udp_pair(from);
                let port = |socket: &UdpSocket| socket.local_addr().map_or(0, |a| a.port());
                let ports = format!("{}-{}", port(&rtp), port(&rtcp));
                self.udp.push(Udp {
                    rtp,
                    rtcp,
                    client: SocketAddr::new(peer, client),
                });
                ports
            }
            name => {
                let value = self.variables.get(name)?.clone();
                self.expand(&value)
            }
        })
    }
}

/// AES_CM_128_HMAC_SHA1_80 with key and salt in base64.
fn srtp_keys(key: &str) -> Option<Keys> {
    let suite = Suite::AesCm128Sha1_80;
    let material = STANDARD.decode(key).ok()?;
    Some(Keys::new(suite, MasterKey::new(suite, &material)?))
}
