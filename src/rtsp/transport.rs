//! The Transport header (RFC 2326 §12.39, RFC 7826 §18.54).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::limits;

/// How media travels, as the user orders it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum LowerTransport {
    /// Interleaved in the RTSP connection (RFC 2326 §10.12).
    Tcp,
    /// UDP unicast.
    Udp,
    UdpMulticast,
}

impl fmt::Display for LowerTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LowerTransport::Tcp => "TCP",
            LowerTransport::Udp => "UDP",
            LowerTransport::UdpMulticast => "UDP multicast",
        })
    }
}

/// RTP profile (RFC 3551, RFC 4585, RFC 3711, RFC 5124).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub enum Profile {
    #[default]
    Avp,
    Avpf,
    Savp,
    Savpf,
}

impl Profile {
    /// Whether RTCP feedback messages may be sent early (RFC 4585).
    pub fn has_feedback(self) -> bool {
        matches!(self, Profile::Avpf | Profile::Savpf)
    }

    /// Whether the media is SRTP.
    pub fn is_secure(self) -> bool {
        matches!(self, Profile::Savp | Profile::Savpf)
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Profile::Avp => "RTP/AVP",
            Profile::Avpf => "RTP/AVPF",
            Profile::Savp => "RTP/SAVP",
            Profile::Savpf => "RTP/SAVPF",
        })
    }
}

/// The protocol below RTP.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub enum Lower {
    /// The default (RFC 2326 §12.39).
    #[default]
    Udp,
    Tcp,
}

/// `RTP/<profile>[/<lower transport>]`, as in Transport and in `m=` lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Spec {
    pub profile: Profile,
    pub lower: Lower,
}

/// The text names no RTP profile that is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an RTP transport")]
pub struct UnknownSpec;

impl FromStr for Spec {
    type Err = UnknownSpec;

    fn from_str(text: &str) -> Result<Self, UnknownSpec> {
        let mut parts = text.split('/').map(|part| part.trim().to_ascii_uppercase());
        if parts.next().as_deref() != Some("RTP") {
            return Err(UnknownSpec);
        }
        let profile = match parts.next().as_deref() {
            Some("AVP") => Profile::Avp,
            Some("AVPF") => Profile::Avpf,
            Some("SAVP") => Profile::Savp,
            Some("SAVPF") => Profile::Savpf,
            _ => return Err(UnknownSpec),
        };
        let lower = match parts.next().as_deref() {
            None | Some("UDP") => Lower::Udp,
            Some("TCP") => Lower::Tcp,
            Some(_) => return Err(UnknownSpec),
        };
        match parts.next() {
            None => Ok(Spec { profile, lower }),
            Some(_) => Err(UnknownSpec),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Cast {
    Unicast,
    Multicast,
}

/// One number or a pair: `a` or `a-b`, with a <= b.
pub type Pair<T> = (T, Option<T>);

/// One alternative of a Transport header, as received.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Transport {
    pub profile: Profile,
    pub lower: Lower,
    /// `None` in a reply keeps what was asked for: the "multicast" default of
    /// RFC 2326 §12.39 is what no server means.
    pub cast: Option<Cast>,
    pub interleaved: Option<Pair<u8>>,
    pub client_port: Option<Pair<u16>>,
    pub server_port: Option<Pair<u16>>,
    /// Ports of a multicast group.
    pub port: Option<Pair<u16>>,
    pub source: Option<String>,
    pub destination: Option<String>,
    pub ttl: Option<u8>,
    /// Only a hint: devices name others than they send.
    pub ssrc: Option<u32>,
    pub mode: Option<String>,
    /// RTCP shares the port or channel of RTP (RFC 7826 §C.1.6.4).
    pub rtcp_mux: bool,
    /// `src_addr` of RTSP 2.0: RTP first, then RTCP.
    pub src_addr: Vec<String>,
    /// `dest_addr` of RTSP 2.0: RTP first, then RTCP.
    pub dest_addr: Vec<String>,
    /// What was odd about how it is written.
    pub quirks: Vec<&'static str>,
}

impl Transport {
    /// What 2.0 says in its own words, where 1.0 says nothing (RFC 7826 §18.54).
    fn translate(&mut self) {
        let [from, to] = [&self.src_addr, &self.dest_addr].map(|addresses| {
            let mut read = addresses
                .iter()
                .filter_map(|address| host_and_port(address));
            let (host, rtp) = read.next()?;
            let rtcp = read.next().map(|(_, rtcp)| rtcp);
            Some((host, (rtp, rtcp.filter(|rtcp| *rtcp >= rtp))))
        });
        if let Some((host, ports)) = from {
            self.source = self.source.take().or(host);
            self.server_port = self.server_port.or(Some(ports));
        }
        if let Some((host, ports)) = to {
            self.destination = self.destination.take().or(host);
            match self.cast {
                Some(Cast::Multicast) => self.port = self.port.or(Some(ports)),
                _ => self.client_port = self.client_port.or(Some(ports)),
            }
        }
    }

    /// Reads the alternatives of a header value in their order; those that
    /// cannot be used are left out.
    pub fn parse_list(value: &str) -> Vec<Transport> {
        if value.len() > limits::HEADER_LINE {
            return Vec::new();
        }
        split_unquoted(value, ',')
            .take(limits::TRANSPORT_ALTERNATIVES)
            .filter_map(Transport::parse)
            .collect()
    }

    fn parse(alternative: &str) -> Option<Transport> {
        // An odd number of quotes: where the value ends is anyone's guess.
        if !alternative.matches('"').count().is_multiple_of(2) {
            return None;
        }
        let mut transport = Transport::default();
        let mut spec: Option<Spec> = None;
        for item in split_unquoted(alternative, ';')
            .map(str::trim)
            .filter(|s| !s.is_empty())
        {
            let Some((name, value)) = item.split_once('=') else {
                // Not always first: Luckfox begins with the ssrc.
                match item.parse() {
                    Ok(found) if spec.is_none() => {
                        if transport != Transport::default() {
                            transport.quirks.push("transport-parameter-before-protocol");
                        }
                        spec = Some(found);
                    }
                    _ => transport.set_flag(item),
                }
                continue;
            };
            transport.set_parameter(name.trim_end(), value.trim())?;
        }
        let spec = spec?;
        transport.profile = spec.profile;
        transport.lower = spec.lower;
        transport.translate();
        Some(transport)
    }

    fn set_flag(&mut self, name: &str) {
        if name.eq_ignore_ascii_case("unicast") {
            self.cast.get_or_insert(Cast::Unicast);
        } else if name.eq_ignore_ascii_case("multicast") {
            self.cast.get_or_insert(Cast::Multicast);
        } else if name.eq_ignore_ascii_case("RTCP-mux") {
            self.rtcp_mux = true;
        }
    }

    /// `None`: the value makes the alternative unusable.
    fn set_parameter(&mut self, name: &str, value: &str) -> Option<()> {
        match name.to_ascii_lowercase().as_str() {
            "interleaved" => self.interleaved = Some(parse_pair(value)?),
            "client_port" => self.client_port = Some(parse_pair(value)?),
            "server_port" => self.server_port = Some(parse_pair(value)?),
            "port" => self.port = Some(parse_pair(value)?),
            "source" | "destination" if text(value).is_none() => {
                self.quirks.push("transport-address-empty");
            }
            "source" => self.source = text(value),
            "destination" => self.destination = text(value),
            "ttl" => self.ttl = unquote(value).parse().ok(),
            "ssrc" => {
                self.ssrc = parse_ssrc(value);
                if value.len() != 8 || self.ssrc.is_none() {
                    self.quirks.push("transport-ssrc-misspelt");
                }
            }
            "mode" => self.mode = text(value),
            "src_addr" => self.src_addr = addresses(value),
            "dest_addr" => self.dest_addr = addresses(value),
            _ => {}
        }
        Some(())
    }

    /// Channels of RTP and RTCP; a single one puts RTCP on the next number
    /// unless both share it. No RTCP channel: it would be 256.
    pub fn channels(&self) -> Option<(u8, Option<u8>)> {
        let (rtp, rtcp) = self.interleaved?;
        Some((
            rtp,
            rtcp.or(if self.rtcp_mux {
                Some(rtp)
            } else {
                rtp.checked_add(1)
            }),
        ))
    }

    /// Ports that the server sends from; a single one puts RTCP on the next
    /// (RFC 3550 §11). Port 0 is no port: the ports are learnt from the media.
    pub fn server_ports(&self) -> Option<(u16, Option<u16>)> {
        let (rtp, rtcp) = self.server_port.filter(|(rtp, _)| *rtp != 0)?;
        Some((
            rtp,
            rtcp.or(if self.rtcp_mux {
                Some(rtp)
            } else {
                rtp.checked_add(1)
            }),
        ))
    }

    /// The multicast group of the reply. A destination that is not multicast
    /// is none.
    pub fn group(&self) -> Option<IpAddr> {
        let address: IpAddr = host(self.destination.as_deref()?).parse().ok()?;
        address.is_multicast().then_some(address)
    }

    /// The address that media comes from, if the reply names one.
    pub fn source_address(&self) -> Option<IpAddr> {
        host(self.source.as_deref()?).parse().ok()
    }
}

/// Splits where `separator` stands outside quotes.
fn split_unquoted(value: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    value.split(move |c| {
        if c == '"' {
            quoted = !quoted;
        }
        c == separator && !quoted
    })
}

fn unquote(value: &str) -> &str {
    value.trim_matches('"').trim()
}

/// A text parameter; devices print empty ones (`source=`).
fn text(value: &str) -> Option<String> {
    let value = unquote(value);
    (!value.is_empty()).then(|| value.to_string())
}

fn host(address: &str) -> &str {
    address.trim_start_matches('[').trim_end_matches(']')
}

/// `"host:port"/"host:port"` (RFC 7826 §20.2.3).
fn addresses(value: &str) -> Vec<String> {
    split_unquoted(value, '/')
        .take(2)
        .filter_map(|part| text(part.trim()))
        .collect()
}

/// `host:port`, `:port` or `[host]:port`.
fn host_and_port(address: &str) -> Option<(Option<String>, u16)> {
    let (name, port) = address.rsplit_once(':')?;
    let name = host(name.trim());
    let name = (!name.is_empty()).then(|| name.to_string());
    Some((name, port.trim().parse().ok()?))
}

/// Reads `a-b` or `a`; a reversed or overflowing pair is refused.
fn parse_pair<T: FromStr + PartialOrd>(value: &str) -> Option<Pair<T>> {
    let number = |text: &str| -> Option<T> {
        let text = text.trim();
        // FromStr would take a sign.
        text.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| text.parse().ok())?
    };
    match unquote(value).split_once('-') {
        None => Some((number(unquote(value))?, None)),
        Some((first, second)) => {
            let (first, second) = (number(first)?, number(second)?);
            (first <= second).then_some((first, Some(second)))
        }
    }
}

/// Hex digits; devices add blanks or `0x` (Hikvision, Dahua). RTSP 2.0
/// has a `/` list, whose first is the RTP source.
fn parse_ssrc(value: &str) -> Option<u32> {
    let value = unquote(value).split('/').next()?.trim();
    let digits = value
        .strip_prefix("0x")
        .or(value.strip_prefix("0X"))
        .unwrap_or(value);
    let digits: String = digits.split_ascii_whitespace().collect();
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u32::from_str_radix(&digits, 16).ok()
}

/// What we can receive for one stream, sent as the Transport of a SETUP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offer {
    Tcp { channels: (u8, u8) },
    Udp { ports: (u16, u16) },
    Multicast { ports: Option<(u16, u16)> },
}

impl Offer {
    /// The header value. No `mode`, which upsets servers, and no
    /// `destination`.
    pub fn to_header(&self, profile: Profile) -> String {
        match self {
            Offer::Tcp {
                channels: (rtp, rtcp),
            } => {
                format!("{profile}/TCP;unicast;interleaved={rtp}-{rtcp}")
            }
            Offer::Udp { ports: (rtp, rtcp) } => {
                format!("{profile};unicast;client_port={rtp}-{rtcp}")
            }
            Offer::Multicast {
                ports: Some((rtp, rtcp)),
            } => {
                format!("{profile};multicast;port={rtp}-{rtcp}")
            }
            Offer::Multicast { ports: None } => format!("{profile};multicast"),
        }
    }

    /// The same in the words of RTSP 2.0, where they differ (RFC 7826 §18.54).
    pub fn to_v2_header(&self, profile: Profile) -> Option<String> {
        match self {
            Offer::Udp { ports: (rtp, rtcp) } => Some(format!(
                "{profile}/UDP;unicast;dest_addr=\":{rtp}\"/\":{rtcp}\""
            )),
            Offer::Multicast {
                ports: Some((rtp, rtcp)),
            } => Some(format!(
                "{profile}/UDP;multicast;dest_addr=\":{rtp}\"/\":{rtcp}\""
            )),
            Offer::Tcp { .. } | Offer::Multicast { ports: None } => None,
        }
    }

    pub fn lower_transport(&self) -> LowerTransport {
        match self {
            Offer::Tcp { .. } => LowerTransport::Tcp,
            Offer::Udp { .. } => LowerTransport::Udp,
            Offer::Multicast { .. } => LowerTransport::UdpMulticast,
        }
    }
}

#[cfg(test)]
mod tests;
