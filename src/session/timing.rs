//! The clocks that presentation times can follow instead of the arrival: a
//! clock of ours that the sender's NTP times are of (`ntp-sync`), or the one
//! that the description names (RFC 7273).

use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use gst::prelude::*;
use tokio::runtime::Handle;

use super::CAT;
use super::clock::ClockReader;
use crate::rtp::refclk::{DirectClock, MediaClock, ReferenceClock};
use crate::rtp::stats::{Nanos, Timing};
use crate::rtp::{Reference, ntp};
use crate::rtsp::sdp::{Media, Session};

/// Seconds from the NTP epoch to that of Unix (RFC 5905 §6).
const UNIX_EPOCH: u64 = 2_208_988_800;
const NTP_PORT: u16 = 123;
/// Two clocks are read within this time, or read again: their difference is to
/// be right to well below a millisecond.
const READ_TOGETHER: Nanos = 100_000;
const READS: usize = 4;

/// Which clock the NTP times in sender reports are of (property
/// `ntp-time-source`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstRtsp2NtpTimeSource")]
pub enum NtpTimeSource {
    #[default]
    #[enum_value(name = "NTP time based on realtime clock", nick = "ntp")]
    Ntp,
    #[enum_value(name = "UNIX time based on realtime clock", nick = "unix")]
    Unix,
    #[enum_value(name = "Running time based on pipeline clock", nick = "running-time")]
    RunningTime,
    #[enum_value(name = "Pipeline clock time", nick = "clock-time")]
    ClockTime,
}

/// Where presentation times come from, and what of it buffers carry.
#[derive(Debug, Clone, Default)]
pub struct TimingConfig {
    pub ntp_sync: bool,
    pub ntp_time_source: NtpTimeSource,
    pub rfc7273_sync: bool,
    /// Times and offsets beyond this are not believed; 0 believes any.
    pub max_offset: Nanos,
    /// Buffers carry the time of the sender.
    pub reference_timestamps: bool,
}

impl TimingConfig {
    /// What the clock that sender reports are of shows now.
    pub(super) fn ntp_reference(&self, pipeline: &ClockReader, base_time: Nanos) -> Reference {
        let (clock, time) = match self.ntp_time_source {
            NtpTimeSource::Ntp => together(pipeline, || realtime(UNIX_EPOCH)),
            NtpTimeSource::Unix => together(pipeline, || realtime(0)),
            NtpTimeSource::RunningTime => {
                let clock = pipeline.now();
                (clock, ntp::from_nanos(clock.saturating_sub(base_time)))
            }
            NtpTimeSource::ClockTime => {
                let clock = pipeline.now();
                (clock, ntp::from_nanos(clock))
            }
        };
        Reference {
            timing: Timing::Ntp,
            clock,
            time,
            by_reports: true,
            direct: None,
            max_offset: self.max_offset,
        }
    }
}

/// The system's clock as an NTP time whose epoch is so many seconds before that
/// of Unix.
fn realtime(before: u64) -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let since = since.unwrap_or_default();
    // Only the era is lost (RFC 5905 §6).
    let seconds = since.as_secs().wrapping_add(before) << 32;
    seconds.wrapping_add(ntp::from_nanos(since.subsec_nanos().into()))
}

/// The pipeline's clock and another one at the same moment.
fn together(pipeline: &ClockReader, read: impl Fn() -> u64) -> (Nanos, u64) {
    let mut best = (Nanos::MAX, 0, 0);
    for _ in 0..READS {
        let before = pipeline.now();
        let time = read();
        let took = pipeline.now().saturating_sub(before);
        if took < best.0 || best.0 == Nanos::MAX {
            best = (took, before.saturating_add(took / 2), time);
        }
        if took <= READ_TOGETHER {
            break;
        }
    }
    (best.1, best.2)
}

/// A clock on the network that a description names (RFC 7273). It is made in
/// the background; until it is synchronised nothing follows it.
pub(super) struct NetworkClock {
    clock: OnceLock<gst::Clock>,
    direct: Option<DirectClock>,
    is_ntp: bool,
    /// Names the clock in reference timestamps.
    pub caps: gst::Caps,
}

impl NetworkClock {
    /// The clock of a media; `None` if it names none, or none that can be
    /// followed. `pool` runs what may block: names are looked up, and PTP needs
    /// a process of its own.
    pub fn of_media(sdp: &Session, media: &Media, pool: &Handle) -> Option<Arc<Self>> {
        let reference = ReferenceClock::parse(media.ts_refclk(sdp)?)?;
        let MediaClock::Direct(direct) = MediaClock::parse(media.mediaclk(sdp)?)? else {
            return None;
        };
        let network = |is_ntp, caps| {
            Arc::new(Self {
                clock: OnceLock::new(),
                direct: Some(direct).filter(|direct| direct.offset.is_some()),
                is_ntp,
                caps,
            })
        };
        let (network, make): (_, Box<dyn FnOnce() -> Option<gst::Clock> + Send>) = match reference {
            ReferenceClock::Ntp(server) => {
                let (host, port) = host_and_port(&server)?;
                let caps = gst::Caps::builder("timestamp/x-ntp")
                    .field("host", &host)
                    .field("port", i32::from(port))
                    .build();
                let make = move || {
                    let time = gst::ClockTime::ZERO;
                    let clock = gst_net::NtpClock::new(None, &host, port.into(), time);
                    Some(clock.upcast())
                };
                (network(true, caps), Box::new(make))
            }
            // A sender report may be of UTC and PTP of TAI: only the offset counts.
            ReferenceClock::Ptp {
                version, domain, ..
            } if direct.offset.is_some() => {
                let domain = u32::from(domain.unwrap_or(0));
                let caps = gst::Caps::builder("timestamp/x-ptp")
                    .field("version", &version)
                    .field("domain", i32::try_from(domain).unwrap_or(0))
                    .build();
                let make = move || match gst_net::PtpClock::new(None, domain) {
                    Ok(clock) => Some(clock.upcast()),
                    Err(error) => {
                        gst::warning!(CAT, "no PTP clock: {error}");
                        None
                    }
                };
                (network(false, caps), Box::new(make))
            }
            _ => return None,
        };
        let made = network.clone();
        pool.spawn_blocking(move || {
            if let Some(clock) = make() {
                // It was empty: this is the only place that sets it.
                let _ = made.clock.set(clock);
            }
        });
        Some(network)
    }

    /// What it shows now, once it is synchronised.
    pub fn reference(&self, pipeline: &ClockReader, max_offset: Nanos) -> Option<Reference> {
        let network = self.clock.get().filter(|clock| clock.is_synced())?;
        let (clock, time) = together(pipeline, || network.time().nseconds());
        Some(Reference {
            timing: Timing::Rfc7273,
            clock,
            time: ntp::from_nanos(time),
            by_reports: self.is_ntp,
            direct: self.direct,
            max_offset,
        })
    }
}

/// `host`, `host:port` or `[address]:port` (RFC 7273 §4.8).
fn host_and_port(server: &str) -> Option<(String, u16)> {
    let (host, port) = match server.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.strip_prefix(':'))
        }
        // More than one colon: an address without brackets.
        None => match server.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            _ => (server, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().ok()?,
        None => NTP_PORT,
    };
    (!host.is_empty() && port != 0).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::super::clock::ClockCell;
    use super::*;

    #[test]
    fn a_server_is_a_host_and_perhaps_a_port() {
        let cases = [
            ("192.0.2.1", Some(("192.0.2.1", 123))),
            ("ntp.example:1123", Some(("ntp.example", 1123))),
            ("[2001:db8::1]:124", Some(("2001:db8::1", 124))),
            ("[2001:db8::1]", Some(("2001:db8::1", 123))),
            ("2001:db8::1", Some(("2001:db8::1", 123))),
            ("host:0", None),
            ("host:x", None),
            (":123", None),
            ("[2001:db8::1", None),
        ];
        for (server, expected) in cases {
            let expected = expected.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(host_and_port(server), expected, "{server}");
        }
    }

    #[test]
    fn the_sources_of_ntp_time_differ_by_their_epochs() {
        gst::init().unwrap();
        let pipeline = ClockReader::new(Arc::new(ClockCell::new(None)));
        let base = pipeline.now().saturating_sub(5_000_000_000);
        let at = |source| {
            let config = TimingConfig {
                ntp_time_source: source,
                ..TimingConfig::default()
            };
            let reference = config.ntp_reference(&pipeline, base);
            // What the clock would show at one and the same moment.
            let since = ntp::from_nanos(reference.clock.saturating_sub(base));
            reference.time.wrapping_sub(since)
        };
        use NtpTimeSource::*;
        let second = 1_u64 << 32;
        let epochs = at(Ntp).wrapping_sub(at(Unix));
        assert!(
            epochs.abs_diff(UNIX_EPOCH * second) < second / 100,
            "{epochs:x}"
        );
        assert_eq!(at(RunningTime), 0);
        assert!(at(ClockTime).abs_diff(ntp::from_nanos(base)) <= 8);
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let ago = unix.unwrap().as_secs() - (at(Unix) >> 32);
        assert!((4..=8).contains(&ago), "{ago}");
    }
}
