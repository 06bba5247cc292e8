//! The property table of `rtspsink2`.

use std::time::Duration;

use gst::prelude::*;
use gst_rtsp::RTSPProfile;
use once_cell::sync::Lazy;

use super::refclk::PublishClockMode;
use crate::rtsp::transport::Profile;
use crate::session::{NtpTimeSource, PublishConfig};
use crate::settings::{self, Common, value_of};

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    pub common: Common,
    profiles: RTSPProfile,
    rtx_time: u32,
    mtu: u32,
    ntp_time_source: NtpTimeSource,
    pub publish_clock_mode: PublishClockMode,
    pub sync: bool,
    max_queue_time: u64,
    pub adaptive_bitrate: bool,
    pub min_bitrate: u64,
    pub max_bitrate: u64,
}

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
/// What the POST of a tunnel promises: media would use up the usual length many times a second.
const POST_LENGTH: u64 = 0x7fff_ffff;

impl Default for Settings {
    fn default() -> Self {
        Self {
            common: Common::default(),
            profiles: RTSPProfile::AVP,
            rtx_time: 500,
            // A WireGuard tunnel (1420) less IPv6 and UDP (48) and what SRTP adds (22).
            mtu: 1350,
            ntp_time_source: NtpTimeSource::default(),
            publish_clock_mode: PublishClockMode::default(),
            sync: true,
            max_queue_time: SECOND,
            adaptive_bitrate: false,
            min_bitrate: 100_000,
            max_bitrate: 0,
        }
    }
}

/// What a change of a property asks of a running element.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    Common(settings::Change),
    Sync(bool),
    MaxQueueTime,
    /// Encoders are to be set anew.
    Bitrate,
}

impl Settings {
    pub fn set(&mut self, name: &str, value: &glib::Value) -> Result<Change, String> {
        if let Some(change) = self.common.set(name, value)? {
            return Ok(Change::Common(change));
        }
        match name {
            "profiles" => self.profiles = value_of(value)?,
            "rtx-time" => self.rtx_time = value_of(value)?,
            "mtu" => self.mtu = value_of(value)?,
            "ntp-time-source" => self.ntp_time_source = value_of(value)?,
            "publish-clock-mode" => self.publish_clock_mode = value_of(value)?,
            "sync" => {
                self.sync = value_of(value)?;
                return Ok(Change::Sync(self.sync));
            }
            "max-queue-time" => {
                self.max_queue_time = value_of(value)?;
                return Ok(Change::MaxQueueTime);
            }
            "adaptive-bitrate" => {
                self.adaptive_bitrate = value_of(value)?;
                return Ok(Change::Bitrate);
            }
            "min-bitrate" => {
                self.min_bitrate = value_of(value)?;
                return Ok(Change::Bitrate);
            }
            "max-bitrate" => {
                self.max_bitrate = value_of(value)?;
                return Ok(Change::Bitrate);
            }
            other => return Err(format!("no property {other}")),
        }
        Ok(Change::Common(settings::Change::NextStart))
    }

    pub fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "profiles" => self.profiles.to_value(),
            "rtx-time" => self.rtx_time.to_value(),
            "mtu" => self.mtu.to_value(),
            "ntp-time-source" => self.ntp_time_source.to_value(),
            "publish-clock-mode" => self.publish_clock_mode.to_value(),
            "sync" => self.sync.to_value(),
            "max-queue-time" => self.max_queue_time.to_value(),
            "adaptive-bitrate" => self.adaptive_bitrate.to_value(),
            "min-bitrate" => self.min_bitrate.to_value(),
            "max-bitrate" => self.max_bitrate.to_value(),
            other => return self.common.get(other),
        })
    }

    pub fn max_queue_time(&self) -> Duration {
        Duration::from_nanos(self.max_queue_time)
    }

    /// The size of the packets that payloaders are told to make.
    pub fn packet_size(&self) -> u32 {
        match self.common.rtp_blocksize {
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
        let mut server = self.common.server()?;
        server.http.post_length = POST_LENGTH;
        // The strongest that is allowed: clear media never takes the place of encrypted media.
        let profiles = [
            (RTSPProfile::SAVPF, Profile::Savpf),
            (RTSPProfile::SAVP, Profile::Savp),
            (RTSPProfile::AVPF, Profile::Avpf),
            (RTSPProfile::AVP, Profile::Avp),
        ];
        let mut allowed = profiles
            .iter()
            .filter(|(flag, _)| self.profiles.contains(*flag));
        let Some((_, profile)) = allowed.next() else {
            return Err("`profiles` leaves none; allow one of avp, avpf, savp, savpf".into());
        };
        Ok(PublishConfig {
            server,
            max_queue_time: self.max_queue_time(),
            rtx_time: Duration::from_millis(self.rtx_time.into()),
            profile: *profile,
            rtcp: self.common.do_rtcp,
            ntp_time_source: self.ntp_time_source,
        })
    }
}

pub(super) static PROPERTIES: Lazy<Vec<glib::ParamSpec>> = Lazy::new(|| {
    use glib::{
        ParamSpecBoolean as Bool, ParamSpecEnum as Enum, ParamSpecFlags as Flags,
        ParamSpecUInt as UInt, ParamSpecUInt64 as UInt64,
    };
    let d = Settings::default();
    let own = vec![
        Flags::builder::<RTSPProfile>("profiles")
            .nick("Profiles")
            .blurb("Allowed RTSP profiles; the strongest counts. With savp and savpf media is encrypted; with avpf and savpf feedback and retransmission are announced")
            .default_value(d.profiles)
            .build(),
        UInt::builder("rtx-time")
            .nick("Retransmission buffer in ms")
            .blurb("Amount of ms to buffer for retransmission (0 = no retransmission); needs avpf or savpf in `profiles`")
            .default_value(d.rtx_time)
            .build(),
        UInt::builder("mtu")
            .nick("MTU")
            .blurb("Largest RTP packet that payloaders are told to make, in bytes")
            .minimum(28)
            .maximum(65_507)
            .default_value(d.mtu)
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
        glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
            .nick("Statistics")
            .blurb("Statistics of the session and of each stream")
            .read_only()
            .build(),
    ];
    settings::properties().into_iter().chain(own).collect()
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
        settings.common.rtp_blocksize = 1000;
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
    fn the_strongest_profile_that_is_allowed_is_announced() {
        let mut settings = Settings::default();
        settings.common.set_location(Some("rtsp://h/p")).unwrap();
        let all = RTSPProfile::AVP | RTSPProfile::AVPF | RTSPProfile::SAVP | RTSPProfile::SAVPF;
        for (allowed, profile) in [
            (RTSPProfile::AVP, Profile::Avp),
            (RTSPProfile::AVP | RTSPProfile::AVPF, Profile::Avpf),
            (RTSPProfile::AVPF | RTSPProfile::SAVP, Profile::Savp),
            (all, Profile::Savpf),
        ] {
            settings.profiles = allowed;
            assert_eq!(settings.config().unwrap().profile, profile);
        }
        settings.profiles = RTSPProfile::empty();
        assert!(settings.config().unwrap_err().contains("profiles"));
    }
}
