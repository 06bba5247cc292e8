//! RTCP of the streams, and key frames that somebody needs.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::super::spans::after;
use super::task::Task;
use super::{CAT, clock};
use crate::net::address::is_sendable;
use crate::net::outbox::{Frame, Kind};
use crate::rtp::sender::ClockTime;
use crate::rtsp::client::Path;

/// Between two requests for a key frame: encoders pay dearly for them.
const KEY_UNIT_INTERVAL: Duration = Duration::from_millis(500);
/// While the element has no clock there is nothing to report.
const NO_CLOCK: Duration = Duration::from_secs(1);

impl Task {
    pub fn rtcp_deadline(&self) -> Option<Instant> {
        if !self.config.rtcp || !self.is_recording() {
            return None;
        }
        let due = self
            .streams
            .iter()
            .filter(|stream| stream.path.is_some())
            .filter_map(|stream| stream.lane.rtcp_deadline())
            .min()?;
        Some(self.no_clock_until.map_or(due, |until| due.max(until)))
    }

    /// Sends the reports that are due.
    pub fn rtcp(&mut self, now: Instant) {
        if self.rtcp_deadline().is_none_or(|due| now < due) {
            return;
        }
        let Some(clock) = self.clock() else {
            self.no_clock_until = Some(after(now, NO_CLOCK));
            return;
        };
        for (at, stream) in self.streams.iter().enumerate() {
            if stream.path.is_some()
                && let Some(packet) = stream.lane.poll_rtcp(clock, now)
            {
                self.send_rtcp(at, packet);
            }
        }
    }

    fn clock(&self) -> Option<ClockTime> {
        clock::now(&self.host.element()?, self.config.ntp_time_source)
    }

    fn send_rtcp(&self, at: usize, packet: Vec<u8>) {
        let Some(path) = self.streams.get(at).and_then(|stream| stream.path.as_ref()) else {
            return;
        };
        match (&path.granted, &path.udp) {
            (Path::Tcp { rtp, rtcp }, _) => {
                let link = self
                    .attempt
                    .as_ref()
                    .and_then(|attempt| attempt.link.as_ref());
                // Without a channel of its own RTCP goes with the media (RFC 5761).
                let channel = rtcp.unwrap_or(*rtp);
                if let (Some(link), Some(frame)) = (link, Frame::new(channel, packet.into())) {
                    // A connection that takes no more is found out by its requests.
                    let _ = link.send(frame.to_bytes(), Kind::Report { stream: at });
                }
            }
            (path, Some(udp)) => {
                let to = match path {
                    Path::Udp { server, rtcp, .. } => {
                        rtcp.map(|port| self.at_server(*server, port))
                    }
                    Path::Multicast { group, rtcp, .. } => Some(SocketAddr::new(*group, *rtcp)),
                    Path::Tcp { .. } => None,
                };
                if let Some(to) = to.filter(|to| is_sendable(*to))
                    && let Err(error) = udp.pair.rtcp.try_send_to(&packet, to)
                {
                    gst::debug!(CAT, "RTCP to {to}: {error}");
                }
            }
            (_, None) => {}
        }
    }

    /// BYE for every source (RFC 3550 §6.3.7), before TEARDOWN.
    pub fn say_goodbye(&mut self, now: Instant) {
        for at in 0..self.streams.len() {
            self.say_goodbye_for(at, now);
        }
    }

    pub fn say_goodbye_for(&mut self, at: usize, now: Instant) {
        if let Some(stream) = self.streams.get(at)
            && self.config.rtcp
            && stream.path.is_some()
            && let Some(clock) = self.clock()
            && let Some(packet) = stream.lane.bye(clock, now)
        {
            self.send_rtcp(at, packet);
        }
    }

    pub fn key_unit_deadline(&self) -> Option<Instant> {
        self.streams
            .iter()
            .filter(|stream| stream.key_unit_wanted && self.stop_at.is_none())
            .filter_map(|stream| stream.key_unit_at)
            .map(|at| after(at, KEY_UNIT_INTERVAL))
            .min()
    }

    /// Asks upstream for the key frames that are wanted.
    pub fn request_key_units(&mut self, now: Instant) {
        let mut due = Vec::new();
        for stream in &mut self.streams {
            let recent = stream
                .key_unit_at
                .is_some_and(|at| now.saturating_duration_since(at) < KEY_UNIT_INTERVAL);
            if stream.key_unit_wanted && !recent {
                stream.key_unit_wanted = false;
                stream.key_unit_at = Some(now);
                stream.key_units = stream.key_units.saturating_add(1);
                due.push((stream.description.stream, stream.key_units));
            }
        }
        for (stream, count) in due {
            self.call(move |host| host.force_key_unit(stream, true, count));
        }
    }
}
