//! `rtpbin` under a test clock, fed and watched through bare pads.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gst_check::TestClock;

use super::{LATENCY, MS, Outcomes};

#[derive(Default)]
pub struct Seen {
    pub outcomes: Mutex<Outcomes>,
    changed: Condvar,
    /// Keeps the pads that rtpbin pushes to.
    pads: Mutex<Vec<gst::Pad>>,
}

impl Seen {
    fn add(&self, ssrc: u32, seq: u16, pts: Option<u64>) {
        self.outcomes
            .lock()
            .unwrap()
            .entry(ssrc)
            .or_default()
            .items
            .push((seq, pts));
        self.changed.notify_all();
    }
}

pub struct Rtpbin {
    pipeline: gst::Pipeline,
    bin: gst::Element,
    clock: TestClock,
    pub rtp: Vec<gst::Pad>,
    pub rtcp: Vec<gst::Pad>,
    pub seen: Arc<Seen>,
}

fn rtp_caps() -> gst::Caps {
    gst::Caps::builder("application/x-rtp")
        .field("media", "video")
        .field("clock-rate", 90_000)
        .field("payload", 96)
        .field("encoding-name", "X-TEST")
        .build()
}

impl Rtpbin {
    /// `None` where it is not installed.
    pub fn new(sessions: usize) -> Option<Self> {
        gst::init().unwrap();
        let bin = gst::ElementFactory::make("rtpbin")
            .property("latency", (LATENCY / MS) as u32)
            .property("do-lost", true)
            .build();
        let Ok(bin) = bin else {
            crate::skip::skip("there is no rtpbin here");
            return None;
        };
        bin.connect("request-pt-map", false, |_| Some(rtp_caps().to_value()));
        let pipeline = gst::Pipeline::new();
        pipeline.add(&bin).unwrap();
        let clock = TestClock::new();
        clock.set_time(gst::ClockTime::ZERO);
        pipeline.use_clock(Some(&clock));
        pipeline.set_start_time(gst::ClockTime::NONE);
        pipeline.set_base_time(gst::ClockTime::ZERO);

        let seen = Arc::new(Seen::default());
        let weak = Arc::downgrade(&seen);
        bin.connect_pad_added(move |_, pad| {
            // recv_rtp_src_<session>_<ssrc>_<pt>
            let name = pad.name();
            let Some(rest) = name.strip_prefix("recv_rtp_src_") else {
                return;
            };
            let ssrc: u32 = rest.split('_').nth(1).unwrap().parse().unwrap();
            let (chain, event) = (weak.clone(), weak.clone());
            let sink = gst::Pad::builder(gst::PadDirection::Sink)
                .chain_function(move |_, _, buffer| {
                    let seq = buffer
                        .map_readable()
                        .map(|m| u16::from_be_bytes([m[2], m[3]]));
                    if let Some(seen) = chain.upgrade() {
                        seen.add(ssrc, seq.unwrap(), Some(buffer.pts().unwrap().nseconds()));
                    }
                    Ok(gst::FlowSuccess::Ok)
                })
                .event_function(move |_, _, e| {
                    let lost = e.structure().filter(|s| s.has_name("GstRTPPacketLost"));
                    if let (Some(lost), Some(seen)) = (lost, event.upgrade()) {
                        seen.add(ssrc, lost.get::<u32>("seqnum").unwrap() as u16, None);
                    }
                    true
                })
                .build();
            sink.set_active(true).unwrap();
            pad.link(&sink).unwrap();
            if let Some(seen) = weak.upgrade() {
                seen.pads.lock().unwrap().push(sink);
            }
        });

        let mut this = Self {
            pipeline,
            bin,
            clock,
            rtp: Vec::new(),
            rtcp: Vec::new(),
            seen,
        };
        for session in 0..sessions {
            let rtp = this.input(&format!("recv_rtp_sink_{session}"));
            let rtcp = this.input(&format!("recv_rtcp_sink_{session}"));
            this.rtp.push(rtp);
            this.rtcp.push(rtcp);
        }
        this.pipeline.set_state(gst::State::Playing).unwrap();
        for pad in this.rtp.iter().chain(&this.rtcp) {
            pad.set_active(true).unwrap();
        }
        let rtcp_caps = gst::Caps::new_empty_simple("application/x-rtcp");
        let rtp = this.rtp.iter().map(|pad| (pad, rtp_caps()));
        let rtcp = this.rtcp.iter().map(|pad| (pad, rtcp_caps.clone()));
        for (pad, caps) in rtp.chain(rtcp) {
            assert!(pad.push_event(gst::event::StreamStart::new(&pad.name())));
            assert!(pad.push_event(gst::event::Caps::new(&caps)));
            let segment = gst::FormattedSegment::<gst::ClockTime>::new();
            assert!(pad.push_event(gst::event::Segment::new(&segment)));
        }
        Some(this)
    }

    fn input(&self, name: &str) -> gst::Pad {
        let sink = self.bin.request_pad_simple(name).unwrap();
        let src = gst::Pad::builder(gst::PadDirection::Src).name(name).build();
        src.link_full(&sink, gst::PadLinkCheck::empty()).unwrap();
        src
    }

    /// Lets the time pass, and with it what waits for it.
    pub fn advance(&self, to: u64) {
        let to = gst::ClockTime::from_nseconds(to);
        while let Some(id) = self.clock.peek_next_pending_id() {
            let time = id.time();
            if time > to {
                break;
            }
            if self.clock.time() < time {
                self.clock.set_time(time);
            }
            self.clock.process_next_clock_id();
        }
        self.clock.set_time(to);
        // What began to wait meanwhile for a time that is past.
        while self
            .clock
            .peek_next_pending_id()
            .is_some_and(|id| id.time() <= to)
        {
            self.clock.process_next_clock_id();
        }
    }

    pub fn push(&self, pad: &gst::Pad, data: Vec<u8>, at: u64) {
        let mut buffer = gst::Buffer::from_mut_slice(data);
        let at = gst::ClockTime::from_nseconds(at);
        buffer.get_mut().unwrap().set_dts(at);
        buffer.get_mut().unwrap().set_pts(at);
        pad.push(buffer).unwrap();
    }

    /// Waits until `done`, while `step` by `step` time passes. The threads of
    /// rtpbin may begin to wait for the clock at any moment.
    pub fn settle(&self, mut at: u64, step: u64, what: &str, done: impl Fn(&Outcomes) -> bool) {
        let limit = Instant::now() + Duration::from_secs(20);
        loop {
            self.advance(at);
            at += step;
            let outcomes = self.seen.outcomes.lock().unwrap();
            let moment = Duration::from_millis(2);
            let waited = self
                .seen
                .changed
                .wait_timeout_while(outcomes, moment, |o| !done(o));
            let (outcomes, timeout) = waited.unwrap();
            if !timeout.timed_out() {
                return;
            }
            assert!(
                Instant::now() < limit,
                "rtpbin has not {what}: {outcomes:?}"
            );
        }
    }
}

impl Drop for Rtpbin {
    fn drop(&mut self) {
        // Nothing may be left waiting for the clock.
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
