//! What one start of the element has, from READY to PAUSED and back.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use gst::prelude::*;

use super::encoder::Encoder;
use super::gate::Gate;
use super::pad::RtspSink2Pad;
use super::{RtspSink2, lock};
use crate::session::Publisher;

pub(super) struct Running {
    pub publisher: Publisher,
    pub gate: Arc<Gate>,
    /// The ends of the waits for caps.
    deadlines: Mutex<Vec<gst::SingleShotClockId>>,
    /// EOS of streams whose last packets are still under way.
    eos: Mutex<HashMap<u32, gst::Message>>,
    left_out: Mutex<Vec<(RtspSink2Pad, Option<gst::PadProbeId>)>>,
    /// The encoders before the pads that have been looked at.
    pub encoders: Mutex<HashMap<u32, Encoder>>,
    /// The network has shown a limit.
    pub limited: AtomicBool,
}

impl Running {
    pub fn new(publisher: Publisher, gate: Arc<Gate>) -> Self {
        Self {
            publisher,
            gate,
            deadlines: Mutex::default(),
            eos: Mutex::default(),
            left_out: Mutex::default(),
            encoders: Mutex::default(),
            limited: AtomicBool::default(),
        }
    }

    /// Keeps EOS of a stream back until all of it is sent.
    pub fn hold_eos(&self, stream: u32, message: gst::Message) {
        lock(&self.eos).insert(stream, message);
    }

    pub fn take_eos(&self, stream: u32) -> Option<gst::Message> {
        lock(&self.eos).remove(&stream)
    }

    /// Calls `then` after `time`.
    pub fn wait(&self, time: gst::ClockTime, then: impl FnOnce() + Send + 'static) {
        let clock = gst::SystemClock::obtain();
        let now = clock.time();
        let id = clock.new_single_shot_id(now + time);
        // It fails when it is called off.
        let _ = id.wait_async(move |_, _, _| then());
        let mut deadlines = lock(&self.deadlines);
        deadlines.retain(|id| id.time() > now);
        deadlines.push(id);
    }

    /// Nothing of a pad is published: what comes is dropped, and its sink no
    /// longer takes part in the states of the bin.
    pub fn leave_out(&self, element: &RtspSink2, pad: RtspSink2Pad) {
        // Not `Drop`, with which GStreamer releases what the bindings have released.
        let probe = pad.add_probe(gst::PadProbeType::DATA_DOWNSTREAM, |_, _| {
            gst::PadProbeReturn::Handled
        });
        if let Some(stream) = pad.stream() {
            stream.sink.set_locked_state(true);
            let _ = stream.sink.set_state(gst::State::Null);
            let _ = element.remove(&stream.sink);
        }
        lock(&self.left_out).push((pad, probe));
    }

    /// The start is over: nothing is waited for, every pad counts again.
    pub fn end(&self, element: &RtspSink2) {
        for id in std::mem::take(&mut *lock(&self.deadlines)) {
            id.unschedule();
        }
        lock(&self.eos).clear();
        let left_out = std::mem::take(&mut *lock(&self.left_out));
        for (pad, probe) in left_out {
            if let Some(probe) = probe {
                pad.remove_probe(probe);
            }
            let released = pad.parent_element().as_ref() != Some(element.upcast_ref());
            if let Some(stream) = pad.stream().filter(|_| !released) {
                stream.sink.set_locked_state(false);
                let _ = element.add(&stream.sink);
            }
        }
    }
}
