//! A pipeline around `rtspsrc2` that remembers what passed its pads.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gst::prelude::*;

#[derive(Debug, Clone, Copy)]
pub struct Packet {
    /// RTP timestamp.
    pub rtp: u32,
    pub pts: gst::ClockTime,
    pub discont: bool,
}

/// What passed one pad.
#[derive(Default)]
pub struct Log {
    pub packets: Vec<Packet>,
    pub caps: Vec<gst::Caps>,
    pub segments: usize,
    pub gaps: usize,
    pub eos: bool,
}

pub type Shared = Arc<Mutex<Log>>;

/// Logs the RTP packets and the events of a pad.
pub fn watch(pad: &gst::Pad) -> Shared {
    let log = Shared::default();
    let probe = log.clone();
    let kinds = gst::PadProbeType::BUFFER
        | gst::PadProbeType::BUFFER_LIST
        | gst::PadProbeType::EVENT_DOWNSTREAM;
    pad.add_probe(kinds, move |_, info| {
        let mut log = probe.lock().unwrap();
        match &info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => log.packets.push(packet(buffer)),
            Some(gst::PadProbeData::BufferList(list)) => {
                log.packets.extend(list.iter().map(packet))
            }
            Some(gst::PadProbeData::Event(event)) => match event.view() {
                gst::EventView::Caps(caps) => log.caps.push(caps.caps_owned()),
                gst::EventView::Segment(_) => log.segments += 1,
                gst::EventView::Gap(_) => log.gaps += 1,
                gst::EventView::Eos(_) => log.eos = true,
                _ => {}
            },
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
    log
}

fn packet(buffer: &gst::BufferRef) -> Packet {
    let mut timestamp = [0; 4];
    buffer
        .copy_to_slice(4, &mut timestamp)
        .expect("an RTP header");
    Packet {
        rtp: u32::from_be_bytes(timestamp),
        pts: buffer.pts().expect("every packet has a PTS"),
        discont: buffer.flags().contains(gst::BufferFlags::DISCONT),
    }
}

pub struct Player {
    pub pipeline: gst::Pipeline,
    pub src: gst::Element,
    logs: Arc<Mutex<BTreeMap<String, Shared>>>,
    pads: Arc<Mutex<Vec<gst::Pad>>>,
    pub messages: RefCell<Vec<gst::Message>>,
}

impl Player {
    /// Plays `url`, each pad into a fakesink.
    pub fn new(url: &str, settings: &[(&str, &str)]) -> Self {
        Self::with_sinks(url, settings, |_| true)
    }

    /// As `new`, with the pads that `wanted` names only.
    pub fn with_sinks(
        url: &str,
        settings: &[(&str, &str)],
        wanted: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Self {
        super::init();
        let src = gst::ElementFactory::make("rtspsrc2")
            .name("src")
            .property("location", url)
            .build()
            .unwrap();
        for (name, value) in settings {
            src.set_property_from_str(name, value);
        }
        let pipeline = gst::Pipeline::new();
        pipeline.add(&src).unwrap();
        let target = pipeline.downgrade();
        src.connect_pad_added(move |_, pad| {
            let Some(pipeline) = target.upgrade().filter(|_| wanted(&pad.name())) else {
                return;
            };
            let sink = gst::ElementFactory::make("fakesink")
                .property("sync", false)
                .property("async", false)
                .build()
                .unwrap();
            pipeline.add(&sink).unwrap();
            pad.link(&sink.static_pad("sink").unwrap()).unwrap();
            sink.sync_state_with_parent().unwrap();
        });
        Self::of(pipeline, src)
    }

    /// A gst-launch description whose rtspsrc2 has the name `src`.
    pub fn launch(description: &str) -> Self {
        super::init();
        let pipeline = gst::parse::launch(description).unwrap();
        let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
        let src = pipeline.by_name("src").expect("an element src");
        Self::of(pipeline, src)
    }

    /// Any pipeline; `src` is the rtspsrc2 or what makes one.
    pub fn of(pipeline: gst::Pipeline, src: gst::Element) -> Self {
        let logs = Arc::<Mutex<BTreeMap<String, Shared>>>::default();
        let pads = Arc::<Mutex<Vec<gst::Pad>>>::default();
        let (added, added_pads) = (logs.clone(), pads.clone());
        src.connect_pad_added(move |_, pad| {
            if pad.name().starts_with("stream_") {
                added.lock().unwrap().insert(pad.name().into(), watch(pad));
                added_pads.lock().unwrap().push(pad.clone());
            }
        });
        Self {
            pipeline,
            src,
            logs,
            pads,
            messages: RefCell::default(),
        }
    }

    pub fn set_state(&self, state: gst::State) {
        self.pipeline.set_state(state).unwrap();
    }

    pub fn play(self) -> Self {
        self.set_state(gst::State::Playing);
        self
    }

    /// All pads that were ever added.
    pub fn pads(&self) -> Vec<gst::Pad> {
        self.pads.lock().unwrap().clone()
    }

    /// Reads the log of a pad; an empty one while there is no such pad.
    pub fn log<T>(&self, pad: &str, read: impl FnOnce(&Log) -> T) -> T {
        let log = self
            .logs
            .lock()
            .unwrap()
            .get(pad)
            .cloned()
            .unwrap_or_default();
        let log = log.lock().unwrap();
        read(&log)
    }

    pub fn packets(&self, pad: &str) -> usize {
        self.log(pad, |log| log.packets.len())
    }

    pub fn stats(&self) -> gst::Structure {
        self.src.property("stats")
    }

    pub fn transport(&self) -> String {
        self.stats().get("transport").unwrap_or_default()
    }

    /// Whether an element message `rtspsrc2-<name>` has come.
    pub fn was_told(&self, name: &str) -> bool {
        let name = format!("rtspsrc2-{name}");
        self.messages.borrow().iter().any(|message| {
            message
                .structure()
                .is_some_and(|s| s.name() == name.as_str())
        })
    }

    pub fn has_ended(&self) -> bool {
        let messages = self.messages.borrow();
        messages.iter().any(|m| m.type_() == gst::MessageType::Eos)
    }

    /// Takes what is on the bus; the first error, if there is one.
    fn poll(&self, wait: gst::ClockTime) -> Option<gst::Message> {
        let bus = self.pipeline.bus().unwrap();
        let mut next = bus.timed_pop(wait);
        while let Some(message) = next {
            let is_error = message.type_() == gst::MessageType::Error;
            self.messages.borrow_mut().push(message.clone());
            if is_error {
                return Some(message);
            }
            next = bus.pop();
        }
        None
    }

    /// Waits until `condition` holds; an error on the bus fails the test.
    pub fn wait(&self, what: &str, limit: Duration, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(error) = self.poll(gst::ClockTime::from_mseconds(10)) {
                panic!("{what}: {error:?}");
            }
            if condition(self) {
                return;
            }
            if Instant::now() > deadline {
                let logs = self.logs.lock().unwrap();
                let counts: Vec<_> = logs
                    .iter()
                    .map(|(name, log)| (name, log.lock().unwrap().packets.len()))
                    .collect();
                let has_stats = self.src.find_property("stats").is_some();
                let stats = has_stats.then(|| self.stats());
                panic!("{what}: not within {limit:?}; packets {counts:?}, {stats:?}");
            }
        }
    }

    /// Waits for `count` more packets on each of these pads.
    pub fn wait_packets(&self, pads: &[&str], count: usize) {
        let before: Vec<usize> = pads.iter().map(|pad| self.packets(pad)).collect();
        self.wait("packets", super::SOON, |player| {
            let mut pads = pads.iter().zip(&before);
            pads.all(|(pad, before)| player.packets(pad) >= before + count)
        });
    }

    /// Waits for an error: domain and code, and the whole of its text.
    pub fn wait_error(&self, limit: Duration) -> (glib::Error, String) {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            let Some(message) = self.poll(gst::ClockTime::from_mseconds(10)) else {
                continue;
            };
            if let gst::MessageView::Error(error) = message.view() {
                return (error.error(), format!("{message:?}"));
            }
        }
        panic!("no error within {limit:?}");
    }

    /// As `gst-launch -e` ends: an EOS from the source to the sinks.
    pub fn finish(&self) {
        assert!(self.pipeline.send_event(gst::event::Eos::new()));
        self.wait("EOS", super::SOON, Self::has_ended);
        self.set_state(gst::State::Null);
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
