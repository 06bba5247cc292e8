//! A link between client and server that does what networks do.
//!
//! To the client it is the server, to the server it is the client, as a NAT is.
//! It reads the ports of UDP from the answers to SETUP and carries the datagrams
//! of each pair. What it drops and doubles it knows.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Read, Write};
use std::net::{
    IpAddr, Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket,
};
use std::sync::atomic::{AtomicBool, Ordering::*};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::support::mini::{free_address, lock};

/// What the link does to what passes it.
#[derive(Clone, Debug, Default)]
pub struct Weather {
    /// Of a thousand datagrams to the client so many are lost, doubled, damaged.
    pub lost: u32,
    pub doubled: u32,
    pub damaged: u32,
    /// Every datagram takes so long, and at random up to `jitter` more.
    pub delay: Duration,
    pub jitter: Duration,
    /// Bytes a second to the client; what waits longer than `queue` is lost.
    pub rate: Option<u64>,
    pub queue: Duration,
    /// No datagram gets to the client, or to the server.
    pub deaf: bool,
    pub mute: bool,
    /// Datagrams to the client come from other ports than the server named.
    pub nat: bool,
    /// The server names this address as the source of its media.
    pub source: Option<&'static str>,
}

/// Media to the client: what came from the server, and what became of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub packets: u64,
    pub lost: u64,
    pub doubled: u64,
    pub damaged: u64,
}

struct Shared {
    weather: Mutex<Weather>,
    counts: Mutex<Counts>,
    changed: Condvar,
    stop: AtomicBool,
    server: SocketAddr,
    /// Where the client finds the link, and where the server does.
    near: Ipv4Addr,
    far: Ipv4Addr,
    /// When the next byte may go to the client.
    free_at: Mutex<Instant>,
    streams: Mutex<Vec<TcpStream>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

pub struct Link {
    shared: Arc<Shared>,
    address: SocketAddrV4,
    acceptor: Option<JoinHandle<()>>,
}

impl Link {
    pub fn to(server: SocketAddr, weather: Weather) -> Self {
        Self::between(*free_address().ip(), server, weather)
    }

    /// The server sees this address of ours.
    pub fn between(far: Ipv4Addr, server: SocketAddr, weather: Weather) -> Self {
        let address = free_address();
        let listener = TcpListener::bind(address).expect("the address is ours");
        let shared = Arc::new(Shared {
            weather: Mutex::new(weather),
            counts: Mutex::default(),
            changed: Condvar::new(),
            stop: AtomicBool::new(false),
            server,
            near: *address.ip(),
            far,
            free_at: Mutex::new(Instant::now()),
            streams: Mutex::default(),
            threads: Mutex::default(),
        });
        let accepting = shared.clone();
        let acceptor = std::thread::spawn(move || accept(&accepting, &listener));
        Self {
            shared,
            address,
            acceptor: Some(acceptor),
        }
    }

    /// The URL of the server, through the link.
    pub fn url(&self, of_server: &str) -> String {
        let server = self.shared.server.to_string();
        assert!(
            of_server.contains(&server),
            "{of_server} is not of {server}"
        );
        of_server.replacen(&server, &self.address.to_string(), 1)
    }

    pub fn set(&self, change: impl FnOnce(&mut Weather)) {
        change(&mut lock(&self.shared.weather));
    }

    pub fn counts(&self) -> Counts {
        *lock(&self.shared.counts)
    }

    /// Waits until so many packets of media have come from the server.
    pub fn carried(&self, packets: u64) {
        let counts = lock(&self.shared.counts);
        let (counts, waited) = self
            .shared
            .changed
            .wait_timeout_while(counts, Duration::from_secs(60), |c| c.packets < packets)
            .expect("no thread has panicked");
        assert!(!waited.timed_out(), "{packets} packets: {counts:?}");
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.stop.store(true, Release);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
        let _ = self.acceptor.take().map(JoinHandle::join);
        for stream in lock(&self.shared.streams).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let threads: Vec<_> = lock(&self.shared.threads).drain(..).collect();
        for thread in threads {
            let _ = thread.join();
        }
    }
}

fn spawn(shared: &Arc<Shared>, run: impl FnOnce(&Arc<Shared>) + Send + 'static) {
    let given = shared.clone();
    let thread = std::thread::spawn(move || run(&given));
    lock(&shared.threads).push(thread);
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    for client in listener.incoming() {
        if shared.stop.load(Acquire) {
            return;
        }
        let Ok(client) = client else { continue };
        let Ok(server) = connect(shared) else {
            continue;
        };
        let both = [&client, &server].map(|stream| {
            let _ = stream.set_nodelay(true);
            stream.try_clone().expect("a descriptor")
        });
        lock(&shared.streams).extend(both);
        let back = (server.try_clone(), client.try_clone());
        spawn(shared, move |shared| carry(shared, client, server, false));
        if let (Ok(server), Ok(client)) = back {
            spawn(shared, move |shared| carry(shared, server, client, true));
        }
    }
}

/// From the address that the link has on the server's side.
fn connect(shared: &Shared) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((shared.far, 0)).into())?;
    socket.connect(&shared.server.into())?;
    Ok(socket.into())
}

/// One direction of a connection.
fn carry(shared: &Arc<Shared>, mut from: TcpStream, mut to: TcpStream, to_client: bool) {
    // Small, so that a slow link does not become a jerky one.
    let mut buffer = vec![0; 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let mut bytes = buffer[..length].to_vec();
        if to_client {
            if let Some(ports) = granted(&bytes) {
                let client = from_peer(&to);
                open(shared, client, ports);
                let source = lock(&shared.weather).source;
                if let Some(source) = source {
                    let text = String::from_utf8_lossy(&bytes);
                    let named =
                        text.replacen(";server_port", &format!(";source={source};server_port"), 1);
                    bytes = named.into_bytes();
                }
            }
            hold_up(shared, bytes.len());
        }
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

fn from_peer(stream: &TcpStream) -> IpAddr {
    let peer = stream.peer_addr().map(|peer| peer.ip());
    peer.unwrap_or(Ipv4Addr::LOCALHOST.into())
}

/// Waits until so many bytes may pass.
fn hold_up(shared: &Shared, bytes: usize) {
    let due = {
        let Some(rate) = lock(&shared.weather).rate else {
            return;
        };
        let mut free_at = lock(&shared.free_at);
        *free_at =
            (*free_at).max(Instant::now()) + Duration::from_secs_f64(bytes as f64 / rate as f64);
        *free_at
    };
    while Instant::now() < due && !shared.stop.load(Acquire) {
        std::thread::sleep(
            due.saturating_duration_since(Instant::now())
                .min(Duration::from_millis(20)),
        );
    }
}

/// The first ports of client and server in an answer to SETUP.
fn granted(bytes: &[u8]) -> Option<(u16, u16)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let port = |name: &str| {
        let (_, rest) = text.split_once(name)?;
        rest.split(['-', ';', '\r']).next()?.parse().ok()
    };
    Some((port("client_port=")?, port("server_port=")?))
}

fn bind(ip: Ipv4Addr, port: u16) -> UdpSocket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("a socket");
    let _ = socket.set_recv_buffer_size(4 << 20);
    let bind = |port| socket.bind(&SocketAddr::from((ip, port)).into());
    bind(port).expect("a port of an address that is ours");
    socket
        .set_read_timeout(Some(Duration::from_millis(1)))
        .expect("a socket");
    socket.into()
}

/// Carries the datagrams of one pair of ports.
fn open(shared: &Arc<Shared>, client: IpAddr, (client_port, server_port): (u16, u16)) {
    let nat = lock(&shared.weather).nat;
    for rtcp in [0, 1] {
        let far = bind(shared.far, client_port + rtcp);
        let near = bind(shared.near, if nat { 0 } else { server_port + rtcp });
        let (back_near, back_far) = (near.try_clone(), far.try_clone());
        let client = SocketAddr::new(client, client_port + rtcp);
        let server = SocketAddr::new(shared.server.ip(), server_port + rtcp);
        spawn(shared, move |shared| {
            deliver(shared, &far, &near, client, rtcp == 0)
        });
        if let (Ok(near), Ok(far)) = (back_near, back_far) {
            spawn(shared, move |shared| answer(shared, &near, &far, server));
        }
    }
}

/// Datagrams of the client.
fn answer(shared: &Shared, near: &UdpSocket, far: &UdpSocket, server: SocketAddr) {
    let mut buffer = vec![0; 65_536];
    while !shared.stop.load(Acquire) {
        if let Ok((length, _)) = near.recv_from(&mut buffer)
            && !lock(&shared.weather).mute
        {
            let _ = far.send_to(&buffer[..length], server);
        }
    }
}

/// Datagrams of the server, in the order of their time.
fn deliver(shared: &Shared, far: &UdpSocket, near: &UdpSocket, client: SocketAddr, media: bool) {
    let mut buffer = vec![0; 65_536];
    let mut waiting = BinaryHeap::<Reverse<(Instant, u64, Vec<u8>)>>::new();
    let mut chance = Chance(0x2545_f491_4f6c_dd1d);
    let mut number = 0;
    let mut free_at = Instant::now();
    while !shared.stop.load(Acquire) {
        if let Ok((length, _)) = far.recv_from(&mut buffer) {
            let weather = lock(&shared.weather).clone();
            let mut packet = buffer[..length].to_vec();
            let mut counts = Counts {
                packets: 1,
                ..Counts::default()
            };
            let now = Instant::now();
            let mut due = now + weather.delay;
            if !weather.jitter.is_zero() {
                let most = weather.jitter.as_micros() as u64;
                due += Duration::from_micros(chance.below(most));
            }
            let mut is_lost = weather.deaf;
            if media {
                // Drawn for each packet, so that the same ones meet the same fate.
                let (lost, doubled, damaged) = (chance.one(), chance.one(), chance.one());
                is_lost |= lost < weather.lost;
                counts.doubled = u64::from(!is_lost && doubled < weather.doubled);
                if !is_lost && damaged < weather.damaged {
                    counts.damaged = 1;
                    let bit = chance.below(packet.len() as u64 * 8) as usize;
                    packet[bit / 8] ^= 1 << (bit % 8);
                }
            }
            if let Some(rate) = weather.rate {
                let starts = free_at.max(now);
                is_lost |= starts - now > weather.queue;
                if !is_lost {
                    let takes = length as f64 / rate as f64;
                    free_at = starts + Duration::from_secs_f64(takes);
                    due = due.max(free_at);
                }
            }
            counts.lost = u64::from(is_lost);
            for _ in 0..=counts.doubled {
                if !is_lost {
                    number += 1;
                    waiting.push(Reverse((due, number, packet.clone())));
                }
            }
            if media {
                let mut all = lock(&shared.counts);
                all.packets += 1;
                all.lost += counts.lost;
                all.doubled += counts.doubled;
                all.damaged += counts.damaged;
                shared.changed.notify_all();
            }
        }
        while waiting
            .peek()
            .is_some_and(|Reverse((due, ..))| *due <= Instant::now())
        {
            if let Some(Reverse((_, _, packet))) = waiting.pop() {
                let _ = near.send_to(&packet, client);
            }
        }
    }
}

/// Random numbers that are the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % end.max(1)
    }

    fn one(&mut self) -> u32 {
        self.below(1000) as u32
    }
}
