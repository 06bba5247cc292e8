//! The RTSP protocol (RFC 2326, with what RFC 7826 clarifies), sans-I/O.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::arithmetic_side_effects
    )
)]

pub mod auth;
pub mod client;
pub mod framing;
pub mod limits;
pub mod media_properties;
pub mod message;
pub mod mikey;
pub mod parse;
pub mod range;
pub mod rtp_info;
pub mod sdp;
pub mod session_header;
pub mod transport;
pub mod url;
