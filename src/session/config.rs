//! What a session is told when it starts.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::net::address::{Reach, is_public};
use crate::net::http::HttpSettings;
use crate::net::road::Target;
use crate::net::tls::Connector;
use crate::rtsp::client::Replay;
use crate::rtsp::message::Version;
use crate::rtsp::transport::LowerTransport;
use crate::rtsp::url::{Credentials, Url};

use super::backoff::Policy;
use super::certificates::Tls;
use super::delivery::DeliveryMode;
use super::spans::nonzero;
use super::timing::TimingConfig;

/// While reconnecting a connect is given up after this.
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The server, and how it is talked to: what playing and publishing share.
#[derive(Debug, Clone)]
pub struct Server {
    pub url: Url,
    /// From `user-id`, `user-pw`; they override those of the URL.
    pub credentials: Option<Credentials>,
    pub user_agent: String,
    /// Allowed lower transports, the preferred one first.
    pub transports: Vec<LowerTransport>,
    pub keep_alive: bool,
    /// Connecting, and the wait for a response; zero is no limit.
    pub response_timeout: Duration,
    pub port_range: Option<(u16, u16)>,
    /// Tries to find a free pair of ports.
    pub port_tries: u32,
    /// The kernel's buffer of the RTP sockets; 0 leaves the system's.
    pub udp_buffer_size: usize,
    pub multicast_iface: Option<String>,
    pub retries: Policy,
    pub teardown_timeout: Duration,
    /// Tunnels and proxies.
    pub http: HttpSettings,
    pub tls: Tls,
}

impl Server {
    /// How to get to `url`, which may be that of a redirect. `reconnecting` if media
    /// has flowed; `first_peer` is who was connected to first.
    pub(super) fn target(
        &self,
        url: Url,
        reconnecting: bool,
        first_peer: Option<IpAddr>,
        tls: Arc<Connector>,
    ) -> Target {
        let timeout = nonzero(self.response_timeout);
        // A public server may not send us into the private network.
        let redirected = !url.host().eq_ignore_ascii_case(self.url.host());
        let server = match self.http.proxy {
            // The peer is the proxy then.
            Some(_) => self.url.host().parse().ok(),
            None => first_peer,
        };
        let public = server.map_or(self.http.proxy.is_some(), is_public);
        // Credentials stay with the origin that they were given for.
        let credentials = self.credentials.as_ref().or(self.url.credentials());
        Target {
            timeout: match reconnecting {
                true => timeout.min(RECONNECT_TIMEOUT),
                false => timeout,
            },
            reach: match redirected && public {
                true => Reach::PublicOnly,
                false => Reach::Any,
            },
            permit: false,
            credentials: credentials.filter(|_| url.same_origin(&self.url)).cloned(),
            user_agent: self.user_agent.clone(),
            tls,
            http: self.http.clone(),
            url,
        }
    }

    /// Takes over the settings that may change while a session runs.
    pub fn adopt(&mut self, new: Server) {
        self.user_agent = new.user_agent;
        self.response_timeout = new.response_timeout;
        self.retries = new.retries;
        self.teardown_timeout = new.teardown_timeout;
    }
}

/// The settings of `rtspsrc2`, as they were when it left READY.
#[derive(Debug, Clone)]
pub struct Config {
    pub server: Server,
    /// The version of RTSP that is tried first.
    pub version: Version,
    /// The ONVIF back channel is asked for.
    pub backchannel: bool,
    /// Control attributes are appended to the base URL, never resolved.
    pub append_control: bool,
    /// Keys in `a=crypto` are taken from a connection without TLS.
    pub allow_clear_keys: bool,
    /// The keys of secured media are made here, for both directions.
    pub client_keys: bool,
    /// A lost connection of a UDP session is opened again.
    pub udp_reconnect: bool,
    /// A UDP session without a packet for this long tries TCP; zero never does.
    pub udp_timeout: Duration,
    pub blocksize: u32,
    pub latency: Duration,
    /// The server sets the pace; else it is read as downstream takes it, like a file.
    pub live: bool,
    /// Positions are UTC, and recordings are asked for as ONVIF says.
    pub replay: Option<Replay>,
    /// Nothing stays queued beyond the latency of the pipeline.
    pub drop_on_latency: bool,
    /// Presentation times follow the sender's clock.
    pub follow_clock: bool,
    /// SDES items of our reports by their type (RFC 3550 §6.5).
    pub sdes: Vec<(u8, String)>,
    pub probation: u32,
    pub retransmission: bool,
    pub rtcp: bool,
    pub nat_punching: bool,
    pub timing: TimingConfig,
    /// No media for this long while playing is a lost presentation; zero never is.
    pub stall_timeout: Duration,
    pub delivery: DeliveryMode,
    pub buffer_lists: bool,
    /// Kinds of media to SET UP (`video`, `audio`, …), or empty for all.
    pub media: Vec<String>,
}

impl Config {
    /// Takes over the settings that may change while a session runs.
    pub fn adopt(&mut self, new: Config) {
        self.server.adopt(new.server);
        self.udp_timeout = new.udp_timeout;
        self.drop_on_latency = new.drop_on_latency;
        self.stall_timeout = new.stall_timeout;
    }
}
