//! How the scripted server behaves, and what it has seen.

use std::time::Duration;

use super::wire;

/// What a stream of the presentation carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// Three packets a frame, each tenth frame a key frame.
    H264,
    /// The same.
    H265,
    /// One packet.
    Pcmu,
    /// PCMU, and each second ten frames PCMA.
    PcmuAndPcma,
}

/// How a SETUP is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    AsAsked,
    /// TCP, whatever was asked for.
    Tcp,
    /// UDP is refused with 461.
    NoUdp,
    /// The second stream is there over UDP only, and a session has one transport; else 461.
    Unmixed,
}

/// How the server behaves; read anew for each request and each packet.
#[derive(Clone, Debug)]
pub struct Script {
    pub streams: Vec<Media>,
    /// These streams never send.
    pub silent: Vec<usize>,
    /// Requests of this method are not answered until this changes.
    pub hang: Option<&'static str>,
    /// Requests of this method get this status instead.
    pub refuse: Option<(&'static str, u16)>,
    /// How often `refuse` still applies.
    pub refusals: u32,
    /// DESCRIBE is answered with 302 and this Location.
    pub redirect: Option<String>,
    pub grant: Grant,
    /// Whether anything is sent at all, and over UDP.
    pub media: bool,
    pub udp_media: bool,
    /// Sessions over UDP outlive their connection.
    pub udp_survives: bool,
    /// Media comes before the reply to PLAY.
    pub early_media: bool,
    /// `a=range` of the description and `Range` of the reply to PLAY.
    pub range: &'static str,
    pub public: &'static str,
    /// Seconds, as the Session header says.
    pub timeout: u32,
    /// User and password, of Basic authentication unless `digest` is set.
    pub auth: Option<(&'static str, &'static str)>,
    pub digest: bool,
    /// Instead of what describes `streams`.
    pub description: Option<&'static str>,
    /// Between two frames.
    pub interval: Duration,
    /// Between two sender reports of a stream.
    pub reports: Option<Duration>,
    /// By how many milliseconds the NTP clock of the server is ahead.
    pub ntp_ahead: i64,
    /// Each packet says when it was captured (ONVIF Streaming §6.3).
    pub onvif: bool,
    /// `a=ts-refclk`: the RTP clocks are derived from this one (RFC 7273).
    pub refclk: Option<String>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            streams: vec![Media::H264],
            silent: Vec::new(),
            hang: None,
            refuse: None,
            refusals: u32::MAX,
            redirect: None,
            grant: Grant::AsAsked,
            media: true,
            udp_media: true,
            udp_survives: false,
            early_media: false,
            range: "npt=now-",
            public: "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, GET_PARAMETER, TEARDOWN",
            timeout: 60,
            auth: None,
            digest: false,
            description: None,
            interval: Duration::from_millis(10),
            reports: None,
            ntp_ahead: 0,
            onvif: false,
            refclk: None,
        }
    }
}

/// A request of the client, as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub uri: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// Which connection it came over, counted from 0.
    pub connection: u64,
}

/// A response of the client to a request of the server.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        wire::header(&self.headers, name)
    }
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        wire::header(&self.headers, name)
    }
}

/// RTCP, or what came to a media socket, from the client.
#[derive(Clone, Debug)]
pub struct Report {
    pub channel: u8,
    pub packet: Vec<u8>,
}
