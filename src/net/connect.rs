//! TCP connections: Happy Eyeballs (RFC 8305) and the process-wide limiter.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::address::Reach;
use super::http::HttpError;
use super::per_process::PerProcess;
use super::resolve::resolve;
use super::tls::TlsError;
use crate::rtsp::client::ErrorKind;

/// The next address is tried when the last has not answered for so long (RFC 8305 §5).
const STAGGER: Duration = Duration::from_millis(250);
/// Set-ups at once per host and port: a small server answers the rest with errors.
const PER_HOST: usize = 4;
/// Connection starts in any second: 1,000 cameras come back together when a switch does.
const STARTS: usize = 100;
const STARTS_WINDOW: Duration = Duration::from_secs(1);
/// Sent bytes that stay unacknowledged for so long end the connection.
#[cfg(any(target_os = "linux", target_os = "android"))]
const USER_TIMEOUT: Duration = Duration::from_secs(20);
/// A silent peer is probed after this long, and then every ...
const KEEPALIVE_IDLE: Duration = Duration::from_secs(20);
/// ... this long.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

static LIMITER: PerProcess<Limiter> =
    PerProcess::new(|| Limiter::new(PER_HOST, STARTS, STARTS_WINDOW));

/// One address that was tried, and why it failed.
#[derive(Debug)]
pub struct Attempt {
    /// The address.
    pub address: SocketAddr,
    /// What the connection attempt ended with.
    pub error: io::Error,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.address, self.error)
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address.
    #[error("Could not resolve {host} (port {port}): {error}")]
    Resolve {
        /// Host of the URL.
        host: String,
        /// Port of the URL.
        port: u16,
        /// What the system said.
        error: io::Error,
    },
    /// Each address of the name is outside of what the server may send us to.
    #[error("Will not connect to {host}:{port}: {} not public", list(addresses))]
    OutOfReach {
        /// Host of the URL.
        host: String,
        /// Port of the URL.
        port: u16,
        /// The addresses that were refused.
        addresses: Vec<IpAddr>,
    },
    /// Each address failed.
    #[error("Could not connect to {host}:{port} ({})", list(attempts))]
    Failed {
        /// Host of the URL.
        host: String,
        /// Port of the URL.
        port: u16,
        /// Each address with its failure.
        attempts: Vec<Attempt>,
    },
    /// There is no connection to the proxy.
    #[error("Could not reach the proxy: {0}")]
    NoProxy(Box<ConnectError>),
    /// The proxy is of no help.
    #[error("The proxy {proxy} {error}")]
    Proxy {
        /// Host and port.
        proxy: String,
        /// What it did.
        error: HttpError,
    },
    /// There is no tunnel or WebSocket.
    #[error("The {what} at {place} {error}")]
    Http {
        /// Which of them.
        what: &'static str,
        /// Host and port.
        place: String,
        /// What the server did.
        error: HttpError,
    },
    /// Somebody answered, but not in time or not at all to what followed.
    #[error(
        "{host}:{port} has accepted the connection, and then its handshake did not end in time"
    )]
    Silent {
        /// Host of the URL.
        host: String,
        /// Port of the URL.
        port: u16,
    },
    /// The connection could not be secured.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl ConnectError {
    /// Whether somebody answered (a refusal or reset). Silence is no reason to
    /// wait longer before the next try; an answer is.
    pub fn is_answer(&self) -> bool {
        match self {
            ConnectError::Failed { attempts, .. } => attempts.iter().any(|a| {
                matches!(
                    a.error.kind(),
                    io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset
                )
            }),
            ConnectError::NoProxy(error) => error.is_answer(),
            ConnectError::Proxy { error, .. } | ConnectError::Http { error, .. } => {
                !matches!(error, HttpError::Io(_))
            }
            ConnectError::Tls(_) => true,
            ConnectError::Resolve { .. }
            | ConnectError::OutOfReach { .. }
            | ConnectError::Silent { .. } => false,
        }
    }

    /// What kind of failure it is for who wanted the connection.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ConnectError::Tls(TlsError::Refused(_)) => ErrorKind::Certificate,
            ConnectError::Tls(TlsError::File { .. }) => ErrorKind::Settings,
            ConnectError::Tls(TlsError::NotTls(_) | TlsError::Handshake { .. }) => {
                ErrorKind::Protocol
            }
            // A proxy that says no may not do so for ever, and the hints of RTSP are not its.
            // But tinyproxy says 401 to a wrong password.
            ConnectError::Proxy {
                error: HttpError::Status { status, .. },
                ..
            } if *status != 401 => ErrorKind::Connect,
            ConnectError::Proxy { error, .. } | ConnectError::Http { error, .. } => error.kind(),
            _ => ErrorKind::Connect,
        }
    }
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    items
        .iter()
        .map(T::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

/// The right to set up one session with a server. Held until the set-up is done
/// or has failed.
#[derive(Debug)]
pub struct ConnectPermit {
    _slot: OwnedSemaphorePermit,
}

impl ConnectPermit {
    /// Waits for the turn to connect to `host`:`port`. First come, first served;
    /// dropping the future gives the place up.
    pub async fn acquire(host: &str, port: u16) -> Self {
        LIMITER.get().permit(host, port).await
    }
}

/// Connects before `deadline`, name lookup included: to the first port, or else to
/// the second one. Called in the context of the runtime that shall own the socket.
///
/// `reach` is checked on the very addresses that are connected to, so a name
/// that resolves anew elsewhere gains nothing.
pub(super) async fn connect(
    host: &str,
    (port, other): (u16, Option<u16>),
    deadline: Instant,
    reach: Reach,
) -> Result<TcpStream, ConnectError> {
    let resolved = match timeout_at(deadline, resolve(host, port)).await {
        Ok(resolved) => resolved,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the name server did not answer",
        )),
    };
    let host = host.to_string();
    let resolved = match resolved {
        Ok(addresses) => addresses,
        Err(error) => return Err(ConnectError::Resolve { host, port, error }),
    };
    let (allowed, refused): (Vec<SocketAddr>, Vec<SocketAddr>) =
        resolved.into_iter().partition(|a| reach.allows(a.ip()));
    if allowed.is_empty() {
        let addresses = refused.iter().map(SocketAddr::ip).collect();
        return Err(ConnectError::OutOfReach {
            host,
            port,
            addresses,
        });
    }
    let allowed = interleave(allowed);
    let failed = match other {
        None => race(allowed, deadline).await,
        // A firewall that swallows the first port leaves time for the second.
        Some(other) => match race(allowed.clone(), half_way(deadline)).await {
            Ok(stream) => Ok(stream),
            Err(mut attempts) => {
                let mut addresses = allowed;
                for address in &mut addresses {
                    address.set_port(other);
                }
                race(addresses, deadline).await.map_err(|more| {
                    attempts.extend(more);
                    attempts
                })
            }
        },
    };
    failed.map_err(|attempts| ConnectError::Failed {
        host,
        port,
        attempts,
    })
}

/// Half of the time until `deadline`.
pub(super) fn half_way(deadline: Instant) -> Instant {
    let left = deadline.saturating_duration_since(Instant::now());
    after(left.checked_div(2).unwrap_or(left))
}

/// `timeout` from now; a timeout beyond the clock's range is a day.
pub(super) fn after(timeout: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(timeout)
        .or_else(|| now.checked_add(Duration::from_secs(24 * 3600)))
        .unwrap_or(now)
}

/// The families in turn, beginning with the preferred one (RFC 8305 §4).
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let v4_first = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let length = addresses.len();
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|a| a.is_ipv4() == v4_first);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut ordered = Vec::with_capacity(length);
    loop {
        let (a, b) = (first.next(), second.next());
        if a.is_none() && b.is_none() {
            return ordered;
        }
        ordered.extend(a.into_iter().chain(b));
    }
}

/// The first address that connects wins.
async fn race(addresses: Vec<SocketAddr>, deadline: Instant) -> Result<TcpStream, Vec<Attempt>> {
    let mut waiting = addresses.into_iter();
    let mut pending: Vec<SocketAddr> = Vec::new();
    let mut failed: Vec<Attempt> = Vec::new();
    // Dropping the set ends the attempts that lost.
    let mut tasks = JoinSet::new();
    let mut next_start = Instant::now();
    while !tasks.is_empty() || waiting.len() > 0 {
        tokio::select! {
            biased;
            Some(joined) = tasks.join_next() => match joined {
                Ok((_, Ok(stream))) => return Ok(stream),
                Ok((address, Err(error))) => {
                    pending.retain(|p| *p != address);
                    failed.push(Attempt { address, error });
                    // A failure starts the next at once (RFC 8305 §5).
                    next_start = Instant::now();
                }
                // A runtime that shuts down.
                Err(_) => {}
            },
            () = sleep_until(deadline) => break,
            () = sleep_until(next_start), if waiting.len() > 0 => {
                if let Some(address) = waiting.next() {
                    pending.push(address);
                    tasks.spawn(async move { (address, connect_to(address).await) });
                    next_start = after(STAGGER);
                }
            }
        }
    }
    failed.extend(pending.into_iter().map(|address| Attempt {
        address,
        error: io::Error::new(io::ErrorKind::TimedOut, "no answer"),
    }));
    failed.extend(waiting.map(|address| Attempt {
        address,
        error: io::Error::new(io::ErrorKind::TimedOut, "no time left to try it"),
    }));
    Err(failed)
}

async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    // A request must not wait for the acknowledgement of the last.
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    TcpSocket::from_std_stream(socket.into())
        .connect(address)
        .await
}

type Key = (String, u16);

/// Who may set up now.
struct Limiter {
    per_host: usize,
    hosts: Mutex<HashMap<Key, Weak<Semaphore>>>,
    starts: Arc<Semaphore>,
    window: Duration,
}

impl Limiter {
    fn new(per_host: usize, starts: usize, window: Duration) -> Self {
        Self {
            per_host,
            hosts: Mutex::default(),
            starts: Arc::new(Semaphore::new(starts)),
            window,
        }
    }

    async fn permit(&self, host: &str, port: u16) -> ConnectPermit {
        let slot = acquire(self.host((host.to_ascii_lowercase(), port))).await;
        // A start is given back after the window, so no window sees more than its number.
        let start = acquire(self.starts.clone()).await;
        let window = self.window;
        tokio::spawn(async move {
            sleep(window).await;
            drop(start);
        });
        ConnectPermit { _slot: slot }
    }

    fn host(&self, key: Key) -> Arc<Semaphore> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slots) = hosts.get(&key).and_then(Weak::upgrade) {
            return slots;
        }
        hosts.retain(|_, slots| slots.strong_count() > 0);
        let slots = Arc::new(Semaphore::new(self.per_host));
        hosts.insert(key, Arc::downgrade(&slots));
        slots
    }
}

async fn acquire(semaphore: Arc<Semaphore>) -> OwnedSemaphorePermit {
    match semaphore.acquire_owned().await {
        Ok(permit) => permit,
        // These semaphores are never closed.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
