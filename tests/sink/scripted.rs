//! A server that records, whose behaviour a test changes while it runs. It shares
//! no code with the client.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use crate::SOON;
use crate::support::mini::free_address;
use crate::support::wire;

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
    pub stop: bool,
}

#[derive(Default)]
struct Seen {
    requests: Vec<Request>,
    /// Channel, packet.
    frames: Vec<(u8, Vec<u8>)>,
    streams: Vec<TcpStream>,
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
        let address = free_address();
        let listener = TcpListener::bind(address).unwrap();
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

    /// Sends a frame to the publisher over the last connection.
    pub fn send(&self, channel: u8, packet: &[u8]) {
        let seen = self.shared.seen.lock().unwrap();
        let mut stream = seen.streams.last().expect("a connection");
        stream.write_all(&wire::frame(channel, packet)).unwrap();
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
        let of = |seen: &Seen| {
            let all = seen.frames.iter().filter(|(c, _)| *c == channel);
            all.map(|(_, packet)| packet.clone()).collect::<Vec<_>>()
        };
        let what = format!("{count} frames on {channel}");
        self.wait(&what, |seen| of(seen).len() >= count);
        of(&self.shared.seen.lock().unwrap())
    }

    pub fn frames(&self, channel: u8) -> usize {
        let seen = self.shared.seen.lock().unwrap();
        seen.frames.iter().filter(|(c, _)| *c == channel).count()
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
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.drop_connections();
    }
}

fn serve(shared: &Shared, stream: &TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream.try_clone()?;
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
            shared.seen.lock().unwrap().frames.push((header[0], packet));
            shared.saw.notify_all();
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
        drop(rules);
        writer.write_all(answer(&request, refused).as_bytes())?;
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
    let session = "Session: 5E5510;timeout=60\r\n";
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
            let more = format!("{session}Transport: {}\r\n", header("Transport"));
            wire::response(200, cseq, &more, "")
        }
        "ANNOUNCE" => wire::response(200, cseq, "", ""),
        _ => wire::response(200, cseq, session, ""),
    }
}
