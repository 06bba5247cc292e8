//! From the bytes of a complete message head to a [`Message`].
//!
//! Tolerant where real devices are sloppy and the meaning is clear, strict
//! where two readers could disagree about where the next message begins
//! (`Content-Length`). The size of a head is bounded by [`super::framing`].

use super::limits;
use super::message::{Headers, Message, Method, Request, Response, Version};

/// Bytes of peer data that an error shows.
const EXCERPT: usize = 64;

/// Why a message head cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("not an RTSP start line: \"{0}\"")]
    StartLine(String),
    #[error("unsupported RTSP version: \"{0}\"")]
    Version(String),
    #[error("invalid Content-Length: \"{0}\"")]
    ContentLength(String),
    #[error("conflicting Content-Length: \"{0}\"")]
    ConflictingContentLength(String),
    #[error("body of {0} bytes is larger than the limit of {max}", max = limits::BODY)]
    BodyTooLarge(u64),
}

/// The first bytes of `bytes`, escaped, for an error message.
pub fn excerpt(bytes: &[u8]) -> String {
    bytes
        .get(..EXCERPT)
        .unwrap_or(bytes)
        .escape_ascii()
        .to_string()
}

/// A head that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The message, its body still empty.
    pub message: Message,
    /// Bytes of body that follow the empty line.
    pub body_len: usize,
    /// Header lines without a colon or a name, which were left out.
    pub dropped_lines: usize,
}

/// Reads a head: start line, header lines and, optionally, the empty line.
pub fn parse_head(head: &[u8]) -> Result<Head, ParseError> {
    let mut lines = Lines(head);
    let mut message = parse_start_line(lines.next().unwrap_or_default())?;
    let (headers, dropped_lines) = parse_headers(lines);
    // RFC 2326 §4.4: these end at the empty line, whatever the headers say.
    let bodyless = matches!(
        &message,
        Message::Response(Response {
            status: 100..200 | 204 | 304,
            ..
        })
    );
    let body_len = if bodyless {
        0
    } else {
        content_length(&headers)?
    };
    match &mut message {
        Message::Request(request) => request.headers = headers,
        Message::Response(response) => response.headers = headers,
    }
    Ok(Head {
        message,
        body_len,
        dropped_lines,
    })
}

/// Lines that end with CRLF, a lone LF or a lone CR (RFC 2326 §4).
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let end = self
            .0
            .iter()
            .position(|b| matches!(b, b'\r' | b'\n'))
            .unwrap_or(self.0.len());
        let (line, rest) = self.0.split_at_checked(end)?;
        self.0 = match rest {
            [b'\r', b'\n', rest @ ..] | [b'\r' | b'\n', rest @ ..] => rest,
            _ => &[],
        };
        Some(line)
    }
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn trim(bytes: &[u8]) -> &[u8] {
    let Some(start) = bytes.iter().position(|b| !is_blank(b)) else {
        return &[];
    };
    let end = bytes.iter().rposition(|b| !is_blank(b)).unwrap_or(start);
    bytes.get(start..=end).unwrap_or_default()
}

/// Reads a status line or a request line; the headers stay empty.
pub(super) fn parse_start_line(line: &[u8]) -> Result<Message, ParseError> {
    let malformed = || ParseError::StartLine(excerpt(line));
    if strip_prefix_ignore_case(line, b"RTSP/").is_some() {
        let end = line.iter().position(is_blank).ok_or_else(malformed)?;
        let (version, rest) = line.split_at_checked(end).ok_or_else(malformed)?;
        let (status, reason) = trim(rest).split_at_checked(3).ok_or_else(malformed)?;
        let status = parse_digits(status, 3)
            .filter(|s| *s >= 100)
            .ok_or_else(malformed)?;
        if reason.first().is_some_and(u8::is_ascii_digit) {
            return Err(malformed());
        }
        let version = parse_version(version).ok_or_else(malformed)??;
        let reason = String::from_utf8_lossy(trim(reason)).into_owned();
        let status = u16::try_from(status).map_err(|_| malformed())?;
        return Ok(Message::Response(Response::new(status, reason, version)));
    }
    let line = trim(line);
    let first = line.iter().position(is_blank).ok_or_else(malformed)?;
    let last = line.iter().rposition(is_blank).ok_or_else(malformed)?;
    let method = line.get(..first).unwrap_or_default();
    let uri = trim(line.get(first..last).unwrap_or_default());
    let version = trim(line.get(last..).unwrap_or_default());
    if uri.is_empty()
        || uri.iter().any(|b| b.is_ascii_control() && !is_blank(b))
        || method.is_empty()
        || !method.iter().all(|b| is_token(*b))
    {
        return Err(malformed());
    }
    let version = parse_version(version).ok_or_else(malformed)??;
    let method = Method::from(std::str::from_utf8(method).map_err(|_| malformed())?);
    Ok(Message::Request(Request::new(
        method,
        String::from_utf8_lossy(uri),
        version,
    )))
}

/// `RTSP/1*DIGIT.1*DIGIT`: `None` if it is not that, an error if it is
/// another major version (RFC 2326 §3.1: two separate integers).
fn parse_version(text: &[u8]) -> Option<Result<Version, ParseError>> {
    let numbers = strip_prefix_ignore_case(text, b"RTSP/")?;
    let dot = numbers.iter().position(|b| *b == b'.')?;
    let (major, minor) = (numbers.get(..dot)?, numbers.get(dot.checked_add(1)?..)?);
    let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    if !digits(major) || !digits(minor) {
        return None;
    }
    let significant = major
        .iter()
        .position(|b| *b != b'0')
        .and_then(|at| major.get(at..));
    Some(match significant {
        Some(b"1") => Ok(Version::V1_0),
        Some(b"2") => Ok(Version::V2_0),
        _ => Err(ParseError::Version(excerpt(text))),
    })
}

pub(super) fn strip_prefix_ignore_case<'a>(bytes: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// A `token` byte of RFC 2326 §15.1.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte)
}

/// The header lines up to the empty line, and how many were dropped.
fn parse_headers(lines: Lines<'_>) -> (Headers, usize) {
    let mut headers = Headers::new();
    let mut dropped: usize = 0;
    let mut current: Option<(String, Vec<u8>)> = None;
    for line in lines.take_while(|line| !line.is_empty()) {
        if line.first().is_some_and(is_blank) {
            // Folding (RFC 2326 §15.1): joined with exactly one space.
            let part = trim(line);
            match &mut current {
                Some((_, value)) if !part.is_empty() => {
                    if !value.is_empty() {
                        value.push(b' ');
                    }
                    value.extend_from_slice(part);
                }
                Some(_) => {}
                None => dropped = dropped.saturating_add(1),
            }
            continue;
        }
        if let Some((name, value)) = current.take() {
            headers.push(name, value);
        }
        let colon = line.iter().position(|b| *b == b':');
        let name = trim(colon.and_then(|at| line.get(..at)).unwrap_or_default());
        if name.is_empty() {
            dropped = dropped.saturating_add(1);
            continue;
        }
        let value = colon
            .and_then(|at| line.get(at.checked_add(1)?..))
            .unwrap_or_default();
        current = Some((
            String::from_utf8_lossy(name).into_owned(),
            trim(value).to_vec(),
        ));
    }
    if let Some((name, value)) = current {
        headers.push(name, value);
    }
    (headers, dropped)
}

/// The length of the body: 0 without the header (RFC 2326 §12.14). Whatever
/// is doubtful is an error, for the rest of the stream cannot be trusted then.
pub fn content_length(headers: &Headers) -> Result<usize, ParseError> {
    let mut length = None;
    for value in headers.get_all("Content-Length") {
        let number = parse_digits(trim(value), 19)
            .ok_or_else(|| ParseError::ContentLength(excerpt(value)))?;
        if length.is_some_and(|other| other != number) {
            return Err(ParseError::ConflictingContentLength(excerpt(value)));
        }
        length = Some(number);
    }
    let length = length.unwrap_or(0);
    usize::try_from(length)
        .ok()
        .filter(|length| *length <= limits::BODY)
        .ok_or(ParseError::BodyTooLarge(length))
}

/// The sequence number, if there is one of 1 to 9 digits (RFC 7826 §18.20).
pub fn cseq(headers: &Headers) -> Option<u32> {
    let digits = trim(headers.get("CSeq")?);
    let zeros = digits
        .iter()
        .position(|b| *b != b'0')
        .unwrap_or(digits.len().saturating_sub(1));
    parse_digits(digits.get(zeros..)?, 9).and_then(|number| u32::try_from(number).ok())
}

/// 1 to `max` ASCII digits and nothing else; `None` also on overflow.
pub fn parse_digits(bytes: &[u8], max: usize) -> Option<u64> {
    if bytes.is_empty() || bytes.len() > max {
        return None;
    }
    bytes.iter().try_fold(0u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| byte.wrapping_sub(b'0'))?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// The items of a comma list, trimmed, empty ones left out; commas inside
/// quoted strings do not separate (RFC 2326 §15.1).
pub fn split_list(list: &str) -> impl Iterator<Item = &str> {
    // The cuts are at ASCII bytes, so every item is UTF-8.
    split_list_bytes(list.as_bytes()).filter_map(|item| std::str::from_utf8(item).ok())
}

/// [`split_list`] of bytes.
pub fn split_list_bytes(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    list.split(move |byte| {
        if escaped {
            escaped = false;
        } else if quoted && *byte == b'\\' {
            escaped = true;
        } else if *byte == b'"' {
            quoted = !quoted;
        }
        *byte == b',' && !quoted
    })
    .map(trim)
    .filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests;
