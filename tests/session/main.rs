//! `rtspsrc2` against a scripted server: what no real peer does on demand.

#[path = "../support/mod.rs"]
mod support;

mod applications;
mod backchannel;
mod coming_back;
mod delivery;
mod drop_in;
mod ending;
mod errors;
mod foreign;
mod handlers;
mod messages;
mod pads;
mod parameters;
mod pausing;
mod protocol;
mod reports;
mod secrets;
mod server_requests;
mod states;
mod surface;
mod transports;
