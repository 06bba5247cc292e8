//! How a receiver is set up.

use super::stats::Nanos;

/// The parameters of a stream.
#[derive(Debug, Clone)]
pub struct Config {
    pub clock_rate: u32,
    /// The payload types of the stream; none means any.
    pub payload_types: Vec<u8>,
    /// How long a missing packet is waited for.
    pub latency: Nanos,
    /// The transport keeps the order (TCP): nothing is ever waited for.
    pub reliable: bool,
    /// Presentation times follow the arrival; else the RTP timestamps alone.
    pub live: bool,
    /// Presentation times follow the sender's clock; else its timestamps are
    /// taken as they are once the start is over.
    pub follow_clock: bool,
    /// A larger step forward of the sequence number is a jump (RFC 3550 §A.1).
    pub max_dropout: u16,
    /// A larger step backward is a jump (RFC 3550 §A.1).
    pub max_misorder: u16,
    /// Packets in order that make an unknown source valid (RFC 3550 §A.1).
    pub probation: u32,
    /// The source that Transport named.
    pub known_ssrc: Option<u32>,
    /// Identifier of the header extension with the NTP time (RFC 6051 §3.3).
    pub ntp_extension: Option<u8>,
    /// Missing packets are to be asked for (`Event::Nack`).
    pub nack: bool,
    /// How long the sender keeps packets for that (RFC 4588 §8.6).
    pub rtx_time: Option<Nanos>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            clock_rate: 90_000,
            payload_types: Vec::new(),
            latency: 200_000_000,
            reliable: false,
            live: true,
            follow_clock: true,
            max_dropout: 3000,
            max_misorder: 100,
            probation: 2,
            known_ssrc: None,
            ntp_extension: None,
            nack: false,
            rtx_time: None,
        }
    }
}

/// What the reply to PLAY says about the start of a stream (RFC 2326 §12.33).
/// Values that do not fit the packets are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    pub seq: Option<u16>,
    pub rtptime: Option<u32>,
    /// Presentation time of `rtptime`, or of the first packet; of use only
    /// for streams that are not live.
    pub pts: Nanos,
    /// Packets of an old position may still come, from before `seq`.
    pub after_seek: bool,
}
