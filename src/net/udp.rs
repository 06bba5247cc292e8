//! UDP sockets: the even/odd RTP/RTCP pair and the batched receive.
//!
//! `recvmmsg` with GRO (quinn-udp) takes up to 32 × 64 KiB per system call. The
//! slots belong to the thread, not to the socket: with one set per socket, 200
//! cameras would hold 400 × 2 MiB, and smaller slots would make GRO lose
//! datagrams silently.
//!
//! Packets of equal size are sent by one system call (GSO).

use std::cell::Cell;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use rand::RngExt;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::address::is_sendable;
use crate::rtsp::limits;

/// Largest GRO batch, and more than the largest datagram.
const SLOT: usize = 64 * 1024;
/// What one GSO call takes: a datagram's length is 16 bits.
const GSO_BYTES: usize = 65_000;
/// What the kernel charges for a datagram of Ethernet size.
const CHARGE_PER_PACKET: usize = 2304;
/// A kernel timestamp older than this is the clock's mistake, not the packet's age.
const OLDEST: Duration = Duration::from_secs(10);

thread_local! {
    /// The receive slots of this thread. Pages that no batch has reached cost nothing.
    static SLOTS: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// What became of a wish for a receive buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecvBuffer {
    /// Bytes asked for.
    pub asked: usize,
    /// Bytes got, on the scale of what is asked. (Linux doubles the value that is
    /// set, and reports the double.)
    pub effective: usize,
    /// Packets of Ethernet size that fit; what the kernel charges for each
    /// includes its own bookkeeping.
    pub burst: usize,
}

impl RecvBuffer {
    /// Whether the system gave less than asked for.
    pub fn is_clamped(&self) -> bool {
        self.effective < self.asked
    }
}

/// The sockets of one stream.
#[derive(Debug)]
pub struct UdpPair {
    /// Receives RTP; its port is even (RFC 3550 §11).
    pub rtp: UdpSocket,
    /// Receives and sends RTCP; its port is the next.
    pub rtcp: UdpSocket,
}

impl UdpPair {
    /// Binds both sockets to `local`'s address (the local end of the RTSP
    /// connection, or a wildcard; its port is not used), inside of `range` if
    /// there is one, else wherever one of `tries` finds a free pair. Called in
    /// the context of the runtime that shall own them.
    pub fn bind(local: SocketAddr, range: Option<(u16, u16)>, tries: u32) -> io::Result<Self> {
        let (rtp, rtcp) = match range {
            Some((min, max)) => bind_in_range(local, min, max)?,
            None => bind_anywhere(local, tries)?,
        };
        Ok(Self {
            rtp: UdpSocket::new(rtp)?,
            rtcp: UdpSocket::new(rtcp)?,
        })
    }
}

/// The system picks one port; the other one of its pair must be free too.
fn bind_anywhere(local: SocketAddr, tries: u32) -> io::Result<(Socket, Socket)> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..=tries {
        let first = bind(with_port(local, 0))?;
        let port = local_addr(&first)?.port();
        match bind(with_port(local, port ^ 1)) {
            Ok(second) if port & 1 == 0 => return Ok((first, second)),
            Ok(second) => return Ok((second, first)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Every pair of the range once, beginning anywhere, so that many streams that
/// share a range seldom meet.
fn bind_in_range(local: SocketAddr, min: u16, max: u16) -> io::Result<(Socket, Socket)> {
    let min = if min == 0 { 2 } else { min };
    // A pair (e, e + 1) is counted by e / 2.
    let first = min.div_ceil(2);
    let end = max.saturating_add(1) / 2;
    let end = if max == u16::MAX { 1 << 15 } else { end };
    if first >= end {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("no even/odd port pair between {min} and {max}"),
        ));
    }
    let start = rand::rng().random_range(first..end);
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for pair in (start..end).chain(first..start) {
        let even = pair.wrapping_mul(2);
        let bound = bind(with_port(local, even))
            .and_then(|rtp| Ok((rtp, bind(with_port(local, even | 1))?)));
        match bound {
            Ok(sockets) => return Ok(sockets),
            Err(error) => last = error,
        }
    }
    Err(io::Error::new(
        last.kind(),
        format!("no free port pair between {min} and {max}: {last}"),
    ))
}

/// `local` with another port; the scope of a link-local address stays.
fn with_port(mut local: SocketAddr, port: u16) -> SocketAddr {
    local.set_port(port);
    local
}

fn bind(local: SocketAddr) -> io::Result<Socket> {
    let socket = new_socket(local)?;
    socket.bind(&local.into())?;
    Ok(socket)
}

/// An unbound non-blocking socket of the address's family.
pub(super) fn new_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn local_addr(socket: &Socket) -> io::Result<SocketAddr> {
    socket
        .local_addr()?
        .as_socket()
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The wildcard address of `like`'s family.
pub fn wildcard(like: SocketAddr) -> SocketAddr {
    match like {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(v6) => SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, v6.scope_id()).into(),
    }
}

/// One UDP socket.
#[derive(Debug)]
pub struct UdpSocket {
    /// Waited for only to receive: else each packet that leaves would wake the runtime, to say that there is room.
    io: AsyncFd<std::net::UdpSocket>,
    state: UdpSocketState,
    local: SocketAddr,
    /// Packets of media that ICMP has reported as undeliverable.
    refused: AtomicU32,
}

impl UdpSocket {
    /// Registers a bound socket with the runtime of the calling context.
    pub(super) fn new(socket: Socket) -> io::Result<Self> {
        tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
        let local = local_addr(&socket)?;
        let socket = std::net::UdpSocket::from(socket);
        // For types that may change their descriptor, which this one does not; what replaces it is `unsafe`.
        #[allow(deprecated)]
        let io = AsyncFd::with_interest(socket, Interest::READABLE)?;
        let state = UdpSocketState::new(io.get_ref().into())?;
        Ok(Self {
            io,
            state,
            local,
            refused: AtomicU32::new(0),
        })
    }

    /// The address that the socket is bound to.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The port that the socket is bound to.
    pub fn local_port(&self) -> u16 {
        self.local.port()
    }

    /// Asks for a receive buffer of `bytes`, past the system's maximum if the
    /// process may.
    pub fn set_recv_buffer(&self, bytes: usize) -> io::Result<RecvBuffer> {
        let socket = SockRef::from(self.io.get_ref());
        let wanted = bytes.min(MAX_BUFFER);
        if !force_recv_buffer(self.io.get_ref(), wanted) {
            socket.set_recv_buffer_size(wanted)?;
        }
        let charged = socket.recv_buffer_size()?;
        let doubled = cfg!(any(target_os = "linux", target_os = "android"));
        Ok(RecvBuffer {
            asked: bytes,
            effective: if doubled { charged / 2 } else { charged },
            burst: charged / CHARGE_PER_PACKET,
        })
    }

    /// Waits until there may be something to receive.
    pub async fn readable(&self) -> io::Result<()> {
        self.io
            .readable()
            .await
            .map(|mut guard| guard.retain_ready())
    }

    /// Calls `f` with payload, sender and arrival time of each datagram that is
    /// there, empty ones excepted. `Ok(true)` means that there may be more: let
    /// other tasks run, then call again. `Ok(false)`: wait until [`Self::readable`].
    ///
    /// The payload is only lent: it lies in the slots of this thread.
    pub fn try_recv(&self, mut f: impl FnMut(&[u8], SocketAddr, Instant)) -> io::Result<bool> {
        let mut slots = SLOTS
            .take()
            .unwrap_or_else(|| vec![0; BATCH_SIZE.saturating_mul(SLOT)].into());
        let result = self.recv_batches(&mut slots, &mut f);
        SLOTS.set(Some(slots));
        result
    }

    fn recv_batches(
        &self,
        slots: &mut [u8],
        f: &mut impl FnMut(&[u8], SocketAddr, Instant),
    ) -> io::Result<bool> {
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        for _ in 0..limits::UDP_BATCHES {
            let mut chunks = slots.chunks_exact_mut(SLOT);
            let mut buffers: [IoSliceMut<'_>; BATCH_SIZE] =
                std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
            let mut count = 0;
            let received = self.io.try_io(Interest::READABLE, |socket| {
                count = self.state.recv(socket.into(), &mut buffers, &mut metas)?;
                if count < BATCH_SIZE {
                    // That was all: saying so here spares the call that would only find this out.
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Ok(())
            });
            // One reading of the clocks for all that was there at this moment.
            let clock = ClockPair::read();
            for (meta, buffer) in metas.iter().zip(&buffers).take(count) {
                let arrival = clock.arrival(meta.timestamp);
                let bytes = buffer.get(..meta.len).unwrap_or_default();
                if meta.stride > 0 {
                    bytes
                        .chunks(meta.stride)
                        .for_each(|payload| f(payload, meta.addr, arrival));
                }
            }
            match received {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if is_icmp(&error) => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Sends one datagram now or not at all. Broadcast, reserved groups and port 0
    /// are refused. What an ICMP message said about an earlier datagram is no error.
    pub fn try_send_to(&self, payload: &[u8], to: SocketAddr) -> io::Result<()> {
        if !is_sendable(to) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("will not send to {to}"),
            ));
        }
        let socket = SockRef::from(self.io.get_ref());
        match socket.send_to(payload, &to.into()) {
            // The pending error was reported in place of the call, once.
            Err(error) if is_icmp(&error) => match socket.send_to(payload, &to.into()) {
                Err(error) if !is_icmp(&error) => Err(error),
                _ => Ok(()),
            },
            result => result.map(drop),
        }
    }

    /// Media is sent from this socket. It may be fragmented on its way: a packet
    /// that is too large for some link is late then, and not lost for good.
    pub fn prepare_sending(&self, buffer: usize) -> io::Result<()> {
        fragmentation::allow(self.io.get_ref(), self.local)?;
        match buffer {
            0 => Ok(()),
            bytes => SockRef::from(self.io.get_ref()).set_send_buffer_size(bytes.min(MAX_BUFFER)),
        }
    }

    /// How many packets of media ICMP has reported as undeliverable; only of connected sockets it is known.
    pub fn refused(&self) -> u32 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Sends packets in order, those of equal size by one system call, until there
    /// is no more room. Returns how many left, and what became of the next.
    /// `scratch` is memory that is used again.
    pub fn try_send_run<'a>(
        &self,
        packets: impl Iterator<Item = &'a Bytes> + Clone,
        to: SocketAddr,
        scratch: &mut Vec<u8>,
    ) -> (usize, io::Result<()>) {
        let mut rest = packets;
        let mut sent = 0usize;
        loop {
            let count = equal_run(rest.clone(), self.state.max_gso_segments());
            let Some(first) = rest.clone().next() else {
                return (sent, Ok(()));
            };
            if count > 1 {
                scratch.clear();
                rest.clone()
                    .take(count)
                    .for_each(|packet| scratch.extend_from_slice(packet));
                match self.try_transmit(scratch, Some(first.len()), to) {
                    Ok(()) => {
                        sent = sent.saturating_add(count);
                        rest.nth(count.saturating_sub(1));
                        continue;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        return (sent, Err(error));
                    }
                    // Not together, for a driver or a link that cannot: one by one.
                    Err(_) => {}
                }
            }
            if let Err(error) = self.try_transmit(first, None, to) {
                return (sent, Err(error));
            }
            sent = sent.saturating_add(1);
            rest.next();
        }
    }

    fn try_transmit(
        &self,
        contents: &[u8],
        segment_size: Option<usize>,
        destination: SocketAddr,
    ) -> io::Result<()> {
        let transmit = Transmit {
            destination,
            ecn: None,
            contents,
            segment_size,
            src_ip: None,
        };
        let send = || self.state.try_send(self.io.get_ref().into(), &transmit);
        match send() {
            // The pending error was reported in place of the call, once.
            Err(error) if is_icmp(&error) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                match send() {
                    Err(error) if !is_icmp(&error) => Err(error),
                    _ => Ok(()),
                }
            }
            result => result,
        }
    }

    /// Lets the kernel drop what is not from `peer`.
    pub fn connect(&self, peer: SocketAddr) -> io::Result<()> {
        SockRef::from(self.io.get_ref()).connect(&peer.into())
    }
}

/// Whether the network has no room for a packet of this size.
pub fn is_too_large(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::libc::EMSGSIZE)
}

/// Packets at the head that one GSO call takes: all of one size, but for the
/// last, which may be shorter.
fn equal_run<'a>(packets: impl Iterator<Item = &'a Bytes>, segments: usize) -> usize {
    let mut packets = packets.peekable();
    let Some(size) = packets.peek().map(|packet| packet.len()) else {
        return 0;
    };
    let mut bytes = 0usize;
    let mut count = 0usize;
    for packet in packets.take(segments) {
        bytes = bytes.saturating_add(packet.len());
        if packet.len() > size || bytes > GSO_BYTES {
            break;
        }
        count = count.saturating_add(1);
        if packet.len() < size {
            break;
        }
    }
    count
}

/// What a socket does with packets that are larger than the link (quinn-udp
/// forbids fragments, for its path MTU discovery).
mod fragmentation {
    use std::io;
    use std::net::SocketAddr;

    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn allow(socket: &std::net::UdpSocket, local: SocketAddr) -> io::Result<()> {
        use nix::libc;
        use nix::sys::socket::setsockopt;
        use nix::{setsockopt_impl, sockopt_impl};

        sockopt_impl!(
            MtuDiscoverV4,
            SetOnly,
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::c_int
        );
        sockopt_impl!(
            MtuDiscoverV6,
            SetOnly,
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::c_int
        );
        sockopt_impl!(
            DontFragmentV6,
            SetOnly,
            libc::IPPROTO_IPV6,
            libc::IPV6_DONTFRAG,
            libc::c_int
        );
        if local.is_ipv4() {
            setsockopt(socket, MtuDiscoverV4, &libc::IP_PMTUDISC_DONT)?;
        } else {
            setsockopt(socket, MtuDiscoverV6, &libc::IPV6_PMTUDISC_DONT)?;
            setsockopt(socket, DontFragmentV6, &0)?;
        }
        Ok(())
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub fn allow(_: &std::net::UdpSocket, _: SocketAddr) -> io::Result<()> {
        Ok(())
    }
}

/// The kernel's argument is an `int` that it doubles.
const MAX_BUFFER: usize = (i32::MAX / 2) as usize;

#[cfg(any(target_os = "linux", target_os = "android"))]
fn force_recv_buffer(socket: &std::net::UdpSocket, bytes: usize) -> bool {
    use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
    setsockopt(socket, RcvBufForce, &bytes).is_ok()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn force_recv_buffer(_: &std::net::UdpSocket, _: usize) -> bool {
    false
}

/// What ICMP messages about our own datagrams become. Anybody can forge those,
/// and a server that has not opened its port yet causes them.
fn is_icmp(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    )
}

/// Both clocks at one moment, to map the kernel's wall-clock timestamps.
struct ClockPair {
    monotonic: Instant,
    wall: Duration,
}

impl ClockPair {
    fn read() -> Self {
        let wall = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            monotonic: Instant::now(),
            wall,
        }
    }

    fn arrival(&self, timestamp: Option<Duration>) -> Instant {
        timestamp
            .and_then(|timestamp| self.wall.checked_sub(timestamp))
            .filter(|age| *age <= OLDEST)
            .and_then(|age| self.monotonic.checked_sub(age))
            .unwrap_or(self.monotonic)
    }
}

/// Whether `ip` and `like` are of one family.
pub(super) fn same_family(ip: IpAddr, like: IpAddr) -> bool {
    ip.is_ipv4() == like.is_ipv4()
}

#[cfg(test)]
mod tests;
