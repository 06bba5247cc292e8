//! A pipeline that publishes, and all that it says on its bus.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use gst::prelude::*;

use crate::SOON;

type Messages = Arc<(Mutex<Vec<gst::Message>>, Condvar)>;

pub struct Publisher {
    pub pipeline: gst::Pipeline,
    pub sink: gst::Element,
    messages: Messages,
}

impl Publisher {
    /// A line in which `rtspsink2` is named `out`.
    pub fn launch(line: &str) -> Self {
        crate::init();
        let pipeline = gst::parse::launch(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        Self::of(pipeline.downcast().expect("more than one element"))
    }

    /// `streams` is what comes before each pad, as in `["videotestsrc ! x264enc"]`.
    pub fn new(url: &str, settings: &str, streams: &[&str]) -> Self {
        let mut line = format!("rtspsink2 name=out location={url} {settings} ");
        for stream in streams {
            line += &format!(" {stream} ! out. ");
        }
        Self::launch(&line)
    }

    pub fn of(pipeline: gst::Pipeline) -> Self {
        let messages = Messages::default();
        let log = messages.clone();
        pipeline.bus().unwrap().set_sync_handler(move |_, message| {
            // A test that has failed is no reason to crash.
            let messages = log.0.lock();
            messages
                .unwrap_or_else(PoisonError::into_inner)
                .push(message.clone());
            log.1.notify_all();
            gst::BusSyncReply::Drop
        });
        let sink = pipeline.by_name("out").expect("an element named out");
        Self {
            pipeline,
            sink,
            messages,
        }
    }

    /// Counts the packets that the payloader of the first pad makes.
    pub fn count_packets(&self) -> Arc<AtomicU64> {
        let count = Arc::<AtomicU64>::default();
        let counting = count.clone();
        self.sink.connect("new-payloader", false, move |values| {
            let payloader = values[1].get::<gst::Element>().unwrap();
            let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
            let counting = counting.clone();
            payloader
                .static_pad("src")
                .unwrap()
                .add_probe(kinds, move |_, info| {
                    let packets = match &info.data {
                        Some(gst::PadProbeData::BufferList(list)) => list.len() as u64,
                        _ => 1,
                    };
                    counting.fetch_add(packets, Ordering::SeqCst);
                    gst::PadProbeReturn::Ok
                });
            None
        });
        count
    }

    pub fn play(self) -> Self {
        self.set_state(gst::State::Playing);
        self
    }

    pub fn set_state(&self, state: gst::State) {
        self.pipeline.set_state(state).expect("a state change");
    }

    /// Waits for a message that `pick` makes something of.
    pub fn wait_message<T>(
        &self,
        what: &str,
        limit: Duration,
        mut pick: impl FnMut(&gst::Message) -> Option<T>,
    ) -> T {
        let messages = self.messages.0.lock().unwrap();
        let mut found = None;
        let (messages, _) = self
            .messages
            .1
            .wait_timeout_while(messages, limit, |messages| {
                found = messages.iter().find_map(&mut pick);
                found.is_none()
            })
            .unwrap();
        found.unwrap_or_else(|| panic!("no {what} within {limit:?}, but {}", said(&messages)))
    }

    pub fn wait_eos(&self) {
        let own = self.pipeline.upcast_ref::<gst::Object>();
        self.wait_message("EOS", SOON, |message| {
            if let gst::MessageView::Error(error) = message.view() {
                panic!("{} ({:?})", error.error(), error.debug());
            }
            let eos = message.type_() == gst::MessageType::Eos && message.src() == Some(own);
            eos.then_some(())
        });
    }

    /// The error of the element, with its text and details.
    pub fn wait_error(&self) -> (glib::Error, String) {
        let own = self.sink.upcast_ref::<gst::Object>();
        self.wait_message("error", SOON, |message| match message.view() {
            gst::MessageView::Error(error) if message.src() == Some(own) => {
                let text = format!(
                    "{} {:?} {:?}",
                    error.error(),
                    error.debug(),
                    error.details()
                );
                Some((error.error(), text))
            }
            _ => None,
        })
    }

    /// The text of the element's warning.
    pub fn wait_warning(&self) -> String {
        let own = self.sink.upcast_ref::<gst::Object>();
        self.wait_message("warning", SOON, |message| match message.view() {
            gst::MessageView::Warning(warning) if message.src() == Some(own) => {
                Some(warning.error().to_string())
            }
            _ => None,
        })
    }

    pub fn wait_element_message(&self, name: &str) -> gst::Structure {
        self.wait_message(name, SOON, |message| {
            let structure = message.structure()?;
            (structure.name() == name).then(|| structure.to_owned())
        })
    }

    /// Forgets what was said up to now.
    pub fn forget(&self) {
        self.messages.0.lock().unwrap().clear();
    }

    pub fn errors(&self) -> Vec<String> {
        let messages = self.messages.0.lock().unwrap();
        let error = |message: &gst::Message| match message.view() {
            gst::MessageView::Error(error) => Some(error.error().to_string()),
            _ => None,
        };
        messages.iter().filter_map(error).collect()
    }

    pub fn stats(&self) -> gst::Structure {
        self.sink.property("stats")
    }

    /// Statistics of a stream.
    pub fn stream_stats(&self, index: usize) -> Option<gst::Structure> {
        let streams = self.stats().get::<gst::List>("streams").ok()?;
        streams.get(index)?.get::<gst::Structure>().ok()
    }

    /// Waits until that many packets of the first stream have left.
    pub fn wait_sent(&self, packets: u64) {
        crate::process::wait_for("packets", SOON, || {
            assert_eq!(self.errors(), Vec::<String>::new());
            let sent = self
                .stream_stats(0)
                .and_then(|s| s.get::<u64>("packets").ok());
            sent.is_some_and(|sent| sent >= packets)
        });
    }
}

fn said(messages: &[gst::Message]) -> String {
    let interesting = messages.iter().filter(|message| {
        !matches!(
            message.type_(),
            gst::MessageType::StateChanged | gst::MessageType::StreamStatus
        )
    });
    interesting
        .map(|message| format!("{:?}\n", message.view()))
        .collect()
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
        self.pipeline.bus().unwrap().unset_sync_handler();
        // Messages hold the elements that they are from.
        self.messages
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}
