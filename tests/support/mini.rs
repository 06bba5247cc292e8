//! A small RTSP server whose behaviour a test changes while it runs.
//!
//! It shares no code with the client under test. Each server listens on a loopback address of its
//! own, so that no two tests ever compete for a port.

use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::*};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

pub use super::script::*;
use super::wire::{self, Incoming};

#[derive(Default)]
struct Record {
    requests: Vec<Request>,
    responses: Vec<Response>,
    reports: Vec<Report>,
    connections: Vec<Arc<Connection>>,
}

struct Shared {
    script: Mutex<Script>,
    scripted: Condvar,
    record: Mutex<Record>,
    recorded: Condvar,
    stop: AtomicBool,
    address: SocketAddrV4,
    /// When all media clocks were 0.
    start: Instant,
    /// The same on the clock that sender reports are of.
    started: SystemTime,
}

/// One connection, and the session that was set up over it.
struct Connection {
    id: u64,
    stream: TcpStream,
    /// Whole messages and frames only.
    writer: Mutex<TcpStream>,
    playing: AtomicBool,
    paths: Mutex<Vec<Option<Path>>>,
}

struct Path {
    way: Way,
    seq: u16,
    ssrc: u32,
    frames: u64,
    sent: u64,
    /// The time of the next frame, if a reply to PLAY has said it.
    announced: Option<u32>,
    reported: Option<Instant>,
}

enum Way {
    Tcp(u8),
    Udp {
        rtp: UdpSocket,
        rtcp: UdpSocket,
        client: SocketAddr,
    },
}

pub struct Mini {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An address on which nobody listens, and nobody else will.
pub fn free_address() -> SocketAddrV4 {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [low, high] = (std::process::id() as u16).to_le_bytes();
    let ip = Ipv4Addr::new(127, 1 + high % 250, low, NEXT.fetch_add(1, Relaxed));
    let listener = TcpListener::bind((ip, 0)).expect("a loopback address");
    let port = listener.local_addr().expect("an address").port();
    SocketAddrV4::new(ip, port)
}

impl Shared {
    /// A copy: the locks of the record and of a connection's paths are never held together.
    fn connections(&self) -> Vec<Arc<Connection>> {
        lock(&self.record).connections.clone()
    }
}

impl Mini {
    pub fn new(script: Script) -> Self {
        Self::at(free_address(), script)
    }

    /// A server that appears at an address where there was none.
    pub fn at(address: SocketAddrV4, script: Script) -> Self {
        let listener = TcpListener::bind(address).expect("the address is ours");
        let shared = Arc::new(Shared {
            script: Mutex::new(script),
            scripted: Condvar::new(),
            record: Mutex::default(),
            recorded: Condvar::new(),
            stop: AtomicBool::new(false),
            address,
            start: Instant::now(),
            started: SystemTime::now(),
        });
        let (accepting, sending) = (shared.clone(), shared.clone());
        let threads = vec![
            std::thread::spawn(move || accept(&accepting, &listener)),
            std::thread::spawn(move || send_media(&sending)),
        ];
        Self { shared, threads }
    }

    pub fn url(&self) -> String {
        format!("rtsp://{}/live", self.shared.address)
    }

    pub fn address(&self) -> SocketAddrV4 {
        self.shared.address
    }

    /// When what has this RTP time was captured.
    pub fn captured(&self, rtp: u32, media: Media) -> Instant {
        self.shared.start + wire::media_span(rtp, media)
    }

    /// The same as NTP time in nanoseconds.
    pub fn captured_ntp(&self, rtp: u32, media: Media) -> u64 {
        wire::ntp_nanos(self.shared.started + wire::media_span(rtp, media))
    }

    pub fn set(&self, change: impl FnOnce(&mut Script)) {
        change(&mut lock(&self.shared.script));
        self.shared.scripted.notify_all();
    }

    /// Closes all connections; new ones are accepted.
    pub fn drop_connections(&self) {
        let survives = lock(&self.shared.script).udp_survives;
        let all = std::mem::take(&mut lock(&self.shared.record).connections);
        let living = all
            .into_iter()
            .filter(|connection| connection.close(survives));
        let living: Vec<_> = living.collect();
        lock(&self.shared.record).connections.extend(living);
    }

    /// Stops the media; how many packets of it were sent, all of which are on
    /// their way.
    pub fn quiet(&self) -> u64 {
        self.set(|script| script.media = false);
        let connections = self.shared.connections();
        let sent = connections.iter().map(|connection| {
            let paths = lock(&connection.paths);
            paths.iter().flatten().map(|path| path.sent).sum::<u64>()
        });
        sent.sum()
    }

    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.record).requests.clone()
    }

    pub fn count(&self, method: &str) -> usize {
        let record = lock(&self.shared.record);
        record
            .requests
            .iter()
            .filter(|r| r.method == method)
            .count()
    }

    /// Waits until that many requests of a method have come.
    pub fn wait_for(&self, method: &str, count: usize) {
        let seen = |record: &Record| {
            record
                .requests
                .iter()
                .filter(|r| r.method == method)
                .count()
        };
        self.wait_until(&format!("{count} × {method}"), |record| {
            seen(record) >= count
        });
    }

    pub fn responses(&self, count: usize) -> Vec<Response> {
        self.wait_until("responses", |record| record.responses.len() >= count);
        lock(&self.shared.record).responses.clone()
    }

    fn wait_until(&self, what: &str, done: impl Fn(&Record) -> bool) {
        let record = lock(&self.shared.record);
        let (record, waited) = self
            .shared
            .recorded
            .wait_timeout_while(record, Duration::from_secs(20), |record| !done(record))
            .unwrap_or_else(PoisonError::into_inner);
        let methods: Vec<&str> = record.requests.iter().map(|r| r.method.as_str()).collect();
        assert!(
            !waited.timed_out(),
            "no {what} within 20 s, but {methods:?}"
        );
    }

    /// Sends a request of the server's own over every connection.
    pub fn ask(&self, method: &str, cseq: u32) {
        self.ask_with(method, cseq, "");
    }

    /// With more header lines.
    pub fn ask_with(&self, method: &str, cseq: u32, more: &str) {
        let url = self.url();
        let request = format!("{method} {url} RTSP/1.0\r\nCSeq: {cseq}\r\n{more}\r\n");
        for connection in self.shared.connections() {
            connection.write(request.as_bytes());
        }
    }

    /// BYE of every stream's source.
    pub fn say_bye(&self) {
        for connection in self.shared.connections() {
            for path in lock(&connection.paths).iter().flatten() {
                connection.send(path, &wire::bye(path.ssrc), true);
            }
        }
    }

    /// RTCP of the client, once there is that much.
    pub fn reports(&self, count: usize) -> Vec<Report> {
        self.wait_until("reports", |record| record.reports.len() >= count);
        lock(&self.shared.record).reports.clone()
    }
}

impl Drop for Mini {
    fn drop(&mut self) {
        self.shared.stop.store(true, Release);
        self.set(|script| {
            script.hang = None;
            script.udp_survives = false;
        });
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.shared.address);
        self.drop_connections();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        self.drop_connections();
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    for (id, stream) in listener.incoming().enumerate() {
        if shared.stop.load(Acquire) {
            return;
        }
        let Ok(connection) = stream.and_then(|stream| Connection::new(id as u64, stream)) else {
            continue;
        };
        let connection = Arc::new(connection);
        lock(&shared.record).connections.push(connection.clone());
        let shared = shared.clone();
        std::thread::Builder::new()
            .name("mini".into())
            .stack_size(256 * 1024)
            .spawn(move || {
                let _ = serve(&shared, &connection);
                let survives = lock(&shared.script).udp_survives;
                connection.close(survives);
            })
            .expect("a thread");
    }
}

impl Connection {
    fn new(id: u64, stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let writer = stream.try_clone()?;
        writer.set_write_timeout(Some(Duration::from_secs(2)))?;
        Ok(Self {
            id,
            stream,
            writer: Mutex::new(writer),
            playing: AtomicBool::new(false),
            paths: Mutex::default(),
        })
    }

    fn session(&self) -> String {
        format!("5E5510{}", self.id)
    }

    fn write(&self, bytes: &[u8]) {
        // What cannot be written is found out by the reader.
        let _ = lock(&self.writer).write_all(bytes);
    }

    /// True if its session goes on over UDP.
    fn close(&self, udp_survives: bool) -> bool {
        let _ = self.stream.shutdown(Shutdown::Both);
        let over_udp = |path: &Path| matches!(path.way, Way::Udp { .. });
        let goes_on = udp_survives && lock(&self.paths).iter().flatten().any(over_udp);
        if !goes_on {
            self.playing.store(false, Release);
        }
        goes_on
    }

    fn send(&self, path: &Path, packet: &[u8], rtcp: bool) {
        match &path.way {
            Way::Tcp(channel) => self.write(&wire::frame(channel + u8::from(rtcp), packet)),
            Way::Udp { rtp, .. } if !rtcp => {
                let Way::Udp { client, .. } = &path.way else {
                    return;
                };
                let _ = rtp.send_to(packet, client);
            }
            Way::Udp { rtcp, client, .. } => {
                let to = SocketAddr::new(client.ip(), client.port() + 1);
                let _ = rtcp.send_to(packet, to);
            }
        }
    }
}

fn serve(shared: &Shared, connection: &Connection) -> io::Result<()> {
    let mut reader = BufReader::new(connection.stream.try_clone()?);
    loop {
        match wire::read(&mut reader)? {
            Incoming::Frame { channel, packet } => {
                lock(&shared.record)
                    .reports
                    .push(Report { channel, packet });
                shared.recorded.notify_all();
            }
            Incoming::Response {
                status,
                headers,
                body,
            } => {
                lock(&shared.record).responses.push(Response {
                    status,
                    headers,
                    body,
                });
                shared.recorded.notify_all();
            }
            Incoming::Request {
                method,
                uri,
                headers,
                body,
            } => {
                let request = Request {
                    method,
                    uri,
                    headers,
                    body,
                    connection: connection.id,
                };
                lock(&shared.record).requests.push(request.clone());
                shared.recorded.notify_all();
                let script = wait_while_hanging(shared, &request.method);
                if shared.stop.load(Acquire) {
                    return Ok(());
                }
                answer(shared, connection, &script, &request);
            }
        }
    }
}

/// The script once requests of `method` are answered.
fn wait_while_hanging(shared: &Shared, method: &str) -> Script {
    let script = lock(&shared.script);
    let script = shared
        .scripted
        .wait_while(script, |script| script.hang == Some(method))
        .unwrap_or_else(PoisonError::into_inner);
    script.clone()
}

fn answer(shared: &Shared, connection: &Connection, script: &Script, request: &Request) {
    let method = request.method.as_str();
    let cseq = request.header("CSeq").unwrap_or("0");
    let reply = |status: u16, more: &str, body: &str| {
        connection.write(wire::response(status, cseq, more, body).as_bytes());
    };
    if script.refuse.is_some_and(|(refused, _)| refused == method) && script.refusals > 0 {
        let status = script.refuse.map_or(500, |(_, status)| status);
        lock(&shared.script).refusals -= 1;
        return reply(status, "", "");
    }
    if let Some((user, password)) = script.auth {
        let given = request.header("Authorization").unwrap_or_default();
        let (right, challenge) = match script.digest {
            true => (
                wire::is_digest(given, user, password, method),
                wire::DIGEST_CHALLENGE,
            ),
            false => (given == wire::basic(user, password), "Basic realm=\"mini\""),
        };
        if !right {
            return reply(401, &format!("WWW-Authenticate: {challenge}\r\n"), "");
        }
    }
    let session = format!(
        "Session: {};timeout={}\r\n",
        connection.session(),
        script.timeout
    );
    match method {
        "OPTIONS" => reply(200, &format!("Public: {}\r\n", script.public), ""),
        "DESCRIBE" if script.redirect.is_some() => {
            let location = script.redirect.as_deref().unwrap_or_default();
            reply(302, &format!("Location: {location}\r\n"), "");
        }
        "DESCRIBE" => {
            let more = format!(
                "Content-Type: application/sdp\r\nContent-Base: rtsp://{}/live/\r\n",
                shared.address
            );
            let described = wire::description(script, shared.started);
            reply(200, &more, script.description.unwrap_or(&described));
        }
        "SETUP" => match set_up(shared, connection, script, request) {
            Some(transport) => {
                reply(200, &format!("{session}Transport: {transport}\r\n"), "");
                if script.early_media {
                    connection.playing.store(true, Release);
                }
            }
            None => reply(461, "", ""),
        },
        "PLAY" => {
            let info: Vec<String> = lock(&connection.paths)
                .iter_mut()
                .enumerate()
                .filter_map(|(index, path)| Some((index, path.as_mut()?)))
                .map(|(index, path)| {
                    let url = format!("rtsp://{}/live/track{index}", shared.address);
                    let time = media_time(shared, script, index);
                    path.announced = Some(time);
                    format!("url={url};seq={};rtptime={time}", path.seq)
                })
                .collect();
            // A range with an end is played from where it was asked for.
            let end = script.range.rsplit('-').next().unwrap_or_default();
            let range = match request.header("Range") {
                Some(from) if !end.is_empty() && from.ends_with('-') => format!("{from}{end}"),
                _ => script.range.to_string(),
            };
            let mut more = format!("{session}Range: {range}\r\n");
            if !script.early_media {
                more += &format!("RTP-Info: {}\r\n", info.join(","));
            }
            reply(200, &more, "");
            connection.playing.store(true, Release);
        }
        "PAUSE" => {
            connection.playing.store(false, Release);
            reply(200, &session, "");
        }
        "GET_PARAMETER" if request.body.contains("unknown") => reply(451, &session, "unknown"),
        "GET_PARAMETER" if !request.body.is_empty() => {
            let typed = format!("{session}Content-Type: text/parameters\r\n");
            let answers: Vec<String> = request
                .body
                .lines()
                .map(|name| format!("{name} 7"))
                .collect();
            reply(200, &typed, &answers.join("\r\n"));
        }
        "GET_PARAMETER" | "SET_PARAMETER" => reply(200, &session, ""),
        "TEARDOWN" => {
            let named = |c: &Arc<Connection>| request.header("Session") == Some(&c.session());
            for connection in shared.connections().into_iter().filter(named) {
                connection.playing.store(false, Release);
                lock(&connection.paths).clear();
            }
            reply(200, "", "");
        }
        _ => reply(501, "", ""),
    }
}

/// The Transport that is granted, or none.
fn set_up(
    shared: &Shared,
    connection: &Connection,
    script: &Script,
    request: &Request,
) -> Option<String> {
    let stream: usize = request.uri.rsplit("track").next()?.parse().ok()?;
    let asked = request.header("Transport")?;
    let parameter = |name: &str| {
        asked
            .split(';')
            .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
    };
    let ssrc = 0x1000 + stream as u32;
    if script.grant == Grant::Unmixed {
        let tcp = asked.starts_with("RTP/AVP/TCP");
        let paths = lock(&connection.paths);
        let mixed = |path: &Path| matches!(path.way, Way::Tcp(_)) != tcp;
        if stream == 1 && tcp || paths.iter().flatten().any(mixed) {
            return None;
        }
    }
    let (way, granted) = if asked.starts_with("RTP/AVP/TCP") || script.grant == Grant::Tcp {
        let channel = stream as u8 * 2;
        let text = format!("RTP/AVP/TCP;unicast;interleaved={channel}-{}", channel + 1);
        (Way::Tcp(channel), text)
    } else if script.grant == Grant::NoUdp || asked.contains("multicast") {
        return None;
    } else {
        let ports = parameter("client_port")?;
        let client = ports.split('-').next()?.parse().ok()?;
        let peer = connection.stream.peer_addr().ok()?.ip();
        let (rtp, rtcp) = wire::udp_pair(*shared.address.ip());
        let port = |socket: &UdpSocket| socket.local_addr().map_or(0, |a| a.port());
        let text = format!(
            "RTP/AVP;unicast;client_port={ports};server_port={}-{}",
            port(&rtp),
            port(&rtcp)
        );
        let client = SocketAddr::new(peer, client);
        (Way::Udp { rtp, rtcp, client }, text)
    };
    let mut paths = lock(&connection.paths);
    let streams = script.streams.len().max(stream + 1);
    paths.resize_with(streams, || None);
    paths[stream] = Some(Path {
        way,
        seq: 65_500,
        ssrc,
        frames: 0,
        sent: 0,
        announced: None,
        reported: None,
    });
    Some(format!("{granted};ssrc={ssrc:08X}"))
}

/// Takes what the client has sent to the sockets of a stream.
fn collect(shared: &Shared, stream: usize, path: &Path) {
    let Way::Udp { rtp, rtcp, .. } = &path.way else {
        return;
    };
    for (socket, channel) in [(rtp, stream * 2), (rtcp, stream * 2 + 1)] {
        let mut packet = vec![0; 2048];
        while let Ok((length, _)) = socket.recv_from(&mut packet) {
            let report = Report {
                channel: channel as u8,
                packet: packet[..length].to_vec(),
            };
            lock(&shared.record).reports.push(report);
            shared.recorded.notify_all();
        }
    }
}

/// The RTP time of a stream now.
fn media_time(shared: &Shared, script: &Script, stream: usize) -> u32 {
    let media = script.streams.get(stream).copied().unwrap_or(Media::H264);
    let ticks = shared.start.elapsed().as_micros() * u128::from(wire::clock_rate(media));
    (ticks / 1_000_000) as u32
}

/// Paces the media of all sessions.
fn send_media(shared: &Shared) {
    while !shared.stop.load(Acquire) {
        let script = lock(&shared.script).clone();
        std::thread::sleep(script.interval);
        if !script.media {
            continue;
        }
        for connection in shared.connections() {
            if !connection.playing.load(Acquire) {
                continue;
            }
            let mut paths = lock(&connection.paths);
            // What was said since: nothing follows a BYE that was sent after `media` was cleared.
            if !lock(&shared.script).media {
                continue;
            }
            for (index, path) in paths.iter_mut().enumerate() {
                let Some(path) = path else { continue };
                let udp = matches!(path.way, Way::Udp { .. });
                collect(shared, index, path);
                if script.silent.contains(&index) || udp && !script.udp_media {
                    continue;
                }
                let media = script.streams.get(index).copied().unwrap_or(Media::H264);
                let now = media_time(shared, &script, index);
                let time = path.announced.take().unwrap_or(now);
                let ahead = Duration::from_millis(script.ntp_ahead.unsigned_abs());
                let ntp = match script.ntp_ahead < 0 {
                    true => shared.started - ahead,
                    false => shared.started + ahead,
                } + wire::media_span(time, media);
                if let Some(every) = script.reports
                    && path.reported.is_none_or(|at| at.elapsed() >= every)
                {
                    path.reported = Some(Instant::now());
                    let report = wire::sender_report(path.ssrc, ntp, time);
                    connection.send(path, &report, true);
                }
                for mut packet in wire::packets(media, path.seq, time, path.ssrc, path.frames) {
                    if script.onvif {
                        wire::add_onvif_time(&mut packet, ntp);
                    }
                    connection.send(path, &packet, false);
                    path.seq = path.seq.wrapping_add(1);
                    path.sent += 1;
                }
                path.frames += 1;
            }
        }
    }
}
