//! The line scanner.

use std::net::IpAddr;

use super::{Attribute, Bandwidth, BandwidthKind, Connection, Direction, Media, SdpError, Session};
use crate::rtsp::limits;
use crate::rtsp::transport::{Profile, Spec};

pub(super) fn parse(body: &[u8]) -> Result<Session, SdpError> {
    if body.len() > limits::BODY {
        return Err(SdpError::TooLarge {
            limit: limits::BODY,
        });
    }
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut parser = Parser {
        session: Session::default(),
        has_version: false,
        bad_ports: Vec::new(),
    };
    for line in body.split(|b| matches!(b, b'\r' | b'\n')) {
        // Nothing after a NUL is text.
        let line = line.split(|b| *b == 0).next().unwrap_or_default();
        parser.line(&String::from_utf8_lossy(line))?;
    }
    parser.finish()
}

struct Parser {
    session: Session,
    has_version: bool,
    /// Index of media whose port is not one.
    bad_ports: Vec<usize>,
}

impl Parser {
    fn line(&mut self, line: &str) -> Result<(), SdpError> {
        let line = line.trim();
        // ONVIF Streaming Specification §6.2 prints `a:x-onvif-track:…`.
        let Some((kind, value)) = line
            .split_once('=')
            .filter(|(kind, _)| kind.trim_end().len() == 1)
            .or_else(|| line.strip_prefix("a:").map(|value| ("a", value)))
        else {
            return Ok(());
        };
        let value = value.trim();
        match kind.trim_end() {
            "v" => self.version(value)?,
            // `-` stands for no name (RFC 8866 §5.3).
            "s" if self.session.name.is_none() && !value.is_empty() && value != "-" => {
                self.session.name = Some(value.to_string());
            }
            "m" => self.media(value)?,
            "c" => self.connection(value),
            "b" => self.bandwidth(value),
            "a" => self.attribute(value)?,
            _ => {}
        }
        Ok(())
    }

    fn version(&mut self, value: &str) -> Result<(), SdpError> {
        if value.parse::<u32>() != Ok(0) {
            return Err(SdpError::Version(value.chars().take(64).collect()));
        }
        self.has_version = true;
        Ok(())
    }

    fn media(&mut self, value: &str) -> Result<(), SdpError> {
        let index = self.session.media.len();
        if index >= limits::SDP_MEDIA {
            return Err(SdpError::TooManyMedia {
                limit: limits::SDP_MEDIA,
            });
        }
        let mut tokens = value.split_ascii_whitespace();
        let kind = tokens.next().unwrap_or_default().to_ascii_lowercase();
        // `49170/2` counts ports of a layered encoding; only the first is used.
        let port = tokens
            .next()
            .unwrap_or_default()
            .split('/')
            .next()
            .and_then(parse_port);
        let proto_text = tokens.next().unwrap_or_default();
        let proto = parse_proto(proto_text);
        if proto.is_some() && proto_text.parse::<Spec>().is_err() {
            self.quirk("sdp-protocol-misnamed");
        }

        let mut formats: Vec<u8> = Vec::new();
        let mut bad_format = None;
        for (count, format) in tokens.enumerate() {
            if count >= limits::SDP_FORMATS {
                return Err(SdpError::TooManyFormats {
                    limit: limits::SDP_FORMATS,
                });
            }
            match parse_payload_type(format) {
                Some(pt) if !formats.contains(&pt) => formats.push(pt),
                Some(_) => {}
                None => bad_format = Some(format),
            }
        }

        let usable = if proto.is_none() {
            Err(format!("transport \"{}\" is not RTP", excerpt(proto_text)))
        } else if formats.is_empty() {
            Err(match bad_format {
                Some(format) => format!("\"{}\" is not a payload type", excerpt(format)),
                None => "no payload type".to_string(),
            })
        } else {
            Ok(())
        };
        if let (Some(format), Ok(())) = (bad_format, &usable) {
            self.warn(
                "sdp-bad-payload-type",
                format!(
                    "media {index}: \"{}\" is not a payload type",
                    excerpt(format)
                ),
            );
        }
        if port.is_none() {
            self.warn("sdp-bad-port", format!("media {index}: bad port"));
            self.bad_ports.push(index);
        }
        self.session.media.push(Media {
            index,
            kind,
            port: port.unwrap_or(0),
            proto,
            formats,
            connection: None,
            bandwidths: Vec::new(),
            attributes: Vec::new(),
            usable,
        });
        Ok(())
    }

    /// The first `c=` of a section that names an address counts.
    fn connection(&mut self, value: &str) {
        let found = parse_connection(value);
        if found.is_none() {
            let text = format!("no address in \"c={}\"", excerpt(value));
            self.warn("sdp-connection-without-address", text);
        }
        let connection = match self.session.media.last_mut() {
            Some(media) => &mut media.connection,
            None => &mut self.session.connection,
        };
        *connection = connection.or(found);
    }

    fn bandwidth(&mut self, value: &str) {
        let Some(bandwidth) = parse_bandwidth(value) else {
            return;
        };
        let bandwidths = match self.session.media.last_mut() {
            Some(media) => &mut media.bandwidths,
            None => &mut self.session.bandwidths,
        };
        // One of a kind, which also bounds the list.
        if bandwidths.iter().all(|b| b.kind != bandwidth.kind) {
            bandwidths.push(bandwidth);
        }
    }

    fn attribute(&mut self, text: &str) -> Result<(), SdpError> {
        // A name has no blanks; RFC 4570 §3.2 forgets the colon in an example.
        let (key, value) = match text.split_once([':', ' ', '\t']) {
            None => (text, None),
            Some((key, value)) => {
                let value = value.trim_start();
                if !text
                    .strip_prefix(key)
                    .is_some_and(|rest| rest.starts_with(':'))
                {
                    let text = format!("no colon in \"a={}\"", excerpt(text));
                    self.warn("sdp-attribute-without-colon", text);
                }
                (key, Some(value))
            }
        };
        if key.is_empty() {
            return Ok(());
        }
        let attributes = match self.session.media.last_mut() {
            Some(media) => &mut media.attributes,
            None => &mut self.session.attributes,
        };
        if attributes.len() >= limits::SDP_ATTRIBUTES {
            return Err(SdpError::TooManyAttributes {
                limit: limits::SDP_ATTRIBUTES,
            });
        }
        attributes.push(Attribute {
            key: key.to_string(),
            value: value.map(str::to_string),
        });
        Ok(())
    }

    fn finish(mut self) -> Result<Session, SdpError> {
        if !self.has_version {
            if self.session.media.is_empty() {
                return Err(SdpError::NotSdp);
            }
            self.warn("sdp-without-version", "no v= line".to_string());
        }
        let mut media = std::mem::take(&mut self.session.media);
        for media in media.iter_mut().filter(|media| media.usable.is_ok()) {
            let index = media.index;
            // Unicast ports come with the SETUP reply (RFC 2326 §C.1.2).
            if self.bad_ports.contains(&index) && media.multicast_group(&self.session).is_some() {
                media.usable = Err("multicast group with a bad port".to_string());
                continue;
            }
            let maps = media.rtpmaps();
            for pt in &media.formats {
                if maps.iter().all(|map| map.payload_type != *pt) {
                    self.warn(
                        "sdp-payload-type-without-rtpmap",
                        format!("media {index}: payload type {pt} has no usable rtpmap"),
                    );
                }
            }
            if maps.is_empty() {
                media.usable = Err("no payload type with a known encoding".to_string());
            }
        }
        for media in &media {
            if let Err(reason) = &media.usable {
                self.warn(
                    "sdp-media-skipped",
                    format!("media {} is skipped: {reason}", media.index),
                );
            }
        }
        let sends =
            |m: &Media| m.usable.is_ok() && m.direction(&self.session) == Direction::SendOnly;
        let all_send =
            media.iter().any(sends) && media.iter().all(|m| m.usable.is_err() || sends(m));
        if all_send {
            self.quirk("sdp-all-media-sendonly");
        }
        if media.iter().any(Media::lacks_clock_rate) {
            self.quirk("sdp-rtpmap-without-clock-rate");
        }
        self.session.media = media;
        Ok(self.session)
    }

    fn warn(&mut self, quirk: &'static str, warning: String) {
        if self.session.warnings.len() < limits::SDP_WARNINGS {
            self.session.warnings.push(warning);
        }
        self.quirk(quirk);
    }

    fn quirk(&mut self, name: &'static str) {
        if !self.session.quirks.contains(&name) {
            self.session.quirks.push(name);
        }
    }
}

/// As much of a value as a warning shows.
fn excerpt(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

fn parse_port(text: &str) -> Option<u16> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// 0 to 127 (RFC 3550 §5.1).
pub(super) fn parse_payload_type(text: &str) -> Option<u8> {
    text.parse()
        .ok()
        .filter(|pt| *pt < 128 && text.bytes().all(|b| b.is_ascii_digit()))
}

fn parse_proto(text: &str) -> Option<Spec> {
    // What devices print for RTP with an MPEG transport stream inside, or over
    // TCP; the Transport header decides how it really travels.
    if text.eq_ignore_ascii_case("MP2T/RTP") || text.eq_ignore_ascii_case("TCP/RTP/AVP") {
        return Some(Spec {
            profile: Profile::Avp,
            ..Spec::default()
        });
    }
    text.parse().ok()
}

/// `IN IP4 addr/ttl[/count]` or `IN IP6 addr[/count]` (RFC 8866 §5.7); devices
/// leave out, double or misspell what comes before the address.
fn parse_connection(value: &str) -> Option<Connection> {
    value.split_ascii_whitespace().find_map(|token| {
        let mut parts = token.split('/');
        let address: IpAddr = parts.next()?.parse().ok()?;
        let ttl = match address {
            IpAddr::V4(_) => parts.next().and_then(|ttl| ttl.parse().ok()),
            IpAddr::V6(_) => None,
        };
        Some(Connection { address, ttl })
    })
}

fn parse_bandwidth(value: &str) -> Option<Bandwidth> {
    let (kind, number) = value.split_once(':')?;
    let number: u64 = number.trim().parse().ok()?;
    let (kind, bits_per_second) = match kind.trim().to_ascii_uppercase().as_str() {
        "AS" => (BandwidthKind::As, number.checked_mul(1000)?),
        "TIAS" => (BandwidthKind::Tias, number),
        "RS" => (BandwidthKind::Rs, number),
        "RR" => (BandwidthKind::Rr, number),
        _ => return None,
    };
    Some(Bandwidth {
        kind,
        bits_per_second,
    })
}
