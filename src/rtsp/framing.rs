//! Cuts the byte stream of a connection into messages and interleaved frames
//! (RFC 2326 §10.12, RFC 7826 §14).
//!
//! The caller owns the buffer: [`Decoder::decode`] looks at its unread rest,
//! says how many bytes to drop, and is called again. Nothing is copied but
//! the messages. After damage the decoder skips to the next point that can
//! only be a start, at most [`limits::RESYNC`] bytes.

mod starts;

use std::ops::Range;

use super::limits;
use super::message::Message;
use super::parse::{self, ParseError};
use starts::{Found, known_method, next_status, request_prefix, status_prefix};

/// Damaged bytes that are kept for the error message.
const EXCERPT: usize = 64;

/// What the bytes at the start of the buffer are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// An interleaved frame. The payload is that range of the buffer; then
    /// `consumed` bytes of the buffer are done with.
    Frame {
        channel: u8,
        payload: Range<usize>,
        consumed: usize,
    },
    /// A complete message with its body.
    Message { message: Message, consumed: usize },
    /// Not decidable yet: at least `need` (≥ 1) more bytes are wanted; exact
    /// for the rest of a frame or body.
    NeedMore { need: usize },
    /// Bytes that belong to nothing: blank lines and empty frames, or, if
    /// `damaged`, bytes that could not be understood.
    Skip { consumed: usize, damaged: bool },
}

/// What has begun but is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partial {
    Frame,
    /// [`limits::MESSAGE_COMPLETION`] applies.
    Message,
    /// Damage, and no valid start after it yet.
    Damage,
}

/// The stream cannot be followed any further; the connection is to be closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    #[error("start line is longer than {max} bytes", max = limits::START_LINE)]
    StartLineTooLong,
    #[error("header line is longer than {max} bytes", max = limits::HEADER_LINE)]
    HeaderLineTooLong,
    #[error("message header is larger than {max} bytes", max = limits::HEADER_BLOCK)]
    HeadersTooLarge,
    #[error("message header has more than {max} lines", max = limits::HEADER_LINES)]
    TooManyHeaderLines,
    #[error("more than {max} blank lines before a message", max = limits::BLANK_LINES)]
    TooManyBlankLines,
    #[error("no RTSP message or frame within {max} bytes after \"{0}\"", max = limits::RESYNC)]
    LostSync(String),
    #[error(transparent)]
    Parse(#[from] ParseError),
}

/// Who answers in place of an RTSP server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stranger {
    #[error("an HTTP server answers there: check the port of the URL")]
    Http,
    #[error("a TLS server answers there: the scheme for it is rtsps")]
    Tls,
    /// With the first bytes, escaped.
    #[error("what answers there is no RTSP server, it sent \"{0}\"")]
    Unknown(String),
}

/// How far the head of a message was looked at, so that no byte is looked at
/// twice when it trickles in. Offsets into the buffer.
#[derive(Debug, Clone, Copy, Default)]
struct HeadScan {
    /// Everything before holds no line end that is not dealt with.
    scanned: usize,
    line_start: usize,
    /// Where the header lines begin; 0 while the start line is incomplete.
    headers_start: usize,
    lines: usize,
    /// Length of the header so far, with the lines that it was folded into.
    header_line: usize,
}

#[derive(Debug, Default)]
enum Phase {
    /// At the start of something.
    #[default]
    Start,
    Head(HeadScan),
    /// The head is parsed, the body is awaited up to `total`.
    Body {
        message: Message,
        head: usize,
        total: usize,
    },
    /// Damage; a start is looked for. Before `searched` no status line begins.
    Resync {
        searched: usize,
    },
}

/// Incremental reader of one connection.
#[derive(Debug, Default)]
pub struct Decoder {
    phase: Phase,
    partial: Option<Partial>,
    /// Bit set of the channels that SETUP assigned.
    channels: [u128; 2],
    blank_lines: usize,
    /// Damaged bytes skipped since the last message or frame.
    skipped: usize,
    last_skipped: u8,
    excerpt: Vec<u8>,
    resyncs: u64,
    quirks: Vec<&'static str>,
    /// How many of them were taken.
    quirks_taken: usize,
    /// A message was complete: it is an RTSP server.
    understood: bool,
}

impl Decoder {
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a frame on that channel a recovery point after damage.
    pub fn assign_channel(&mut self, channel: u8) {
        let [low, high] = &mut self.channels;
        *(if channel < 128 { low } else { high }) |= 1 << (channel % 128);
    }

    pub fn clear_channels(&mut self) {
        self.channels = [0; 2];
    }

    fn is_assigned(&self, channel: u8) -> bool {
        let [low, high] = self.channels;
        (if channel < 128 { low } else { high }) >> (channel % 128) & 1 != 0
    }

    /// How often the stream was damaged so far.
    pub fn resyncs(&self) -> u64 {
        self.resyncs
    }

    /// Who speaks, if all that has come so far is damage.
    pub fn stranger(&self) -> Option<Stranger> {
        if self.understood || self.resyncs == 0 {
            return None;
        }
        Some(match *self.excerpt {
            [b'H', b'T', b'T', b'P', b'/', ..] => Stranger::Http,
            // An alert or a handshake record (RFC 8446 §5.1).
            [21 | 22, 3, 0..=4, ..] => Stranger::Tls,
            _ => Stranger::Unknown(self.damage_excerpt()),
        })
    }

    /// The first bytes of the latest damage, escaped.
    pub fn damage_excerpt(&self) -> String {
        parse::excerpt(&self.excerpt)
    }

    /// What is odd about the stream, each name once.
    pub fn take_quirk(&mut self) -> Option<&'static str> {
        let quirk = self.quirks.get(self.quirks_taken).copied();
        self.quirks_taken = self
            .quirks_taken
            .saturating_add(usize::from(quirk.is_some()));
        quirk
    }

    fn quirk(&mut self, name: &'static str) {
        if !self.quirks.contains(&name) {
            self.quirks.push(name);
        }
    }

    /// What has begun with the bytes that the last call could not decide.
    pub fn partial(&self) -> Option<Partial> {
        self.partial
    }

    /// Decides what `buf`, the unread bytes from the end of the last step on,
    /// begins with.
    #[inline]
    pub fn decode(&mut self, buf: &[u8]) -> Result<Step, FramingError> {
        if let [b'$', channel, high, low, ..] = *buf
            && matches!(self.phase, Phase::Start)
        {
            let len = usize::from(u16::from_be_bytes([high, low]));
            let end = len.saturating_add(4);
            if len != 0 && end <= buf.len() {
                self.partial = None;
                self.skipped = 0;
                self.blank_lines = 0;
                return Ok(Step::Frame {
                    channel,
                    payload: 4..end,
                    consumed: end,
                });
            }
        }
        self.decode_other(buf)
    }

    /// All but a complete frame.
    fn decode_other(&mut self, buf: &[u8]) -> Result<Step, FramingError> {
        match &self.phase {
            Phase::Start => self.start(buf),
            Phase::Head(scan) => {
                let scan = *scan;
                self.head(buf, scan)
            }
            Phase::Body { .. } => Ok(self.body(buf)),
            Phase::Resync { searched } => {
                let searched = *searched;
                self.resync(buf, searched)
            }
        }
    }

    fn start(&mut self, buf: &[u8]) -> Result<Step, FramingError> {
        match *buf {
            [] => {
                self.partial = None;
                Ok(Step::NeedMore { need: 1 })
            }
            [b'$', _, 0, 0, ..] => {
                self.quirk("empty-frames");
                self.done();
                Ok(Step::Skip {
                    consumed: 4,
                    damaged: false,
                })
            }
            [b'$', ref rest @ ..] => {
                self.partial = Some(Partial::Frame);
                let need = match *rest {
                    [_, high, low, ref payload @ ..] => {
                        usize::from(u16::from_be_bytes([high, low])).saturating_sub(payload.len())
                    }
                    _ => 4usize.saturating_sub(buf.len()),
                };
                Ok(Step::NeedMore { need })
            }
            [b'\r' | b'\n', ..] => self.blank(buf),
            _ => self.head(buf, HeadScan::default()),
        }
    }

    /// Blank lines before a start line or frame (RFC 7826 §5.1).
    fn blank(&mut self, buf: &[u8]) -> Result<Step, FramingError> {
        let mut rest = buf;
        loop {
            rest = match rest {
                [b'\r', b'\n', rest @ ..] | [b'\n', rest @ ..] => rest,
                // A CR at the very end may be half a CRLF.
                [b'\r', rest @ ..] if !rest.is_empty() => rest,
                _ => break,
            };
            self.blank_lines = self.blank_lines.saturating_add(1);
            if self.blank_lines > limits::BLANK_LINES {
                return Err(FramingError::TooManyBlankLines);
            }
        }
        self.partial = None;
        if rest.len() < buf.len() {
            self.quirk("blank-lines-between-messages");
        }
        Ok(match buf.len().saturating_sub(rest.len()) {
            0 => Step::NeedMore { need: 1 },
            consumed => Step::Skip {
                consumed,
                damaged: false,
            },
        })
    }

    fn head(&mut self, buf: &[u8], mut scan: HeadScan) -> Result<Step, FramingError> {
        if scan.scanned > buf.len() {
            scan = HeadScan::default();
        }
        loop {
            let in_start_line = scan.headers_start == 0;
            // Only a reason phrase may hold control characters.
            let mut stop_at_controls = false;
            if in_start_line && matches!(status_prefix(buf), Found::No) {
                if matches!(request_prefix(buf), Found::No) {
                    return self.damage(buf);
                }
                stop_at_controls = true;
            }
            let unread = buf.get(scan.scanned..).unwrap_or_default();
            let stop = unread.iter().position(|byte| {
                matches!(byte, b'\r' | b'\n')
                    || stop_at_controls && byte.is_ascii_control() && *byte != b'\t'
            });
            let end = stop.map_or(buf.len(), |at| scan.scanned.saturating_add(at));
            let line = buf.get(scan.line_start..end).unwrap_or_default();
            scan.check(line)?;
            let line_end = match buf.get(end..).unwrap_or_default() {
                [b'\r', b'\n', ..] => 2,
                [b'\n', ..] | [b'\r', _, ..] => 1,
                // Not complete, or a CR that may be half a CRLF.
                [] | [b'\r'] => {
                    scan.scanned = end;
                    self.phase = Phase::Head(scan);
                    self.partial = Some(Partial::Message);
                    return Ok(Step::NeedMore { need: 1 });
                }
                _ => return self.damage(buf),
            };
            let next = end.saturating_add(line_end);
            if line_end == 1 {
                self.quirk("bare-line-ends");
            }
            if in_start_line {
                match parse::parse_start_line(line) {
                    Err(ParseError::StartLine(_)) => return self.damage(buf),
                    other => other?,
                };
                scan.headers_start = next;
            } else if line.is_empty() {
                return self.head_complete(buf, next);
            } else {
                scan.header_line = scan.header_len(line);
                scan.lines = scan.lines.saturating_add(1);
                if scan.lines > limits::HEADER_LINES {
                    return Err(FramingError::TooManyHeaderLines);
                }
                if next.saturating_sub(scan.headers_start) > limits::HEADER_BLOCK {
                    return Err(FramingError::HeadersTooLarge);
                }
            }
            scan.line_start = next;
            scan.scanned = next;
        }
    }

    fn head_complete(&mut self, buf: &[u8], head_len: usize) -> Result<Step, FramingError> {
        let head = parse::parse_head(buf.get(..head_len).unwrap_or_default())?;
        if head.dropped_lines > 0 {
            self.quirk("header-line-without-name");
        }
        let total = head_len.saturating_add(head.body_len);
        self.phase = Phase::Body {
            message: head.message,
            head: head_len,
            total,
        };
        Ok(self.body(buf))
    }

    fn body(&mut self, buf: &[u8]) -> Step {
        match std::mem::take(&mut self.phase) {
            Phase::Body {
                mut message,
                head,
                total,
            } if total <= buf.len() => {
                let body = buf.get(head..total).unwrap_or_default().to_vec();
                match &mut message {
                    Message::Request(request) => request.body = body,
                    Message::Response(response) => response.body = body,
                }
                self.done();
                Step::Message {
                    message,
                    consumed: total,
                }
            }
            phase => {
                let total = if let Phase::Body { total, .. } = &phase {
                    *total
                } else {
                    0
                };
                self.phase = phase;
                self.partial = Some(Partial::Message);
                Step::NeedMore {
                    need: total.saturating_sub(buf.len()).max(1),
                }
            }
        }
    }

    /// A message or frame was complete: whatever damage was before is over.
    fn done(&mut self) {
        self.phase = Phase::Start;
        self.partial = None;
        self.skipped = 0;
        self.blank_lines = 0;
        self.understood = true;
    }

    /// `buf` begins with nothing that is known.
    fn damage(&mut self, buf: &[u8]) -> Result<Step, FramingError> {
        if self.skipped == 0 {
            self.quirk("bytes-between-messages");
            self.resyncs = self.resyncs.saturating_add(1);
            self.excerpt.clear();
        }
        self.skip(buf)
    }

    fn resync(&mut self, buf: &[u8], searched: usize) -> Result<Step, FramingError> {
        self.partial = Some(Partial::Damage);
        if buf.is_empty() {
            return Ok(Step::NeedMore { need: 1 });
        }
        let status = next_status(buf, searched.max(1));
        match self.candidate(buf, self.last_skipped, status) {
            Found::Yes => {
                self.phase = Phase::Start;
                self.decode(buf)
            }
            Found::No => self.skip(buf),
            Found::Undecided(need) => {
                self.phase = Phase::Resync { searched: status };
                Ok(Step::NeedMore { need })
            }
        }
    }

    /// Skips the first byte and all after it that start nothing.
    fn skip(&mut self, buf: &[u8]) -> Result<Step, FramingError> {
        self.phase = Phase::Resync { searched: 0 };
        self.partial = Some(Partial::Damage);
        let status = next_status(buf, 1);
        let mut consumed: usize = 0;
        let mut rest = buf;
        while let [byte, tail @ ..] = rest {
            let status = status.saturating_sub(consumed);
            if consumed != 0
                && !matches!(self.candidate(rest, self.last_skipped, status), Found::No)
            {
                break;
            }
            if self.excerpt.len() < EXCERPT {
                self.excerpt.push(*byte);
            }
            if self.skipped >= limits::RESYNC {
                return Err(FramingError::LostSync(self.damage_excerpt()));
            }
            self.skipped = self.skipped.saturating_add(1);
            self.last_skipped = *byte;
            consumed = consumed.saturating_add(1);
            rest = tail;
        }
        Ok(Step::Skip {
            consumed,
            damaged: true,
        })
    }

    /// Whether `buf`, which follows the byte `before`, is a recovery point. A
    /// frame must be followed by another start, else any `$` would do, and
    /// no status line may begin in it (`status` is where the next might), else
    /// a `$` in the damage could hide a response for 64 KiB.
    fn candidate(&self, buf: &[u8], before: u8, status: usize) -> Found {
        match *buf {
            [b'$', channel, ref rest @ ..] => {
                if !self.is_assigned(channel) {
                    return Found::No;
                }
                let [high, low, payload @ ..] = rest else {
                    return Found::Undecided(4usize.saturating_sub(buf.len()));
                };
                let len = usize::from(u16::from_be_bytes([*high, *low]));
                if status < len.saturating_add(4) {
                    match status_prefix(buf.get(status..).unwrap_or_default()) {
                        Found::Yes => return Found::No,
                        Found::Undecided(need) if len < payload.len() => {
                            return Found::Undecided(need);
                        }
                        _ => {}
                    }
                }
                match payload.get(len..) {
                    None | Some([]) => {
                        Found::Undecided(len.saturating_sub(payload.len()).saturating_add(1))
                    }
                    Some(after) => self.follows(after),
                }
            }
            [b'$'] => Found::Undecided(3),
            [b'R' | b'r', ..] => match status_prefix(buf) {
                Found::No if matches!(before, b'\r' | b'\n') => known_method(buf),
                found => found,
            },
            [b'A'..=b'Z', ..] if matches!(before, b'\r' | b'\n') => known_method(buf),
            _ => Found::No,
        }
    }

    /// Whether `buf` may come right after a frame.
    fn follows(&self, buf: &[u8]) -> Found {
        match *buf {
            [b'$', channel, ..] if self.is_assigned(channel) => Found::Yes,
            [b'\r', b'\n', ..] => Found::Yes,
            [b'$' | b'\r'] => Found::Undecided(1),
            _ => match status_prefix(buf) {
                Found::No => known_method(buf),
                found => found,
            },
        }
    }
}

impl HeadScan {
    /// Length of the header that `line` belongs to, up to the end of `line`.
    fn header_len(&self, line: &[u8]) -> usize {
        let before = if matches!(line, [b' ' | b'\t', ..]) {
            self.header_line
        } else {
            0
        };
        before.saturating_add(line.len())
    }

    /// Enforces the limits on a line, complete or not.
    fn check(&self, line: &[u8]) -> Result<(), FramingError> {
        if self.headers_start == 0 {
            if line.len() > limits::START_LINE {
                return Err(FramingError::StartLineTooLong);
            }
        } else if self.header_len(line) > limits::HEADER_LINE {
            return Err(FramingError::HeaderLineTooLong);
        } else if self
            .line_start
            .saturating_sub(self.headers_start)
            .saturating_add(line.len())
            > limits::HEADER_BLOCK
        {
            return Err(FramingError::HeadersTooLarge);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
