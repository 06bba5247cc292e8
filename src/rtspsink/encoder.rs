//! `adaptive-bitrate`: the encoder before a pad, and what it is told.

use gst::prelude::*;

/// Elements that are looked at on the way upstream; longer ways are unusual.
const STEPS: usize = 16;

/// An encoder whose bitrate can be set.
#[derive(Debug, Clone)]
pub(super) struct Encoder {
    element: gst::glib::WeakRef<gst::Element>,
    property: &'static str,
    /// Bits per second of one unit of the property.
    unit: u64,
    /// What it was set to when it was found, in bit/s.
    pub initial: u64,
    last: u64,
}

impl Encoder {
    /// The nearest element upstream of `pad` with a writable `bitrate`.
    pub fn before(pad: &gst::Pad) -> Option<Self> {
        let mut pad = pad.peer()?;
        for _ in 0..STEPS {
            // Out of a bin: on with what is behind its ghost pad.
            while let Some(ghost) = pad.downcast_ref::<gst::GhostPad>() {
                pad = ghost.target()?;
            }
            let element = pad.parent_element()?;
            if let Some(found) = Self::of(&element) {
                return Some(found);
            }
            let sinks = element.sink_pads();
            pad = match sinks.as_slice() {
                [sink] => sink.peer()?,
                _ => return None,
            };
            // A proxy pad is the inside of a ghost pad of the bin around.
            if let Some(proxy) = pad.downcast_ref::<gst::ProxyPad>()
                && !pad.is::<gst::GhostPad>()
            {
                let outside = proxy.internal()?;
                pad = outside.upcast::<gst::Pad>().peer()?;
            }
        }
        None
    }

    fn of(element: &gst::Element) -> Option<Self> {
        // Muxers have a `bitrate` too, that of their padding.
        let encodes =
            |factory: gst::ElementFactory| factory.has_type(gst::ElementFactoryType::ENCODER);
        if !element.factory().is_some_and(encodes) {
            return None;
        }
        let (property, pspec) = ["bitrate", "target-bitrate"].into_iter().find_map(|name| {
            let pspec = element.find_property(name)?;
            let writable = pspec.flags().contains(glib::ParamFlags::WRITABLE);
            (writable && range(&pspec).is_some()).then_some((name, pspec))
        })?;
        let unit = unit(range(&pspec)?);
        let value = element.property_value(property);
        let value = value.transform::<u64>().ok()?.get::<u64>().ok()?;
        Some(Self {
            element: element.downgrade(),
            property,
            unit,
            initial: value.saturating_mul(unit),
            last: 0,
        })
    }

    /// Sets it to about `bitrate` bit/s; small changes are not worth it.
    pub fn set(&mut self, bitrate: u64) {
        if bitrate.abs_diff(self.last) * 20 < self.last {
            return;
        }
        let Some(element) = self.element.upgrade() else {
            return;
        };
        let Some(pspec) = element.find_property(self.property) else {
            return;
        };
        let Some((minimum, maximum)) = range(&pspec) else {
            return;
        };
        let value = (bitrate / self.unit).clamp(minimum, maximum);
        if let Ok(value) = value.to_value().transform_with_type(pspec.value_type()) {
            gst::debug!(super::CAT, obj = element, "{} = {value:?}", self.property);
            element.set_property_from_value(self.property, &value);
            self.last = bitrate;
        }
    }
}

/// Range of a property of a number type.
fn range(pspec: &glib::ParamSpec) -> Option<(u64, u64)> {
    let from = |n: i64| u64::try_from(n).unwrap_or(0);
    if let Some(p) = pspec.downcast_ref::<glib::ParamSpecUInt>() {
        Some((p.minimum().into(), p.maximum().into()))
    } else if let Some(p) = pspec.downcast_ref::<glib::ParamSpecInt>() {
        Some((from(p.minimum().into()), from(p.maximum().into())))
    } else if let Some(p) = pspec.downcast_ref::<glib::ParamSpecUInt64>() {
        Some((p.minimum(), p.maximum()))
    } else {
        let p = pspec.downcast_ref::<glib::ParamSpecInt64>()?;
        Some((from(p.minimum()), from(p.maximum())))
    }
}

/// bit/s or kbit/s, by the range: no encoder goes up to 10 Gbit/s, and none
/// begins at 1 Mbit/s.
fn unit((minimum, maximum): (u64, u64)) -> u64 {
    if maximum > 10_000_000 || minimum >= 1_000 {
        1
    } else {
        1_000
    }
}

/// Shares what the network takes among encoders, in proportion to what they
/// were set to; `others` is what the streams without one need.
pub(super) fn shares(estimate: u64, others: u64, initial: &[u64]) -> Vec<u64> {
    // RTP headers and reports take their part.
    let left = (estimate - estimate / 20).saturating_sub(others);
    let total: u64 = initial.iter().map(|bitrate| (*bitrate).max(1)).sum();
    let share = |bitrate: &u64| {
        let part = u128::from(left) * u128::from((*bitrate).max(1)) / u128::from(total);
        u64::try_from(part).unwrap_or(u64::MAX)
    };
    initial.iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_told_by_the_range() {
        assert_eq!(unit((1, 2_048_000)), 1_000, "x264enc");
        assert_eq!(unit((0, 102_400)), 1_000, "x265enc");
        assert_eq!(unit((0, u64::from(u32::MAX))), 1, "openh264enc");
        assert_eq!(unit((4_000, 650_000)), 1, "opusenc");
    }

    #[test]
    fn the_network_is_shared_as_the_encoders_were_set() {
        assert_eq!(shares(2_000_000, 100_000, &[1_000_000]), [1_800_000]);
        assert_eq!(
            shares(4_000_000, 0, &[3_000_000, 1_000_000]),
            [2_850_000, 950_000]
        );
        assert_eq!(shares(50_000, 100_000, &[1_000_000]), [0]);
    }

    #[test]
    fn the_encoder_is_found_through_parsers_and_bins() {
        gst::init().unwrap();
        let pipeline = gst::parse::launch(
            "videotestsrc ! ( x264enc name=encoder bitrate=700 ! identity ) ! h264parse \
             ! queue ! fakesink name=sink",
        )
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
        let sink = pipeline.by_name("sink").unwrap();
        let mut found = Encoder::before(&sink.static_pad("sink").unwrap()).unwrap();
        assert_eq!(found.initial, 700_000);
        found.set(300_500);
        let encoder = pipeline.by_name("encoder").unwrap();
        assert_eq!(encoder.property::<u32>("bitrate"), 300);
        found.set(301_000);
        assert_eq!(encoder.property::<u32>("bitrate"), 300);
        found.set(400_000);
        assert_eq!(encoder.property::<u32>("bitrate"), 400);
    }
}
