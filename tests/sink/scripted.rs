//! A server that records, whose behaviour a test changes while it runs. It shares
//! no code with the client.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};

use crate::SOON;
use crate::netns::Namespace;
use crate::support::mini::free_address;
use crate::support::wire;

const SESSION: &str = "Session: 5E5510;timeout=60\r\n";

#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub uri: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// How the server behaves.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Requests of this method get this status, so many times.
    pub refuse: Option<(&'static str, u16, usize)>,
    /// Requests of this method are not answered until this changes.
    pub hang: Option<&'static str>,
    /// It takes no more bytes until this changes.
    pub deaf: bool,
    /// It grants UDP, to one stream: its media is channel 0, its RTCP 1.
    pub udp: bool,
    /// Of a thousand datagrams of media so many do not arrive.
    pub lost: u32,
    /// Bytes a second that come over TCP, with little room for more.
    pub rate: Option<u64>,
    pub stop: bool,
}

/// An RTP or RTCP packet, as it came.
#[derive(Clone)]
pub struct Arrival {
    pub channel: u8,
    pub at: Instant,
    pub packet: Vec<u8>,
}

#[derive(Default)]
struct Seen {
    requests: Vec<Request>,
    frames: Vec<Arrival>,
    /// Media that was lost on the way.
    lost: Vec<Vec<u8>>,
    streams: Vec<TcpStream>,
    /// For RTCP over UDP, and whose it is.
    rtcp: Option<(UdpSocket, SocketAddr)>,
}

#[derive(Default)]
struct Shared {
    rules: Mutex<Rules>,
    ruled: Condvar,
    seen: Mutex<Seen>,
    saw: Condvar,
}

pub struct Scripted {
    address: SocketAddrV4,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Scripted {
    pub fn new(rules: Rules) -> Self {
        // The port may be gone until it is bound again.
        Self::at(SocketAddrV4::new(*free_address().ip(), 0), rules)
    }

    /// A server in a network namespace.
    pub fn inside(namespace: &Namespace, rules: Rules) -> Self {
        let handle = std::fs::File::open(format!("/run/netns/{}", namespace.name)).unwrap();
        let address = SocketAddrV4::new(namespace.address.parse().unwrap(), 0);
        // A thread's own, which all that it makes inherit.
        let starts = std::thread::spawn(move || {
            setns(handle, CloneFlags::CLONE_NEWNET).unwrap();
            Self::at(address, rules)
        });
        starts.join().unwrap()
    }

    fn at(address: SocketAddrV4, rules: Rules) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        if rules.rate.is_some() {
            // Connections inherit it. What waits here has arrived for the sender.
            let socket = socket2::SockRef::from(&listener);
            socket.set_recv_buffer_size(8 * 1024).unwrap();
        }
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else {
            unreachable!("an IPv4 address was bound");
        };
        let shared = Arc::new(Shared {
            rules: Mutex::new(rules),
            ..Default::default()
        });
        let accepting = shared.clone();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.rules.lock().unwrap().stop {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let kept = stream.try_clone().unwrap();
                accepting.seen.lock().unwrap().streams.push(kept);
                let shared = accepting.clone();
                std::thread::spawn(move || {
                    let _ = serve(&shared, &stream);
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        });
        Self {
            address,
            shared,
            thread: Some(thread),
        }
    }

    pub fn url(&self) -> String {
        format!("rtsp://{}/live", self.address)
    }

    pub fn set(&self, change: impl FnOnce(&mut Rules)) {
        change(&mut self.shared.rules.lock().unwrap());
        self.shared.ruled.notify_all();
    }

    /// Closes all connections; new ones are accepted.
    pub fn drop_connections(&self) {
        for stream in self.shared.seen.lock().unwrap().streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Sends a frame to the publisher over the last connection, or RTCP over UDP.
    pub fn send(&self, channel: u8, packet: &[u8]) {
        let seen = self.shared.seen.lock().unwrap();
        if let Some((socket, publisher)) = &seen.rtcp {
            socket.send_to(packet, publisher).unwrap();
            return;
        }
        let mut stream = seen.streams.last().expect("a connection");
        stream.write_all(&wire::frame(channel, packet)).unwrap();
    }

    /// Sends a request of the server over the last connection; the answer is recorded as if it
    /// were a request, with its version in place of the method.
    pub fn ask(&self, method: &str) {
        let request = format!("{method} {} RTSP/1.0\r\nCSeq: 77\r\n\r\n", self.url());
        let seen = self.shared.seen.lock().unwrap();
        let mut stream = seen.streams.last().expect("a connection");
        stream.write_all(request.as_bytes()).unwrap();
    }

    pub fn requests(&self) -> Vec<Request> {
        self.shared.seen.lock().unwrap().requests.clone()
    }

    pub fn methods(&self) -> Vec<String> {
        self.requests().into_iter().map(|r| r.method).collect()
    }

    pub fn wait_request(&self, method: &str, count: usize) -> Request {
        let of = |seen: &Seen| {
            let mut all = seen.requests.iter().filter(|r| r.method == method);
            all.nth(count - 1).cloned()
        };
        self.wait(&format!("{count} × {method}"), |seen| of(seen).is_some());
        of(&self.shared.seen.lock().unwrap()).unwrap()
    }

    /// Waits for that many frames on a channel.
    pub fn wait_frames(&self, channel: u8, count: usize) -> Vec<Vec<u8>> {
        let of = |frame: &&Arrival| frame.channel == channel;
        let what = format!("{count} frames on {channel}");
        self.wait(&what, |seen| seen.frames.iter().filter(of).count() >= count);
        let all = self.arrivals(channel).into_iter();
        all.map(|frame| frame.packet).collect()
    }

    pub fn frames(&self, channel: u8) -> usize {
        self.arrivals(channel).len()
    }

    pub fn arrivals(&self, channel: u8) -> Vec<Arrival> {
        let seen = self.shared.seen.lock().unwrap();
        let of = |frame: &&Arrival| frame.channel == channel;
        seen.frames.iter().filter(of).cloned().collect()
    }

    /// Media that was lost on the way.
    pub fn lost(&self) -> Vec<Vec<u8>> {
        self.shared.seen.lock().unwrap().lost.clone()
    }

    fn wait(&self, what: &str, done: impl Fn(&Seen) -> bool) {
        let seen = self.shared.seen.lock().unwrap();
        let (seen, waited) = self
            .shared
            .saw
            .wait_timeout_while(seen, SOON, |seen| !done(seen))
            .unwrap();
        let methods: Vec<&str> = seen.requests.iter().map(|r| r.method.as_str()).collect();
        assert!(
            !waited.timed_out(),
            "no {what} within {SOON:?}, but {methods:?}"
        );
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.set(|rules| {
            *rules = Rules {
                stop: true,
                ..Default::default()
            }
        });
        // Wakes the accepting thread, if the network is not cut.
        let woken = TcpStream::connect_timeout(&self.address.into(), Duration::from_secs(1));
        if let (Ok(_), Some(thread)) = (woken, self.thread.take()) {
            let _ = thread.join();
        }
        self.drop_connections();
    }
}

impl Shared {
    fn arrived(&self, channel: u8, packet: Vec<u8>) {
        self.seen.lock().unwrap().frames.push(Arrival {
            channel,
            at: Instant::now(),
            packet,
        });
        self.saw.notify_all();
    }
}

fn serve(shared: &Arc<Shared>, stream: &TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream.try_clone()?;
    let mut free_at = Instant::now();
    loop {
        let hearing = shared.rules.lock().unwrap();
        drop(
            shared
                .ruled
                .wait_while(hearing, |rules| rules.deaf)
                .unwrap(),
        );
        let mut first = [0];
        reader.read_exact(&mut first)?;
        if first == *b"$" {
            let mut header = [0; 3];
            reader.read_exact(&mut header)?;
            let mut packet = vec![0; usize::from(u16::from_be_bytes([header[1], header[2]]))];
            reader.read_exact(&mut packet)?;
            let length = packet.len();
            shared.arrived(header[0], packet);
            let rate = shared.rules.lock().unwrap().rate;
            if let Some(rate) = rate {
                let takes = Duration::from_secs_f64(length as f64 / rate as f64);
                free_at = free_at.max(Instant::now()) + takes;
                std::thread::sleep(free_at.saturating_duration_since(Instant::now()));
            }
            continue;
        }
        let request = read_request(first[0], &mut reader)?;
        shared.seen.lock().unwrap().requests.push(request.clone());
        shared.saw.notify_all();
        let method = request.method.as_str();
        let rules = shared.rules.lock().unwrap();
        let rules = shared
            .ruled
            .wait_while(rules, |rules| rules.hang == Some(method));
        let mut rules = rules.unwrap();
        let refused = match &mut rules.refuse {
            Some((refused, status, left)) if *refused == method && *left > 0 => {
                *left -= 1;
                Some(*status)
            }
            _ => None,
        };
        let udp = rules.udp;
        drop(rules);
        let answer = match client_port(&request) {
            Some(port) if udp && refused.is_none() => grant_udp(shared, stream, &request, port)?,
            _ => answer(&request, refused),
        };
        writer.write_all(answer.as_bytes())?;
    }
}

fn client_port(request: &Request) -> Option<u16> {
    let transport = wire::header(&request.headers, "Transport")?;
    let (_, rest) = transport.split_once("client_port=")?;
    rest.split(['-', ';', ',']).next()?.parse().ok()
}

/// Opens two sockets, and answers SETUP with them.
fn grant_udp(
    shared: &Arc<Shared>,
    stream: &TcpStream,
    request: &Request,
    port: u16,
) -> io::Result<String> {
    let (SocketAddr::V4(own), peer) = (stream.local_addr()?, stream.peer_addr()?) else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    let (rtp, rtcp) = wire::udp_pair(*own.ip());
    let server_port = rtp.local_addr()?.port();
    let publisher = SocketAddr::new(peer.ip(), port + 1);
    shared.seen.lock().unwrap().rtcp = Some((rtcp.try_clone()?, publisher));
    for (channel, socket) in [(0, rtp), (1, rtcp)] {
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let shared = shared.clone();
        std::thread::spawn(move || receive(&shared, &socket, channel));
    }
    let next = server_port + 1;
    let more = format!(
        "{SESSION}Transport: RTP/AVP;unicast;client_port={port}-{};\
         server_port={server_port}-{next};mode=record\r\n",
        port + 1
    );
    let cseq = wire::header(&request.headers, "CSeq").unwrap_or_default();
    Ok(wire::response(200, cseq, &more, ""))
}

/// Datagrams of the publisher; the same ones are lost in each run.
fn receive(shared: &Shared, socket: &UdpSocket, channel: u8) {
    let mut buffer = vec![0; 65_536];
    let mut chance = 0x2545_f491_4f6c_dd1d_u64;
    loop {
        let lost = {
            let rules = shared.rules.lock().unwrap();
            if rules.stop {
                return;
            }
            rules.lost
        };
        let Ok((length, _)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let packet = buffer[..length].to_vec();
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        if channel == 0 && (chance >> 16) % 1000 < u64::from(lost) {
            shared.seen.lock().unwrap().lost.push(packet);
        } else {
            shared.arrived(channel, packet);
        }
    }
}

fn read_request(first: u8, reader: &mut impl BufRead) -> io::Result<Request> {
    let mut line = String::from(char::from(first));
    reader.read_line(&mut line)?;
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_string(), value.trim().to_string())),
            None => break,
        }
    }
    let length = wire::header(&headers, "Content-Length").and_then(|text| text.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let mut words = line.split_whitespace().map(str::to_string);
    Ok(Request {
        method: words.next().unwrap_or_default(),
        uri: words.next().unwrap_or_default(),
        headers,
        body: String::from_utf8_lossy(&body).into(),
    })
}

fn answer(request: &Request, refused: Option<u16>) -> String {
    let header = |name| wire::header(&request.headers, name).unwrap_or_default();
    let cseq = header("CSeq");
    if let Some(status) = refused {
        let more = match status {
            401 => "WWW-Authenticate: Basic realm=\"scripted\"\r\n",
            _ => "",
        };
        return wire::response(status, cseq, more, "");
    }
    match request.method.as_str() {
        "OPTIONS" => {
            let public = "Public: OPTIONS, ANNOUNCE, SETUP, RECORD, PAUSE, TEARDOWN\r\n";
            wire::response(200, cseq, public, "")
        }
        "SETUP" if !header("Transport").contains("TCP") => wire::response(461, cseq, "", ""),
        "SETUP" => {
            let more = format!("{SESSION}Transport: {}\r\n", header("Transport"));
            wire::response(200, cseq, &more, "")
        }
        "ANNOUNCE" => wire::response(200, cseq, "", ""),
        _ => wire::response(200, cseq, SESSION, ""),
    }
}
