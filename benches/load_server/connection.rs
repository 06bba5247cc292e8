//! One RTSP connection with at most one session, read and fed by one task.

use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::SndBuf;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use super::media::{Path, Program, Stream};
use super::{Counters, monotonic};

const UDP_SEND_BUFFER: usize = 4 << 20;
/// A session that is this far behind (its client does not read) leaves units out.
const MAX_BEHIND: Duration = Duration::from_secs(1);
const PORT_TRIES: u32 = 200;
const MAX_REQUEST: usize = 64 << 10;

pub async fn serve(
    stream: TcpStream,
    program: Arc<Program>,
    counters: Arc<Counters>,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let number = counters.sessions.fetch_add(1, Ordering::SeqCst);
    let mut connection = Connection {
        stream,
        program,
        counters,
        number,
        streams: Vec::new(),
        start: None,
    };
    let mut input = Vec::new();
    let mut wire = Vec::new();
    loop {
        let due = connection.next_due();
        tokio::select! {
            ready = connection.stream.ready(Interest::READABLE) => {
                ready?;
                if !connection.read(&mut input)? {
                    return Ok(());
                }
                while let Some(request) = take_request(&mut input) {
                    connection.answer(&request).await?;
                }
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                wire.clear();
                connection.feed(&mut wire)?;
                connection.write(&wire).await?;
            }
        }
    }
}

struct Connection {
    stream: TcpStream,
    program: Arc<Program>,
    counters: Arc<Counters>,
    number: u64,
    streams: Vec<Stream>,
    /// When the session started to play.
    start: Option<Instant>,
}

impl Connection {
    fn next_due(&self) -> Option<Instant> {
        if self.counters.stopped.load(Ordering::Relaxed) {
            return None;
        }
        let due = self.streams.iter().map(Stream::due).min()?;
        Some(self.start? + due)
    }

    /// All units that are due.
    fn feed(&mut self, wire: &mut Vec<u8>) -> std::io::Result<()> {
        let Some(start) = self.start else {
            return Ok(());
        };
        let elapsed = start.elapsed();
        for stream in &mut self.streams {
            while stream.due() <= elapsed {
                if elapsed - stream.due() > MAX_BEHIND {
                    stream.skip();
                    self.counters.skipped.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                if self.counters.first.load(Ordering::Relaxed) == 0 {
                    self.counters.first.store(monotonic(), Ordering::Relaxed);
                }
                let burst = stream.burst(wire)?;
                self.counters
                    .packets
                    .fetch_add(burst.packets, Ordering::Relaxed);
                self.counters
                    .bytes
                    .fetch_add(burst.bytes, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    async fn write(&self, mut data: &[u8]) -> std::io::Result<()> {
        while !data.is_empty() {
            match self.stream.try_write(data) {
                Ok(n) => data = &data[n..],
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                    self.stream.writable().await?;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// False at the end of the connection.
    fn read(&self, input: &mut Vec<u8>) -> std::io::Result<bool> {
        match self.stream.try_read_buf(input) {
            Ok(0) => Ok(false),
            Ok(_) => Ok(input.len() <= MAX_REQUEST),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => Ok(true),
            Err(e) => Err(e),
        }
    }

    async fn answer(&mut self, request: &str) -> std::io::Result<()> {
        let header = |name: &str| {
            request.lines().skip(1).find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.trim()
                    .eq_ignore_ascii_case(name)
                    .then(|| value.trim().to_owned())
            })
        };
        let mut words = request.split_whitespace();
        let method = words.next().unwrap_or_default().to_owned();
        let uri = words.next().unwrap_or_default().to_owned();
        let session = format!("Session: {:08x};timeout=60\r\n", self.number + 1);
        let mut status = "200 OK";
        let mut headers = String::new();
        let mut body = String::new();
        let mut play = false;
        match method.as_str() {
            "OPTIONS" => {
                headers = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, GET_PARAMETER, \
                           SET_PARAMETER, TEARDOWN\r\n"
                    .to_owned();
            }
            "DESCRIBE" => {
                headers = format!(
                    "Content-Type: application/sdp\r\nContent-Base: {}/\r\n",
                    uri.trim_end_matches('/')
                );
                body.clone_from(&self.program.sdp);
            }
            "SETUP" => match self.set_up(&uri, &header("Transport").unwrap_or_default())? {
                Some(transport) => headers = format!("{session}Transport: {transport}\r\n"),
                None => status = "461 Unsupported Transport",
            },
            "PLAY" => {
                play = self.start.is_none();
                let infos: Vec<_> = self
                    .streams
                    .iter()
                    .map(|s| {
                        let uri = uri.trim_end_matches('/');
                        format!("url={uri}/stream={};seq=0;rtptime=0", s.track)
                    })
                    .collect();
                headers = format!(
                    "{session}Range: npt=now-\r\nRTP-Info: {}\r\n",
                    infos.join(",")
                );
            }
            "PAUSE" | "GET_PARAMETER" | "SET_PARAMETER" => headers = session,
            "TEARDOWN" => {
                headers = session;
                self.streams.clear();
                self.start = None;
            }
            _ => status = "501 Not Implemented",
        }
        let cseq = header("CSeq").unwrap_or_default();
        let length = body.len();
        let reply = format!(
            "RTSP/1.0 {status}\r\nCSeq: {cseq}\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        self.write(reply.as_bytes()).await?;
        if play {
            // Sessions that start together still send at different moments, as cameras do.
            let phase = Duration::from_micros(self.number.wrapping_mul(7_919) % 33_000);
            self.start = Some(Instant::now() + phase);
        }
        Ok(())
    }

    /// The Transport of the reply, if one of the offered ones is possible.
    fn set_up(&mut self, uri: &str, offer: &str) -> std::io::Result<Option<String>> {
        let track = usize::from(uri.ends_with("stream=1"));
        if track >= self.program.tracks.len() {
            return Ok(None);
        }
        let ssrc = (self.number as u32) << 4 | track as u32 | 0x1000_0000;
        let profile = match self.program.keys {
            Some(_) => "RTP/SAVP",
            None => "RTP/AVP",
        };
        for alternative in offer.split(',') {
            let field = |name: &str| {
                let value = alternative
                    .split(';')
                    .find_map(|f| f.trim().strip_prefix(name)?.strip_prefix('='))?;
                value.split('-').next()?.parse::<u16>().ok()
            };
            let (path, reply) = if let Some(channel) = field("interleaved") {
                let Ok(channel) = u8::try_from(channel) else {
                    continue;
                };
                let next = channel + 1;
                let reply =
                    format!("{profile}/TCP;unicast;interleaved={channel}-{next};ssrc={ssrc:08X}");
                (Path::Interleaved { channel }, reply)
            } else if let Some(port) = field("client_port") {
                let to = self.stream.peer_addr()?.ip();
                let (rtp, rtcp) = udp_pair(self.stream.local_addr()?.ip(), to, port)?;
                let (a, b) = (rtp.local_addr()?.port(), rtcp.local_addr()?.port());
                let next = port + 1;
                let reply = format!(
                    "{profile};unicast;client_port={port}-{next};server_port={a}-{b};ssrc={ssrc:08X}"
                );
                (Path::Udp { rtp, rtcp }, reply)
            } else {
                continue;
            };
            self.streams
                .push(Stream::new(self.program.clone(), track, path, ssrc));
            return Ok(Some(reply));
        }
        Ok(None)
    }
}

/// A pair of neighbouring ports, RTP even (RFC 3550 §11), connected to the client's.
fn udp_pair(local: IpAddr, to: IpAddr, port: u16) -> std::io::Result<(UdpSocket, UdpSocket)> {
    let mut refused = std::io::Error::from(std::io::ErrorKind::AddrInUse);
    for _ in 0..PORT_TRIES {
        let rtp = UdpSocket::bind((local, 0))?;
        let even = rtp.local_addr()?.port();
        if even % 2 == 1 {
            continue;
        }
        match UdpSocket::bind((local, even + 1)) {
            Ok(rtcp) => {
                // The kernel caps it; what is left is enough on loopback, where sending delivers.
                let _ = setsockopt(&rtp, SndBuf, &UDP_SEND_BUFFER);
                rtp.connect((to, port))?;
                rtcp.connect((to, port + 1))?;
                return Ok((rtp, rtcp));
            }
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// The next whole request; interleaved frames of the client (its reports) are passed over.
fn take_request(input: &mut Vec<u8>) -> Option<String> {
    loop {
        if input.first() == Some(&b'$') {
            let length = usize::from(u16::from_be_bytes([*input.get(2)?, *input.get(3)?]));
            if input.len() < 4 + length {
                return None;
            }
            input.drain(..4 + length);
            continue;
        }
        let end = input.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&input[..end]).into_owned();
        let body = head
            .lines()
            .filter_map(|l| l.split_once(':'))
            .find(|(key, _)| key.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, value)| value.trim().parse::<usize>().ok())
            .unwrap_or(0);
        if input.len() < end + body {
            return None;
        }
        input.drain(..end + body);
        return Some(head);
    }
}
