//! The request pads: what comes in gets a payloader when its caps are known.

use std::sync::Mutex;

use glib::subclass::prelude::*;
use gst::prelude::*;
use gst::subclass::prelude::*;
use once_cell::sync::Lazy;

use super::payloader::{self, Choice, set_if_there};
use super::rtp_sink::RtpSink;
use super::{CAT, RtspSink2, lock};

glib::wrapper! {
    /// A request pad of `rtspsink2`.
    pub struct RtspSink2Pad(ObjectSubclass<imp::RtspSink2Pad>)
        @extends gst::GhostPad, gst::ProxyPad, gst::Pad, gst::Object;
}

/// What is between a pad and its inner sink.
#[derive(Default)]
pub(super) struct Chain {
    /// Parser and payloader, in the order of the data; empty for RTP.
    pub elements: Vec<gst::Element>,
    pub payloader: Option<gst::Element>,
}

/// The stream of a pad.
#[derive(Clone)]
pub(super) struct Stream {
    pub number: u32,
    pub sink: RtpSink,
}

impl RtspSink2Pad {
    pub(super) fn new(template: &gst::PadTemplate, name: &str, stream: Stream) -> Self {
        let pad = gst::PadBuilder::<Self>::from_template(template)
            .name(name)
            .event_function(|pad: &Self, parent, event| {
                super::imp::RtspSink2::catch_panic_pad_function(
                    parent,
                    || false,
                    |element| {
                        pad.event_came(&element.obj(), &event)
                            && gst::Pad::event_default(pad, parent, event)
                    },
                )
            })
            .query_function(|pad: &Self, parent, query| {
                super::imp::RtspSink2::catch_panic_pad_function(
                    parent,
                    || false,
                    |_| pad.answer(query) || gst::Pad::query_default(pad, parent, query),
                )
            })
            .build();
        *lock(&pad.imp().stream) = Some(stream);
        pad
    }

    pub(super) fn stream(&self) -> Option<Stream> {
        lock(&self.imp().stream).clone()
    }

    /// The payloader in use.
    pub(super) fn payloader(&self) -> Option<gst::Element> {
        lock(&self.imp().chain).payloader.clone()
    }

    /// Bits per second that the tags of the stream speak of.
    pub(super) fn tagged_bitrate(&self) -> Option<u64> {
        let mut bitrate = None;
        self.sticky_events_foreach(|event| {
            if let gst::EventView::Tag(tag) = event.view() {
                let tags = tag.tag();
                let maximum = tags
                    .get::<gst::tags::MaximumBitrate>()
                    .map(|rate| rate.get());
                let usual = tags.get::<gst::tags::Bitrate>().map(|rate| rate.get());
                let nominal = tags
                    .get::<gst::tags::NominalBitrate>()
                    .map(|rate| rate.get());
                bitrate = maximum.or(usual).or(nominal).map(u64::from).or(bitrate);
            }
            std::ops::ControlFlow::Continue(gst::EventForeachAction::Keep)
        });
        bitrate.filter(|bitrate| *bitrate > 0)
    }

    /// False if the event must not go on.
    fn event_came(&self, element: &RtspSink2, event: &gst::Event) -> bool {
        match event.view() {
            gst::EventView::Caps(caps) => {
                let caps = caps.caps_owned();
                self.plug(element, &caps)
                    .inspect_err(|reason| {
                        gst::element_error!(element, gst::CoreError::Negotiation, ("{reason}"));
                    })
                    .is_ok()
            }
            gst::EventView::Eos(_) if self.target().is_none() => {
                // It ends without ever having begun; its sink has to know.
                element.imp().stream_ended_unseen(self);
                if let Some(stream) = self.stream() {
                    let _ = self.set_target(Some(&stream.sink.pad()));
                }
                true
            }
            _ => true,
        }
    }

    /// Puts what is needed for `caps` before the inner sink, unless it is there.
    fn plug(&self, element: &RtspSink2, caps: &gst::Caps) -> Result<(), String> {
        let Some(stream) = self.stream() else {
            return Ok(());
        };
        if let Some(target) = self.target() {
            if target.query_accept_caps(caps) {
                return Ok(());
            }
            gst::info!(CAT, obj = self, "other caps need other elements: {caps}");
            self.unplug(element);
        }
        let sink = stream.sink.pad();
        if is_rtp(caps) {
            return self.aim(&sink);
        }
        let own = lock(&self.imp().payloader).clone();
        let choice = match own {
            Some(_) => None,
            None => Some(payloader::choose(caps).ok_or_else(|| {
                format!(
                    "Nothing that is installed makes RTP of {caps} (pad {}); set the pad's \
                     `payloader` or send application/x-rtp",
                    self.name()
                )
            })?),
        };
        let (parser, payloader) = make(choice, own)?;
        element.imp().prepare_payloader(self, &payloader)?;
        let elements: Vec<gst::Element> = parser.into_iter().chain([payloader.clone()]).collect();
        *lock(&self.imp().chain) = Chain {
            elements: elements.clone(),
            payloader: Some(payloader.clone()),
        };
        let plugged = (|| {
            element
                .add_many(&elements)
                .map_err(|error| error.to_string())?;
            gst::Element::link_many(&elements).map_err(|error| error.to_string())?;
            let src = payloader
                .static_pad("src")
                .ok_or("a payloader without `src`")?;
            src.link(&sink).map_err(|error| error.to_string())?;
            element.emit_by_name::<()>("new-payloader", &[&payloader]);
            for element in elements.iter().rev() {
                element
                    .sync_state_with_parent()
                    .map_err(|error| error.to_string())?;
            }
            let first = elements.first().and_then(|first| first.static_pad("sink"));
            self.aim(&first.ok_or("an element without `sink`")?)
        })();
        gst::debug!(
            CAT,
            obj = self,
            "{caps} goes through {elements:?}: {plugged:?}"
        );
        plugged.inspect_err(|_| self.unplug(element))
    }

    fn aim(&self, target: &gst::Pad) -> Result<(), String> {
        self.set_target(Some(target))
            .map_err(|error| error.to_string())
    }

    /// Takes out what [`plug`](Self::plug) has put in.
    pub(super) fn unplug(&self, element: &RtspSink2) {
        let chain = std::mem::take(&mut *lock(&self.imp().chain));
        let _ = self.set_target(None::<&gst::Pad>);
        for part in &chain.elements {
            // A state change of the bin may be under way.
            part.set_locked_state(true);
            let _ = part.set_state(gst::State::Null);
            let _ = element.remove(part);
            part.set_locked_state(false);
        }
        if let Some(stream) = self.stream() {
            let pad = stream.sink.pad();
            if let Some(peer) = pad.peer() {
                let _ = peer.unlink(&pad);
            }
        }
    }

    /// Answers for what is not there yet; false leaves it to the default.
    fn answer(&self, query: &mut gst::QueryRef) -> bool {
        if self.target().is_some() {
            return false;
        }
        let accepted = || match &*lock(&self.imp().payloader) {
            Some(payloader) => payloader
                .static_pad("sink")
                .map(|pad| pad.query_caps(None))
                .unwrap_or_else(gst::Caps::new_any),
            None => payloader::accepted(),
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
            // What nothing payloads is refused with an error that says so.
            gst::QueryViewMut::AcceptCaps(query) => {
                query.set_result(true);
                true
            }
            _ => false,
        }
    }
}

fn is_rtp(caps: &gst::Caps) -> bool {
    caps.structure(0)
        .is_some_and(|s| s.name() == "application/x-rtp")
}

/// Parser and payloader.
fn make(
    choice: Option<Choice>,
    own: Option<gst::Element>,
) -> Result<(Option<gst::Element>, gst::Element), String> {
    let create = |factory: &gst::ElementFactory| {
        let element = factory.create().build();
        element.map_err(|error| format!("{}: {error}", factory.name()))
    };
    let Some(choice) = choice else {
        let payloader = own.ok_or("no payloader")?;
        return Ok((None, payloader));
    };
    let parser = choice.parser.as_ref().map(create).transpose()?;
    let payloader = create(&choice.payloader)?;
    // Whoever joins later needs the parameter sets; so does a server that
    // reads nothing but the stream.
    set_if_there(
        parser.as_ref().unwrap_or(&payloader),
        "config-interval",
        -1i32,
    );
    Ok((parser, payloader))
}

mod imp {
    use super::*;

    #[derive(Default)]
    pub struct RtspSink2Pad {
        pub(super) stream: Mutex<Option<Stream>>,
        /// The application's.
        pub(super) payloader: Mutex<Option<gst::Element>>,
        pub(super) chain: Mutex<Chain>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for RtspSink2Pad {
        const NAME: &'static str = "GstRtsp2SinkPad";
        type Type = super::RtspSink2Pad;
        type ParentType = gst::GhostPad;
    }

    impl ObjectImpl for RtspSink2Pad {
        fn properties() -> &'static [glib::ParamSpec] {
            static PROPERTIES: Lazy<Vec<glib::ParamSpec>> = Lazy::new(|| {
                vec![
                    glib::ParamSpecObject::builder::<gst::Element>("payloader")
                        .nick("Payloader")
                        .blurb(
                            "The payloader element to use (NULL = default automatically selected)",
                        )
                        .build(),
                ]
            });
            &PROPERTIES
        }

        fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
            match (pspec.name(), value.get()) {
                ("payloader", Ok(payloader)) => *lock(&self.payloader) = payloader,
                (name, _) => gst::error!(CAT, imp = self, "{name} is not settable"),
            }
        }

        fn property(&self, _id: usize, _pspec: &glib::ParamSpec) -> glib::Value {
            // The one in use if the application has set none.
            let own = lock(&self.payloader).clone();
            own.or_else(|| lock(&self.chain).payloader.clone())
                .to_value()
        }
    }

    impl GstObjectImpl for RtspSink2Pad {}
    impl PadImpl for RtspSink2Pad {}
    impl ProxyPadImpl for RtspSink2Pad {}
    impl GhostPadImpl for RtspSink2Pad {}
}
