//! What the client reports, and from a grant to sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::messages;
use super::super::stats::name_of;
use super::CAT;
use super::lane::{Lane, Outlet};
use super::protection::StreamKeys;
use super::task::{StreamPath, Task};
use super::tcp::Interleaved;
use super::udp::UdpPath;
use crate::net::address::is_sendable;
use crate::net::lock_in::{MediaPeer, SourceFilter};
use crate::net::multicast;
use crate::net::udp::UdpPair;
use crate::rtsp::client::{ErrorKind, Event, Granted, Path, Phase};
use crate::rtsp::transport::{LowerTransport, Offer};
use crate::session::lock::lock;

/// Between two messages about a queue that is full.
const OVERFLOW_INTERVAL: Duration = Duration::from_secs(10);

impl Task {
    pub fn event(&mut self, event: Event, now: Instant) {
        if let Some(attempt) = &self.attempt
            && attempt.retiring.is_some()
        {
            if matches!(
                event,
                Event::Closed | Event::Failed(_) | Event::SessionLost(_)
            ) {
                self.retired();
            }
            return;
        }
        match event {
            Event::NeedOffer {
                media,
                lower,
                channels,
            } => self.offer(media, lower, channels, now),
            Event::NeedKeys { media, .. } => {
                // The key that was announced protects either way.
                if let Some(attempt) = &mut self.attempt {
                    let keys = attempt.keys.get(media).cloned();
                    attempt.client.set_keys(media, keys, now);
                }
            }
            Event::MediaSetUp { media, granted, .. } => self.media_set_up(media, granted),
            Event::MediaSkipped { media, error } => {
                gst::warning!(CAT, "media {media} is not published: {error}");
                if let Some(stream) = self.streams.get(media) {
                    // Nobody will ever take what it has.
                    stream.lane.disconnect(true);
                }
                let reason = error.to_string();
                self.post(move |element| {
                    gst::message::Warning::builder(gst::ResourceError::Settings, &reason)
                        .src(element)
                        .build()
                });
            }
            Event::Ready => self.ready(now),
            Event::Recording { location } => self.recording(location, now),
            Event::Paused { .. } => {
                for stream in &self.streams {
                    stream.lane.hold();
                }
                self.inputs.snapshot.update(|stats| stats.state = "paused");
            }
            Event::TransportSwitched { from, to, why } => self.transport_switched(from, to, why),
            Event::Redirected { to } => {
                // All that was set up is void.
                self.close_paths();
                if let Some(attempt) = &mut self.attempt {
                    attempt.recording_since = None;
                    attempt.session = None;
                    attempt.no_sockets = None;
                    attempt.pairs.clear();
                }
                self.tell("redirected", move |message| message.set("location", to));
            }
            Event::Quirk(name) => self.quirk(name),
            Event::ServerRequest { method } => gst::debug!(CAT, "the server sent {method}"),
            Event::Warning(text) => gst::warning!(CAT, "{}: {text}", self.config.server.url),
            Event::SessionLost(error) | Event::Failed(error) => self.lost(&error, now),
            Event::Closed => {
                self.attempt = None;
                self.close_paths();
                if self.farewell_until.is_some() {
                    self.farewell_done();
                }
            }
            // Of presentations that are played.
            Event::Described { .. }
            | Event::Playing { .. }
            | Event::Seeking
            | Event::SeekRefused { .. }
            | Event::SetUpAgain
            | Event::MediaProperties(_)
            | Event::EndOfStream { .. }
            | Event::Reply { .. } => {}
        }
    }

    /// An oddity of the server that is made allowance for: each is told once.
    pub fn quirk(&mut self, name: &'static str) {
        let mut new = false;
        self.inputs.snapshot.update(|stats| {
            new = !stats.quirks.contains(&name);
            if new {
                stats.quirks.push(name);
            }
        });
        if new {
            gst::info!(CAT, "{}: quirk {name}", self.config.server.url);
            self.tell("quirk", move |message| message.set("name", name));
        }
    }

    fn offer(&mut self, media: usize, lower: LowerTransport, channels: (u8, u8), now: Instant) {
        let offer = match lower {
            LowerTransport::Tcp => Some(Offer::Tcp { channels }),
            LowerTransport::Udp => match self.bind_pair() {
                Ok(pair) => {
                    let ports = (pair.rtp.local_port(), pair.rtcp.local_port());
                    if let Some(attempt) = &mut self.attempt {
                        attempt.pairs.insert(media, pair);
                    }
                    Some(Offer::Udp { ports })
                }
                Err(error) => {
                    gst::warning!(CAT, "no UDP ports: {error}");
                    None
                }
            },
            LowerTransport::UdpMulticast => Some(Offer::Multicast { ports: None }),
        };
        if let Some(attempt) = &mut self.attempt {
            attempt.client.offer(media, offer, now);
        }
    }

    fn local(&self) -> SocketAddr {
        let link = self
            .attempt
            .as_ref()
            .and_then(|attempt| attempt.link.as_ref());
        link.map_or(SocketAddr::from(([0, 0, 0, 0], 0)), |link| link.local)
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.attempt.as_ref()?.link.as_ref().map(|link| link.peer)
    }

    fn bind_pair(&self) -> std::io::Result<UdpPair> {
        let _io = self.runtimes.io().enter();
        UdpPair::bind(
            self.local(),
            self.config.server.port_range,
            self.config.server.port_tries,
        )
    }

    fn media_set_up(&mut self, media: usize, granted: Granted) {
        if let Some(attempt) = &mut self.attempt {
            let url = attempt.client.aggregate_url();
            attempt.session = attempt.client.session_id().map(|id| (url, id.to_string()));
        }
        let lower = granted.path.lower();
        match self.open_path(media, granted) {
            Ok(path) => {
                if let Some(stream) = self.streams.get_mut(media) {
                    stream.path = Some(path);
                }
            }
            Err(error) => {
                let name = self.streams.get(media).map(|s| s.description.name.clone());
                let text = format!("{} cannot be sent: {error}", name.unwrap_or_default());
                gst::warning!(CAT, "{text}");
                self.post(move |element| {
                    gst::message::Warning::builder(gst::ResourceError::OpenWrite, &text)
                        .src(element)
                        .build()
                });
                if let Some(attempt) = &mut self.attempt {
                    attempt.no_sockets = Some((lower, error.to_string()));
                }
            }
        }
    }

    fn open_path(&mut self, media: usize, granted: Granted) -> std::io::Result<StreamPath> {
        let gone = || std::io::Error::from(std::io::ErrorKind::NotConnected);
        let stream = self.streams.get(media).ok_or_else(gone)?;
        let lane = stream.lane.clone();
        let rtx = self.retransmission(stream);
        let keys = self.attempt.as_ref().and_then(|a| a.keys.get(media));
        let keys = keys.map(|own| StreamKeys {
            own: own.keys.clone(),
            server: granted.keys,
        });
        if keys.is_none() && self.config.profile.is_secure() || !lane.protect(keys) {
            return Err(gone());
        }
        let granted = granted.path;
        let udp = match &granted {
            Path::Tcp { rtp, rtcp } => {
                let attempt = self.attempt.as_mut().ok_or_else(gone)?;
                let link = attempt.link.as_ref().ok_or_else(gone)?;
                lock(&link.demux).add(&lane, *rtp, *rtcp);
                let (lanes, pump) = attempt.interleaved.get_or_insert_with(|| {
                    let lanes = Arc::<Interleaved>::default();
                    let pump = link.carry(lanes.clone());
                    (lanes, pump)
                });
                lanes.add(lane.clone());
                // What TCP has taken arrives.
                let outlet = Outlet::Tcp {
                    pump: pump.clone(),
                    channel: *rtp,
                };
                lane.connect(outlet, None);
                None
            }
            Path::Udp {
                server, rtp, rtcp, ..
            } => {
                let pair = self
                    .attempt
                    .as_mut()
                    .and_then(|attempt| attempt.pairs.remove(&media))
                    .ok_or(std::io::ErrorKind::AddrNotAvailable)?;
                let port = rtp.ok_or(std::io::ErrorKind::AddrNotAvailable)?;
                let to = self.at_server(*server, port);
                if !is_sendable(to) {
                    return Err(std::io::ErrorKind::AddrNotAvailable.into());
                }
                pair.rtp
                    .prepare_sending(self.config.server.udp_buffer_size)?;
                // Only of connected sockets it is known what ICMP says; nothing else needs it.
                let _ = pair.rtp.connect(to);
                let peer = MediaPeer::new(*server, Some(*server), Some((port, *rtcp)));
                let filters = (SourceFilter::host(*server), peer.rtcp_filter());
                Some(self.start_sockets(pair, to, &lane, filters, true)?)
            }
            Path::Multicast {
                group,
                rtp,
                rtcp,
                ttl,
                source: _,
            } => {
                let interface = match &self.config.server.multicast_iface {
                    Some(name) => multicast::Interface::by_name(name)?,
                    None => multicast::Interface::owning(self.local())
                        .unwrap_or_else(|_| multicast::Interface::any()),
                };
                let address = multicast::Group {
                    address: *group,
                    rtp_port: *rtp,
                    rtcp_port: Some(*rtcp),
                    ttl: Some(*ttl),
                    source: None,
                };
                let pair = {
                    let _io = self.runtimes.io().enter();
                    multicast::join(&address, &interface)?
                };
                pair.rtp
                    .prepare_sending(self.config.server.udp_buffer_size)?;
                let to = SocketAddr::new(*group, *rtp);
                // Reports come from every member.
                let filters = (SourceFilter::any(), SourceFilter::any());
                // What comes to the group's port is our own media.
                Some(self.start_sockets(pair, to, &lane, filters, false)?)
            }
        };
        if let Some(udp) = &udp {
            lane.connect(Outlet::Udp(udp.outlet.clone()), rtx);
        }
        Ok(StreamPath {
            granted,
            udp,
            refused: 0,
        })
    }

    /// The server's address with this port; that of the connection also says on
    /// which link a link-local one is.
    pub fn at_server(&self, server: std::net::IpAddr, port: u16) -> SocketAddr {
        match self.peer().filter(|peer| peer.ip() == server) {
            Some(mut peer) => {
                peer.set_port(port);
                peer
            }
            None => SocketAddr::new(server, port),
        }
    }

    fn start_sockets(
        &self,
        pair: UdpPair,
        to: SocketAddr,
        lane: &Arc<Lane>,
        filters: (SourceFilter, SourceFilter),
        both: bool,
    ) -> std::io::Result<UdpPath> {
        UdpPath::start(&self.runtimes, pair, to, lane, filters, both)
    }

    /// All SETUPs are done.
    fn ready(&mut self, now: Instant) {
        if let Some(attempt) = &mut self.attempt {
            // Ports that were offered in vain.
            attempt.pairs.clear();
            if let Some(link) = &mut attempt.link {
                link.permit = None;
            }
        }
        if self.nothing_to_send_over(now) {
            return;
        }
        self.inputs.snapshot.update(|stats| stats.state = "ready");
        if std::mem::take(&mut self.owes_ready) {
            self.call(|host| host.ready());
        }
        self.record_if_wished(now);
    }

    /// Nothing that was granted can be sent over: the next transport, or an error
    /// that says why.
    fn nothing_to_send_over(&mut self, now: Instant) -> bool {
        if self.streams.iter().any(|stream| stream.path.is_some()) {
            return false;
        }
        let failed = self
            .attempt
            .as_mut()
            .and_then(|attempt| attempt.no_sockets.take());
        let Some((lower, why)) = failed else {
            return false;
        };
        let rest: Vec<_> = self
            .transports
            .iter()
            .copied()
            .filter(|transport| *transport != lower)
            .collect();
        match rest.first() {
            Some(next) => {
                self.transport_switched(lower, *next, why);
                self.transports = rest;
                self.retire(now);
            }
            None => {
                let message = format!("cannot send over {}: {why}", name_of(lower));
                let error = self.error(ErrorKind::NoTransport, Phase::Setup, message);
                self.lost(&error, now);
            }
        }
        true
    }

    pub fn transport_switched(&mut self, from: LowerTransport, to: LowerTransport, why: String) {
        self.inputs.snapshot.update(|stats| {
            stats.transport_switches = stats.transport_switches.saturating_add(1);
        });
        self.tell("transport-switched", move |message| {
            message.set("from", name_of(from));
            message.set("to", name_of(to));
            message.set("reason", why);
        });
    }

    /// The server takes media.
    fn recording(&mut self, location: Option<String>, now: Instant) {
        let reconnected = std::mem::take(&mut self.was_lost);
        self.backoff.playing(now);
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        let resumed = attempt.recording_since.replace(now).is_some();
        attempt.last_heard = now;
        self.unreachable = 0;
        let transport = self
            .streams
            .iter()
            .find_map(|stream| stream.path.as_ref())
            .map(|path| path.granted.lower());
        let server = attempt.client.server().map(str::to_string);
        let timeout = attempt.client.session_timeout();
        gst::info!(
            CAT,
            "{}: recording {} over {} to {}, session timeout {timeout:?}, quirks {:?}{}",
            self.config.server.url,
            self.streams
                .iter()
                .filter(|stream| stream.path.is_some())
                .map(|stream| stream.description.encoding_name())
                .collect::<Vec<_>>()
                .join(" + "),
            transport.map_or("nothing", name_of),
            server.as_deref().unwrap_or("a server without a name"),
            attempt.client.quirks(),
            location.map_or(String::new(), |to| format!(", recorded at {to}")),
        );
        if let Some(transport) = transport
            && let Some(at) = self.transports.iter().position(|t| *t == transport)
            && let Some(head) = self.transports.get_mut(..=at)
        {
            // What worked is tried first the next time.
            head.rotate_right(1);
        }
        self.inputs.snapshot.update(|stats| {
            stats.state = "recording";
            stats.transport = transport.map(name_of);
            stats.server = server;
            stats.timeout = Some(timeout);
            stats.playing_since = Some(now);
            stats.last_error = None;
            if reconnected {
                stats.reconnects = stats.reconnects.saturating_add(1);
            }
        });
        if !resumed {
            self.rate.restart(now);
        }
        let wished = self.wish_recording || self.leaving.is_some();
        for stream in &self.streams {
            match stream.path {
                Some(_) if wished => stream.lane.open(),
                Some(_) => {}
                // Nobody will ever take what it has.
                None => stream.lane.disconnect(true),
            }
        }
        if reconnected {
            self.tell("connection-restored", |_| {});
        }
    }

    /// A queue was full: the network takes less than the stream is.
    pub fn overflowed(&mut self, at: usize, now: Instant) {
        let Some(stream) = self.streams.get_mut(at) else {
            return;
        };
        self.rate.handle_dropped();
        let recent = stream
            .overflow_at
            .is_some_and(|at| now.saturating_duration_since(at) < OVERFLOW_INTERVAL);
        if recent {
            return;
        }
        stream.overflow_at = Some(now);
        let name = stream.description.name.clone();
        let dropped = stream.lane.stats().dropped.units;
        self.tell("overflow", move |message| {
            message.set("stream", name);
            message.set("dropped-units", dropped);
        });
    }

    /// The element hears of an error that ends the session.
    pub fn fail(&mut self, error: &crate::rtsp::client::Error) {
        (self.over, self.failed) = (true, true);
        self.inputs.snapshot.update(|stats| stats.state = "failed");
        gst::error!(CAT, "{error}");
        let path = self.streams.iter().find_map(|stream| stream.path.as_ref());
        let transport = path.map(|path| name_of(path.granted.lower()));
        let error = error.clone();
        self.post(move |element| messages::error_message(element, &error, transport));
        self.inputs.lanes.close(super::Closed::Failed);
    }
}
