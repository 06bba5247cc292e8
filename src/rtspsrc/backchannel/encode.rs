//! From what a back channel's pad receives to RTP that the server takes.

use gst::prelude::*;

/// How an encoding is made: what the encoder gives, who may be the encoder, who payloads it.
struct Way {
    encoding: &'static str,
    media_type: &'static str,
    encoders: &'static [&'static str],
    payloader: &'static str,
}

const WAYS: &[Way] = &[
    Way {
        encoding: "PCMU",
        media_type: "audio/x-mulaw",
        encoders: &["mulawenc"],
        payloader: "rtppcmupay",
    },
    Way {
        encoding: "PCMA",
        media_type: "audio/x-alaw",
        encoders: &["alawenc"],
        payloader: "rtppcmapay",
    },
    Way {
        encoding: "G726",
        media_type: "audio/x-adpcm",
        encoders: &["avenc_g726"],
        payloader: "rtpg726pay",
    },
    Way {
        encoding: "MPEG4-GENERIC",
        media_type: "audio/mpeg",
        encoders: &["fdkaacenc", "avenc_aac", "voaacenc"],
        payloader: "rtpmp4gpay",
    },
    Way {
        encoding: "OPUS",
        media_type: "audio/x-opus",
        encoders: &["opusenc"],
        payloader: "rtpopuspay",
    },
];

impl Way {
    fn of(encoding: &str) -> Option<&'static Self> {
        // G726-16 … G726-40 are one encoder with four bitrates (RFC 3551 §4.5.4).
        let family = match encoding.starts_with("G726-") {
            true => "G726",
            false => encoding,
        };
        WAYS.iter().find(|way| way.encoding == family)
    }

    /// What the payloader takes.
    fn caps(&self) -> gst::Caps {
        let factory = gst::ElementFactory::find(self.payloader);
        let template = factory.and_then(|factory| {
            let templates = factory.static_pad_templates();
            let mut sinks = templates
                .iter()
                .filter(|template| template.direction() == gst::PadDirection::Sink);
            sinks.next().map(|template| template.caps())
        });
        template.unwrap_or_else(|| gst::Caps::new_empty_simple(self.media_type))
    }
}

/// The elements between a pad and the session.
pub(super) struct Chain {
    bin: gst::Bin,
    /// What comes to the pad goes in here.
    pub input: gst::Pad,
    /// The RTP comes out here.
    output: gst::Pad,
}

impl Drop for Chain {
    fn drop(&mut self) {
        let _ = self.input.set_active(false);
        let _ = self.bin.set_state(gst::State::Null);
        let _ = self.output.set_active(false);
    }
}

/// What a pad may receive, whatever is installed.
pub(super) fn media_types() -> gst::Caps {
    let names = WAYS.iter().map(|way| way.media_type);
    let mut caps = gst::Caps::new_empty();
    for name in ["application/x-rtp", "audio/x-raw"]
        .into_iter()
        .chain(names)
    {
        caps.merge(gst::Caps::new_empty_simple(name));
    }
    caps
}

/// What a pad can make use of; RTP needs no element at all.
pub(super) fn accepted() -> gst::Caps {
    let mut caps = gst::Caps::builder("application/x-rtp")
        .field("media", "audio")
        .build();
    caps.merge(gst::Caps::new_empty_simple("audio/x-raw"));
    for way in WAYS {
        caps.merge(way.caps());
    }
    caps
}

/// The same, of a server that takes these formats.
pub(super) fn accepted_by(formats: &[gst::Caps]) -> gst::Caps {
    let mut caps = gst::Caps::new_empty();
    for format in formats {
        // What else is in there describes what the server receives.
        let rtp = gst::Caps::builder("application/x-rtp")
            .field("media", "audio")
            .field_if_some("payload", number(format, "payload"))
            .field_if_some("clock-rate", number(format, "clock-rate"))
            .field_if_some("encoding-name", text(format, "encoding-name"))
            .build();
        caps.merge(rtp);
    }
    caps.merge(gst::Caps::new_empty_simple("audio/x-raw"));
    for way in formats
        .iter()
        .filter_map(|format| Way::of(&text(format, "encoding-name")?))
    {
        caps.merge(way.caps());
    }
    caps
}

pub(super) fn is_rtp(caps: &gst::Caps) -> bool {
    caps.structure(0)
        .is_some_and(|s| s.name() == "application/x-rtp")
}

fn text(caps: &gst::Caps, field: &str) -> Option<String> {
    caps.structure(0)?.get(field).ok()
}

fn number(caps: &gst::Caps, field: &str) -> Option<i32> {
    caps.structure(0)?.get(field).ok()
}

impl Chain {
    /// The first of the server's formats that `caps` can be made into. `output` gets the RTP.
    pub fn new(caps: &gst::Caps, formats: &[gst::Caps], output: &gst::Pad) -> Result<Self, String> {
        let mut why = format!("the server takes none of what {caps} can be made into");
        for format in formats {
            match Self::to(caps, format, output) {
                Ok(chain) => return Ok(chain),
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    fn to(caps: &gst::Caps, format: &gst::Caps, output: &gst::Pad) -> Result<Self, String> {
        let encoding = text(format, "encoding-name").unwrap_or_default();
        let way = Way::of(&encoding).ok_or_else(|| format!("nothing here makes {encoding}"))?;
        let payloader = make(way.payloader)?;
        if let Some(payload) = number(format, "payload").and_then(|pt| u32::try_from(pt).ok()) {
            payloader.set_property("pt", payload);
        }
        let name = caps.structure(0).map(|s| s.name().to_string());
        let elements = match name.as_deref() {
            Some("audio/x-raw") => {
                let mut elements = encoder(way, &encoding, format)?;
                elements.push(payloader);
                elements
            }
            Some(name) if name == way.media_type => vec![payloader],
            _ => return Err(format!("the server takes {encoding}, not {caps}")),
        };
        let failed = |error: glib::BoolError| format!("{encoding}: {error}");
        let bin = gst::Bin::new();
        bin.add_many(&elements).map_err(failed)?;
        gst::Element::link_many(&elements).map_err(failed)?;
        let end = |element: Option<&gst::Element>, name: &str| {
            let pad = element.and_then(|element| element.static_pad(name));
            pad.ok_or_else(|| format!("{encoding}: an element without {name}"))
        };
        let first = end(elements.first(), "sink")?;
        let last = end(elements.last(), "src")?;
        if !first.query_accept_caps(caps) {
            return Err(format!("{encoding} is not made of {caps}"));
        }
        if let Some(before) = output.peer() {
            let _ = before.unlink(output);
        }
        // The bin is nobody's child: its ends are linked as those of a harness are.
        last.link(output)
            .map_err(|error| format!("{encoding}: {error}"))?;
        let input = gst::Pad::builder(gst::PadDirection::Src).build();
        input
            .link(&first)
            .map_err(|error| format!("{encoding}: {error}"))?;
        let chain = Self {
            bin,
            input,
            output: output.clone(),
        };
        let playing = chain.bin.set_state(gst::State::Playing);
        let active = chain.input.set_active(true);
        if playing.is_err() || active.is_err() {
            return Err(format!("{encoding}: the encoder does not start"));
        }
        Ok(chain)
    }
}

/// From any raw audio to the encoding of an RTP format.
fn encoder(way: &Way, encoding: &str, format: &gst::Caps) -> Result<Vec<gst::Element>, String> {
    let encoder = way.encoders.iter().find_map(|name| make(name).ok());
    let encoder = encoder.ok_or_else(|| format!("no encoder for {encoding} is installed"))?;
    if let Some(kbits) = encoding
        .strip_prefix("G726-")
        .and_then(|rate| rate.parse::<i32>().ok())
    {
        encoder.set_property_from_str("bitrate", &(kbits * 1000).to_string());
    }
    let channels = text(format, "encoding-params").and_then(|text| text.parse().ok());
    // Opus says 2 whatever it carries (RFC 7587 §7).
    let channels: i32 = match encoding {
        "OPUS" => 1,
        _ => channels.unwrap_or(1),
    };
    let rate = number(format, "clock-rate").unwrap_or(8000);
    let raw = gst::Caps::builder("audio/x-raw")
        .field("rate", rate)
        .field("channels", channels)
        .build();
    let filter = make("capsfilter")?;
    filter.set_property("caps", raw);
    Ok(vec![
        make("audioconvert")?,
        make("audioresample")?,
        filter,
        encoder,
    ])
}

fn make(name: &str) -> Result<gst::Element, String> {
    let element = gst::ElementFactory::make(name).build();
    element.map_err(|_| format!("{name} is not installed"))
}
