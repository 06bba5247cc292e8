//! An RTSP server that loads a client: one presentation of synthetic H.264, and PCMU if asked,
//! for as many sessions as connect, over TCP interleaved or unicast UDP as the client asks.
//!
//! It shares no code with the library but SRTP, and its own cost is small: packets are made once, a burst is
//! one `write` over TCP and a few `sendmmsg` over UDP.

mod connection;
mod h264;
mod media;
mod tls;
mod tunnel;

use std::io::{BufRead, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

pub use h264::AccessUnit;
use media::Program;
pub use media::parameter_sets_base64;

/// What each session is sent.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bits a second of the video stream, RTP headers included.
    pub bitrate: u64,
    /// Bursts (access units) a second.
    pub fps: u32,
    /// How much larger a key frame is than the others; one comes every 2 s.
    pub key_ratio: u32,
    /// A PCMU stream of 64 kbit/s beside the video.
    pub audio: bool,
    /// RTP/SAVP, AES-128-CM with tags of 80 bits.
    pub secured: bool,
    /// Accept connections and never answer.
    pub silent: bool,
    /// RTSP over TLS, with a certificate of its own making.
    pub tls: bool,
    /// RTSP over HTTP.
    pub tunnel: bool,
}

/// Counters of all sessions together.
#[derive(Default)]
pub struct Counters {
    sessions: AtomicU64,
    packets: AtomicU64,
    bytes: AtomicU64,
    skipped: AtomicU64,
    /// CLOCK_MONOTONIC nanoseconds just before the first packet of all, 0 before.
    first: AtomicU64,
    stopped: AtomicBool,
}

/// CLOCK_MONOTONIC in nanoseconds: comparable between processes of one machine.
pub fn monotonic() -> u64 {
    let t = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
        .map(Duration::from)
        .unwrap_or_default();
    u64::try_from(t.as_nanos()).unwrap_or(u64::MAX)
}

/// Runs until stdin closes. Prints `port N`; on stdin, `stats` asks for the counters and `stop` ends the media.
pub fn run(config: Config) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let counters = Arc::new(Counters::default());
    let program = Arc::new(Program::new(&config));
    let listener = runtime.block_on(listen())?;
    let address = listener.local_addr()?;
    let port = match (config.tls, config.tunnel) {
        (true, _) => runtime.block_on(tls::in_front_of(address))?,
        (false, true) => runtime.block_on(tunnel::in_front_of(address))?,
        (false, false) => address.port(),
    };
    say(&format!("port {port}"));

    let commands = counters.clone();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            match line.trim() {
                "stop" => {
                    commands.stopped.store(true, Ordering::SeqCst);
                    say("stopped");
                }
                "stats" => say(&format!(
                    "stats sessions={} packets={} bytes={} skipped={} first={}",
                    commands.sessions.load(Ordering::SeqCst),
                    commands.packets.load(Ordering::SeqCst),
                    commands.bytes.load(Ordering::SeqCst),
                    commands.skipped.load(Ordering::SeqCst),
                    commands.first.load(Ordering::SeqCst),
                )),
                _ => {}
            }
        }
        std::process::exit(0);
    });

    runtime.block_on(async {
        let mut silent = Vec::new();
        loop {
            let (stream, _) = listener.accept().await?;
            if config.silent {
                silent.push(stream);
                continue;
            }
            let (program, counters) = (program.clone(), counters.clone());
            tokio::spawn(async move {
                // A client that goes away is the normal end of a session.
                let _ = connection::serve(stream, program, counters).await;
            });
        }
    })
}

async fn listen() -> std::io::Result<tokio::net::TcpListener> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    socket.listen(1024)
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody to tell means that the parent has gone; stdin's end says so too.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
