//! A pipeline with one source under test, and a log of all that comes out of it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gst::prelude::*;

use super::mini::lock;

/// What went through a pad.
#[derive(Clone, Debug)]
pub enum Item {
    Buffer(Packet),
    Event(gst::Event),
}

#[derive(Clone, Debug)]
pub struct Packet {
    pub pts: Option<gst::ClockTime>,
    pub discont: bool,
    /// From the RTP header.
    pub payload_type: u8,
    pub seq: u16,
    pub rtp_time: u32,
    /// Which push it came with; a list is one push.
    pub push: usize,
    pub in_list: bool,
    pub at: Instant,
    /// The sender's time, if the buffer has it: what clock, and nanoseconds.
    pub reference: Option<(gst::Caps, u64)>,
}

#[derive(Default)]
pub struct Log {
    /// Pads in the order in which they were added, with what went through.
    pub pads: Vec<(gst::Pad, Vec<Item>)>,
    pub removed: Vec<String>,
    pub messages: Vec<gst::Message>,
    /// When each of them was posted.
    pub posted: Vec<Instant>,
    pub no_more_pads: usize,
    /// Pushes wait here.
    pub blocked: bool,
    pub waiting: usize,
    /// Every push returns this.
    pub result: Option<(String, gst::FlowError)>,
    pushes: usize,
}

impl Log {
    pub fn items(&self, pad: &str) -> &[Item] {
        self.pads
            .iter()
            .rev()
            .find(|(p, _)| p.name() == pad)
            .map_or(&[], |(_, items)| items)
    }

    pub fn packets(&self, pad: &str) -> Vec<&Packet> {
        let items = self.items(pad).iter();
        items
            .filter_map(|item| match item {
                Item::Buffer(packet) => Some(packet),
                Item::Event(_) => None,
            })
            .collect()
    }

    pub fn events(&self, pad: &str, kind: gst::EventType) -> Vec<&gst::Event> {
        let items = self.items(pad).iter();
        items
            .filter_map(|item| match item {
                Item::Event(event) if event.type_() == kind => Some(event),
                _ => None,
            })
            .collect()
    }

    /// Element messages of this name.
    pub fn told(&self, name: &str) -> Vec<&gst::Message> {
        let named = |message: &&gst::Message| {
            message.type_() == gst::MessageType::Element
                && message.structure().is_some_and(|s| s.name() == name)
        };
        self.messages.iter().filter(named).collect()
    }

    pub fn of_type(&self, kind: gst::MessageType) -> Vec<&gst::Message> {
        self.messages.iter().filter(|m| m.type_() == kind).collect()
    }

    pub fn errors(&self) -> Vec<glib::Error> {
        self.messages
            .iter()
            .filter_map(|message| match message.view() {
                gst::MessageView::Error(error) => Some(error.error()),
                _ => None,
            })
            .collect()
    }

    /// Grows with whatever is logged.
    pub fn count(&self) -> usize {
        self.pushes + self.messages.len() + self.pads.len() + self.no_more_pads
    }

    /// For the message of a failed test.
    pub fn summary(&self) -> String {
        let pads: Vec<String> = self
            .pads
            .iter()
            .map(|(pad, items)| {
                let events: Vec<_> = items
                    .iter()
                    .filter_map(|item| match item {
                        Item::Event(event) => Some(event.type_().to_string()),
                        Item::Buffer(_) => None,
                    })
                    .collect();
                let buffers = items.len() - events.len();
                format!("{}: {buffers} packets, events {events:?}", pad.name())
            })
            .collect();
        let messages: Vec<String> = self
            .messages
            .iter()
            .filter(|m| m.type_() != gst::MessageType::StateChanged)
            .map(|m| format!("{:?} {:?}", m.type_(), m.structure().map(|s| s.to_string())))
            .collect();
        let removed = &self.removed;
        format!("pads {pads:#?}\nremoved {removed:?}\nmessages {messages:#?}")
    }
}

#[derive(Default)]
struct Watched {
    log: Mutex<Log>,
    changed: Condvar,
}

/// Links a new pad to a sink, or leaves it alone.
type Link = Box<dyn Fn(&gst::Pad) -> bool + Send + Sync>;

pub struct Player {
    pub pipeline: gst::Pipeline,
    pub src: gst::Element,
    watched: Arc<Watched>,
}

/// How long a test waits for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

impl Player {
    /// All pads are linked to sinks that do not wait.
    pub fn new(url: &str) -> Self {
        Self::linking(url, Box::new(|_| true))
    }

    pub fn linking(url: &str, link: Link) -> Self {
        super::init();
        let src = gst::ElementFactory::make("rtspsrc2")
            .property("location", url)
            .property("reconnect-initial-delay", 100_000_000u64)
            .build()
            .expect("rtspsrc2");
        let pipeline = gst::Pipeline::new();
        pipeline.add(&src).expect("an empty pipeline");
        let watched = Arc::<Watched>::default();
        let player = Self {
            pipeline,
            src,
            watched,
        };
        player.connect(link);
        player
    }

    fn connect(&self, link: Link) {
        let (watched, weak) = (self.watched.clone(), self.pipeline.downgrade());
        self.src.connect_pad_added(move |_, pad| {
            lock(&watched.log).pads.push((pad.clone(), Vec::new()));
            watched.changed.notify_all();
            observe(pad, &watched);
            let Some(pipeline) = weak.upgrade().filter(|_| link(pad)) else {
                return;
            };
            let sink = gst::ElementFactory::make("fakesink")
                .property("sync", false)
                .property("async", false)
                .build()
                .expect("fakesink");
            pipeline.add(&sink).expect("a new element");
            sink.sync_state_with_parent().expect("a running sink");
            let sink = sink.static_pad("sink").expect("a sink pad");
            // The element may be going down meanwhile.
            let _ = pad.link(&sink);
        });
        let watched = self.watched.clone();
        self.src.connect_pad_removed(move |_, pad| {
            lock(&watched.log).removed.push(pad.name().to_string());
            watched.changed.notify_all();
        });
        let watched = self.watched.clone();
        self.src.connect_no_more_pads(move |_| {
            lock(&watched.log).no_more_pads += 1;
            watched.changed.notify_all();
        });
        let watched = self.watched.clone();
        let bus = self.pipeline.bus().expect("a bus");
        bus.set_sync_handler(move |_, message| {
            {
                let mut log = lock(&watched.log);
                log.messages.push(message.clone());
                log.posted.push(Instant::now());
            }
            watched.changed.notify_all();
            gst::BusSyncReply::Drop
        });
    }

    pub fn with(self, property: &str, value: impl Into<glib::Value>) -> Self {
        self.src.set_property_from_value(property, &value.into());
        self
    }

    pub fn with_str(self, property: &str, value: &str) -> Self {
        self.src.set_property_from_str(property, value);
        self
    }

    /// Changes the state; how long the call took.
    pub fn state(&self, state: gst::State) -> Duration {
        let begin = Instant::now();
        self.pipeline.set_state(state).expect("a state change");
        begin.elapsed()
    }

    pub fn play(self) -> Self {
        self.state(gst::State::Playing);
        self
    }

    pub fn log<T>(&self, look: impl FnOnce(&Log) -> T) -> T {
        look(&lock(&self.watched.log))
    }

    pub fn change(&self, change: impl FnOnce(&mut Log)) {
        change(&mut lock(&self.watched.log));
        self.watched.changed.notify_all();
    }

    /// Whether `done` came true in time.
    pub fn wait_for(&self, patience: Duration, done: impl Fn(&Log) -> bool) -> bool {
        let log = lock(&self.watched.log);
        let (_log, waited) = self
            .watched
            .changed
            .wait_timeout_while(log, patience, |log| !done(log))
            .unwrap_or_else(PoisonError::into_inner);
        !waited.timed_out()
    }

    #[track_caller]
    pub fn wait(&self, what: &str, done: impl Fn(&Log) -> bool) {
        let came = self.wait_for(PATIENCE, done);
        assert!(
            came,
            "{what}: not within {PATIENCE:?}\n{}",
            self.log(Log::summary)
        );
    }

    /// Waits for `count` more packets on a pad.
    #[track_caller]
    pub fn flows(&self, pad: &str, count: usize) {
        let before = self.log(|log| log.packets(pad).len());
        self.wait(&format!("{pad} flows"), |log| {
            log.packets(pad).len() >= before + count
        });
    }

    /// Waits for an element message `rtspsrc2-<name>`.
    #[track_caller]
    pub fn told(&self, name: &str, count: usize) -> gst::Structure {
        let name = format!("rtspsrc2-{name}");
        self.wait(&format!("{count} × {name}"), |log| {
            log.told(&name).len() >= count
        });
        self.log(|log| {
            let message = log.told(&name).into_iter().nth(count.saturating_sub(1));
            let structure = message.and_then(|m| m.structure().map(|s| s.to_owned()));
            structure.expect("a structure")
        })
    }

    /// Waits for an error of the source: its text and its details.
    #[track_caller]
    pub fn error(&self) -> (glib::Error, Option<gst::Structure>) {
        self.wait("an error", |log| !log.errors().is_empty());
        self.log(|log| {
            let errors = log.of_type(gst::MessageType::Error);
            let Some(gst::MessageView::Error(error)) = errors.first().map(|m| m.view()) else {
                panic!("an error");
            };
            (error.error(), error.details().map(|d| d.to_owned()))
        })
    }

    #[track_caller]
    pub fn has_no_error(&self) {
        let errors = self.log(Log::errors);
        assert!(errors.is_empty(), "{errors:?}\n{}", self.log(Log::summary));
    }

    /// The session's statistics.
    pub fn stats(&self) -> gst::Structure {
        self.src.property("stats")
    }

    /// Those of one stream.
    pub fn stream_stats(&self, index: usize) -> gst::Structure {
        let streams = self.stats().get::<gst::List>("streams").expect("streams");
        let stream = streams.get(index).expect("the stream");
        stream.get::<gst::Structure>().expect("a structure")
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.change(|log| log.blocked = false);
        let _ = self.pipeline.set_state(gst::State::Null);
        if let Some(bus) = self.pipeline.bus() {
            bus.unset_sync_handler();
        }
        // Its messages hold the element, whose handlers hold the log.
        self.change(|log| *log = Log::default());
    }
}

/// Logs what goes through the pad, and holds it up when asked to.
fn observe(pad: &gst::Pad, watched: &Arc<Watched>) {
    let mask = gst::PadProbeType::DATA_DOWNSTREAM;
    let watched = Arc::downgrade(watched);
    pad.add_probe(mask, move |pad, info| {
        let Some(watched) = watched.upgrade() else {
            return gst::PadProbeReturn::Ok;
        };
        let mut log = lock(&watched.log);
        log.pushes += 1;
        let push = log.pushes;
        let items: Vec<Item> = match &info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => vec![packet(buffer, push, false)],
            Some(gst::PadProbeData::BufferList(list)) => list
                .iter()
                .map(|buffer| packet(buffer, push, true))
                .collect(),
            Some(gst::PadProbeData::Event(event)) => vec![Item::Event(event.clone())],
            _ => Vec::new(),
        };
        let data = matches!(items.first(), Some(Item::Buffer(_)));
        if let Some((_, log)) = log.pads.iter_mut().rev().find(|(p, _)| p == pad) {
            log.extend(items);
        }
        watched.changed.notify_all();
        if log.blocked && data {
            log.waiting += 1;
            watched.changed.notify_all();
            log = watched
                .changed
                .wait_while(log, |log| log.blocked)
                .unwrap_or_else(PoisonError::into_inner);
            log.waiting -= 1;
        }
        match &log.result {
            Some((name, result)) if data && pad.name() == *name => {
                info.flow_res = Err(*result);
                gst::PadProbeReturn::Handled
            }
            _ => gst::PadProbeReturn::Ok,
        }
    });
}

fn packet(buffer: &gst::BufferRef, push: usize, in_list: bool) -> Item {
    let map = buffer.map_readable().expect("memory");
    Item::Buffer(Packet {
        pts: buffer.pts(),
        discont: buffer.flags().contains(gst::BufferFlags::DISCONT),
        payload_type: map[1] & 0x7f,
        seq: u16::from_be_bytes([map[2], map[3]]),
        rtp_time: u32::from_be_bytes([map[4], map[5], map[6], map[7]]),
        push,
        in_list,
        at: Instant::now(),
        reference: buffer
            .meta::<gst::ReferenceTimestampMeta>()
            .map(|meta| (meta.reference_owned(), meta.timestamp().nseconds())),
    })
}
