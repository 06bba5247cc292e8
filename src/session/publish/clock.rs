//! Both clocks of a sender report at one moment (RFC 3550 §6.4.1).

use std::time::{Duration, SystemTime};

use gst::prelude::*;

use super::super::spans::nanos;
use crate::rtp::ntp;
use crate::rtp::sender::ClockTime;
use crate::session::timing::NtpTimeSource;

/// From 1900 to 1970 (RFC 868).
const UNIX_EPOCH: Duration = Duration::from_secs(2_208_988_800);

/// The element's running time and the NTP time that stands for it now. `None`
/// while the element has no clock.
pub(in crate::session) fn now(element: &gst::Element, source: NtpTimeSource) -> Option<ClockTime> {
    let clock = element.clock()?;
    let base = element.base_time()?;
    let time = clock.time();
    let running_time = time.checked_sub(base)?.nseconds();
    let wall = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let nanos = match source {
        NtpTimeSource::Ntp => nanos(wall.saturating_add(UNIX_EPOCH)),
        NtpTimeSource::Unix => nanos(wall),
        NtpTimeSource::RunningTime => running_time,
        NtpTimeSource::ClockTime => time.nseconds(),
    };
    Some(ClockTime {
        running_time,
        ntp: ntp::from_nanos(nanos),
    })
}
