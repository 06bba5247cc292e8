//! Session descriptions that are announced (RFC 8866), strictly valid.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use super::Attribute;
use crate::rtsp::transport::Profile;

/// A session description to be announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    pub origin: Origin,
    /// `s=`; an empty one becomes `-`.
    pub name: String,
    /// `a=tool`; left out when empty.
    pub tool: String,
    /// Further attributes of the session.
    pub attributes: Vec<Attribute>,
    pub media: Vec<MediaDescription>,
}

/// `o=` (RFC 8866 §5.2); its address family is that of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    pub id: u64,
    /// Grows with each change of the description.
    pub version: u64,
    pub address: IpAddr,
}

/// An `m=` section. Its port is 0, since SETUP decides (RFC 2326 §C.1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaDescription {
    /// `video`, `audio`, `application`, `text`.
    pub kind: String,
    pub profile: Profile,
    /// In order of preference.
    pub formats: Vec<Format>,
    /// Bit/s on the wire; written in kbit/s, rounded up (RFC 8866 §5.8).
    pub bandwidth: Option<u64>,
    /// Further attributes.
    pub attributes: Vec<Attribute>,
    /// Relative to the URL of the presentation, and unique: `streamid=0`.
    pub control: String,
}

/// A payload type and its encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    pub payload_type: u8,
    pub encoding_name: String,
    pub clock_rate: u32,
    /// Audio channels.
    pub channels: Option<u8>,
    /// `a=fmtp`; a parameter without value is a flag.
    pub parameters: Vec<(String, Option<String>)>,
    /// `a=rtcp-fb`, such as `nack pli`. Written where the profile has feedback (RFC 4585 §4.2).
    pub feedback: Vec<String>,
}

impl Format {
    /// Retransmissions of this format (RFC 4588 §8.1).
    pub fn rtx(&self, payload_type: u8, rtx_time: Duration) -> Format {
        let parameter = |name: &str, value: String| (name.to_string(), Some(value));
        Format {
            payload_type,
            encoding_name: "rtx".into(),
            clock_rate: self.clock_rate,
            channels: None,
            parameters: vec![
                parameter("apt", self.payload_type.to_string()),
                parameter("rtx-time", rtx_time.as_millis().to_string()),
            ],
            feedback: Vec::new(),
        }
    }
}

/// What has no valid form in a description.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    #[error("no media")]
    NoMedia,
    #[error("media {0} has no payload type")]
    NoFormat(usize),
    #[error("\"{0}\" cannot be a name in a session description")]
    Name(String),
    #[error("\"{0}\" cannot be the value of a format parameter")]
    Parameter(String),
    #[error("payload type {0} is out of range or used twice")]
    PayloadType(u8),
    #[error("payload type {0} has no clock rate")]
    ClockRate(u8),
    #[error("control URL \"{0}\" is unusable or used twice")]
    Control(String),
}

impl Description {
    /// The text, as RFC 8866 §9 has it: nothing optional that a strict server could trip over, and
    /// `c=` and `t=` at the session, where some want them. Controls in free text become blanks, so
    /// that no value makes a line of its own.
    pub fn to_text(&self) -> Result<String, WriteError> {
        if self.media.is_empty() {
            return Err(WriteError::NoMedia);
        }
        let mut lines = Lines(String::new());
        let Origin {
            id,
            version,
            address,
        } = self.origin;
        let (family, anywhere) = match address {
            IpAddr::V4(_) => ("IP4", "0.0.0.0"),
            IpAddr::V6(_) => ("IP6", "::"),
        };
        let name = free_text(&self.name);
        lines.push('v', "0");
        lines.push('o', format_args!("- {id} {version} IN {family} {address}"));
        lines.push('s', if name.is_empty() { "-" } else { &name });
        lines.push('c', format_args!("IN {family} {anywhere}"));
        lines.push('t', "0 0");
        let tool = free_text(&self.tool);
        if !tool.is_empty() {
            lines.push('a', format_args!("tool:{tool}"));
        }
        lines.attributes(&self.attributes)?;

        let mut controls: Vec<&str> = Vec::new();
        for (index, media) in self.media.iter().enumerate() {
            media.write(index, &mut lines)?;
            let control = media.control.as_str();
            if !is_control(control) || controls.contains(&control) {
                return Err(WriteError::Control(shown(control)));
            }
            controls.push(control);
            lines.push('a', format_args!("control:{control}"));
        }
        Ok(lines.0)
    }
}

impl MediaDescription {
    fn write(&self, index: usize, lines: &mut Lines) -> Result<(), WriteError> {
        if self.formats.is_empty() {
            return Err(WriteError::NoFormat(index));
        }
        let mut types = String::new();
        let mut used = Vec::new();
        for format in &self.formats {
            let payload_type = format.payload_type;
            if payload_type > 127 || used.contains(&payload_type) {
                return Err(WriteError::PayloadType(payload_type));
            }
            used.push(payload_type);
            types.extend([" ", &payload_type.to_string()]);
        }
        let (kind, profile) = (token(&self.kind)?, self.profile);
        lines.push('m', format_args!("{kind} 0 {profile}{types}"));
        if let Some(bits) = self.bandwidth {
            lines.push('b', format_args!("AS:{}", bits.div_ceil(1000)));
        }
        for format in &self.formats {
            format.write(profile, lines)?;
        }
        lines.attributes(&self.attributes)
    }
}

impl Format {
    fn write(&self, profile: Profile, lines: &mut Lines) -> Result<(), WriteError> {
        let Format {
            payload_type,
            clock_rate,
            ..
        } = *self;
        if clock_rate == 0 {
            return Err(WriteError::ClockRate(payload_type));
        }
        // `/` separates name, rate and channels.
        let name = token(&self.encoding_name)?;
        let channels = self.channels.filter(|channels| *channels != 0);
        let channels = channels.map_or(String::new(), |channels| format!("/{channels}"));
        lines.push(
            'a',
            format_args!("rtpmap:{payload_type} {name}/{clock_rate}{channels}"),
        );
        if !self.parameters.is_empty() {
            let parameters: Result<Vec<_>, _> = self.parameters.iter().map(parameter).collect();
            let parameters = parameters?.join(";");
            lines.push('a', format_args!("fmtp:{payload_type} {parameters}"));
        }
        if profile.has_feedback() {
            for feedback in &self.feedback {
                let words: Result<Vec<_>, _> =
                    feedback.split_ascii_whitespace().map(token).collect();
                let words = words?.join(" ");
                lines.push('a', format_args!("rtcp-fb:{payload_type} {words}"));
            }
        }
        Ok(())
    }
}

struct Lines(String);

impl Lines {
    fn push(&mut self, kind: char, value: impl std::fmt::Display) {
        // A String takes all that is written to it.
        let _ = write!(self.0, "{kind}={value}\r\n");
    }

    fn attributes(&mut self, attributes: &[Attribute]) -> Result<(), WriteError> {
        for Attribute { key, value } in attributes {
            let key = token(key)?;
            match value.as_deref().map(free_text) {
                Some(value) => self.push('a', format_args!("{key}:{value}")),
                None => self.push('a', key),
            }
        }
        Ok(())
    }
}

/// `name=value` or `name` (the format of most payload formats; RFC 8866 §6.15 leaves it open).
fn parameter((name, value): &(String, Option<String>)) -> Result<String, WriteError> {
    let name = token(name)?;
    let Some(value) = value else {
        return Ok(name.to_string());
    };
    if value.contains(|c: char| c == ';' || c.is_control()) {
        return Err(WriteError::Parameter(shown(value)));
    }
    Ok(format!("{name}={}", value.trim()))
}

/// `token` of RFC 8866 §9, which has neither blanks nor any of `"(),/:;<=>?@[\]`.
fn token(text: &str) -> Result<&str, WriteError> {
    let valid = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`{|}~".contains(c);
    if text.is_empty() || !text.chars().all(valid) {
        return Err(WriteError::Name(shown(text)));
    }
    Ok(text)
}

/// A relative reference (RFC 3986 §4.1) of a stream.
fn is_control(text: &str) -> bool {
    !text.is_empty() && text != "*" && text.chars().all(|c| c.is_ascii_graphic() && c != '#')
}

fn free_text(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    text.trim().to_string()
}

/// As much of a value as an error shows.
fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}
