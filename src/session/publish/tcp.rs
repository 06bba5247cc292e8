//! Streams on the RTSP connection: their packets in turn, and the RTCP that
//! comes back (RFC 2326 §10.12).

use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::super::lock::lock;
use super::lane::Lane;
use crate::net::lock_in::looks_like_rtcp;
use crate::net::outbox::{Frame, Frames};
use crate::net::tcp::{FrameHandler, Payload};

/// The lanes of a connection, in the order in which they take turns.
#[derive(Default)]
pub(in crate::session) struct Interleaved {
    lanes: Mutex<Vec<Arc<Lane>>>,
}

impl Interleaved {
    pub fn add(&self, lane: Arc<Lane>) {
        lock(&self.lanes).push(lane);
    }
}

impl Frames for Interleaved {
    fn take(&self, room: usize, frame: &mut dyn FnMut(Frame)) {
        let now = Instant::now();
        let mut lanes = lock(&self.lanes);
        let mut room = room;
        let mut turn = 0usize;
        for lane in lanes.iter() {
            if room == 0 {
                break;
            }
            room = room.saturating_sub(lane.take_frames(room, now, frame));
            turn = turn.saturating_add(1);
        }
        // Who has filled the batch comes last the next time.
        let turn = turn.min(lanes.len());
        lanes.rotate_left(turn);
    }
}

/// What the server sends between its messages.
#[derive(Default)]
pub(in crate::session) struct Incoming {
    /// Channel of RTP or RTCP, and the stream.
    routes: Vec<(u8, Arc<Lane>)>,
    channels: Vec<u8>,
    arrival: Option<Instant>,
    /// Frames on channels that nobody asked for.
    pub unknown_frames: u64,
    /// Bytes skipped after damage.
    pub damaged_bytes: u64,
}

impl Incoming {
    pub fn add(&mut self, lane: &Arc<Lane>, rtp: u8, rtcp: Option<u8>) {
        for channel in std::iter::once(rtp).chain(rtcp) {
            self.routes.retain(|(route, _)| *route != channel);
            self.routes.push((channel, lane.clone()));
        }
        self.channels = self.routes.iter().map(|(channel, _)| *channel).collect();
    }

    fn lane(&self, channel: u8) -> Option<&Arc<Lane>> {
        self.routes
            .iter()
            .find(|(route, _)| *route == channel)
            .map(|(_, lane)| lane)
    }
}

impl FrameHandler for Incoming {
    fn burst_begins(&mut self, arrival: Instant) {
        self.arrival = Some(arrival);
    }

    fn wants(&mut self, channel: u8, payload: &[u8]) -> bool {
        match self.lane(channel) {
            Some(_) => looks_like_rtcp(payload),
            None => {
                self.unknown_frames = self.unknown_frames.saturating_add(1);
                false
            }
        }
    }

    fn frame(&mut self, channel: u8, payload: Payload) {
        let arrival = self.arrival.unwrap_or_else(Instant::now);
        if let Some(lane) = self.lane(channel) {
            lane.handle_rtcp(payload.as_ref(), arrival);
        }
    }

    fn burst_ends(&mut self) {}

    fn damaged(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.damaged_bytes = self.damaged_bytes.saturating_add(bytes);
    }

    fn channels(&self) -> &[u8] {
        &self.channels
    }
}
