//! An RTSP server that takes what is published and counts it: ANNOUNCE, SETUP and RECORD over TCP interleaved and UDP.
//!
//! It shares no code with the library. Run as a role of this program; see [`run`] for what it says.

use std::io::{BufRead, IoSliceMut, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::RcvBuf;
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};
use tokio::net::{TcpListener, TcpStream};

use crate::load_server::monotonic;

/// What a well set up recorder has; the kernel caps it.
const UDP_RECEIVE_BUFFER: usize = 4 << 20;
/// How often datagrams are read.
const UDP_READ_INTERVAL: Duration = Duration::from_millis(5);
const SLOT: usize = 64 << 10;
const READ: usize = 256 << 10;
const PORT_TRIES: u32 = 200;

#[derive(Default)]
struct Counters {
    packets: AtomicU64,
    /// CLOCK_MONOTONIC nanoseconds of the first RTP packet, 0 before.
    first: AtomicU64,
    recording: AtomicU64,
}

impl Counters {
    fn count(&self, packets: u64) {
        if self.packets.fetch_add(packets, Ordering::Relaxed) == 0 && packets > 0 {
            self.first.store(monotonic(), Ordering::Relaxed);
        }
    }
}

/// Runs until stdin closes. Prints `port N`; `stats` on stdin is answered with the counters.
pub fn run() -> std::io::Result<()> {
    let counters = Arc::new(Counters::default());
    let asked = counters.clone();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if line.trim() == "stats" {
                say(&format!(
                    "stats packets={} first={} recording={}",
                    asked.packets.load(Ordering::Relaxed),
                    asked.first.load(Ordering::Relaxed),
                    asked.recording.load(Ordering::Relaxed),
                ));
            }
        }
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        say(&format!("port {}", listener.local_addr()?.port()));
        loop {
            let (stream, _) = listener.accept().await?;
            let counters = counters.clone();
            tokio::spawn(async move {
                // A client that goes away is the normal end of a session.
                let _ = serve(stream, counters).await;
            });
        }
    })
}

async fn serve(stream: TcpStream, counters: Arc<Counters>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut session = Session {
        counters,
        channels: 0,
        ended: Arc::default(),
    };
    let mut input = Vec::with_capacity(2 * READ);
    loop {
        stream.readable().await?;
        match stream.try_read_buf(&mut input) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        let mut from = 0;
        while let Some((taken, request)) = session.take(&input[from..]) {
            from += taken;
            if let Some(request) = request {
                let reply = session.answer(&request)?;
                write(&stream, reply.as_bytes()).await?;
            }
        }
        input.drain(..from);
        input.reserve(READ);
    }
}

async fn write(stream: &TcpStream, mut data: &[u8]) -> std::io::Result<()> {
    while !data.is_empty() {
        match stream.try_write(data) {
            Ok(written) => data = &data[written..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                stream.writable().await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

struct Session {
    counters: Arc<Counters>,
    /// Interleaved channels that were given away.
    channels: u8,
    /// The readers of datagrams stop then.
    ended: Arc<AtomicBool>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

impl Session {
    /// The next frame, which is counted, or request, which is returned; and how long it was.
    fn take(&self, input: &[u8]) -> Option<(usize, Option<String>)> {
        if input.first() == Some(&b'$') {
            let length = 4 + usize::from(u16::from_be_bytes([*input.get(2)?, *input.get(3)?]));
            if input.len() < length {
                return None;
            }
            if input[1].is_multiple_of(2) {
                self.counters.count(1);
            }
            return Some((length, None));
        }
        let end = input.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&input[..end]).into_owned();
        let length = header(&head, "content-length").and_then(|v| v.parse::<usize>().ok());
        let length = end + length.unwrap_or(0);
        (input.len() >= length).then_some((length, Some(head)))
    }

    fn answer(&mut self, request: &str) -> std::io::Result<String> {
        let method = request.split_whitespace().next().unwrap_or_default();
        let mut headers = "Session: 12345678;timeout=60\r\n".to_owned();
        let mut status = "200 OK";
        match method {
            "OPTIONS" => {
                headers = "Public: OPTIONS, ANNOUNCE, SETUP, RECORD, PAUSE, GET_PARAMETER, \
                           TEARDOWN\r\n"
                    .to_owned();
            }
            "SETUP" => match self.set_up(header(request, "transport").unwrap_or_default())? {
                Some(transport) => headers += &format!("Transport: {transport}\r\n"),
                None => status = "461 Unsupported Transport",
            },
            "RECORD" => {
                self.counters.recording.fetch_add(1, Ordering::Relaxed);
            }
            "ANNOUNCE" | "PAUSE" | "GET_PARAMETER" | "TEARDOWN" => {}
            _ => status = "501 Not Implemented",
        }
        let cseq = header(request, "cseq").unwrap_or_default();
        Ok(format!(
            "RTSP/1.0 {status}\r\nCSeq: {cseq}\r\n{headers}Content-Length: 0\r\n\r\n"
        ))
    }

    fn set_up(&mut self, offers: &str) -> std::io::Result<Option<String>> {
        for offer in offers.split(',') {
            let port = offer.split(';').find_map(|field| {
                let ports = field.trim().strip_prefix("client_port=")?;
                ports.split('-').next()?.parse::<u16>().ok()
            });
            if offer.contains("/TCP") {
                let channel = self.channels;
                self.channels += 2;
                let rtcp = channel + 1;
                return Ok(Some(format!(
                    "RTP/AVP/TCP;unicast;interleaved={channel}-{rtcp};mode=record"
                )));
            }
            if let Some(port) = port {
                let (rtp, rtcp) = udp_pair()?;
                let ports = (rtp.local_addr()?.port(), rtcp.local_addr()?.port());
                self.read(rtp, true)?;
                self.read(rtcp, false)?;
                let (next, a, b) = (port + 1, ports.0, ports.1);
                return Ok(Some(format!(
                    "RTP/AVP;unicast;client_port={port}-{next};server_port={a}-{b};mode=record"
                )));
            }
        }
        Ok(None)
    }

    /// Counts what comes, or lets it go. On loopback the kernel's half of receiving is charged to the process that sends, so
    /// it is kept small: nobody waits to be woken at the socket, and it takes runs of datagrams in one piece (GRO).
    fn read(&self, socket: UdpSocket, media: bool) -> std::io::Result<()> {
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new((&socket).into())?;
        let (counters, ended) = (self.counters.clone(), self.ended.clone());
        std::thread::spawn(move || {
            let mut memory = vec![0; BATCH_SIZE * SLOT];
            let mut metas = [RecvMeta::default(); BATCH_SIZE];
            while !ended.load(Ordering::Relaxed) {
                let mut slots = memory.chunks_exact_mut(SLOT);
                let mut buffers: [IoSliceMut; BATCH_SIZE] =
                    std::array::from_fn(|_| IoSliceMut::new(slots.next().unwrap_or_default()));
                while let Ok(count) = state.recv((&socket).into(), &mut buffers, &mut metas) {
                    let datagrams = metas[..count]
                        .iter()
                        .map(|m| m.len.div_ceil(m.stride.max(1)));
                    counters.count(datagrams.sum::<usize>() as u64 * u64::from(media));
                }
                std::thread::sleep(UDP_READ_INTERVAL);
            }
        });
        Ok(())
    }
}

fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// A pair of neighbouring ports, RTP even (RFC 3550 §11).
fn udp_pair() -> std::io::Result<(UdpSocket, UdpSocket)> {
    let mut refused = std::io::Error::from(std::io::ErrorKind::AddrInUse);
    for _ in 0..PORT_TRIES {
        let rtp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let even = rtp.local_addr()?.port();
        if even % 2 == 1 {
            continue;
        }
        match UdpSocket::bind((Ipv4Addr::LOCALHOST, even + 1)) {
            Ok(rtcp) => {
                let _ = setsockopt(&rtp, RcvBuf, &UDP_RECEIVE_BUFFER);
                return Ok((rtp, rtcp));
            }
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody to tell means that the parent has gone; stdin's end says so too.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
