//! Sockets on the shared runtime: names, connections, UDP pairs, multicast.
//!
//! Everything here that makes a socket registers it with the tokio runtime of
//! the calling context, so it is called from a task of the I/O runtime.
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

pub mod address;
pub mod connect;
mod get;
pub mod http;
pub mod lock_in;
pub mod multicast;
pub mod outbox;
pub mod per_process;
pub mod proxy;
pub mod punch;
pub mod resolve;
pub mod road;
pub mod tcp;
#[cfg(test)]
mod testing;
pub mod tls;
mod tunnel;
pub mod udp;
mod websocket;
