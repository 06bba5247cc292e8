//! What a session is told when it starts.

use std::time::Duration;

use crate::rtsp::transport::LowerTransport;
use crate::rtsp::url::{Credentials, Url};

use super::delivery::DeliveryMode;
use super::timing::TimingConfig;

/// The element's settings, as they were when it left READY.
#[derive(Debug, Clone)]
pub struct Config {
    pub url: Url,
    /// From `user-id`, `user-pw`; they override those of the URL.
    pub credentials: Option<Credentials>,
    pub user_agent: String,
    /// Control attributes are appended to the base URL, never resolved.
    pub append_control: bool,
    /// A lost connection of a UDP session is opened again.
    pub udp_reconnect: bool,
    /// Allowed lower transports, the preferred one first.
    pub transports: Vec<LowerTransport>,
    pub keep_alive: bool,
    /// Connecting, and the wait for a response.
    pub response_timeout: Duration,
    /// A UDP session without a packet for this long tries TCP; zero never does.
    pub udp_timeout: Duration,
    pub blocksize: u32,
    pub latency: Duration,
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
    pub port_range: Option<(u16, u16)>,
    /// Tries to find a free pair of ports.
    pub port_tries: u32,
    pub udp_buffer_size: usize,
    pub multicast_iface: Option<String>,
    pub timing: TimingConfig,
    pub connect_attempts: i32,
    pub reconnect_attempts: i32,
    pub reconnect_initial_delay: Duration,
    pub reconnect_max_delay: Duration,
    /// No media for this long while playing is a lost presentation; zero never is.
    pub stall_timeout: Duration,
    pub teardown_timeout: Duration,
    pub delivery: DeliveryMode,
    pub buffer_lists: bool,
    /// Kinds of media to SET UP (`video`, `audio`, …), or empty for all.
    pub media: Vec<String>,
}

impl Config {
    /// Takes over the settings that may change while a session runs.
    pub fn adopt(&mut self, new: Config) {
        self.user_agent = new.user_agent;
        self.response_timeout = new.response_timeout;
        self.udp_timeout = new.udp_timeout;
        self.drop_on_latency = new.drop_on_latency;
        self.connect_attempts = new.connect_attempts;
        self.reconnect_attempts = new.reconnect_attempts;
        self.reconnect_initial_delay = new.reconnect_initial_delay;
        self.reconnect_max_delay = new.reconnect_max_delay;
        self.stall_timeout = new.stall_timeout;
        self.teardown_timeout = new.teardown_timeout;
    }
}
