//! The back channels in the session's attempt: what they are granted, and their reports.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::*;
use crate::caps;
use crate::net::address::is_sendable;
use crate::net::lock_in::{MediaPeer, SourceFilter};
use crate::net::outbox::{Frame, Pump};
use crate::rtsp::client::{ErrorKind, Granted, Path, Phase};
use crate::session::backchannel::{Backchannel, Offered};
use crate::session::publish::clock;
use crate::session::publish::lane::Outlet;
use crate::session::publish::tcp::Interleaved;
use crate::session::publish::udp::UdpPath;

/// Reports of these follow those of the streams in the connection's queue.
const FIRST_REPORT: usize = limits::SDP_MEDIA;

/// A back channel in the current attempt.
pub(super) struct Talk {
    media: usize,
    channel: Arc<Backchannel>,
    path: Option<TalkPath>,
}

struct TalkPath {
    granted: Path,
    udp: Option<UdpPath>,
    outlet: Outlet,
}

/// The connection's part in them.
#[derive(Default)]
pub(super) struct Talking {
    pub talks: Vec<Talk>,
    interleaved: Option<(Arc<Interleaved>, Pump)>,
    /// The application was told that there are none.
    absence_told: bool,
}

impl Task {
    /// The media that go to the server, if that is wanted.
    pub(super) fn describe_backchannels(&mut self, sdp: &sdp::Session) -> Vec<usize> {
        self.close_backchannels();
        self.talking.talks.clear();
        if !self.config.backchannel {
            return Vec::new();
        }
        let media = sdp.media.iter().filter(|media| {
            media.usable.is_ok() && media.kind == "audio" && sdp.is_backchannel(media)
        });
        let offered: Vec<Offered> = media
            .map(|media| Offered {
                media: media.index,
                formats: media
                    .formats
                    .iter()
                    .filter_map(|pt| caps::payload_caps(sdp, media, *pt))
                    .collect(),
            })
            .filter(|offered| !offered.formats.is_empty())
            .collect();
        if offered.is_empty() && !std::mem::replace(&mut self.talking.absence_told, true) {
            self.post(|element| {
                let text = "The server has no back channel: what is sent to it is dropped";
                gst::message::Warning::builder(gst::ResourceError::Settings, text)
                    .src(element)
                    .build()
            });
        }
        let media: Vec<usize> = offered.iter().map(|offered| offered.media).collect();
        let channels = self.inputs.backchannels.describe(offered);
        let talks = media.iter().zip(channels);
        self.talking.talks = talks
            .map(|(media, channel)| Talk {
                media: *media,
                channel,
                path: None,
            })
            .collect();
        media
    }

    pub(super) fn is_backchannel(&self, media: usize) -> bool {
        self.talking.talks.iter().any(|talk| talk.media == media)
    }

    pub(super) fn backchannel_set_up(&mut self, media: usize, granted: Granted) {
        let Some(at) = self
            .talking
            .talks
            .iter()
            .position(|talk| talk.media == media)
        else {
            return;
        };
        let lane = self.talking.talks.get(at).map(|talk| talk.channel.clone());
        let protected = lane.is_some_and(|c| self.protect(media, c.lane(), granted.keys));
        let opened = match protected {
            true => self.open_talk(at, granted.path),
            false => Err(std::io::Error::other("its keys cannot be used")),
        };
        match opened {
            Ok(path) => {
                if let Some(talk) = self.talking.talks.get_mut(at) {
                    talk.path = Some(path);
                }
            }
            Err(error) => {
                let why = format!("nothing can be sent to the back channel: {error}");
                let error = self.error(ErrorKind::NoTransport, Phase::Setup, why);
                self.media_skipped(media, &error);
            }
        }
    }

    fn open_talk(&mut self, at: usize, granted: Path) -> std::io::Result<TalkPath> {
        let gone = || std::io::Error::from(std::io::ErrorKind::NotConnected);
        let Self {
            talking,
            attempt,
            runtimes,
            config,
            ..
        } = self;
        let talk = talking.talks.get(at).ok_or_else(gone)?;
        let attempt = attempt.as_mut().ok_or_else(gone)?;
        let link = attempt.link.as_ref().ok_or_else(gone)?;
        let lane = talk.channel.lane();
        match &granted {
            Path::Tcp { rtp, rtcp } => {
                lock(&link.demux).add_lane(lane, *rtp, *rtcp);
                let (lanes, pump) = talking.interleaved.get_or_insert_with(|| {
                    let lanes = Arc::<Interleaved>::default();
                    let pump = link.carry(lanes.clone());
                    (lanes, pump)
                });
                lanes.add(lane.clone());
                let outlet = Outlet::Tcp {
                    pump: pump.clone(),
                    channel: *rtp,
                };
                Ok(TalkPath {
                    granted,
                    udp: None,
                    outlet,
                })
            }
            Path::Udp {
                server, rtp, rtcp, ..
            } => {
                let none = || std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
                let pair = attempt.pairs.remove(&talk.media).ok_or_else(none)?;
                let port = rtp.ok_or_else(none)?;
                let to = at_server(link.peer, *server, port);
                if !is_sendable(to) {
                    return Err(none());
                }
                pair.rtp.prepare_sending(config.server.udp_buffer_size)?;
                let peer = MediaPeer::new(*server, Some(*server), Some((port, *rtcp)));
                let filters = (SourceFilter::host(*server), peer.rtcp_filter());
                let udp = UdpPath::start(runtimes, pair, to, lane, filters, true)?;
                let outlet = Outlet::Udp(udp.outlet.clone());
                Ok(TalkPath {
                    granted,
                    udp: Some(udp),
                    outlet,
                })
            }
            // One speaks to one server.
            Path::Multicast { .. } => Err(std::io::ErrorKind::Unsupported.into()),
        }
    }

    /// The server plays: only now anything is sent to it (ONVIF Streaming §5.3.2.2).
    pub(super) fn open_backchannels(&self) {
        for talk in &self.talking.talks {
            if let Some(path) = &talk.path {
                talk.channel.open(path.outlet.clone());
            }
        }
    }

    pub(super) fn close_backchannels(&self) {
        for talk in &self.talking.talks {
            talk.channel.close();
        }
    }

    /// What carried them is gone.
    pub(super) fn drop_backchannels(&mut self) {
        self.close_backchannels();
        self.talking.interleaved = None;
        for talk in &mut self.talking.talks {
            talk.path = None;
        }
    }

    fn speaking(&self) -> impl Iterator<Item = (usize, &Talk, &TalkPath)> {
        let talks = self.talking.talks.iter().enumerate();
        let rtcp = self.config.rtcp;
        talks
            .filter(move |(_, talk)| rtcp && talk.channel.is_open())
            .filter_map(|(at, talk)| Some((at, talk, talk.path.as_ref()?)))
    }

    pub(super) fn talk_deadline(&self) -> Option<Instant> {
        self.speaking()
            .filter_map(|(_, talk, _)| talk.channel.lane().rtcp_deadline())
            .min()
    }

    /// Sends the reports that are due.
    pub(super) fn talk_rtcp(&mut self, now: Instant) {
        if self.talk_deadline().is_none_or(|due| now < due) {
            return;
        }
        let element = self.host.element();
        let source = self.config.timing.ntp_time_source;
        let Some(clock) = element.and_then(|element| clock::now(&element, source)) else {
            return;
        };
        for (at, talk, path) in self.speaking() {
            if let Some(packet) = talk.channel.lane().poll_rtcp(clock, now) {
                self.send_talk_rtcp(at, path, packet);
            }
        }
    }

    /// BYE (RFC 3550 §6.3.7), and nothing after it.
    pub(super) fn say_goodbye_to_backchannels(&mut self, now: Instant) {
        let element = self.host.element();
        let source = self.config.timing.ntp_time_source;
        if let Some(clock) = element.and_then(|element| clock::now(&element, source)) {
            let talks = self.talking.talks.iter().enumerate();
            for (at, talk) in talks.filter(|_| self.config.rtcp) {
                if let Some(path) = &talk.path
                    && let Some(packet) = talk.channel.lane().bye(clock, now)
                {
                    self.send_talk_rtcp(at, path, packet);
                }
            }
        }
        self.close_backchannels();
    }

    fn send_talk_rtcp(&self, at: usize, path: &TalkPath, packet: Vec<u8>) {
        let link = self
            .attempt
            .as_ref()
            .and_then(|attempt| attempt.link.as_ref());
        let Some(link) = link else {
            return;
        };
        match (&path.granted, &path.udp) {
            (Path::Tcp { rtp, rtcp }, _) => {
                if let Some(frame) = Frame::new(rtcp.unwrap_or(*rtp), packet.into()) {
                    let stream = FIRST_REPORT.saturating_add(at);
                    // A connection that takes no more is found out by its requests.
                    let _ = link.send(frame.to_bytes(), Kind::Report { stream });
                }
            }
            (Path::Udp { server, rtcp, .. }, Some(udp)) => {
                let to = rtcp.map(|port| at_server(link.peer, *server, port));
                if let Some(to) = to.filter(|to| is_sendable(*to))
                    && let Err(error) = udp.pair.rtcp.try_send_to(&packet, to)
                {
                    gst::debug!(CAT, "RTCP to {to}: {error}");
                }
            }
            _ => {}
        }
    }
}

/// The server's address with this port; that of the connection also says on which link a
/// link-local one is.
fn at_server(mut peer: SocketAddr, server: IpAddr, port: u16) -> SocketAddr {
    if peer.ip() != server {
        return SocketAddr::new(server, port);
    }
    peer.set_port(port);
    peer
}
