//! How long a packet takes from its capture to its time in the pipeline.

use std::time::Instant;

use gst::prelude::*;

use crate::support::mini::{Media, Mini};
use crate::support::player::{Packet, Player};

/// Of each packet of a pad: presentation less capture time, in milliseconds.
/// Both clocks are the machine's monotonic one.
pub fn delays(player: &Player, mini: &Mini, pad: &str, media: Media) -> Vec<f64> {
    both(player, mini, pad, media).map(|(pts, _)| pts).collect()
}

/// Of each packet: arrival less capture time, in milliseconds.
pub fn travels(player: &Player, mini: &Mini, pad: &str, media: Media) -> Vec<f64> {
    both(player, mini, pad, media)
        .map(|(_, arrival)| arrival)
        .collect()
}

fn both(player: &Player, mini: &Mini, pad: &str, media: Media) -> impl Iterator<Item = (f64, f64)> {
    let clock = player.pipeline.clock().expect("a clock");
    let base = player.pipeline.base_time().expect("a base time");
    let (instant, now) = (Instant::now(), clock.time());
    let running = |at: Instant| {
        let ago = instant.saturating_duration_since(at).as_nanos() as f64;
        let ahead = at.saturating_duration_since(instant).as_nanos() as f64;
        now.nseconds() as f64 - base.nseconds() as f64 - ago + ahead
    };
    let delay = |packet: &&Packet| {
        let captured = running(mini.captured(packet.rtp_time, media));
        let pts = packet.pts.expect("a time").nseconds() as f64;
        (
            (pts - captured) / 1e6,
            (running(packet.at) - captured) / 1e6,
        )
    };
    let both: Vec<_> = player.log(|log| log.packets(pad).iter().map(delay).collect());
    both.into_iter()
}

/// The delays of the last packets.
pub fn last(delays: &[f64], count: usize) -> &[f64] {
    &delays[delays.len().saturating_sub(count)..]
}

pub fn most(delays: &[f64]) -> f64 {
    delays.iter().copied().fold(f64::MIN, f64::max)
}

pub fn least(delays: &[f64]) -> f64 {
    delays.iter().copied().fold(f64::MAX, f64::min)
}

/// No packet is before the one before it.
pub fn is_steady(player: &Player, pad: &str) -> bool {
    player.log(|log| {
        let packets = log.packets(pad);
        packets.windows(2).all(|two| two[0].pts <= two[1].pts)
    })
}
