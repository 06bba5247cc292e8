//! What some properties of `rtspsrc2` choose from.

use crate::rtsp::message::Version;

/// What opens the way for UDP through a NAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstRtsp2NatMethod")]
pub enum NatMethod {
    #[enum_value(name = "None", nick = "none")]
    None,
    #[default]
    #[enum_value(name = "Send Dummy packets", nick = "dummy")]
    Dummy,
}

/// Whether presentation times follow the sender's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstRtsp2BufferMode")]
pub enum BufferMode {
    #[enum_value(name = "RTP timestamps alone, after the start", nick = "none")]
    None,
    #[enum_value(name = "Follow the sender's clock", nick = "slave")]
    Slave,
    #[enum_value(
        name = "As slave: a player buffers, not a live source",
        nick = "buffer"
    )]
    Buffer,
    #[default]
    #[enum_value(name = "As slave", nick = "auto")]
    Auto,
    #[enum_value(name = "As none: sender and receiver have one clock", nick = "synced")]
    Synced,
}

/// Whether media is sent to the server beside what is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstRtsp2Backchannel")]
pub enum Backchannel {
    #[default]
    #[enum_value(name = "No backchannel", nick = "none")]
    None,
    #[enum_value(name = "ONVIF audio backchannel", nick = "onvif")]
    Onvif,
}

/// Versions of RTSP, in the numbers of `GstRTSPVersion`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstRtsp2Version")]
#[repr(i32)]
pub enum RtspVersion {
    #[enum_value(name = "GST_RTSP_VERSION_INVALID", nick = "invalid")]
    Invalid = 0,
    #[default]
    #[enum_value(name = "GST_RTSP_VERSION_1_0", nick = "1-0")]
    V1_0 = 0x10,
    #[enum_value(name = "GST_RTSP_VERSION_1_1", nick = "1-1")]
    V1_1 = 0x11,
    #[enum_value(name = "GST_RTSP_VERSION_2_0", nick = "2-0")]
    V2_0 = 0x20,
}

impl From<RtspVersion> for Version {
    fn from(version: RtspVersion) -> Self {
        match version {
            RtspVersion::V2_0 => Version::V2_0,
            _ => Version::V1_0,
        }
    }
}
