//! Session descriptions (SDP, RFC 8866) as a receiver reads them, and as a publisher writes them.
//!
//! The parser is lenient: one bad line costs at most the media section that it
//! stands in, and that section keeps its index. Attributes are kept as text
//! and read where they are asked for.

mod attributes;
mod crypto;
mod parse;
mod payload;
#[cfg(test)]
mod tests;
pub mod write;

use std::net::IpAddr;

use super::range::{Range, Unit};
use super::transport::Spec;

pub use attributes::{
    ExtMap, RtcpBandwidth, SourceFilter, SsrcAttribute, SsrcGroup, is_plausible_hint,
};
pub use payload::{RtpMap, Rtx};

/// Why a description cannot be used at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    #[error("session description is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("not a session description: it has neither a version nor a media line")]
    NotSdp,
    #[error("unsupported SDP version \"{0}\"")]
    Version(String),
    #[error("more than {limit} media sections")]
    TooManyMedia { limit: usize },
    #[error("more than {limit} attributes in one section")]
    TooManyAttributes { limit: usize },
    #[error("more than {limit} formats in one media line")]
    TooManyFormats { limit: usize },
}

/// An `a=` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    pub key: String,
    pub value: Option<String>,
}

/// The address of a `c=` line. It matters for multicast only: for unicast
/// media goes where the Transport header says (RFC 2326 §C.1.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    pub address: IpAddr,
    /// IPv4 multicast only.
    pub ttl: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BandwidthKind {
    /// Application specific maximum, in kbit/s on the wire (RFC 8866 §5.8).
    As,
    /// Transport independent, bit/s (RFC 3890).
    Tias,
    /// RTCP of senders, bit/s (RFC 3556).
    Rs,
    /// RTCP of receivers, bit/s (RFC 3556).
    Rr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bandwidth {
    pub kind: BandwidthKind,
    pub bits_per_second: u64,
}

/// The direction attribute as written. In a description of RTSP `recvonly`
/// means that the client receives (RFC 7826 §D.1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Session {
    /// `s=`, unless it is empty or a placeholder.
    pub name: Option<String>,
    pub connection: Option<Connection>,
    pub bandwidths: Vec<Bandwidth>,
    pub attributes: Vec<Attribute>,
    /// All `m=` sections in order; see [`Media::usable`].
    pub media: Vec<Media>,
    /// What was odd, for the log.
    pub warnings: Vec<String>,
    /// The same by name, each once.
    pub quirks: Vec<&'static str>,
}

impl Session {
    /// Reads a description.
    pub fn parse(body: &[u8]) -> Result<Session, SdpError> {
        parse::parse(body)
    }

    /// Value of a session attribute, empty for a flag.
    pub fn attr<'a>(&'a self, key: &str) -> Option<&'a str> {
        values(&self.attributes, key).next()
    }

    /// All values of a session attribute.
    pub fn attrs<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a str> {
        values(&self.attributes, key)
    }

    /// The aggregate control URL as written.
    pub fn control(&self) -> Option<&str> {
        self.attr("control")
    }

    pub fn range(&self) -> Option<Range> {
        range(&self.attributes)
    }

    /// Whether a media is for sending to the server. When all of them are
    /// `sendonly`, the server has its own view on directions.
    pub fn is_backchannel(&self, media: &Media) -> bool {
        media.direction(self) == Direction::SendOnly
            && self
                .media
                .iter()
                .any(|m| m.usable.is_ok() && m.direction(self) != Direction::SendOnly)
    }
}

/// An `m=` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// Position among the `m=` sections, bad ones included.
    pub index: usize,
    /// `video`, `audio`, `application` …, in lower case.
    pub kind: String,
    /// The port of a multicast group; 0 says nothing (RFC 2326 §C.1.2).
    pub port: u16,
    /// `None`: no RTP profile that is known here.
    pub proto: Option<Spec>,
    /// Payload types, in order of preference.
    pub formats: Vec<u8>,
    pub connection: Option<Connection>,
    pub bandwidths: Vec<Bandwidth>,
    pub attributes: Vec<Attribute>,
    /// Why the section cannot be set up, if it cannot.
    pub usable: Result<(), String>,
}

impl Media {
    /// Value of an attribute of this section, empty for a flag.
    pub fn attr<'a>(&'a self, key: &str) -> Option<&'a str> {
        values(&self.attributes, key).next()
    }

    /// All values of an attribute of this section.
    pub fn attrs<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a str> {
        values(&self.attributes, key)
    }

    /// Value of an attribute of this section, else of the session
    /// (RFC 8866 §5.13).
    pub fn attr_or_session<'a>(&'a self, session: &'a Session, key: &str) -> Option<&'a str> {
        self.attr(key).or_else(|| session.attr(key))
    }

    /// The control URL as written.
    pub fn control(&self) -> Option<&str> {
        self.attr("control")
    }

    pub fn mid(&self) -> Option<&str> {
        self.attr("mid")
    }

    /// The direction; without an attribute the media is received, since
    /// nothing flows to a server that did not ask for it.
    pub fn direction(&self, session: &Session) -> Direction {
        let find = |attributes: &[Attribute]| {
            attributes.iter().find_map(|attribute| {
                Some(match attribute.key.to_ascii_lowercase().as_str() {
                    "sendrecv" => Direction::SendRecv,
                    "sendonly" => Direction::SendOnly,
                    "recvonly" => Direction::RecvOnly,
                    "inactive" => Direction::Inactive,
                    _ => return None,
                })
            })
        };
        find(&self.attributes)
            .or_else(|| find(&session.attributes))
            .unwrap_or(Direction::RecvOnly)
    }

    /// What `a=range` says, of this section before that of the session. `None`
    /// or an open end: not seekable.
    pub fn range(&self, session: &Session) -> Option<Range> {
        match self.attr("range") {
            Some(_) => range(&self.attributes),
            None => session.range(),
        }
    }

    /// The multicast group of `c=`, this section's before the session's.
    pub fn multicast_group(&self, session: &Session) -> Option<Connection> {
        self.connection
            .or(session.connection)
            .filter(|c| c.address.is_multicast())
    }
}

/// All values of an attribute; a flag counts as the empty value.
fn values<'a>(attributes: &'a [Attribute], key: &str) -> impl Iterator<Item = &'a str> {
    attributes
        .iter()
        .filter(move |attribute| attribute.key.eq_ignore_ascii_case(key))
        .map(|attribute| attribute.value.as_deref().unwrap_or(""))
}

/// NPT where several formats are given: that is what can be seeked in.
fn range(attributes: &[Attribute]) -> Option<Range> {
    let ranges = || values(attributes, "range").filter_map(Range::parse);
    ranges()
        .find(|range| range.unit == Unit::Npt)
        .or_else(|| ranges().next())
}
