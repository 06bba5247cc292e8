//! What the client wants done and what it reports.

use std::net::IpAddr;
use std::sync::Arc;

use super::error::Error;
use super::keys::KeyUse;
use crate::rtp::srtp::Keys;
use crate::rtsp::media_properties::MediaProperties;
use crate::rtsp::message::{Method, Request, Response};
use crate::rtsp::range::Range;
use crate::rtsp::rtp_info::RtpInfo;
use crate::rtsp::sdp;
use crate::rtsp::transport::{LowerTransport, Profile};
use crate::rtsp::url::Url;

/// One thing to do, in order.
#[derive(Debug, Clone)]
pub enum Output {
    /// Open a connection to the server of this URL and answer with `handle_connected` or
    /// `handle_connect_failed`.
    Connect(Url),
    /// One whole message.
    Send(Vec<u8>),
    /// Close the connection when all that was sent before has been written. Nothing that is still
    /// read from it may be handed to the client.
    Disconnect,
    /// Only with [`Config::review`](super::Config::review): what the application may change.
    /// Answer with `reviewed` and this number.
    Review(u64, Review),
    Event(Event),
}

/// What is put to the application before it has effect.
#[derive(Debug, Clone)]
pub enum Review {
    /// Before it is sent, without number and credentials.
    Request(Request),
    /// A request of the server, and the answer if the application sees to it.
    ServerRequest(Request, Response),
    /// The body of the answer to DESCRIBE.
    Description(Vec<u8>),
}

/// What the application has made of it.
#[derive(Debug, Clone)]
pub enum Reviewed {
    /// It goes on as if it had not been asked.
    Unchanged,
    Request(Request),
    /// The request is not sent, and counts as answered with 200.
    NotSent,
    ServerRequest(Response),
    Description(Vec<u8>),
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// Answer with `select`. Comes again after a redirect, and then replaces all before.
    Described {
        sdp: Arc<sdp::Session>,
        base: String,
    },
    /// The media is secured. Answer with `set_keys`; `NeedOffer` follows.
    NeedKeys {
        media: usize,
        usage: KeyUse,
    },
    /// Answer with `offer`. `channels` is a free pair for TCP.
    NeedOffer {
        media: usize,
        lower: LowerTransport,
        channels: (u8, u8),
    },
    /// From now on media can arrive. (What is recorded is sent from `Recording` on.)
    MediaSetUp {
        media: usize,
        granted: Granted,
        url: String,
    },
    /// This one cannot be had; the others go on.
    MediaSkipped {
        media: usize,
        error: Error,
    },
    /// All SETUPs are done and at least one succeeded.
    Ready,
    /// The PLAY of a seek goes out: what comes from now on may be of the new position.
    Seeking,
    /// The server does not play from there, and goes on where it was. (It is told to, if it was
    /// paused for the seek; `Playing` follows then.)
    SeekRefused {
        id: u64,
        error: Error,
    },
    /// The server plays, if `seek` is there from where that one asked for. `info` holds the
    /// entries of RTP-Info by media.
    Playing {
        seek: Option<u64>,
        range: Option<Range>,
        info: Vec<(usize, RtpInfo)>,
        scale: Option<f64>,
        speed: Option<f64>,
    },
    /// The server takes media from now on. `location` is where it records to, if it says so;
    /// redacted.
    Recording {
        location: Option<String>,
    },
    /// `remote` is false when the server cannot pause: it sends on, and what comes is to be dropped.
    /// A recording client sends nothing either way.
    Paused {
        remote: bool,
    },
    /// A media is asked for with another transport.
    TransportSwitched {
        from: LowerTransport,
        to: LowerTransport,
        why: String,
    },
    /// All that was set up is void, and is set up anew on the same connection.
    SetUpAgain,
    /// All that was set up is void. `to` is redacted.
    Redirected {
        to: String,
    },
    /// A deviation of the server that was worked around; each is named once.
    Quirk(&'static str),
    /// What the server says about the media (RTSP 2.0).
    MediaProperties(MediaProperties),
    /// The server has sent all of it (RTSP 2.0); packets may still be on their way. `status` is what it
    /// says about how it ended.
    EndOfStream {
        status: String,
    },
    /// The server sent a request. It has been answered.
    ServerRequest {
        method: Method,
    },
    /// The answer to `get_parameter` or `set_parameter`.
    Reply {
        id: u64,
        result: Result<Response, Error>,
    },
    Warning(String),
    /// The session was up and is gone. `Closed` follows.
    SessionLost(Error),
    /// What was asked for cannot be had. `Closed` follows.
    Failed(Error),
    /// Nothing follows.
    Closed,
}

/// What a SETUP was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    pub profile: Profile,
    /// Only a hint (RFC 2326 §12.39): servers name wrong ones.
    pub ssrc: Option<u32>,
    pub path: Path,
    /// Of what the server sends, if the media is secured. A server that is published to may give
    /// none: then its reports cannot be read.
    pub keys: Option<Keys>,
}

/// Where the media comes from, or goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Path {
    Tcp {
        rtp: u8,
        rtcp: Option<u8>,
    },
    Udp {
        /// The expected source. Where to record to: the server itself, and `rtp` is known.
        server: IpAddr,
        /// None: any port of that address.
        rtp: Option<u16>,
        rtcp: Option<u16>,
        /// False where nothing may be sent: to a third host, or to a port that is not known.
        send_to_server: bool,
    },
    Multicast {
        group: IpAddr,
        rtp: u16,
        rtcp: u16,
        ttl: u8,
        source: Option<IpAddr>,
    },
}

impl Path {
    pub fn lower(&self) -> LowerTransport {
        match self {
            Path::Tcp { .. } => LowerTransport::Tcp,
            Path::Udp { .. } => LowerTransport::Udp,
            Path::Multicast { .. } => LowerTransport::UdpMulticast,
        }
    }
}
