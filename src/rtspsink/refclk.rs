//! The clock that RTP times come from, as the announcement says it (RFC 7273).

use gst::prelude::*;

use crate::rtsp::sdp::Attribute;

/// What the announcement says about the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstRtsp2PublishClockMode")]
pub enum PublishClockMode {
    #[enum_value(name = "Publish nothing", nick = "none")]
    None,
    #[default]
    #[enum_value(name = "Publish the clock but not the offset", nick = "clock")]
    Clock,
    #[enum_value(name = "Publish the clock and the offset", nick = "clock-and-offset")]
    ClockAndOffset,
}

/// The clock as `ts-refclk` names it, or none for one that others do not share.
fn shared_clock(clock: &gst::Clock) -> Option<String> {
    match clock.type_().name() {
        "GstNtpClock" => {
            let address: String = clock.property("address");
            let port: i32 = clock.property("port");
            Some(match address.contains(':') {
                true => format!("ntp=[{address}]:{port}"),
                false => format!("ntp={address}:{port}"),
            })
        }
        "GstPtpClock" => {
            let id: u64 = clock.property("grandmaster-clock-id");
            let domain: u32 = clock.property("domain");
            let id: Vec<String> = id.to_be_bytes().map(|byte| format!("{byte:02X}")).into();
            Some(format!("ptp=IEEE1588-2008:{}:{domain}", id.join("-")))
        }
        _ => None,
    }
}

/// The clock that `element` will run with.
pub(super) fn clock_of(element: &gst::Element) -> Option<gst::Clock> {
    element.clock().or_else(|| {
        // Before PLAYING only the pipeline knows.
        let mut top = element.clone().upcast::<gst::Object>();
        while let Some(parent) = top.parent() {
            top = parent;
        }
        top.downcast::<gst::Pipeline>().ok()?.provide_clock()
    })
}

/// `rtp` is the RTP time of running time 0 and the clock rate, if they are known.
pub(super) fn attributes(
    mode: PublishClockMode,
    clock: Option<&gst::Clock>,
    base_time: Option<gst::ClockTime>,
    rtp: Option<(u32, u32)>,
) -> Vec<Attribute> {
    if mode == PublishClockMode::None {
        return Vec::new();
    }
    let line = |key: &str, value: String| Attribute {
        key: key.into(),
        value: Some(value),
    };
    let Some(shared) = clock.and_then(shared_clock) else {
        return vec![
            line("ts-refclk", "local".into()),
            line("mediaclk", "sender".into()),
        ];
    };
    let offset = match (mode, base_time, rtp) {
        (PublishClockMode::ClockAndOffset, Some(base_time), Some((offset, rate))) => {
            Some(offset_at_epoch(offset, rate, base_time))
        }
        _ => None,
    };
    vec![
        line("ts-refclk", shared),
        line(
            "mediaclk",
            offset.map_or("sender".into(), |offset| format!("direct={offset}")),
        ),
    ]
}

/// The RTP time when the clock showed 0 (RFC 7273 §5.2).
fn offset_at_epoch(offset: u32, rate: u32, base_time: gst::ClockTime) -> u32 {
    let ticks = u128::from(base_time.nseconds()) * u128::from(rate) / 1_000_000_000;
    // Modulo 2^32, as RTP time itself.
    offset.wrapping_sub((ticks % (1 << 32)) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_of_this_machine_is_local() {
        gst::init().unwrap();
        let clock = gst::SystemClock::obtain();
        let lines = |mode| attributes(mode, Some(&clock), None, None);
        assert!(lines(PublishClockMode::None).is_empty());
        let lines = lines(PublishClockMode::ClockAndOffset);
        let values: Vec<_> = lines.iter().filter_map(|a| a.value.as_deref()).collect();
        assert_eq!(values, ["local", "sender"]);
    }

    #[test]
    fn the_offset_is_the_rtp_time_at_the_epoch_of_the_clock() {
        let base_time = gst::ClockTime::from_seconds(10);
        assert_eq!(offset_at_epoch(900_001, 90_000, base_time), 1);
        assert_eq!(offset_at_epoch(899_999, 90_000, base_time), u32::MAX);
        let years = gst::ClockTime::from_seconds(1 << 31);
        let ticks = ((1u64 << 31) * 90_000 % (1 << 32)) as u32;
        assert_eq!(offset_at_epoch(0, 90_000, years), 0u32.wrapping_sub(ticks));
    }
}
