//! The settings of `rtspsrc2`, and the session's `Config` from them.

mod enums;
mod table;

use std::sync::atomic::Ordering;
use std::time::Duration;

use glib::prelude::*;

use self::enums::{Backchannel, BufferMode, NatMethod, RtspVersion};
pub(super) use self::table::PROPERTIES;
use crate::rtsp::client::Replay;
use crate::rtsp::transport::LowerTransport;
use crate::session::{Config, DeliveryMode, LINKED_STATICALLY, NtpTimeSource, TimingConfig};
use crate::settings::{self, Common, value_of};

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    pub common: Common,
    timeout: u64,
    latency: u32,
    drop_on_latency: bool,
    buffer_mode: BufferMode,
    nat_method: NatMethod,
    do_retransmission: bool,
    short_header: bool,
    force_non_compliant_url: bool,
    pub is_live: bool,
    onvif_mode: bool,
    onvif_rate_control: bool,
    client_managed_mikey: bool,
    allow_clear_keys: bool,
    udp_reconnect: bool,
    connection_speed: u64,
    debug: bool,
    sdes: Option<gst::Structure>,
    probation: u32,
    backchannel: Backchannel,
    default_rtsp_version: RtspVersion,
    ntp_sync: bool,
    ntp_time_source: NtpTimeSource,
    rfc7273_sync: bool,
    max_ts_offset: i64,
    add_reference_timestamp_meta: bool,
    stall_timeout: u64,
    delivery: DeliveryMode,
    pub buffer_lists: bool,
    media: String,
}

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

impl Default for Settings {
    fn default() -> Self {
        Self {
            common: Common::default(),
            timeout: 5_000_000,
            latency: 200,
            drop_on_latency: false,
            buffer_mode: BufferMode::default(),
            nat_method: NatMethod::default(),
            do_retransmission: true,
            short_header: false,
            force_non_compliant_url: false,
            is_live: true,
            onvif_mode: false,
            onvif_rate_control: true,
            client_managed_mikey: false,
            allow_clear_keys: false,
            udp_reconnect: true,
            connection_speed: 0,
            debug: false,
            sdes: None,
            probation: 2,
            backchannel: Backchannel::default(),
            default_rtsp_version: RtspVersion::default(),
            ntp_sync: false,
            ntp_time_source: NtpTimeSource::default(),
            rfc7273_sync: false,
            max_ts_offset: 3_000 * 1_000_000,
            add_reference_timestamp_meta: false,
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
    Common(settings::Change),
    Latency,
    BufferLists,
    Timing,
}

/// Those that [`Config::adopt`] takes over.
const ADOPTED: [&str; 3] = ["drop-on-latency", "stall-timeout", "timeout"];

impl Settings {
    pub fn set(&mut self, name: &str, value: &glib::Value) -> Result<Change, String> {
        if let Some(change) = self.common.set(name, value)? {
            return Ok(Change::Common(change));
        }
        match name {
            "timeout" => self.timeout = value_of(value)?,
            "latency" => {
                self.latency = value_of(value)?;
                return Ok(Change::Latency);
            }
            "drop-on-latency" => self.drop_on_latency = value_of(value)?,
            "buffer-mode" => self.buffer_mode = value_of(value)?,
            "nat-method" => self.nat_method = value_of(value)?,
            "do-retransmission" => self.do_retransmission = value_of(value)?,
            "short-header" => self.short_header = value_of(value)?,
            "force-non-compliant-url" => self.force_non_compliant_url = value_of(value)?,
            "client-managed-mikey" => self.client_managed_mikey = value_of(value)?,
            "allow-clear-keys" => self.allow_clear_keys = value_of(value)?,
            "udp-reconnect" => self.udp_reconnect = value_of(value)?,
            "is-live" => self.is_live = value_of(value)?,
            "onvif-mode" => self.onvif_mode = value_of(value)?,
            "onvif-rate-control" => self.onvif_rate_control = value_of(value)?,
            "connection-speed" => self.connection_speed = value_of(value)?,
            "debug" => self.debug = value_of(value)?,
            "sdes" => self.sdes = value_of(value)?,
            "probation" => self.probation = value_of(value)?,
            "backchannel" => self.backchannel = value_of(value)?,
            "default-rtsp-version" => self.default_rtsp_version = value_of(value)?,
            "ntp-sync" => {
                self.ntp_sync = value_of(value)?;
                return Ok(Change::Timing);
            }
            "ntp-time-source" => {
                self.ntp_time_source = value_of(value)?;
                return Ok(Change::Timing);
            }
            "rfc7273-sync" => self.rfc7273_sync = value_of(value)?,
            "max-ts-offset" => {
                self.max_ts_offset = value_of(value)?;
                return Ok(Change::Timing);
            }
            "add-reference-timestamp-meta" => {
                self.add_reference_timestamp_meta = value_of(value)?;
                return Ok(Change::Timing);
            }
            "stall-timeout" => self.stall_timeout = value_of(value)?,
            "delivery" => self.delivery = value_of(value)?,
            "buffer-lists" => {
                self.buffer_lists = value_of(value)?;
                return Ok(Change::BufferLists);
            }
            "media" => {
                self.media = value_of::<Option<String>>(value)?.unwrap_or_else(|| "all".into());
            }
            other => return Err(format!("no property {other}")),
        }
        Ok(match ADOPTED.contains(&name) {
            true => Change::Common(settings::Change::Adopt),
            false => Change::Common(settings::Change::NextStart),
        })
    }

    pub fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "timeout" => self.timeout.to_value(),
            "latency" => self.latency.to_value(),
            "drop-on-latency" => self.drop_on_latency.to_value(),
            "buffer-mode" => self.buffer_mode.to_value(),
            "nat-method" => self.nat_method.to_value(),
            "do-retransmission" => self.do_retransmission.to_value(),
            "short-header" => self.short_header.to_value(),
            "force-non-compliant-url" => self.force_non_compliant_url.to_value(),
            "client-managed-mikey" => self.client_managed_mikey.to_value(),
            "allow-clear-keys" => self.allow_clear_keys.to_value(),
            "udp-reconnect" => self.udp_reconnect.to_value(),
            "is-live" => self.is_live.to_value(),
            "onvif-mode" => self.onvif_mode.to_value(),
            "onvif-rate-control" => self.onvif_rate_control.to_value(),
            "connection-speed" => self.connection_speed.to_value(),
            "debug" => self.debug.to_value(),
            "sdes" => self.sdes.to_value(),
            "probation" => self.probation.to_value(),
            "backchannel" => self.backchannel.to_value(),
            "default-rtsp-version" => self.default_rtsp_version.to_value(),
            "ntp-sync" => self.ntp_sync.to_value(),
            "ntp-time-source" => self.ntp_time_source.to_value(),
            "rfc7273-sync" => self.rfc7273_sync.to_value(),
            "max-ts-offset" => self.max_ts_offset.to_value(),
            "add-reference-timestamp-meta" => self.add_reference_timestamp_meta.to_value(),
            "stall-timeout" => self.stall_timeout.to_value(),
            "delivery" => self.delivery.to_value(),
            "buffer-lists" => self.buffer_lists.to_value(),
            "media" => self.media.to_value(),
            other => return self.common.get(other),
        })
    }

    pub fn latency(&self) -> Duration {
        Duration::from_millis(self.latency.into())
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
        let mut server = self.common.server()?;
        if self.short_header {
            server.user_agent.clear();
        }
        if self.onvif_mode {
            // What is sent ahead or backwards must be waited for, not lost.
            server.transports.retain(|t| *t == LowerTransport::Tcp);
            if server.transports.is_empty() {
                return Err(format!(
                    "{}: `onvif-mode` needs the TCP transport",
                    server.url
                ));
            }
        }
        Ok(Config {
            server,
            version: self.default_rtsp_version.into(),
            backchannel: self.backchannel == Backchannel::Onvif,
            append_control: self.force_non_compliant_url,
            live: self.is_live,
            replay: self.onvif_mode.then_some(Replay {
                rate_control: self.onvif_rate_control,
            }),
            client_keys: self.client_managed_mikey,
            allow_clear_keys: self.allow_clear_keys,
            udp_reconnect: self.udp_reconnect,
            udp_timeout: Duration::from_micros(self.timeout),
            blocksize: match self.short_header {
                true => 0,
                false => self.common.rtp_blocksize,
            },
            drop_on_latency: self.drop_on_latency,
            follow_clock: !matches!(self.buffer_mode, BufferMode::None | BufferMode::Synced),
            sdes: sdes_items(self.sdes.as_ref()),
            latency: self.latency(),
            probation: self.probation,
            retransmission: self.do_retransmission,
            rtcp: self.common.do_rtcp,
            nat_punching: self.nat_method == NatMethod::Dummy,
            timing: self.timing(),
            stall_timeout: Duration::from_nanos(self.stall_timeout),
            delivery: match LINKED_STATICALLY.load(Ordering::Acquire) {
                true => DeliveryMode::Thread,
                false => self.delivery,
            },
            buffer_lists: self.buffer_lists,
            media: parse_media(&self.media),
        })
    }
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
