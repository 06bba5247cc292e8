//! Which elements make RTP of what a pad receives.

use gst::prelude::*;

/// The elements for some caps, in the order of the data.
pub(super) struct Choice {
    pub parser: Option<gst::ElementFactory>,
    pub payloader: gst::ElementFactory,
}

/// Of payloaders with equal rank, those that most servers and players take.
const PREFERRED: &[&str] = &[
    "rtph264pay",
    "rtph265pay",
    // MPEG4-GENERIC rather than MP4A-LATM.
    "rtpmp4gpay",
    "rtpvp8pay",
    "rtpvp9pay",
    "rtpopuspay",
    "rtpmpapay",
    "rtpmp2tpay",
    "rtpmpvpay",
    "rtpmp4vpay",
];

/// The first that is free for a stream (RFC 3551 §3).
const FIRST_DYNAMIC: u32 = 96;

fn factories(kind: gst::ElementFactoryType) -> Vec<gst::ElementFactory> {
    gst::ElementFactory::factories_with_type(kind, gst::Rank::MARGINAL)
        .into_iter()
        .collect()
}

/// The best first.
fn payloaders() -> Vec<gst::ElementFactory> {
    let mut all = factories(gst::ElementFactoryType::PAYLOADER);
    all.retain(|factory| {
        let class = factory.metadata("klass").unwrap_or_default();
        class.contains("RTP") && rtp_name(factory)
    });
    let place = |factory: &gst::ElementFactory| {
        let name = factory.name();
        let place = PREFERRED.iter().position(|preferred| *preferred == name);
        place.unwrap_or(PREFERRED.len())
    };
    all.sort_by(|a, b| {
        b.rank()
            .cmp(&a.rank())
            .then_with(|| place(a).cmp(&place(b)))
            .then_with(|| a.name().cmp(&b.name()))
    });
    all
}

/// Whether its source pad always gives plain RTP.
fn rtp_name(factory: &gst::ElementFactory) -> bool {
    template(factory, gst::PadDirection::Src)
        .is_some_and(|caps| caps.iter().all(|s| s.name() == "application/x-rtp"))
}

/// Caps of the one pad that an element has for a direction.
fn template(factory: &gst::ElementFactory, direction: gst::PadDirection) -> Option<gst::Caps> {
    let templates = factory.static_pad_templates();
    let template = templates.iter().find(|template| {
        template.direction() == direction && template.presence() == gst::PadPresence::Always
    });
    template.map(|template| template.caps())
}

/// The best elements for the caps of a stream: a payloader that takes them as
/// they are, else one with a parser before it, which adds what the payloader
/// needs (framing, parameter sets).
pub(super) fn choose(caps: &gst::Caps) -> Option<Choice> {
    let payloaders = payloaders();
    let takes = |factory: &gst::ElementFactory| {
        template(factory, gst::PadDirection::Sink).is_some_and(|sink| caps.is_subset(&sink))
    };
    let alone = payloaders
        .iter()
        .find(|factory| takes(factory))
        .map(|payloader| Choice {
            parser: None,
            payloader: payloader.clone(),
        });
    if alone.is_some() && !repeats_parameter_sets(caps) {
        return alone;
    }
    let mut parsers = factories(gst::ElementFactoryType::PARSER);
    parsers.sort_by_key(|parser| std::cmp::Reverse(parser.rank()));
    let parsed = parsers.into_iter().filter(takes).find_map(|parser| {
        let payloader = behind(&parser, caps, &payloaders)?.clone();
        Some(Choice {
            parser: Some(parser),
            payloader,
        })
    });
    parsed.or(alone)
}

/// Parameter sets are repeated by the parser: the payloaders (GStreamer 1.22)
/// repeat them before each slice of a key frame, which receivers take for another
/// picture. But of single NAL units the parser makes an endless loop with that.
fn repeats_parameter_sets(caps: &gst::Caps) -> bool {
    caps.structure(0).is_some_and(|s| {
        matches!(s.name().as_str(), "video/x-h264" | "video/x-h265")
            && s.get::<&str>("alignment") != Ok("nal")
    })
}

/// The best payloader for what a parser makes of some caps.
fn behind<'a>(
    parser: &gst::ElementFactory,
    caps: &gst::Caps,
    payloaders: &'a [gst::ElementFactory],
) -> Option<&'a gst::ElementFactory> {
    // A parser keeps the media type.
    let media_type = caps.structure(0)?.name();
    let parsed: gst::Caps = template(parser, gst::PadDirection::Src)?
        .iter()
        .filter(|s| s.name() == media_type)
        .map(|s| s.to_owned())
        .collect();
    payloaders.iter().find(|payloader| {
        template(payloader, gst::PadDirection::Sink)
            .is_some_and(|sink| sink.can_intersect(&parsed) && sink.can_intersect(&loosened(caps)))
    })
}

/// Caps without what a parser can change.
fn loosened(caps: &gst::Caps) -> gst::Caps {
    let mut caps = caps.copy();
    for s in caps.make_mut().iter_mut() {
        for field in ["stream-format", "alignment", "parsed", "framed"] {
            s.remove_field(field);
        }
    }
    caps
}

/// Everything that some payloader, alone or with a parser, may take. RTP comes
/// first: it needs no element at all.
pub(super) fn accepted() -> gst::Caps {
    let mut caps = gst::Caps::new_empty_simple("application/x-rtp");
    let payloaders = payloaders();
    let sinks: Vec<gst::Caps> = payloaders
        .iter()
        .filter_map(|factory| template(factory, gst::PadDirection::Sink))
        .collect();
    for sink in &sinks {
        caps.merge(sink.clone());
    }
    for parser in factories(gst::ElementFactoryType::PARSER) {
        let (Some(sink), Some(src)) = (
            template(&parser, gst::PadDirection::Sink),
            template(&parser, gst::PadDirection::Src),
        ) else {
            continue;
        };
        if sinks.iter().any(|caps| caps.can_intersect(&src)) {
            caps.merge(sink);
        }
    }
    caps
}

/// The payload type for a payloader whose own is `wanted`: that one if no other
/// stream has it, else the next dynamic one.
pub(super) fn payload_type(wanted: u32, used: &[u32]) -> Option<u32> {
    std::iter::once(wanted)
        .chain(FIRST_DYNAMIC..128)
        .find(|pt| !used.contains(pt))
}

/// Sets a property that not every payloader has.
pub(super) fn set_if_there(
    element: &gst::Element,
    name: &str,
    value: impl Into<glib::Value>,
) -> bool {
    let value = value.into();
    let settable = element.find_property(name).is_some_and(|pspec| {
        pspec.flags().contains(glib::ParamFlags::WRITABLE) && pspec.value_type() == value.type_()
    });
    if settable {
        element.set_property_from_value(name, &value);
    }
    settable
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(caps: &str) -> Option<(Option<String>, String)> {
        gst::init().unwrap();
        let choice = choose(&caps.parse().unwrap())?;
        let parser = choice.parser.map(|parser| parser.name().to_string());
        Some((parser, choice.payloader.name().to_string()))
    }

    fn alone(name: &str) -> Option<(Option<String>, String)> {
        Some((None, name.into()))
    }

    fn parsed(parser: &str, name: &str) -> Option<(Option<String>, String)> {
        Some((Some(parser.into()), name.into()))
    }

    #[test]
    fn a_payloader_that_takes_the_caps_is_enough() {
        let opus = "audio/x-opus,channel-mapping-family=0,channels=2,rate=48000";
        assert_eq!(chosen(opus), alone("rtpopuspay"));
        assert_eq!(chosen("video/x-vp8"), alone("rtpvp8pay"));
        let pcma = "audio/x-alaw,rate=8000,channels=1";
        assert_eq!(chosen(pcma), alone("rtppcmapay"));
        let ts = "video/mpegts,packetsize=188,systemstream=true";
        assert_eq!(chosen(ts), alone("rtpmp2tpay"));
        assert_eq!(chosen("meta/x-klv,parsed=true"), alone("rtpklvpay"));
    }

    #[test]
    fn what_lacks_framing_or_has_parameter_sets_goes_through_a_parser() {
        let h264 = "video/x-h264,stream-format=byte-stream,alignment=au";
        assert_eq!(chosen(h264), parsed("h264parse", "rtph264pay"));
        let raw = "video/x-h264,width=320,height=240";
        assert_eq!(chosen(raw), parsed("h264parse", "rtph264pay"));
        let nal = "video/x-h264,stream-format=byte-stream,alignment=nal";
        assert_eq!(chosen(nal), alone("rtph264pay"));
        let adts = "audio/mpeg,mpegversion=4,stream-format=adts,rate=48000,channels=2";
        assert_eq!(chosen(adts), parsed("aacparse", "rtpmp4gpay"));
    }

    #[test]
    fn aac_is_sent_as_mpeg4_generic() {
        let aac = "audio/mpeg,mpegversion=4,stream-format=raw,rate=48000,channels=2";
        assert_eq!(chosen(aac), alone("rtpmp4gpay"));
    }

    #[test]
    fn what_no_payloader_takes_is_refused() {
        assert_eq!(chosen("text/x-unknown"), None);
    }

    #[test]
    fn caps_for_upstream_hold_rtp_and_what_payloaders_take() {
        gst::init().unwrap();
        let accepted = accepted();
        for caps in [
            "application/x-rtp",
            "video/x-h264",
            "audio/x-opus",
            "video/x-raw",
        ] {
            let caps: gst::Caps = caps.parse().unwrap();
            assert!(accepted.can_intersect(&caps), "{caps}");
        }
    }

    #[test]
    fn payload_types_are_unique() {
        assert_eq!(payload_type(8, &[]), Some(8));
        assert_eq!(payload_type(8, &[8]), Some(96));
        assert_eq!(payload_type(96, &[96, 97]), Some(98));
        assert_eq!(payload_type(96, &(96..128).collect::<Vec<_>>()), None);
    }
}
