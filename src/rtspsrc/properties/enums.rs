//! What some properties of `rtspsrc2` choose from.

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
