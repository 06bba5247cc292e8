//! The property table of `rtspsrc2`.

mod enums;
mod table;

use std::sync::atomic::Ordering;
use std::time::Duration;

use glib::prelude::*;
use gst_rtsp::RTSPLowerTrans;

use self::enums::{BufferMode, NatMethod};
pub(super) use self::table::PROPERTIES;
use crate::rtsp::url::{Credentials, Url};
use crate::session::{Config, DeliveryMode, LINKED_STATICALLY, NtpTimeSource, TimingConfig};
use crate::settings::{self, DEFAULT_USER_AGENT, TransportPreference, parse_port_range};

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub location: Option<(String, Url)>,
    protocols: RTSPLowerTrans,
    transport_preference: TransportPreference,
    retry: u32,
    timeout: u64,
    tcp_timeout: u64,
    pub latency: u32,
    drop_on_latency: bool,
    buffer_mode: BufferMode,
    nat_method: NatMethod,
    do_rtcp: bool,
    do_rtsp_keep_alive: bool,
    do_retransmission: bool,
    rtp_blocksize: u32,
    short_header: bool,
    force_non_compliant_url: bool,
    udp_reconnect: bool,
    connection_speed: u64,
    debug: bool,
    sdes: Option<gst::Structure>,
    user_id: Option<String>,
    user_pw: Option<String>,
    user_agent: String,
    port_range: Option<(u16, u16)>,
    udp_buffer_size: i32,
    probation: u32,
    multicast_iface: Option<String>,
    ntp_sync: bool,
    ntp_time_source: NtpTimeSource,
    rfc7273_sync: bool,
    max_ts_offset: i64,
    add_reference_timestamp_meta: bool,
    pub teardown_timeout: u64,
    connect_attempts: i32,
    reconnect_attempts: i32,
    reconnect_initial_delay: u64,
    reconnect_max_delay: u64,
    stall_timeout: u64,
    delivery: DeliveryMode,
    buffer_lists: bool,
    media: String,
}

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

impl Default for Settings {
    fn default() -> Self {
        Self {
            location: None,
            protocols: RTSPLowerTrans::TCP | RTSPLowerTrans::UDP | RTSPLowerTrans::UDP_MCAST,
            transport_preference: TransportPreference::default(),
            retry: 20,
            timeout: 5_000_000,
            tcp_timeout: 20_000_000,
            latency: 200,
            drop_on_latency: false,
            buffer_mode: BufferMode::default(),
            nat_method: NatMethod::default(),
            do_rtcp: true,
            do_rtsp_keep_alive: true,
            do_retransmission: true,
            rtp_blocksize: 0,
            short_header: false,
            force_non_compliant_url: false,
            udp_reconnect: true,
            connection_speed: 0,
            debug: false,
            sdes: None,
            user_id: None,
            user_pw: None,
            user_agent: DEFAULT_USER_AGENT.into(),
            port_range: None,
            udp_buffer_size: 512 * 1024,
            probation: 2,
            multicast_iface: None,
            ntp_sync: false,
            ntp_time_source: NtpTimeSource::default(),
            rfc7273_sync: false,
            max_ts_offset: 3_000 * 1_000_000,
            add_reference_timestamp_meta: false,
            teardown_timeout: 100 * MS,
            connect_attempts: 1,
            reconnect_attempts: -1,
            reconnect_initial_delay: 500 * MS,
            reconnect_max_delay: 30 * SECOND,
            stall_timeout: 10 * SECOND,
            delivery: DeliveryMode::default(),
            buffer_lists: true,
            media: "all".into(),
        }
    }
}

/// What a change of a property asks of a running session.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing before the next start.
    NextStart,
    Latency,
    BufferLists(bool),
    Timing,
    Credentials,
    /// The session takes it over for what comes next.
    Adopt,
}

/// Those that [`Config::adopt`] takes over.
const ADOPTED: [&str; 10] = [
    "connect-attempts",
    "drop-on-latency",
    "reconnect-attempts",
    "reconnect-initial-delay",
    "reconnect-max-delay",
    "stall-timeout",
    "tcp-timeout",
    "teardown-timeout",
    "timeout",
    "user-agent",
];

impl Settings {
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
            "retry" => self.retry = get(value)?,
            "timeout" => self.timeout = get(value)?,
            "tcp-timeout" => self.tcp_timeout = get(value)?,
            "latency" => {
                self.latency = get(value)?;
                return Ok(Change::Latency);
            }
            "drop-on-latency" => self.drop_on_latency = get(value)?,
            "buffer-mode" => self.buffer_mode = get(value)?,
            "nat-method" => self.nat_method = get(value)?,
            "do-rtcp" => self.do_rtcp = get(value)?,
            "do-rtsp-keep-alive" => self.do_rtsp_keep_alive = get(value)?,
            "do-retransmission" => self.do_retransmission = get(value)?,
            "rtp-blocksize" => self.rtp_blocksize = get(value)?,
            "short-header" => self.short_header = get(value)?,
            "force-non-compliant-url" => self.force_non_compliant_url = get(value)?,
            "udp-reconnect" => self.udp_reconnect = get(value)?,
            "connection-speed" => self.connection_speed = get(value)?,
            "debug" => self.debug = get(value)?,
            "sdes" => self.sdes = get(value)?,
            "user-id" => {
                self.user_id = get(value)?;
                return Ok(Change::Credentials);
            }
            "user-pw" => {
                self.user_pw = get(value)?;
                return Ok(Change::Credentials);
            }
            "user-agent" => {
                self.user_agent = settings::user_agent(get(value)?);
            }
            "port-range" => self.port_range = parse_port_range(get::<Option<&str>>(value)?)?,
            "udp-buffer-size" => self.udp_buffer_size = get(value)?,
            "probation" => self.probation = get(value)?,
            "multicast-iface" => self.multicast_iface = get(value)?,
            "ntp-sync" => {
                self.ntp_sync = get(value)?;
                return Ok(Change::Timing);
            }
            "ntp-time-source" => {
                self.ntp_time_source = get(value)?;
                return Ok(Change::Timing);
            }
            "rfc7273-sync" => self.rfc7273_sync = get(value)?,
            "max-ts-offset" => {
                self.max_ts_offset = get(value)?;
                return Ok(Change::Timing);
            }
            "add-reference-timestamp-meta" => {
                self.add_reference_timestamp_meta = get(value)?;
                return Ok(Change::Timing);
            }
            "teardown-timeout" => self.teardown_timeout = get(value)?,
            "connect-attempts" => self.connect_attempts = get(value)?,
            "reconnect-attempts" => self.reconnect_attempts = get(value)?,
            "reconnect-initial-delay" => self.reconnect_initial_delay = get(value)?,
            "reconnect-max-delay" => self.reconnect_max_delay = get(value)?,
            "stall-timeout" => self.stall_timeout = get(value)?,
            "delivery" => self.delivery = get(value)?,
            "buffer-lists" => {
                self.buffer_lists = get(value)?;
                return Ok(Change::BufferLists(self.buffer_lists));
            }
            "media" => {
                self.media = get::<Option<String>>(value)?.unwrap_or_else(|| "all".into());
            }
            other => return Err(format!("no property {other}")),
        }
        Ok(match ADOPTED.contains(&name) {
            true => Change::Adopt,
            false => Change::NextStart,
        })
    }

    pub fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "location" => self
                .location
                .as_ref()
                .map(|(text, _)| text.as_str())
                .to_value(),
            "protocols" => self.protocols.to_value(),
            "transport-preference" => self.transport_preference.to_value(),
            "retry" => self.retry.to_value(),
            "timeout" => self.timeout.to_value(),
            "tcp-timeout" => self.tcp_timeout.to_value(),
            "latency" => self.latency.to_value(),
            "drop-on-latency" => self.drop_on_latency.to_value(),
            "buffer-mode" => self.buffer_mode.to_value(),
            "nat-method" => self.nat_method.to_value(),
            "do-rtcp" => self.do_rtcp.to_value(),
            "do-rtsp-keep-alive" => self.do_rtsp_keep_alive.to_value(),
            "do-retransmission" => self.do_retransmission.to_value(),
            "rtp-blocksize" => self.rtp_blocksize.to_value(),
            "short-header" => self.short_header.to_value(),
            "force-non-compliant-url" => self.force_non_compliant_url.to_value(),
            "udp-reconnect" => self.udp_reconnect.to_value(),
            "connection-speed" => self.connection_speed.to_value(),
            "debug" => self.debug.to_value(),
            "sdes" => self.sdes.to_value(),
            "user-id" => self.user_id.to_value(),
            // A secret is written, never read back.
            "user-pw" => None::<String>.to_value(),
            "user-agent" => self.user_agent.to_value(),
            "port-range" => self
                .port_range
                .map(|(min, max)| format!("{min}-{max}"))
                .to_value(),
            "udp-buffer-size" => self.udp_buffer_size.to_value(),
            "probation" => self.probation.to_value(),
            "multicast-iface" => self.multicast_iface.to_value(),
            "ntp-sync" => self.ntp_sync.to_value(),
            "ntp-time-source" => self.ntp_time_source.to_value(),
            "rfc7273-sync" => self.rfc7273_sync.to_value(),
            "max-ts-offset" => self.max_ts_offset.to_value(),
            "add-reference-timestamp-meta" => self.add_reference_timestamp_meta.to_value(),
            "teardown-timeout" => self.teardown_timeout.to_value(),
            "connect-attempts" => self.connect_attempts.to_value(),
            "reconnect-attempts" => self.reconnect_attempts.to_value(),
            "reconnect-initial-delay" => self.reconnect_initial_delay.to_value(),
            "reconnect-max-delay" => self.reconnect_max_delay.to_value(),
            "stall-timeout" => self.stall_timeout.to_value(),
            "delivery" => self.delivery.to_value(),
            "buffer-lists" => self.buffer_lists.to_value(),
            "media" => self.media.to_value(),
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

    /// Where presentation times come from.
    pub fn timing(&self) -> TimingConfig {
        TimingConfig {
            ntp_sync: self.ntp_sync,
            ntp_time_source: self.ntp_time_source,
            rfc7273_sync: self.rfc7273_sync,
            max_offset: self.max_ts_offset.unsigned_abs(),
            reference_timestamps: self.add_reference_timestamp_meta,
        }
    }

    pub fn config(&self) -> Result<Config, String> {
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
        let us = Duration::from_micros;
        let ns = Duration::from_nanos;
        Ok(Config {
            url: url.clone(),
            credentials: self.credentials(),
            user_agent: match self.short_header {
                true => String::new(),
                false => self.user_agent.replace("{VERSION}", &gstreamer_version()),
            },
            append_control: self.force_non_compliant_url,
            udp_reconnect: self.udp_reconnect,
            transports,
            keep_alive: self.do_rtsp_keep_alive,
            response_timeout: us(self.tcp_timeout),
            udp_timeout: us(self.timeout),
            blocksize: match self.short_header {
                true => 0,
                false => self.rtp_blocksize,
            },
            drop_on_latency: self.drop_on_latency,
            follow_clock: !matches!(self.buffer_mode, BufferMode::None | BufferMode::Synced),
            sdes: sdes_items(self.sdes.as_ref()),
            latency: Duration::from_millis(self.latency.into()),
            probation: self.probation,
            retransmission: self.do_retransmission,
            rtcp: self.do_rtcp,
            nat_punching: self.nat_method == NatMethod::Dummy,
            port_range: self.port_range,
            port_tries: self.retry,
            udp_buffer_size: usize::try_from(self.udp_buffer_size).unwrap_or(0),
            multicast_iface: self.multicast_iface.clone().filter(|name| !name.is_empty()),
            timing: self.timing(),
            connect_attempts: self.connect_attempts,
            reconnect_attempts: self.reconnect_attempts,
            reconnect_initial_delay: ns(self.reconnect_initial_delay),
            reconnect_max_delay: ns(self.reconnect_max_delay),
            stall_timeout: ns(self.stall_timeout),
            teardown_timeout: ns(self.teardown_timeout),
            delivery: match LINKED_STATICALLY.load(Ordering::Acquire) {
                true => DeliveryMode::Thread,
                false => self.delivery,
            },
            buffer_lists: self.buffer_lists,
            media: parse_media(&self.media),
        })
    }
}

/// Of the library that runs, as `{VERSION}` of `user-agent` names it.
fn gstreamer_version() -> String {
    let (major, minor, micro, _) = gst::version();
    format!("{major}.{minor}.{micro}")
}

/// The items of an SDES (RFC 3550 §6.5) under the names that `rtpsession` has
/// for them.
fn sdes_items(sdes: Option<&gst::Structure>) -> Vec<(u8, String)> {
    const ITEMS: [&str; 7] = [
        "cname", "name", "email", "phone", "location", "tool", "note",
    ];
    let item = |(kind, name): (u8, &&str)| {
        let value: String = sdes?.get(*name).ok()?;
        // The length is one byte.
        (1..=255).contains(&value.len()).then_some((kind, value))
    };
    (1..).zip(&ITEMS).filter_map(item).collect()
}

/// A list of media types; empty for all.
fn parse_media(text: &str) -> Vec<String> {
    let kinds: Vec<String> = text
        .split(|c: char| c == ',' || c == '+' || c.is_whitespace())
        .filter(|kind| !kind.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    if kinds.iter().any(|kind| kind == "all") {
        Vec::new()
    } else {
        kinds
    }
}

#[cfg(test)]
mod tests;
