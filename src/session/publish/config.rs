//! What a publishing session is told.

use std::time::Duration;

use crate::rtsp::sdp::write::MediaDescription;
use crate::rtsp::transport::Profile;
use crate::session::config::Server;
use crate::session::timing::NtpTimeSource;

/// The settings of `rtspsink2`, as they were when it left READY.
#[derive(Debug, Clone)]
pub struct PublishConfig {
    pub server: Server,
    /// How long a packet may wait to be sent; zero bounds the bytes only.
    pub max_queue_time: Duration,
    /// How long packets are kept for retransmission; zero does without.
    pub rtx_time: Duration,
    /// What is announced. With feedback readers may ask for packets and key frames; what is secured
    /// is encrypted.
    pub profile: Profile,
    /// Reports are sent.
    pub rtcp: bool,
    pub ntp_time_source: NtpTimeSource,
}

/// One stream as it is announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamDescription {
    /// The element's own number of the stream.
    pub stream: u32,
    /// As messages and `stats` name it.
    pub name: String,
    /// Kind, format, bandwidth and attributes. The session fills in the control
    /// URL, the profile, feedback, retransmission and the source.
    pub media: MediaDescription,
    /// That of the first packet, if it is not known.
    pub ssrc: Option<u32>,
    /// Presentation times are exact, as those of payloaders are; else they are
    /// what somebody measured.
    pub exact: bool,
}

impl StreamDescription {
    pub(super) fn payload_type(&self) -> Option<u8> {
        self.media.formats.first().map(|format| format.payload_type)
    }

    pub(super) fn encoding_name(&self) -> &str {
        self.media
            .formats
            .first()
            .map_or("", |format| format.encoding_name.as_str())
    }

    pub(super) fn clock_rate(&self) -> u32 {
        self.media
            .formats
            .first()
            .map_or(90_000, |format| format.clock_rate.max(1))
    }
}
