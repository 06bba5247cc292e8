//! A player of a film that notes which frames would be shown.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gst::prelude::*;

use crate::SOON;
use crate::file::{FPS, Film, Kind, number};

/// What came to the sink of the pictures, in order.
#[derive(Debug, Clone)]
pub enum Item {
    /// Number, stream time and running time of a frame that is shown.
    Frame(u32, gst::ClockTime, gst::ClockTime),
    FlushStart(gst::Seqnum),
    FlushStop(gst::Seqnum, bool),
    Segment(gst::Segment, gst::Seqnum),
    SegmentDone,
    Eos,
}

#[derive(Default)]
struct Watched {
    items: Mutex<Vec<Item>>,
    changed: Condvar,
}

pub struct Player {
    pub pipeline: gst::Pipeline,
    pub src: gst::Element,
    pub sink: gst::Element,
    watched: Arc<Watched>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How far a frame's number is from what its time says.
pub fn frame_at(time: gst::ClockTime) -> f64 {
    time.nseconds() as f64 * f64::from(FPS) / 1e9
}

impl Player {
    pub fn new(film: &Film, kind: Kind, settings: &[(&str, &str)]) -> Self {
        let audio = match kind {
            Kind::Mp4 => "rtpmp4gdepay",
            Kind::Mkv => "rtpopusdepay",
        };
        let pipeline = gst::parse::launch(&format!(
            "rtspsrc2 name=src location={}  \
             src.stream_0 ! queue ! {} ! fakesink name=pictures sync=true qos=false  \
             src.stream_1 ! queue ! {audio} ! fakesink name=sound sync=true qos=false",
            film.url(),
            kind.decoder(),
        ));
        let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
        let src = pipeline.by_name("src").unwrap();
        for (name, value) in settings {
            src.set_property_from_str(name, value);
        }
        let sink = pipeline.by_name("pictures").unwrap();
        let watched = Arc::<Watched>::default();
        let pad = sink.static_pad("sink").unwrap();
        observe(&pad, &watched);
        Self {
            pipeline,
            src,
            sink,
            watched,
        }
    }

    pub fn items(&self) -> Vec<Item> {
        lock(&self.watched.items).clone()
    }

    pub fn frames(&self) -> Vec<u32> {
        frames(&self.items())
    }

    /// Forgets what came.
    pub fn forget(&self) {
        lock(&self.watched.items).clear();
    }

    /// Waits until `done` holds of what came; an error on the bus fails the test.
    #[track_caller]
    pub fn wait(&self, what: &str, done: impl Fn(&[Item]) -> bool) {
        let deadline = Instant::now() + SOON;
        let bus = self.pipeline.bus().unwrap();
        let mut items = lock(&self.watched.items);
        while !done(&items) {
            let errors = [gst::MessageType::Error];
            if let Some(error) = bus.pop_filtered(&errors) {
                panic!("{what}: {error:?}");
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let stats = self.src.property::<gst::Structure>("stats");
                panic!("{what}: not within {SOON:?}: {items:?} {stats:?}");
            }
            let wait = left.min(Duration::from_millis(100));
            let waited = self.watched.changed.wait_timeout(items, wait);
            items = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for so many more frames.
    #[track_caller]
    pub fn wait_frames(&self, count: usize) {
        let before = self.frames().len();
        self.wait("frames", |items| frames(items).len() >= before + count);
    }

    /// Waits for the message of the end.
    #[track_caller]
    pub fn wait_message(&self, kind: gst::MessageType) -> gst::Message {
        let bus = self.pipeline.bus().unwrap();
        let kinds = [kind, gst::MessageType::Error];
        let patience = gst::ClockTime::from_seconds(SOON.as_secs());
        let message = bus.timed_pop_filtered(patience, &kinds);
        let message = message.unwrap_or_else(|| panic!("no {kind:?}: {:?}", self.items()));
        assert_eq!(message.type_(), kind, "{message:?}");
        message
    }

    /// Changes the state and waits for it.
    #[track_caller]
    pub fn state(&self, state: gst::State) {
        self.pipeline.set_state(state).unwrap();
        let patience = gst::ClockTime::from_seconds(SOON.as_secs());
        let (result, reached, _) = self.pipeline.state(patience);
        assert!(result.is_ok() && reached == state, "{result:?} {reached:?}");
    }

    pub fn play(self) -> Self {
        self.pipeline.set_state(gst::State::Playing).unwrap();
        self
    }

    /// Seeks to a frame; what the event handler said.
    pub fn seek(&self, flags: gst::SeekFlags, frame: u32) -> bool {
        let time = time_of(frame);
        self.pipeline.seek_simple(flags, time).is_ok()
    }

    /// The first frame that is shown after the last flush, once there is one.
    #[track_caller]
    pub fn first_after_flush(&self) -> u32 {
        let after = |items: &[Item]| {
            let at = items
                .iter()
                .rposition(|item| matches!(item, Item::FlushStop(..)))?;
            frames(&items[at..]).first().copied()
        };
        self.wait("a frame after the flush", |items| after(items).is_some());
        after(&self.items()).unwrap()
    }

    pub fn position(&self) -> gst::ClockTime {
        self.pipeline.query_position::<gst::ClockTime>().unwrap()
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

pub fn time_of(frame: u32) -> gst::ClockTime {
    gst::ClockTime::SECOND * u64::from(frame) / u64::from(FPS)
}

pub fn frames(items: &[Item]) -> Vec<u32> {
    let numbers = items.iter().filter_map(|item| match item {
        Item::Frame(number, ..) => Some(*number),
        _ => None,
    });
    numbers.collect()
}

fn observe(pad: &gst::Pad, watched: &Arc<Watched>) {
    let watched = Arc::downgrade(watched);
    let kinds = gst::PadProbeType::BUFFER
        | gst::PadProbeType::EVENT_DOWNSTREAM
        | gst::PadProbeType::EVENT_FLUSH;
    pad.add_probe(kinds, move |pad, info| {
        let Some(watched) = watched.upgrade() else {
            return gst::PadProbeReturn::Ok;
        };
        let item = match &info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => frame(pad, buffer),
            Some(gst::PadProbeData::Event(event)) => match event.view() {
                gst::EventView::FlushStart(_) => Some(Item::FlushStart(event.seqnum())),
                gst::EventView::FlushStop(stop) => {
                    Some(Item::FlushStop(event.seqnum(), stop.resets_time()))
                }
                gst::EventView::Segment(segment) => {
                    Some(Item::Segment(segment.segment().clone(), event.seqnum()))
                }
                gst::EventView::SegmentDone(_) => Some(Item::SegmentDone),
                gst::EventView::Eos(_) => Some(Item::Eos),
                _ => None,
            },
            _ => None,
        };
        lock(&watched.items).extend(item);
        watched.changed.notify_all();
        gst::PadProbeReturn::Ok
    });
}

/// None: the sink does not show it, since it is not of the segment.
fn frame(pad: &gst::Pad, buffer: &gst::BufferRef) -> Option<Item> {
    let segment = pad.sticky_event::<gst::event::Segment>(0)?;
    let segment = segment.segment().downcast_ref::<gst::ClockTime>()?;
    let pts = buffer.pts()?;
    let map = buffer.map_readable().ok()?;
    let number = number(&map);
    let (running, stream) = (segment.to_running_time(pts)?, segment.to_stream_time(pts)?);
    Some(Item::Frame(number, stream, running))
}
