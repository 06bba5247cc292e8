//! GObject glue of `rtspsrc2`.

use std::sync::{Arc, Mutex, PoisonError};

use glib::subclass::prelude::*;
use gst::prelude::*;
use gst::subclass::prelude::*;
use once_cell::sync::Lazy;

use super::backchannel::{self, Feeder, Run};
use super::properties::{Change, PROPERTIES, Settings};
use super::{pads, parameters};
use crate::rtp::srtp::Limit;
use crate::rtsp::client::KeyUse;
use crate::rtsp::url::redact;
use crate::session::{
    CAT, CertificateHost, Ending, ForeignQueue, Host, Predecessor, Review, Reviewed, SeekRequest,
    Session,
};
use crate::settings;
use crate::signals;

#[derive(Default)]
struct State {
    session: Option<Arc<Session>>,
    /// The last session, which may still be tearing down.
    ending: Option<Ending>,
    clock: Option<gst::Clock>,
    /// One queue for all sessions of the element, so that their handlers
    /// never run side by side.
    foreign: Option<ForeignQueue>,
    /// EOS was asked for while no session could take it.
    eos: bool,
    /// So was a seek.
    seek: Option<SeekRequest>,
    /// The session paces itself by the clock.
    live: bool,
    /// Pads of back channels.
    feeders: Vec<(gst::Pad, Arc<Feeder>)>,
    /// What the state means for them.
    run: Run,
}

#[derive(Default)]
pub struct RtspSrc2 {
    settings: Mutex<Settings>,
    state: Mutex<State>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RtspSrc2 {
    /// The location without its password.
    pub(super) fn location(&self) -> Option<String> {
        lock(&self.settings).common.location()
    }

    pub(super) fn set_location(&self, location: Option<&str>) -> Result<(), String> {
        lock(&self.settings).common.set_location(location)
    }

    pub(super) fn latency(&self) -> gst::ClockTime {
        let latency = lock(&self.settings).latency();
        latency.try_into().unwrap_or(gst::ClockTime::MAX)
    }

    pub(super) fn is_live(&self) -> bool {
        // The settings come before the state; where both are locked, in this order.
        let wanted = lock(&self.settings).is_live;
        let state = lock(&self.state);
        match state.session {
            Some(_) => state.live,
            None => wanted,
        }
    }

    /// A seek that nothing can be asked about yet.
    fn seek_at_start(&self, event: &gst::EventRef) -> bool {
        let gst::EventView::Seek(seek) = event.view() else {
            return false;
        };
        let request = SeekRequest::of(seek);
        let taken = request.is_some();
        lock(&self.state).seek = request;
        taken
    }

    pub(super) fn session(&self) -> Option<Arc<Session>> {
        lock(&self.state).session.clone()
    }

    fn start(&self) -> Result<(), gst::StateChangeError> {
        // Posting runs handlers of the application: no lock is held meanwhile.
        let settings = lock(&self.settings).clone();
        let config = settings.config().map_err(|reason| {
            gst::element_imp_error!(self, gst::ResourceError::Settings, ("{reason}"));
            gst::StateChangeError
        })?;
        let host = Arc::new(ElementHost {
            element: self.obj().downgrade(),
        });
        let (clock, before) = {
            let mut state = lock(&self.state);
            let (ending, foreign) = (state.ending.take(), state.foreign.take());
            (state.clock.clone(), Predecessor { ending, foreign })
        };
        let session = Session::start(config, host, clock, before).map_err(|error| {
            gst::element_imp_error!(
                self,
                gst::ResourceError::NoSpaceLeft,
                ("The threads of rtspsrc2 cannot be started: {error}")
            );
            gst::StateChangeError
        })?;
        self.keep(Arc::new(session), &settings);
        Ok(())
    }

    /// From here on the session is told of what changes; it is told now of what has
    /// changed since `settings` were those that it was started with.
    fn keep(&self, session: Arc<Session>, settings: &Settings) {
        {
            let mut state = lock(&self.state);
            state.foreign = Some(session.foreign());
            session.set_clock(state.clock.clone());
            if std::mem::take(&mut state.eos) {
                session.eos();
            }
            if let Some(seek) = state.seek.take() {
                // It is kept until the server is there.
                session.seek_later(seek);
            }
            state.live = settings.is_live;
            if !state.live {
                session.play();
            }
            state.session = Some(session.clone());
        }
        let current = lock(&self.settings);
        if *current != *settings {
            let changes = [
                Change::Latency,
                Change::BufferLists,
                Change::Timing,
                Change::Common(settings::Change::Credentials),
                Change::Common(settings::Change::Adopt),
            ];
            for change in changes {
                tell(&session, &current, change);
            }
        }
    }

    /// Ends the generation: its pads go, TEARDOWN is sent in the background.
    fn stop(&self) {
        let session = {
            let mut state = lock(&self.state);
            state.eos = false;
            let session = state.session.take();
            state.ending = session.as_ref().map(|session| session.stop());
            session
        };
        if session.is_some() {
            for pad in self.obj().src_pads() {
                pads::remove(self.obj().upcast_ref(), &pad);
            }
        }
    }

    fn run_backchannels(&self, run: Run) {
        let feeders = {
            let mut state = lock(&self.state);
            state.run = run;
            state.feeders.clone()
        };
        for (_, feeder) in feeders {
            feeder.set_run(run);
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
fn tell(session: &Session, settings: &Settings, change: Change) {
    match change {
        Change::Common(settings::Change::NextStart) => {}
        Change::Latency => session.set_latency(settings.latency()),
        Change::BufferLists => session.set_buffer_lists(settings.buffer_lists),
        Change::Timing => session.set_timing(settings.timing()),
        Change::Common(settings::Change::Credentials) => {
            session.set_credentials(settings.common.credentials());
        }
        Change::Common(settings::Change::Adopt) => {
            // Without a location it is the next start that fails.
            if let Ok(config) = settings.config() {
                session.adopt(config);
            }
        }
    }
}

#[glib::object_subclass]
impl ObjectSubclass for RtspSrc2 {
    const NAME: &'static str = "GstRtsp2Src";
    type Type = super::RtspSrc2;
    type ParentType = gst::Element;
    type Interfaces = (gst::URIHandler,);
}

impl ObjectImpl for RtspSrc2 {
    fn properties() -> &'static [glib::ParamSpec] {
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        // Held until the session knows: otherwise the older of two values may reach it last.
        let mut settings = lock(&self.settings);
        match settings.set(pspec.name(), value) {
            Ok(change) => {
                if let Some(session) = self.session() {
                    tell(&session, &settings, change);
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
            "stats" => {
                let stats = self.session().map(|session| session.stats());
                stats
                    .unwrap_or_else(|| gst::Structure::new_empty("application/x-rtspsrc2-stats"))
                    .to_value()
            }
            name => {
                let value = lock(&self.settings).get(name);
                value.unwrap_or_else(|| pspec.default_value().clone())
            }
        }
    }

    fn signals() -> &'static [glib::subclass::Signal] {
        static SIGNALS: Lazy<Vec<glib::subclass::Signal>> = Lazy::new(|| {
            let keys = |name| {
                glib::subclass::Signal::builder(name)
                    .param_types([u32::static_type()])
                    .return_type::<gst::Caps>()
                    .build()
            };
            let limit = |name| {
                glib::subclass::Signal::builder(name)
                    .param_types([u32::static_type()])
                    .run_last()
                    .build()
            };
            let own = [
                settings::accept_certificate(),
                keys("request-rtp-key"),
                keys("request-rtcp-key"),
                limit("soft-limit"),
                limit("hard-limit"),
                glib::subclass::Signal::builder("select-stream")
                    .param_types([u32::static_type(), gst::Caps::static_type()])
                    .return_type::<bool>()
                    .run_last()
                    .class_handler(|_| Some(true.to_value()))
                    .accumulator(|_, _, value| signals::first_refusal(value))
                    .build(),
                signals::on_sdp(),
                signals::before_send(),
                signals::handle_request(),
            ];
            let all = own.into_iter().chain(parameters::actions());
            all.chain(backchannel::actions()).collect()
        });
        &SIGNALS
    }

    fn constructed(&self) {
        self.parent_constructed();
        self.obj().set_element_flags(gst::ElementFlags::SOURCE);
    }

    fn dispose(&self) {
        self.stop();
    }
}

impl GstObjectImpl for RtspSrc2 {}

impl ElementImpl for RtspSrc2 {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: Lazy<gst::subclass::ElementMetadata> = Lazy::new(|| {
            gst::subclass::ElementMetadata::new(
                "RTSP source",
                "Source/Network",
                "Receives live streams from RTSP servers (RFC 2326) and comes back when they drop",
                "The gst-plugin-rtsp2 developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: Lazy<Vec<gst::PadTemplate>> = Lazy::new(|| {
            let caps = gst::Caps::new_empty_simple("application/x-rtp");
            gst::PadTemplate::new(
                "stream_%u",
                gst::PadDirection::Src,
                gst::PadPresence::Sometimes,
                &caps,
            )
            .into_iter()
            .chain([backchannel::template()])
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
        let pad = {
            let mut state = lock(&self.state);
            let taken = |number| state.feeders.iter().any(|(_, f)| f.number() == number);
            let number = match name.and_then(|name| name.strip_prefix("backchannel_")) {
                Some(number) if number != "%u" => number.parse().ok()?,
                _ => (0..).find(|number| !taken(*number))?,
            };
            if taken(number) {
                gst::warning!(CAT, imp = self, "back channel {number} has a pad already");
                return None;
            }
            let name = format!("backchannel_{number}");
            let (pad, feeder) = backchannel::new_pad(&self.obj(), template, &name, number);
            feeder.set_run(state.run);
            state.feeders.push((pad.clone(), feeder));
            pad
        };
        self.obj().add_pad(&pad).ok()?;
        Some(pad)
    }

    fn release_pad(&self, pad: &gst::Pad) {
        let feeder = {
            let mut state = lock(&self.state);
            let at = state.feeders.iter().position(|(own, _)| own == pad);
            at.map(|at| state.feeders.remove(at))
        };
        if let Some((_, feeder)) = feeder {
            feeder.set_run(Run::Stopped);
            let _ = pad.set_active(false);
            let _ = self.obj().remove_pad(pad);
        }
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        use gst::StateChange::*;
        match transition {
            ReadyToPaused => {
                self.start()?;
                self.run_backchannels(Run::Paused);
            }
            PausedToPlaying => {
                self.run_backchannels(Run::Playing);
                // Not live, it plays from PAUSED on: there it fills the pipeline.
                if let Some(session) = self.session().filter(|_| self.is_live()) {
                    session.play();
                }
            }
            PlayingToPaused => {
                self.run_backchannels(Run::Paused);
                if let Some(session) = self.session().filter(|_| self.is_live()) {
                    session.pause();
                }
            }
            PausedToReady => {
                // Streaming threads have to be out of the pads.
                self.run_backchannels(Run::Stopped);
                self.stop();
            }
            NullToReady => lock(&self.state).eos = false,
            ReadyToNull => {
                lock(&self.state).seek = None;
                self.wait_for_teardown();
            }
            _ => {}
        }
        let success = self.parent_change_state(transition).inspect_err(|_| {
            if transition == ReadyToPaused {
                self.run_backchannels(Run::Stopped);
                self.stop();
            }
        })?;
        Ok(match transition {
            // Live: there is no data in PAUSED.
            ReadyToPaused | PlayingToPaused if self.is_live() => gst::StateChangeSuccess::NoPreroll,
            _ => success,
        })
    }

    fn set_clock(&self, clock: Option<&gst::Clock>) -> bool {
        {
            let mut state = lock(&self.state);
            state.clock = clock.cloned();
            if let Some(session) = &state.session {
                session.set_clock(clock.cloned());
            }
        }
        self.parent_set_clock(clock)
    }

    fn send_event(&self, event: gst::Event) -> bool {
        gst::debug!(
            CAT,
            imp = self,
            "event {:?} from the application",
            event.type_()
        );
        if event.type_() == gst::EventType::Eos {
            let mut state = lock(&self.state);
            match &state.session {
                Some(session) => session.eos(),
                None => state.eos = true,
            }
            return true;
        }
        match self.session() {
            Some(session) if event.is_downstream() && !event.is_upstream() => {
                session.event(event);
                true
            }
            Some(session) => pads::upstream_event(&session, None, &event),
            None => self.seek_at_start(&event),
        }
    }

    fn query(&self, query: &mut gst::QueryRef) -> bool {
        pads::query(self, None, query) || self.parent_query(query)
    }
}

/// The element, as the session sees it.
struct ElementHost {
    element: glib::WeakRef<super::RtspSrc2>,
}

impl CertificateHost for ElementHost {
    fn accept_certificate(
        &self,
        certificate: &gio::TlsCertificate,
        failed: gio::TlsCertificateFlags,
    ) -> bool {
        self.element
            .upgrade()
            .is_some_and(|element| settings::emit_accept_certificate(&element, certificate, failed))
    }
}

impl Host for ElementHost {
    fn element(&self) -> Option<gst::Element> {
        self.element.upgrade().map(|element| element.upcast())
    }

    fn new_pad(&self, name: &str) -> Option<gst::Pad> {
        self.element
            .upgrade()
            .and_then(|element| pads::new(&element, name))
    }

    fn remove_pad(&self, pad: &gst::Pad) {
        if let Some(element) = self.element.upgrade() {
            pads::remove(element.upcast_ref(), pad);
        }
    }

    fn media_keys(&self, index: u32, usage: KeyUse) -> Option<gst::Caps> {
        let signal = match usage {
            KeyUse::Own => "request-rtcp-key",
            KeyUse::Both => "request-rtp-key",
        };
        let element = self.element.upgrade()?;
        element.emit_by_name::<Option<gst::Caps>>(signal, &[&index])
    }

    fn key_limit(&self, index: u32, limit: Limit) {
        let signal = match limit {
            Limit::Soft => "soft-limit",
            Limit::Hard => "hard-limit",
        };
        if let Some(element) = self.element.upgrade() {
            element.emit_by_name::<()>(signal, &[&index]);
        }
    }

    fn select_stream(&self, index: u32, caps: &gst::Caps) -> bool {
        self.element
            .upgrade()
            .is_none_or(|element| element.emit_by_name::<bool>("select-stream", &[&index, caps]))
    }

    fn reviews(&self, what: &Review) -> bool {
        let element = self.element();
        element.is_some_and(|element| signals::reviews(&element, what))
    }

    fn review(&self, what: Review) -> Reviewed {
        let element = self.element();
        element.map_or(Reviewed::Unchanged, |element| {
            signals::review(&element, what)
        })
    }
}

#[cfg(test)]
mod tests;
