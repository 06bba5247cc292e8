//! `rtspsrc2` against a scripted server: what no real peer does on demand.

#[path = "../support/mod.rs"]
mod support;

mod applications;
mod coming_back;
mod delivery;
mod ending;
mod foreign;
mod pads;
mod pausing;
mod protocol;
mod reports;
mod server_requests;
mod states;
mod surface;
mod transports;
