//! The request pads `backchannel_%u`: what they receive goes to the server (ONVIF Streaming §5.3).
//!
//! A pad waits for the clock as a sink does, so that a file is spoken at its speed. RTP goes as
//! it is; anything else through elements that the element has to itself, in the thread of
//! whoever pushes.

mod encode;

use std::sync::{Arc, Condvar, Mutex};

use glib::subclass::Signal;
use gst::prelude::*;
use gst::subclass::prelude::*;

use self::encode::Chain;
use super::imp::{self, lock};
use crate::session::{Backchannel, CAT, Offered, RtpPacket};

/// What the element's state means for its pads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Run {
    #[default]
    Stopped,
    Paused,
    Playing,
}

/// One pad's way to the server.
pub(super) struct Feeder {
    element: glib::WeakRef<super::RtspSrc2>,
    number: usize,
    state: Mutex<State>,
    /// The state of the element, or a flush.
    changed: Condvar,
    plugged: Mutex<Plugged>,
}

#[derive(Default)]
struct State {
    run: Run,
    flushing: bool,
    segment: Option<gst::FormattedSegment<gst::ClockTime>>,
    /// What is waited for.
    wait: Option<gst::ClockId>,
}

/// What is between the pad and the session. Only the streaming thread changes it.
#[derive(Default)]
struct Plugged {
    caps: Option<gst::Caps>,
    /// What it was made for.
    offered: Option<Arc<Offered>>,
    chain: Option<Arc<Chain>>,
}

/// Nothing can be sent; why, if that was not said before.
struct Refusal {
    why: Option<String>,
}

pub(super) fn template() -> gst::PadTemplate {
    let presence = gst::PadPresence::Request;
    let direction = gst::PadDirection::Sink;
    gst::PadTemplate::new(
        "backchannel_%u",
        direction,
        presence,
        &encode::media_types(),
    )
    .expect("a pad template")
}

/// A pad of the element, not added yet.
pub(super) fn new_pad(
    element: &super::RtspSrc2,
    template: &gst::PadTemplate,
    name: &str,
    number: usize,
) -> (gst::Pad, Arc<Feeder>) {
    let feeder = Arc::new(Feeder {
        element: element.downgrade(),
        number,
        state: Mutex::default(),
        changed: Condvar::new(),
        plugged: Mutex::default(),
    });
    let (chain, list, events, queries) = (
        feeder.clone(),
        feeder.clone(),
        feeder.clone(),
        feeder.clone(),
    );
    let pad = gst::Pad::builder_from_template(template)
        .name(name)
        .chain_function(move |_, parent, buffer| {
            imp::RtspSrc2::catch_panic_pad_function(
                parent,
                || Err(gst::FlowError::Error),
                |_| chain.take(buffer),
            )
        })
        .chain_list_function(move |_, parent, buffers| {
            imp::RtspSrc2::catch_panic_pad_function(
                parent,
                || Err(gst::FlowError::Error),
                |_| {
                    for buffer in buffers.iter_owned() {
                        list.take(buffer)?;
                    }
                    Ok(gst::FlowSuccess::Ok)
                },
            )
        })
        .event_function(move |_, parent, event| {
            imp::RtspSrc2::catch_panic_pad_function(parent, || false, |_| events.event(event))
        })
        .query_function(move |pad, parent, query| {
            imp::RtspSrc2::catch_panic_pad_function(
                parent,
                || false,
                |_| queries.query(query) || gst::Pad::query_default(pad, parent, query),
            )
        })
        .build();
    (pad, feeder)
}

impl Feeder {
    /// The element has changed its state.
    pub fn set_run(&self, run: Run) {
        let mut state = lock(&self.state);
        state.run = run;
        if let Some(wait) = state.wait.take() {
            wait.unschedule();
        }
        drop(state);
        self.changed.notify_all();
    }

    pub fn number(&self) -> usize {
        self.number
    }

    fn channel(&self) -> Option<Arc<Backchannel>> {
        let element = self.element.upgrade()?;
        element.imp().session()?.backchannel(self.number)
    }

    fn take(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        let running_time = self.wait_for(&buffer)?;
        let Some(channel) = self.channel().filter(|channel| channel.is_open()) else {
            // Nobody listens; whoever talks is not to be held up.
            return Ok(gst::FlowSuccess::Ok);
        };
        let chain = {
            let mut plugged = lock(&self.plugged);
            let Some(caps) = plugged.caps.clone() else {
                return Err(gst::FlowError::NotNegotiated);
            };
            if encode::is_rtp(&caps) {
                drop(plugged);
                let buffer = &*buffer;
                channel.push([RtpPacket {
                    buffer,
                    running_time,
                }]);
                return Ok(gst::FlowSuccess::Ok);
            }
            self.chain_for(&mut plugged, &caps, &channel)
        };
        let chain = match chain {
            Ok(chain) => chain,
            Err(Refusal { why: Some(why) }) => {
                self.warn(&why);
                return Ok(gst::FlowSuccess::Ok);
            }
            Err(Refusal { why: None }) => return Ok(gst::FlowSuccess::Ok),
        };
        // Pushed without a lock: what comes out is sent by this thread.
        chain.input.push(buffer)
    }

    /// The elements for these caps and what the server takes.
    fn chain_for(
        &self,
        plugged: &mut Plugged,
        caps: &gst::Caps,
        channel: &Arc<Backchannel>,
    ) -> Result<Arc<Chain>, Refusal> {
        let offered = channel.offered().ok_or(Refusal { why: None })?;
        let same = plugged
            .offered
            .as_ref()
            .is_some_and(|old| Arc::ptr_eq(old, &offered));
        if same {
            return plugged.chain.clone().ok_or(Refusal { why: None });
        }
        plugged.chain = None;
        plugged.offered = Some(offered.clone());
        let segment = lock(&self.state).segment.clone().unwrap_or_default();
        let chain = Chain::new(caps, &offered.formats, &output(channel));
        let chain = Arc::new(chain.map_err(|why| Refusal { why: Some(why) })?);
        gst::debug!(CAT, "{caps} is sent to back channel {}", self.number);
        for event in [
            gst::event::StreamStart::new("backchannel"),
            gst::event::Caps::new(caps),
            gst::event::Segment::new(&segment),
        ] {
            chain.input.push_event(event);
        }
        plugged.chain = Some(chain.clone());
        Ok(chain)
    }

    fn warn(&self, why: &str) {
        if let Some(element) = self.element.upgrade() {
            gst::element_warning!(
                element,
                gst::StreamError::Encode,
                ("Nothing is sent to back channel {}: {why}", self.number)
            );
        }
    }

    /// Until the clock says that it is time, as a sink waits; its running time.
    fn wait_for(&self, buffer: &gst::Buffer) -> Result<Option<gst::ClockTime>, gst::FlowError> {
        let mut state = lock(&self.state);
        loop {
            if state.flushing || state.run == Run::Stopped {
                return Err(gst::FlowError::Flushing);
            }
            if state.run == Run::Paused {
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                continue;
            }
            let time = buffer.pts().or(buffer.dts());
            let running_time = state
                .segment
                .as_ref()
                .and_then(|segment| segment.to_running_time(time));
            let element = self.element.upgrade().ok_or(gst::FlowError::Flushing)?;
            let target = running_time
                .zip(element.base_time())
                .map(|(t, base)| t + base);
            let (Some(clock), Some(target)) = (element.clock(), target) else {
                return Ok(running_time);
            };
            drop(element);
            let wait = clock.new_single_shot_id(target);
            state.wait = Some((*wait).clone());
            drop(state);
            let (result, _) = wait.wait();
            state = lock(&self.state);
            state.wait = None;
            if result != Err(gst::ClockError::Unscheduled) {
                return Ok(running_time);
            }
        }
    }

    fn event(&self, event: gst::Event) -> bool {
        match event.view() {
            gst::EventView::Caps(caps) => {
                let mut plugged = lock(&self.plugged);
                *plugged = Plugged {
                    caps: Some(caps.caps_owned()),
                    ..Plugged::default()
                };
                return true;
            }
            gst::EventView::Segment(segment) => {
                let segment = segment.segment().downcast_ref::<gst::ClockTime>();
                lock(&self.state).segment = segment.cloned();
            }
            gst::EventView::FlushStart(_) => {
                let mut state = lock(&self.state);
                state.flushing = true;
                if let Some(wait) = state.wait.take() {
                    wait.unschedule();
                }
                self.changed.notify_all();
            }
            gst::EventView::FlushStop(_) => {
                let mut state = lock(&self.state);
                state.flushing = false;
                state.segment = None;
            }
            // The chain has its own.
            gst::EventView::StreamStart(_) => return true,
            _ => {}
        }
        let chain = lock(&self.plugged).chain.clone();
        if let Some(chain) = chain {
            chain.input.push_event(event);
        }
        true
    }

    fn query(&self, query: &mut gst::QueryRef) -> bool {
        let accepted = || match self.channel().and_then(|channel| channel.offered()) {
            Some(offered) => encode::accepted_by(&offered.formats),
            None => encode::accepted(),
        };
        match query.view_mut() {
            gst::QueryViewMut::Caps(query) => {
                let accepted = accepted();
                let caps = match query.filter() {
                    Some(filter) => {
                        filter.intersect_with_mode(&accepted, gst::CapsIntersectMode::First)
                    }
                    None => accepted,
                };
                query.set_result(&caps);
                true
            }
            gst::QueryViewMut::AcceptCaps(query) => {
                let takes = encode::accepted().can_intersect(query.caps());
                query.set_result(takes);
                true
            }
            _ => false,
        }
    }
}

/// `push-backchannel-sample` and its older name: one RTP packet or a list of them for the back
/// channel at an `m=` section. What is pushed while nobody listens is dropped.
pub(super) fn actions() -> [Signal; 2] {
    ["push-backchannel-buffer", "push-backchannel-sample"].map(|name| {
        Signal::builder(name)
            .param_types([u32::static_type(), gst::Sample::static_type()])
            .return_type::<gst::FlowReturn>()
            .run_last()
            .action()
            .class_handler(|args| {
                let element = args.first()?.get::<super::RtspSrc2>().ok()?;
                let media = args.get(1)?.get::<u32>().ok()?;
                let sample = args.get(2)?.get::<gst::Sample>();
                if let Ok(sample) = sample {
                    push_sample(&element, media, &sample);
                }
                Some(gst::FlowReturn::Ok.to_value())
            })
            .build()
    })
}

fn push_sample(element: &super::RtspSrc2, media: u32, sample: &gst::Sample) {
    let session = element.imp().session();
    let channel = session.zip(usize::try_from(media).ok());
    let channel = channel.and_then(|(session, media)| session.backchannel_of(media));
    let Some(channel) = channel else {
        gst::debug!(CAT, obj = element, "media {media} is no back channel (yet)");
        return;
    };
    let buffers = sample.buffer().into_iter();
    let list = sample
        .buffer_list()
        .into_iter()
        .flat_map(|list| list.iter());
    channel.push(buffers.chain(list).map(|buffer| RtpPacket {
        buffer,
        running_time: None,
    }));
}

/// Where the RTP of a chain goes to the session.
fn output(channel: &Arc<Backchannel>) -> gst::Pad {
    let segment = Mutex::new(None::<gst::FormattedSegment<gst::ClockTime>>);
    let segment = Arc::new(segment);
    let (into, of_events) = (channel.clone(), segment.clone());
    let push = move |buffer: &gst::BufferRef| {
        let running_time = lock(&segment)
            .as_ref()
            .and_then(|segment| segment.to_running_time(buffer.pts()));
        into.push([RtpPacket {
            buffer,
            running_time,
        }]);
    };
    let push = Arc::new(push);
    let push_list = push.clone();
    let pad = gst::Pad::builder(gst::PadDirection::Sink)
        .chain_function(move |_, _, buffer| {
            push(&buffer);
            Ok(gst::FlowSuccess::Ok)
        })
        .chain_list_function(move |_, _, list| {
            list.iter().for_each(|buffer| push_list(buffer));
            Ok(gst::FlowSuccess::Ok)
        })
        .event_function(move |_, _, event| {
            if let gst::EventView::Segment(event) = event.view() {
                *lock(&of_events) = event.segment().downcast_ref().cloned();
            }
            true
        })
        .build();
    let _ = pad.set_active(true);
    pad
}
