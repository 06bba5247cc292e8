//! RTP and RTCP (RFC 3550), sans-I/O: reordering, clock recovery, reports.
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

mod active;
pub mod bandwidth;
mod config;
pub mod feedback;
mod members;
pub mod nack;
pub mod ntp;
pub mod numbering;
mod output;
pub mod pacer;
pub mod packet;
mod receiver;
pub mod refclk;
mod reference;
mod reorder;
pub mod report;
pub mod retransmit;
pub mod rtcp;
pub mod rtx;
mod schedule;
pub mod send_queue;
pub mod sender;
mod sender_report;
pub mod seq;
mod source;
pub mod srtp;
pub mod stats;
pub mod sync;
mod timeline;

pub use config::{Anchor, Config};
pub use output::{Event, Lost, Output, Packet};
pub use receiver::Receiver;
pub use reference::Reference;
pub use timeline::{Mapping, SyncMode};

#[cfg(test)]
mod day_tests;
