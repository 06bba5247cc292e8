//! GObject glue of `rtspsink2`.

use std::sync::{Arc, Mutex};

use glib::subclass::prelude::*;
use gst::prelude::*;
use gst::subclass::prelude::*;
use once_cell::sync::Lazy;

use super::gate::Gate;
use super::pad::RtspSink2Pad;
use super::properties::{Change, PROPERTIES, Settings};
use super::running::Running;
use super::streams::Streams;
use super::{CAT, lock};
use crate::rtsp::url::redact;
use crate::session::{Ending, ForeignQueue, Predecessor, Publisher};
use crate::settings;
use crate::signals;

#[derive(Default)]
pub(super) struct State {
    pub running: Option<Arc<Running>>,
    /// The last session, which may still be tearing down.
    ending: Option<Ending>,
    foreign: Option<ForeignQueue>,
    pub streams: Streams,
}

#[derive(Default)]
pub struct RtspSink2 {
    pub(super) settings: Mutex<Settings>,
    pub(super) state: Mutex<State>,
}

impl RtspSink2 {
    /// The location without its password.
    pub(super) fn location(&self) -> Option<String> {
        lock(&self.settings).common.location()
    }

    pub(super) fn set_location(&self, location: Option<&str>) -> Result<(), String> {
        lock(&self.settings).common.set_location(location)
    }

    pub(super) fn running(&self) -> Option<Arc<Running>> {
        lock(&self.state).running.clone()
    }

    pub(super) fn pads(&self) -> Vec<RtspSink2Pad> {
        let pads = self.obj().sink_pads().into_iter();
        pads.filter_map(|pad| pad.downcast().ok()).collect()
    }

    /// The pad of a stream.
    pub(super) fn pad(&self, stream: u32) -> Option<RtspSink2Pad> {
        let has = |pad: &RtspSink2Pad| pad.stream().is_some_and(|own| own.number == stream);
        self.pads().into_iter().find(has)
    }

    fn start(&self) -> Result<(), gst::StateChangeError> {
        // Posting runs handlers of the application: no lock is held meanwhile.
        let settings = lock(&self.settings).clone();
        let config = settings.config().map_err(|reason| {
            gst::element_imp_error!(self, gst::ResourceError::Settings, ("{reason}"));
            gst::StateChangeError
        })?;
        let gate = Arc::new(Gate::default());
        let before = {
            let mut state = lock(&self.state);
            state.streams.restart();
            Predecessor {
                ending: state.ending.take(),
                foreign: state.foreign.take(),
            }
        };
        let host = Arc::new(super::host::ElementHost {
            element: self.obj().downgrade(),
            gate: gate.clone(),
        });
        let publisher = Publisher::start(config, host, before).map_err(|error| {
            gst::element_imp_error!(
                self,
                gst::ResourceError::NoSpaceLeft,
                ("The threads of rtspsink2 cannot be started: {error}")
            );
            gst::StateChangeError
        })?;
        self.keep(Running::new(publisher, gate), &settings);
        Ok(())
    }

    /// From here on the session is told of what changes; it is told now of what has
    /// changed since `settings` were those that it was started with.
    fn keep(&self, running: Running, settings: &Settings) {
        let running = Arc::new(running);
        {
            let mut state = lock(&self.state);
            state.foreign = Some(running.publisher.foreign());
            state.running = Some(running.clone());
        }
        let current = lock(&self.settings);
        if *current != *settings {
            let changes = [
                Change::MaxQueueTime,
                Change::Common(settings::Change::Credentials),
                Change::Common(settings::Change::Adopt),
            ];
            for change in changes {
                tell(&running.publisher, &current, change);
            }
        }
    }

    /// What is queued is sent, then TEARDOWN, in the background; nothing of this
    /// start is left between the pads and their sinks.
    fn stop(&self) {
        let running = {
            let mut state = lock(&self.state);
            let running = state.running.take();
            state.ending = running.as_ref().map(|running| running.publisher.stop());
            running
        };
        if let Some(running) = running {
            running.end(&self.obj());
        }
        for pad in self.pads() {
            pad.unplug(&self.obj());
            if let Some(stream) = pad.stream() {
                stream.sink.set_property("async", true);
            }
        }
    }

    fn wait_for_teardown(&self) {
        let ending = lock(&self.state).ending.clone();
        let timeout = lock(&self.settings).common.teardown_timeout();
        if let Some(ending) = ending {
            ending.wait_until(timeout);
        }
    }
}

/// A running session learns of a change of the settings. It only takes note.
fn tell(publisher: &Publisher, settings: &Settings, change: Change) {
    match change {
        // The inner sinks have the one, the encoders the other.
        Change::Sync(_) | Change::Bitrate | Change::Common(settings::Change::NextStart) => {}
        Change::MaxQueueTime => publisher.set_max_queue_time(settings.max_queue_time()),
        Change::Common(settings::Change::Credentials) => {
            publisher.set_credentials(settings.common.credentials());
        }
        Change::Common(settings::Change::Adopt) => {
            // Without a location it is the next start that fails.
            if let Ok(server) = settings.common.server() {
                publisher.adopt(server);
            }
        }
    }
}

#[glib::object_subclass]
impl ObjectSubclass for RtspSink2 {
    const NAME: &'static str = "GstRtsp2Sink";
    type Type = super::RtspSink2;
    type ParentType = gst::Bin;
    type Interfaces = (gst::ChildProxy, gst::URIHandler);
}

impl ObjectImpl for RtspSink2 {
    fn properties() -> &'static [glib::ParamSpec] {
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        // Held until the session knows: otherwise the older of two values may reach it last.
        let mut settings = lock(&self.settings);
        match settings.set(pspec.name(), value) {
            Ok(Change::Sync(sync)) => {
                drop(settings);
                for stream in self.pads().iter().filter_map(RtspSink2Pad::stream) {
                    stream.sink.set_property("sync", sync);
                }
            }
            Ok(Change::Bitrate) => {
                drop(settings);
                self.reset_encoders();
            }
            Ok(change) => {
                if let Some(running) = self.running() {
                    tell(&running.publisher, &settings, change);
                }
            }
            Err(reason) => {
                drop(settings);
                gst::error!(CAT, imp = self, "{}: {}", pspec.name(), redact(&reason));
            }
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "estimated-bitrate" => self
                .running()
                .map_or(0, |running| running.publisher.estimated_bitrate())
                .to_value(),
            "stats" => self
                .running()
                .map(|running| running.publisher.stats())
                .unwrap_or_else(|| gst::Structure::new_empty("application/x-rtspsink2-stats"))
                .to_value(),
            name => {
                let value = lock(&self.settings).get(name);
                value.unwrap_or_else(|| pspec.default_value().clone())
            }
        }
    }

    fn signals() -> &'static [glib::subclass::Signal] {
        static SIGNALS: Lazy<Vec<glib::subclass::Signal>> = Lazy::new(|| {
            vec![
                settings::accept_certificate(),
                glib::subclass::Signal::builder("new-payloader")
                    .param_types([gst::Element::static_type()])
                    .run_first()
                    .build(),
                signals::handle_request(),
                signals::update_sdp(),
            ]
        });
        &SIGNALS
    }

    fn constructed(&self) {
        self.parent_constructed();
        // A sink even while it has no pads.
        let bin = self.obj();
        bin.set_suppressed_flags(gst::ElementFlags::SOURCE | gst::ElementFlags::SINK);
        bin.set_element_flags(gst::ElementFlags::SINK);
    }

    fn dispose(&self) {
        self.stop();
    }
}

impl GstObjectImpl for RtspSink2 {}

impl ElementImpl for RtspSink2 {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: Lazy<gst::subclass::ElementMetadata> = Lazy::new(|| {
            gst::subclass::ElementMetadata::new(
                "RTSP sink",
                "Sink/Network",
                "Publishes to RTSP servers (RFC 2326) and comes back when they drop",
                "The gst-plugin-rtsp2 developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: Lazy<Vec<gst::PadTemplate>> = Lazy::new(|| {
            gst::PadTemplate::with_gtype(
                "sink_%u",
                gst::PadDirection::Sink,
                gst::PadPresence::Request,
                &gst::Caps::new_any(),
                RtspSink2Pad::static_type(),
            )
            .into_iter()
            .collect()
        });
        &TEMPLATES
    }

    fn request_new_pad(
        &self,
        template: &gst::PadTemplate,
        name: Option<&str>,
        _caps: Option<&gst::Caps>,
    ) -> Option<gst::Pad> {
        self.add_stream(template, name)
    }

    fn release_pad(&self, pad: &gst::Pad) {
        if let Some(pad) = pad.downcast_ref() {
            self.remove_stream(pad);
        }
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        use gst::StateChange::*;
        match transition {
            ReadyToPaused => self.start()?,
            PausedToPlaying => {
                if let Some(running) = self.running() {
                    running.publisher.record();
                }
            }
            ReadyToNull => self.wait_for_teardown(),
            _ => {}
        }
        let result = self.parent_change_state(transition);
        match transition {
            PlayingToPaused => {
                if let Some(running) = self.running() {
                    running.publisher.pause();
                }
            }
            // The streaming threads are out of the pads by now.
            PausedToReady => self.stop(),
            ReadyToPaused if result.is_err() => self.stop(),
            _ => {}
        }
        result
    }
}

impl BinImpl for RtspSink2 {
    fn handle_message(&self, message: gst::Message) {
        let message = match message.type_() {
            gst::MessageType::Eos => self.hold_eos(message),
            _ => Some(message),
        };
        if let Some(message) = message {
            self.parent_handle_message(message);
        }
    }
}

impl ChildProxyImpl for RtspSink2 {
    fn child_by_index(&self, index: u32) -> Option<glib::Object> {
        let pads = self.pads();
        let pad = pads.get(usize::try_from(index).ok()?)?;
        Some(pad.clone().upcast())
    }

    fn child_by_name(&self, name: &str) -> Option<glib::Object> {
        let pad = self.obj().static_pad(name)?;
        Some(pad.upcast())
    }

    fn children_count(&self) -> u32 {
        u32::try_from(self.pads().len()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests;
