//! From pads to streams: requested, known, announced, ended, released.

use std::sync::atomic::Ordering;

use gst::prelude::*;
use gst::subclass::prelude::*;

use super::encoder::{self, Encoder};
use super::imp::RtspSink2;
use super::pad::{RtspSink2Pad, Stream};
use super::payloader::{self, set_if_there};
use super::rtp_sink::RtpSink;
use super::streams::Action;
use super::{CAT, lock, refclk};
use crate::caps::{Announced, announced};
use crate::session::{StreamDescription, StreamSender};

/// How long pads without caps are waited for, once another has them.
const CAPS_WAIT: gst::ClockTime = gst::ClockTime::from_seconds(10);
/// How long a live pad with caps and without data may hold the preroll of others, once the server is ready.
const DATA_WAIT: gst::ClockTime = gst::ClockTime::from_seconds(1);

impl RtspSink2 {
    pub(super) fn add_stream(
        &self,
        template: &gst::PadTemplate,
        name: Option<&str>,
    ) -> Option<gst::Pad> {
        let element = self.obj();
        let wanted = match name {
            // As gst_element_link() asks.
            Some(name) if !name.contains('%') => {
                let wanted = name.strip_prefix("sink_").and_then(|n| n.parse().ok());
                Some(wanted.unwrap_or(u32::MAX))
            }
            _ => None,
        };
        let Some((pad_number, number)) = lock(&self.state).streams.add(wanted) else {
            gst::warning!(CAT, imp = self, "no pad can be named {name:?}");
            return None;
        };
        let sink = RtpSink::new(number);
        sink.set_property("sync", lock(&self.settings).sync);
        // A pipeline that runs would go back to PAUSED for a preroll, and a live
        // source that came with the pad would never leave it.
        let late = self.running().is_some_and(|running| running.gate.is_open());
        sink.set_property("async", !late);
        let stream = Stream {
            number,
            sink: sink.clone(),
        };
        let pad = RtspSink2Pad::new(template, &format!("sink_{pad_number}"), stream);
        if element.add(&sink).is_err() {
            lock(&self.state).streams.remove(number);
            return None;
        }
        let _ = pad.set_active(true);
        if element.add_pad(&pad).is_err() || sink.sync_state_with_parent().is_err() {
            self.remove_stream(&pad);
            return None;
        }
        element.child_added(&pad, &pad.name());
        let action = lock(&self.state).streams.wait_for(number);
        self.act(action);
        Some(pad.upcast())
    }

    pub(super) fn remove_stream(&self, pad: &RtspSink2Pad) {
        let element = self.obj();
        let Some(Stream { number, sink }) = pad.stream() else {
            return;
        };
        let (running, published) = {
            let state = lock(&self.state);
            let published = state.streams.is_announced(number);
            (state.running.clone(), published)
        };
        // First the sink: a streaming thread may wait in it.
        sink.set_locked_state(true);
        let _ = sink.set_state(gst::State::Null);
        let _ = pad.set_active(false);
        pad.unplug(&element);
        // A bin that is disposed of has dropped it already, one that left it out too.
        if sink.parent().as_ref() == Some(element.upcast_ref()) {
            let _ = element.remove(&sink);
        }
        if let Some(running) = running.filter(|_| published) {
            running.take_eos(number);
            running.publisher.eos(number);
        }
        if pad.parent_element().as_ref() == Some(element.upcast_ref()) {
            let _ = element.remove_pad(pad);
            element.child_removed(pad, &pad.name());
        }
        // Only now is its name free for another.
        let action = lock(&self.state).streams.remove(number);
        self.act(action);
    }

    /// What the sink of a stream needs for a start.
    pub(super) fn way_in(
        &self,
        stream: u32,
    ) -> Option<(StreamSender, std::sync::Arc<super::gate::Gate>)> {
        let running = self.running()?;
        Some((running.publisher.sender(stream), running.gate.clone()))
    }

    /// A payloader is about to be used for a pad.
    pub(super) fn prepare_payloader(
        &self,
        pad: &RtspSink2Pad,
        payloader: &gst::Element,
    ) -> Result<(), String> {
        let size = lock(&self.settings).packet_size();
        set_if_there(payloader, "mtu", size);
        let pt = |element: &gst::Element| {
            let pspec = element.find_property("pt")?;
            (pspec.value_type() == u32::static_type()).then(|| element.property::<u32>("pt"))
        };
        let Some(wanted) = pt(payloader) else {
            return Ok(());
        };
        let others = self.pads();
        let others = others.iter().filter(|other| *other != pad);
        let used: Vec<u32> = others
            .filter_map(|other| match other.payloader() {
                Some(payloader) => pt(&payloader),
                None => {
                    let caps = other.current_caps()?;
                    let pt = caps.structure(0)?.get::<i32>("payload").ok()?;
                    u32::try_from(pt).ok()
                }
            })
            .collect();
        let chosen = payloader::payload_type(wanted, &used).ok_or("no payload type is left")?;
        payloader.set_property("pt", chosen);
        Ok(())
    }

    /// The RTP caps of a stream are known.
    pub(super) fn stream_caps(&self, stream: u32, caps: &gst::Caps) -> Result<(), String> {
        let media = announced(caps).map_err(|reason| {
            let text = format!("sink_{stream} cannot be announced: {reason}");
            gst::element_imp_error!(self, gst::StreamError::Format, ("{text}"));
            text
        })?;
        let action = lock(&self.state).streams.caps(stream, media);
        self.act(action);
        Ok(())
    }

    /// A pad got EOS and never any caps.
    pub(super) fn stream_ended_unseen(&self, pad: &RtspSink2Pad) {
        if let Some(stream) = pad.stream() {
            let action = lock(&self.state).streams.end(stream.number);
            self.act(action);
        }
    }

    fn act(&self, action: Action) {
        let Some(running) = self.running() else {
            return;
        };
        match action {
            Action::Nothing => {}
            Action::Wait(streams) => {
                let element = self.obj().downgrade();
                running.wait(CAPS_WAIT, move || {
                    if let Some(element) = element.upgrade() {
                        element.call_async(move |element| element.imp().stop_waiting(&streams));
                    }
                });
            }
            Action::Announce(number, streams) => {
                let describe = |(number, media)| self.describe(number, media);
                let streams = streams.into_iter().filter_map(describe).collect();
                running.publisher.announce(number, streams);
            }
        }
    }

    fn stop_waiting(&self, streams: &[u32]) {
        let Some(running) = self.running() else {
            return;
        };
        let (late, action) = lock(&self.state).streams.stop_waiting(streams);
        for pad in late.into_iter().filter_map(|number| self.pad(number)) {
            gst::element_imp_warning!(
                self,
                gst::StreamError::Format,
                (
                    "{} has no caps {} s after others got theirs: it is not published",
                    pad.name(),
                    CAPS_WAIT.seconds()
                )
            );
            running.leave_out(&self.obj(), pad);
        }
        self.act(action);
    }

    /// The stream as it is announced.
    fn describe(&self, stream: u32, known: Announced) -> Option<StreamDescription> {
        let pad = self.pad(stream)?;
        let element = self.obj();
        let clock_rate = known.format()?.clock_rate;
        let mut media = known.media;
        media.bandwidth = pad.tagged_bitrate();
        let mode = lock(&self.settings).publish_clock_mode;
        let clock = refclk::clock_of(element.upcast_ref());
        let rtp = known.timestamp_offset.map(|offset| (offset, clock_rate));
        let base_time = element.base_time().filter(|_| self.is_bound_for_playing());
        let clock = refclk::attributes(mode, clock.as_ref(), base_time, rtp);
        media.attributes.extend(clock);
        Some(StreamDescription {
            stream,
            name: pad.name().into(),
            media,
            ssrc: known.ssrc,
            // Only payloaders know where their RTP time begins.
            exact: known.timestamp_offset.is_some(),
        })
    }

    /// Whether the pipeline has told its base time.
    fn is_bound_for_playing(&self) -> bool {
        let (_, current, pending) = self.obj().state(gst::ClockTime::ZERO);
        current == gst::State::Playing || pending == gst::State::Playing
    }

    /// A flush is over: what comes now is published, also after EOS.
    pub(super) fn stream_flushed(&self, stream: u32) {
        let Some(running) = self.running() else {
            return;
        };
        running.take_eos(stream);
        running.publisher.resume(stream);
        let action = lock(&self.state).streams.resume(stream);
        self.act(action);
    }

    /// All SETUPs are done.
    pub(super) fn session_is_ready(&self) {
        if let Some(running) = self.running() {
            let element = self.obj().downgrade();
            running.wait(DATA_WAIT, move || {
                if let Some(element) = element.upgrade() {
                    element.call_async(|element| element.imp().excuse_live_streams());
                }
            });
        }
        // A live pipeline goes on to PLAYING with the next buffer; RECORD need
        // not wait for that.
        if self.is_bound_for_playing()
            && let Some(running) = self.running()
        {
            running.publisher.record();
        }
    }

    /// A live stream that brings nothing yet does not hold the others' preroll: the
    /// bin takes it as prerolled, and its sink plays with its first packet.
    fn excuse_live_streams(&self) {
        for sink in self
            .pads()
            .iter()
            .filter_map(|pad| Some(pad.stream()?.sink))
        {
            let (result, ..) = sink.state(gst::ClockTime::ZERO);
            if result == Ok(gst::StateChangeSuccess::Async) && sink.is_live() {
                gst::debug!(CAT, obj = sink, "live and without data");
                let done = gst::message::AsyncDone::builder().src(&sink).build();
                self.parent_handle_message(done);
            }
        }
    }

    /// Keeps EOS of a stream until its packets have left; gives back what is
    /// none of ours.
    pub(super) fn hold_eos(&self, message: gst::Message) -> Option<gst::Message> {
        let stream = message.src().and_then(|src| src.downcast_ref::<RtpSink>());
        let Some(stream) = stream.map(RtpSink::stream) else {
            return Some(message);
        };
        let running = {
            let state = lock(&self.state);
            let known = state.streams.announced(stream).is_some();
            state.running.clone().filter(|_| known)
        };
        let Some(running) = running else {
            return Some(message);
        };
        gst::debug!(CAT, imp = self, "sink_{stream} has ended");
        running.hold_eos(stream, message);
        running.publisher.eos(stream);
        None
    }

    pub(super) fn all_is_sent(&self, stream: u32) {
        let message = self.running().and_then(|running| running.take_eos(stream));
        if let Some(message) = message {
            self.parent_handle_message(message);
        }
    }

    /// The estimate has changed.
    pub(super) fn bitrate_is(&self, limited: bool) {
        self.obj().notify("estimated-bitrate");
        if let Some(running) = self.running() {
            running.limited.store(limited, Ordering::Release);
        }
        self.set_encoders();
    }

    /// The limits of the encoders are others.
    pub(super) fn reset_encoders(&self) {
        let Some(running) = self.running() else {
            return;
        };
        let element = self.obj().downgrade();
        running.publisher.foreign().run(move || {
            if let Some(element) = element.upgrade() {
                element.imp().set_encoders();
            }
        });
    }

    /// Shares out what the network takes of all streams together. Only the session's
    /// queue of foreign code may do that.
    fn set_encoders(&self) {
        let settings = lock(&self.settings).clone();
        let Some(running) = self.running().filter(|_| settings.adaptive_bitrate) else {
            return;
        };
        let estimate = running.publisher.estimated_bitrate();
        if estimate == 0 {
            return;
        }
        let limited = running.limited.load(Ordering::Acquire);
        let is_video = |number: u32| {
            let state = lock(&self.state);
            let media = state.streams.announced(number);
            media.is_some_and(|known| known.media.kind == "video")
        };
        // Not under a lock: properties of other elements are set.
        let mut known = std::mem::take(&mut *lock(&running.encoders));
        let mut others = 0u64;
        let mut found: Vec<(u32, Encoder)> = Vec::new();
        for pad in self.pads() {
            let Some(number) = pad.stream().map(|stream| stream.number) else {
                continue;
            };
            let encoder = known.remove(&number).or_else(|| {
                let pad = pad.upcast_ref::<gst::Pad>();
                is_video(number).then(|| Encoder::before(pad)).flatten()
            });
            match encoder {
                Some(encoder) => found.push((number, encoder)),
                None => others = others.saturating_add(pad.tagged_bitrate().unwrap_or(0)),
            }
        }
        let initial: Vec<u64> = found.iter().map(|(_, encoder)| encoder.initial).collect();
        let shares = encoder::shares(estimate, others, &initial);
        for ((_, encoder), share) in found.iter_mut().zip(shares) {
            // What was sent up to now is no limit.
            let share = if limited {
                share
            } else {
                share.max(encoder.initial)
            };
            encoder.set(settings.within_limits(share, encoder.initial));
        }
        *lock(&running.encoders) = found.into_iter().collect();
    }
}
