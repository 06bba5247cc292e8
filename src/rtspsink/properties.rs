//! The property table of `rtspsink2`.

use std::time::Duration;

use gst::prelude::*;
use gst_rtsp::{RTSPLowerTrans, RTSPProfile};
use once_cell::sync::Lazy;

use super::refclk::PublishClockMode;
use crate::rtsp::url::{Credentials, Url};
use crate::session::{NtpTimeSource, PublishConfig};
use crate::settings::{self, DEFAULT_USER_AGENT, TransportPreference, parse_port_range};

#[derive(Debug, Clone)]
pub(super) struct Settings {
    location: Option<(String, Url)>,
    protocols: RTSPLowerTrans,
    transport_preference: TransportPreference,
    profiles: RTSPProfile,
    retry: u32,
    tcp_timeout: u64,
    rtx_time: u32,
    do_rtsp_keep_alive: bool,
    do_rtcp: bool,
    rtp_blocksize: u32,
    mtu: u32,
    user_id: Option<String>,
    user_pw: Option<String>,
    user_agent: String,
    port_range: Option<(u16, u16)>,
    udp_buffer_size: i32,
    multicast_iface: Option<String>,
    ntp_time_source: NtpTimeSource,
    pub publish_clock_mode: PublishClockMode,
    pub sync: bool,
    max_queue_time: u64,
    pub adaptive_bitrate: bool,
    pub min_bitrate: u64,
    pub max_bitrate: u64,
    pub teardown_timeout: u64,
    connect_attempts: i32,
    reconnect_attempts: i32,
    reconnect_initial_delay: u64,
    reconnect_max_delay: u64,
}

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

impl Default for Settings {
    fn default() -> Self {
        Self {
            location: None,
            protocols: RTSPLowerTrans::TCP | RTSPLowerTrans::UDP | RTSPLowerTrans::UDP_MCAST,
            transport_preference: TransportPreference::default(),
            profiles: RTSPProfile::AVP,
            retry: 20,
            tcp_timeout: 20_000_000,
            rtx_time: 500,
            do_rtsp_keep_alive: true,
            do_rtcp: true,
            rtp_blocksize: 0,
            // A WireGuard tunnel (1420) less IPv6 and UDP (48) and what SRTP adds (22).
            mtu: 1350,
            user_id: None,
            user_pw: None,
            user_agent: DEFAULT_USER_AGENT.into(),
            port_range: None,
            udp_buffer_size: 512 * 1024,
            multicast_iface: None,
            ntp_time_source: NtpTimeSource::default(),
            publish_clock_mode: PublishClockMode::default(),
            sync: true,
            max_queue_time: SECOND,
            adaptive_bitrate: false,
            min_bitrate: 100_000,
            max_bitrate: 0,
            teardown_timeout: 100 * MS,
            connect_attempts: 1,
            reconnect_attempts: -1,
            reconnect_initial_delay: 500 * MS,
            reconnect_max_delay: 30 * SECOND,
        }
    }
}

/// What a change of a property asks of a running element.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing before the next start.
    NextStart,
    Credentials,
    Sync(bool),
    MaxQueueTime(Duration),
}

impl Settings {
    /// The location without its password.
    pub fn location(&self) -> Option<&str> {
        self.location.as_ref().map(|(text, _)| text.as_str())
    }

    pub fn set_location(&mut self, location: Option<&str>) -> Result<(), String> {
        self.location = match location {
            None | Some("") => None,
            Some(text) => {
                let url = Url::parse(text).map_err(|error| error.to_string())?;
                Some((text.to_string(), url))
            }
        };
        Ok(())
    }

    pub fn set(&mut self, name: &str, value: &glib::Value) -> Result<Change, String> {
        fn get<'a, T: glib::value::FromValue<'a>>(value: &'a glib::Value) -> Result<T, String> {
            value.get::<T>().map_err(|error| error.to_string())
        }
        match name {
            "location" => self.set_location(get::<Option<&str>>(value)?)?,
            "protocols" => self.protocols = get(value)?,
            "transport-preference" => self.transport_preference = get(value)?,
            "profiles" => self.profiles = get(value)?,
            "retry" => self.retry = get(value)?,
            "tcp-timeout" => self.tcp_timeout = get(value)?,
            "rtx-time" => self.rtx_time = get(value)?,
            "do-rtsp-keep-alive" => self.do_rtsp_keep_alive = get(value)?,
            "do-rtcp" => self.do_rtcp = get(value)?,
            "rtp-blocksize" => self.rtp_blocksize = get(value)?,
            "mtu" => self.mtu = get(value)?,
            "user-id" => {
                self.user_id = get(value)?;
                return Ok(Change::Credentials);
            }
            "user-pw" => {
                self.user_pw = get(value)?;
                return Ok(Change::Credentials);
            }
            "user-agent" => self.user_agent = settings::user_agent(get(value)?),
            "port-range" => self.port_range = parse_port_range(get::<Option<&str>>(value)?)?,
            "udp-buffer-size" => self.udp_buffer_size = get(value)?,
            "multicast-iface" => self.multicast_iface = get(value)?,
            "ntp-time-source" => self.ntp_time_source = get(value)?,
            "publish-clock-mode" => self.publish_clock_mode = get(value)?,
            "sync" => {
                self.sync = get(value)?;
                return Ok(Change::Sync(self.sync));
            }
            "max-queue-time" => {
                self.max_queue_time = get(value)?;
                return Ok(Change::MaxQueueTime(Duration::from_nanos(
                    self.max_queue_time,
                )));
            }
            "adaptive-bitrate" => self.adaptive_bitrate = get(value)?,
            "min-bitrate" => self.min_bitrate = get(value)?,
            "max-bitrate" => self.max_bitrate = get(value)?,
            "teardown-timeout" => self.teardown_timeout = get(value)?,
            "connect-attempts" => self.connect_attempts = get(value)?,
            "reconnect-attempts" => self.reconnect_attempts = get(value)?,
            "reconnect-initial-delay" => self.reconnect_initial_delay = get(value)?,
            "reconnect-max-delay" => self.reconnect_max_delay = get(value)?,
            other => return Err(format!("no property {other}")),
        }
        Ok(Change::NextStart)
    }

    pub fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "protocols" => self.protocols.to_value(),
            "transport-preference" => self.transport_preference.to_value(),
            "profiles" => self.profiles.to_value(),
            "retry" => self.retry.to_value(),
            "tcp-timeout" => self.tcp_timeout.to_value(),
            "rtx-time" => self.rtx_time.to_value(),
            "do-rtsp-keep-alive" => self.do_rtsp_keep_alive.to_value(),
            "do-rtcp" => self.do_rtcp.to_value(),
            "rtp-blocksize" => self.rtp_blocksize.to_value(),
            "mtu" => self.mtu.to_value(),
            "user-id" => self.user_id.to_value(),
            // A secret is written, never read back.
            "user-pw" => None::<String>.to_value(),
            "user-agent" => self.user_agent.to_value(),
            "port-range" => self
                .port_range
                .map(|(min, max)| format!("{min}-{max}"))
                .to_value(),
            "udp-buffer-size" => self.udp_buffer_size.to_value(),
            "multicast-iface" => self.multicast_iface.to_value(),
            "ntp-time-source" => self.ntp_time_source.to_value(),
            "publish-clock-mode" => self.publish_clock_mode.to_value(),
            "sync" => self.sync.to_value(),
            "max-queue-time" => self.max_queue_time.to_value(),
            "adaptive-bitrate" => self.adaptive_bitrate.to_value(),
            "min-bitrate" => self.min_bitrate.to_value(),
            "max-bitrate" => self.max_bitrate.to_value(),
            "teardown-timeout" => self.teardown_timeout.to_value(),
            "connect-attempts" => self.connect_attempts.to_value(),
            "reconnect-attempts" => self.reconnect_attempts.to_value(),
            "reconnect-initial-delay" => self.reconnect_initial_delay.to_value(),
            "reconnect-max-delay" => self.reconnect_max_delay.to_value(),
            _ => return None,
        })
    }

    /// The credentials of the properties; they override those of the URL.
    pub fn credentials(&self) -> Option<Credentials> {
        self.user_id.as_ref().map(|user| Credentials {
            user: user.clone(),
            password: self.user_pw.clone().unwrap_or_default(),
        })
    }

    /// The size of the packets that payloaders are told to make.
    pub fn packet_size(&self) -> u32 {
        match self.rtp_blocksize {
            0 => self.mtu,
            blocksize => self.mtu.min(blocksize),
        }
    }

    /// `bitrate` within `min-bitrate` and `max-bitrate`, which is what the
    /// encoder was set to if it is 0.
    pub fn within_limits(&self, bitrate: u64, initial: u64) -> u64 {
        let maximum = match (self.max_bitrate, initial) {
            // The encoder chooses its bitrate itself.
            (0, 0) => u64::MAX,
            (0, initial) => initial,
            (maximum, _) => maximum,
        };
        bitrate.min(maximum).max(self.min_bitrate)
    }

    pub fn config(&self) -> Result<PublishConfig, String> {
        let Some((_, url)) = &self.location else {
            return Err("No RTSP location was given: set `location` to an rtsp:// URL".into());
        };
        if url.is_tls() || url.is_tunnel() {
            return Err(format!("{url}: TLS and HTTP tunnels are not supported yet"));
        }
        let transports = settings::transports(self.protocols, self.transport_preference, url);
        if transports.is_empty() {
            return Err(format!(
                "{url}: the scheme and `protocols` leave no transport; allow one of tcp, udp, udp-mcast"
            ));
        }
        let feedback = self.profiles.contains(RTSPProfile::AVPF);
        if !feedback && !self.profiles.contains(RTSPProfile::AVP) {
            return Err("`profiles` leaves none that works yet; allow one of avp, avpf".into());
        }
        let ns = Duration::from_nanos;
        Ok(PublishConfig {
            url: url.clone(),
            credentials: self.credentials(),
            user_agent: self.user_agent.clone(),
            transports,
            keep_alive: self.do_rtsp_keep_alive,
            response_timeout: Duration::from_micros(self.tcp_timeout),
            port_range: self.port_range,
            port_tries: self.retry,
            udp_buffer_size: usize::try_from(self.udp_buffer_size).unwrap_or(0),
            multicast_iface: self.multicast_iface.clone().filter(|name| !name.is_empty()),
            connect_attempts: self.connect_attempts,
            reconnect_attempts: self.reconnect_attempts,
            reconnect_initial_delay: ns(self.reconnect_initial_delay),
            reconnect_max_delay: ns(self.reconnect_max_delay),
            teardown_timeout: ns(self.teardown_timeout),
            max_queue_time: ns(self.max_queue_time),
            rtx_time: Duration::from_millis(self.rtx_time.into()),
            feedback,
            rtcp: self.do_rtcp,
            ntp_time_source: self.ntp_time_source,
            max_bitrate: Some(self.max_bitrate).filter(|maximum| *maximum > 0),
        })
    }
}

pub(super) static PROPERTIES: Lazy<Vec<glib::ParamSpec>> = Lazy::new(|| {
    use glib::{
        ParamSpecBoolean as Bool, ParamSpecEnum as Enum, ParamSpecFlags as Flags,
        ParamSpecInt as Int, ParamSpecString as Text, ParamSpecUInt as UInt,
        ParamSpecUInt64 as UInt64,
    };
    let d = Settings::default();
    vec![
        Text::builder("location")
            .nick("RTSP Location")
            .blurb("Location of the RTSP url to publish to")
            .build(),
        Flags::builder::<RTSPLowerTrans>("protocols")
            .nick("Protocols")
            .blurb("Allowed lower transport protocols")
            .default_value(d.protocols)
            .build(),
        Enum::builder_with_default("transport-preference", d.transport_preference)
            .nick("Transport Preference")
            .blurb("Which of the allowed transports is tried first")
            .build(),
        Flags::builder::<RTSPProfile>("profiles")
            .nick("Profiles")
            .blurb("Allowed RTSP profiles; with avpf, feedback and retransmission are announced")
            .default_value(d.profiles)
            .build(),
        UInt::builder("retry")
            .nick("Retry")
            .blurb("Max number of retries when allocating RTP ports")
            .maximum(65_535)
            .default_value(d.retry)
            .build(),
        UInt64::builder("tcp-timeout")
            .nick("TCP Timeout")
            .blurb("Fail after timeout microseconds on TCP connections (0 = disabled)")
            .default_value(d.tcp_timeout)
            .build(),
        UInt::builder("rtx-time")
            .nick("Retransmission buffer in ms")
            .blurb("Amount of ms to buffer for retransmission (0 = no retransmission); needs avpf in `profiles`")
            .default_value(d.rtx_time)
            .build(),
        Bool::builder("do-rtsp-keep-alive")
            .nick("Do RTSP Keep Alive")
            .blurb("Send RTSP keep alive packets, disable for old incompatible server.")
            .default_value(d.do_rtsp_keep_alive)
            .build(),
        Bool::builder("do-rtcp")
            .nick("Do RTCP")
            .blurb("Send RTCP packets, disable for old incompatible server.")
            .default_value(d.do_rtcp)
            .build(),
        UInt::builder("rtp-blocksize")
            .nick("RTP Blocksize")
            .blurb("RTP packet size that payloaders are held to (0 = disabled, see mtu)")
            .maximum(65_536)
            .default_value(d.rtp_blocksize)
            .build(),
        UInt::builder("mtu")
            .nick("MTU")
            .blurb("Largest RTP packet that payloaders are told to make, in bytes")
            .minimum(28)
            .maximum(65_507)
            .default_value(d.mtu)
            .build(),
        Text::builder("user-id")
            .nick("user-id")
            .blurb("RTSP location URI user id for authentication")
            .mutable_playing()
            .build(),
        Text::builder("user-pw")
            .nick("user-pw")
            .blurb("RTSP location URI user password for authentication; reads back empty")
            .mutable_playing()
            .build(),
        Text::builder("user-agent")
            .nick("User Agent")
            .blurb("The User-Agent string to send to the server")
            .default_value(Some(DEFAULT_USER_AGENT))
            .build(),
        Text::builder("port-range")
            .nick("Port range")
            .blurb("Client port range that can be used to send RTP and RTCP data, eg. 3000-3005 (NULL = no restrictions)")
            .build(),
        Int::builder("udp-buffer-size")
            .nick("UDP Buffer Size")
            .blurb("Size of the kernel UDP send buffer in bytes, 0=default")
            .minimum(0)
            .default_value(d.udp_buffer_size)
            .build(),
        Text::builder("multicast-iface")
            .nick("Multicast Interface")
            .blurb("The network interface on which to send to multicast groups (NULL = that of the RTSP connection)")
            .build(),
        Enum::builder_with_default("ntp-time-source", d.ntp_time_source)
            .nick("NTP Time Source")
            .blurb("NTP time source for RTCP packets")
            .build(),
        Enum::builder_with_default("publish-clock-mode", d.publish_clock_mode)
            .nick("Publish Clock Mode")
            .blurb("What is announced about the clock of the media (RFC 7273); the offset where the base time is known by then, as with live sources")
            .build(),
        Bool::builder("sync")
            .nick("Sync")
            .blurb("Send packets when the clock reaches their time, else as soon as they come")
            .default_value(d.sync)
            .mutable_playing()
            .build(),
        UInt64::builder("max-queue-time")
            .nick("Max Queue Time")
            .blurb("Nanoseconds of media that wait for a slow network before the oldest are dropped (0 = bounded by bytes only)")
            .default_value(d.max_queue_time)
            .mutable_playing()
            .build(),
        Bool::builder("adaptive-bitrate")
            .nick("Adaptive Bitrate")
            .blurb("Set the bitrate of the encoders before video pads to what the network takes")
            .default_value(d.adaptive_bitrate)
            .mutable_playing()
            .build(),
        UInt64::builder("min-bitrate")
            .nick("Min Bitrate")
            .blurb("Least bit/s that adaptive-bitrate sets an encoder to")
            .default_value(d.min_bitrate)
            .mutable_playing()
            .build(),
        UInt64::builder("max-bitrate")
            .nick("Max Bitrate")
            .blurb("Most bit/s that adaptive-bitrate sets an encoder to (0 = what it was set to)")
            .default_value(d.max_bitrate)
            .mutable_playing()
            .build(),
        UInt64::builder("estimated-bitrate")
            .nick("Estimated Bitrate")
            .blurb("bit/s that the network takes, of all streams together (0 = not known yet)")
            .read_only()
            .build(),
        UInt64::builder("teardown-timeout")
            .nick("Teardown Timeout")
            .blurb("When transitioning to NULL, wait this many nanoseconds at most for the server's answer to TEARDOWN (0 = do not wait)")
            .default_value(d.teardown_timeout)
            .build(),
        Int::builder("connect-attempts")
            .nick("Connect Attempts")
            .blurb("How often a first connection is tried before it is an error (-1 = for ever)")
            .minimum(-1)
            .default_value(d.connect_attempts)
            .build(),
        Int::builder("reconnect-attempts")
            .nick("Reconnect Attempts")
            .blurb("How often a lost presentation is tried again before it is an error (-1 = for ever, 0 = never)")
            .minimum(-1)
            .default_value(d.reconnect_attempts)
            .build(),
        UInt64::builder("reconnect-initial-delay")
            .nick("Reconnect Initial Delay")
            .blurb("Nanoseconds before a lost presentation is tried again; doubles with each failure")
            .default_value(d.reconnect_initial_delay)
            .build(),
        UInt64::builder("reconnect-max-delay")
            .nick("Reconnect Max Delay")
            .blurb("Nanoseconds between two tries at most")
            .default_value(d.reconnect_max_delay)
            .build(),
        glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
            .nick("Statistics")
            .blurb("Statistics of the session and of each stream")
            .read_only()
            .build(),
    ]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_property_reads_back_what_was_set() {
        let mut settings = Settings::default();
        for pspec in PROPERTIES.iter() {
            if !pspec.flags().contains(glib::ParamFlags::WRITABLE) {
                continue;
            }
            let value = pspec.default_value().clone();
            let name = pspec.name();
            settings
                .set(name, &value)
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            if name != "location" {
                let read = settings.get(name).unwrap_or_else(|| panic!("{name} reads"));
                assert_eq!(read.type_(), value.type_(), "{name}");
            }
        }
    }

    #[test]
    fn packets_are_no_larger_than_the_block_size() {
        let mut settings = Settings::default();
        assert_eq!(settings.packet_size(), 1350);
        settings.rtp_blocksize = 1000;
        assert_eq!(settings.packet_size(), 1000);
        settings.mtu = 900;
        assert_eq!(settings.packet_size(), 900);
    }

    #[test]
    fn an_encoder_is_set_within_the_limits() {
        let mut settings = Settings::default();
        assert_eq!(settings.within_limits(5_000_000, 2_000_000), 2_000_000);
        assert_eq!(settings.within_limits(10, 2_000_000), 100_000);
        assert_eq!(settings.within_limits(5_000_000, 0), 5_000_000);
        settings.max_bitrate = 4_000_000;
        assert_eq!(settings.within_limits(5_000_000, 2_000_000), 4_000_000);
    }

    #[test]
    fn srtp_alone_is_refused() {
        let mut settings = Settings::default();
        settings.set_location(Some("rtsp://h/p")).unwrap();
        assert!(settings.config().is_ok_and(|config| !config.feedback));
        settings.profiles = RTSPProfile::AVPF;
        assert!(settings.config().is_ok_and(|config| config.feedback));
        settings.profiles = RTSPProfile::SAVP;
        assert!(settings.config().unwrap_err().contains("profiles"));
    }
}
