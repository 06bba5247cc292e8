//! Attributes of a media section that do not hang on a payload type.

use std::net::IpAddr;

use super::{Attribute, Bandwidth, BandwidthKind, Media, Session, values};
use crate::rtsp::limits;

/// `a=extmap` (RFC 8285 §5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtMap {
    /// 1 to 255.
    pub id: u8,
    pub direction: Option<String>,
    pub uri: String,
    pub attributes: Option<String>,
}

/// `a=source-filter` (RFC 4570).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFilter {
    /// Whether the sources are the only ones wanted, or the ones refused.
    pub include: bool,
    /// `None`: any destination (`*`).
    pub destination: Option<IpAddr>,
    pub sources: Vec<IpAddr>,
}

impl SourceFilter {
    pub fn applies_to(&self, group: IpAddr) -> bool {
        self.destination
            .is_none_or(|destination| destination == group)
    }
}

/// `a=ssrc` (RFC 5576 §4.1). A hint: packets of other sources are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SsrcAttribute<'a> {
    pub ssrc: u32,
    pub name: &'a str,
    pub value: Option<&'a str>,
}

/// `a=ssrc-group` (RFC 5576 §4.2), such as FID for RTX.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SsrcGroup<'a> {
    pub semantics: &'a str,
    pub ssrcs: Vec<u32>,
}

/// RTCP bandwidth in bit/s (RFC 3556 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtcpBandwidth {
    pub senders: u64,
    pub receivers: u64,
}

impl Media {
    pub fn bandwidth(&self, session: &Session, kind: BandwidthKind) -> Option<u64> {
        let find = |list: &[Bandwidth]| {
            list.iter()
                .find(|b| b.kind == kind)
                .map(|b| b.bits_per_second)
        };
        find(&self.bandwidths).or_else(|| find(&session.bandwidths))
    }

    /// The share of RTCP: RS and RR of the media, of the session, then 5 % of AS
    /// of the media, of the session, a quarter of it for senders.
    pub fn rtcp_bandwidth(&self, session: &Session) -> Option<RtcpBandwidth> {
        let share = self
            .bandwidth(session, BandwidthKind::As)
            .map(|bits| bits / 20);
        let senders = self.bandwidth(session, BandwidthKind::Rs);
        let receivers = self.bandwidth(session, BandwidthKind::Rr);
        if share.is_none() && senders.is_none() && receivers.is_none() {
            return None;
        }
        let quarter = share.unwrap_or(0) / 4;
        Some(RtcpBandwidth {
            senders: senders.unwrap_or(quarter),
            receivers: receivers.unwrap_or_else(|| share.unwrap_or(0).saturating_sub(quarter)),
        })
    }

    /// RTCP may arrive on the RTP port (RFC 5761 §5.1.1).
    pub fn rtcp_mux(&self) -> bool {
        self.attr("rtcp-mux").is_some()
    }

    /// The sender's RTCP port; its address is never believed (RFC 3605 §2.1).
    pub fn rtcp_port(&self) -> Option<u16> {
        let port = self.attr("rtcp")?.split_ascii_whitespace().next()?;
        port.parse().ok().filter(|port| *port != 0)
    }

    /// Source filters of this section, else of the session. Sources that are
    /// names are ignored: nothing is resolved on behalf of a description.
    pub fn source_filters(&self, session: &Session) -> Vec<SourceFilter> {
        let parse = |attributes: &[Attribute]| -> Vec<SourceFilter> {
            values(attributes, "source-filter")
                .filter_map(parse_source_filter)
                .collect()
        };
        match self.attr("source-filter") {
            Some(_) => parse(&self.attributes),
            None => parse(&session.attributes),
        }
    }

    /// Source attributes, in order.
    pub fn ssrc_attributes(&self) -> impl Iterator<Item = SsrcAttribute<'_>> {
        self.attrs("ssrc").filter_map(|text| {
            let (ssrc, attribute) = text.split_once([' ', '\t'])?;
            let attribute = attribute.trim_start();
            let (name, value) = match attribute.split_once(':') {
                Some((name, value)) => (name, Some(value.trim_start())),
                None => (attribute, None),
            };
            let ssrc = ssrc.parse().ok()?;
            (!name.is_empty()).then_some(SsrcAttribute { ssrc, name, value })
        })
    }

    /// Groups of sources, in order; a group with a bad SSRC is left out.
    pub fn ssrc_groups(&self) -> impl Iterator<Item = SsrcGroup<'_>> {
        self.attrs("ssrc-group").filter_map(|text| {
            let mut tokens = text.split_ascii_whitespace();
            let semantics = tokens.next()?;
            let ssrcs: Result<Vec<u32>, _> =
                tokens.take(limits::SDP_FORMATS).map(str::parse).collect();
            Some(SsrcGroup {
                semantics,
                ssrcs: ssrcs.ok()?,
            })
        })
    }

    /// Header extensions, this section's before the session's; the first of an
    /// id counts. The ids 4096 to 4351 only mark unassigned ones.
    pub fn extmaps(&self, session: &Session) -> Vec<ExtMap> {
        let mut maps: Vec<ExtMap> = Vec::new();
        for text in self.attrs("extmap").chain(session.attrs("extmap")) {
            // At most 255 different ids, so the search is bounded.
            if let Some(map) = parse_extmap(text).filter(|map| maps.iter().all(|m| m.id != map.id))
            {
                maps.push(map);
            }
        }
        maps
    }

    /// The reference clock (RFC 7273 §4), as text.
    pub fn ts_refclk<'a>(&'a self, session: &'a Session) -> Option<&'a str> {
        self.attr_or_session(session, "ts-refclk")
    }

    /// The media clock (RFC 7273 §5), as text.
    pub fn mediaclk<'a>(&'a self, session: &'a Session) -> Option<&'a str> {
        self.attr_or_session(session, "mediaclk")
    }

    /// `a=framerate`, if it is a rate.
    pub fn framerate(&self) -> Option<&str> {
        self.attr("framerate")
            .filter(|value| is_plausible_hint("framerate", value))
    }
}

/// Whether the value of an optional hint (RFC 8866 §6) makes sense; other
/// attributes always do.
pub fn is_plausible_hint(key: &str, value: &str) -> bool {
    match key.to_ascii_lowercase().as_str() {
        "framerate" | "x-framerate" | "ptime" | "maxptime" => {
            crate::rtsp::range::parse_decimal(value).is_some_and(|number| number > 0.0)
        }
        "x-dimensions" => is_size(value, ','),
        _ => true,
    }
}

/// `width<separator>height`, each 1 to 65535.
pub(super) fn is_size(value: &str, separator: char) -> bool {
    let dimension = |text: &str| text.trim().parse::<u16>().is_ok_and(|n| n != 0);
    value
        .split_once(separator)
        .is_some_and(|(width, height)| dimension(width) && dimension(height))
}

/// `incl|excl IN IP4|IP6|* destination source…`
fn parse_source_filter(text: &str) -> Option<SourceFilter> {
    let mut tokens = text.split_ascii_whitespace();
    let mode = tokens.next()?;
    let include = mode.eq_ignore_ascii_case("incl");
    if !include && !mode.eq_ignore_ascii_case("excl") {
        return None;
    }
    tokens.next().filter(|net| net.eq_ignore_ascii_case("IN"))?;
    let _address_type = tokens.next()?;
    let destination = match tokens.next()? {
        "*" => None,
        address => Some(address.parse().ok()?),
    };
    let sources: Vec<IpAddr> = tokens
        .take(limits::SDP_FILTER_SOURCES)
        .filter_map(|s| s.parse().ok())
        .collect();
    (!sources.is_empty()).then_some(SourceFilter {
        include,
        destination,
        sources,
    })
}

/// `id[/direction] URI [attributes]`
fn parse_extmap(text: &str) -> Option<ExtMap> {
    let (id, rest) = text.split_once([' ', '\t'])?;
    let (id, direction) = match id.split_once('/') {
        Some((id, direction)) => (id, Some(direction.to_string())),
        None => (id, None),
    };
    let id = id.parse().ok().filter(|id| *id != 0)?;
    let rest = rest.trim_start();
    let (uri, attributes) = match rest.split_once([' ', '\t']) {
        Some((uri, attributes)) => (uri, Some(attributes.trim_start().to_string())),
        None => (rest, None),
    };
    (!uri.is_empty()).then(|| ExtMap {
        id,
        direction,
        uri: uri.to_string(),
        attributes,
    })
}
