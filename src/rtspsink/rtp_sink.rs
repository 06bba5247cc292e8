//! The end of one stream: syncs to the clock and hands RTP to the session.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use glib::subclass::prelude::*;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::prelude::*;
use once_cell::sync::Lazy;

use super::gate::Gate;
use super::{CAT, RtspSink2, lock};
use crate::session::{Closed, RtpPacket, StreamSender};

glib::wrapper! {
    /// The sink inside of `rtspsink2` that has one stream.
    pub struct RtpSink(ObjectSubclass<imp::RtpSink>)
        @extends gst_base::BaseSink, gst::Element, gst::Object;
}

impl RtpSink {
    pub(super) fn new(stream: u32) -> Self {
        let sink: Self = glib::Object::builder()
            .property("name", format!("rtpsink{stream}"))
            .build();
        sink.imp().stream.store(stream, Ordering::Release);
        sink
    }

    pub(super) fn stream(&self) -> u32 {
        self.imp().stream.load(Ordering::Acquire)
    }

    /// The pad that RTP comes to.
    pub(super) fn pad(&self) -> gst::Pad {
        self.upcast_ref::<gst_base::BaseSink>().sink_pad().clone()
    }

    /// Whether what comes is from a live source.
    pub(super) fn is_live(&self) -> bool {
        let mut query = gst::query::Latency::new();
        self.pad().peer_query(&mut query) && query.result().0
    }

    /// Asks upstream for a key frame.
    pub(super) fn force_key_unit(&self, all_headers: bool, count: u32) {
        let structure = gst::Structure::builder("GstForceKeyUnit")
            .field("running-time", gst::ClockTime::NONE)
            .field("all-headers", all_headers)
            .field("count", count)
            .build();
        let sent = self
            .pad()
            .push_event(gst::event::CustomUpstream::new(structure));
        gst::debug!(CAT, obj = self, "asked for a key frame, taken: {sent}");
    }
}

mod imp {
    use super::*;

    #[derive(Default)]
    pub struct RtpSink {
        pub(super) stream: AtomicU32,
        way: Mutex<Way>,
        gate: Mutex<Option<Arc<Gate>>>,
        /// The gate was open: it need not be looked at again.
        passed: AtomicBool,
        /// A state change or a flush wants the streaming thread back.
        called_off: AtomicBool,
        probe: Mutex<Option<gst::PadProbeId>>,
    }

    #[derive(Default)]
    struct Way {
        sender: Option<StreamSender>,
        segment: Option<gst::FormattedSegment<gst::ClockTime>>,
    }

    impl RtpSink {
        fn element(&self) -> Option<RtspSink2> {
            self.obj().parent().and_downcast()
        }

        /// Before each start: where packets go, and what holds the first of them.
        fn begin(&self) {
            let element = self.element();
            let way_in = element.and_then(|element| element.imp().way_in(self.obj().stream()));
            let Some((sender, gate)) = way_in else {
                return;
            };
            *lock(&self.way) = Way {
                sender: Some(sender),
                segment: None,
            };
            *lock(&self.gate) = Some(gate);
            self.passed.store(false, Ordering::Release);
            self.bypass();
        }

        fn end(&self) {
            *lock(&self.way) = Way::default();
            lock(&self.gate).take();
            if let Some(probe) = lock(&self.probe).take() {
                self.obj().pad().remove_probe(probe);
            }
        }

        fn send<'a>(
            &self,
            buffers: impl Iterator<Item = &'a gst::BufferRef>,
        ) -> Result<gst::FlowSuccess, gst::FlowError> {
            let way = lock(&self.way);
            let Some(sender) = &way.sender else {
                return Err(gst::FlowError::Flushing);
            };
            let packets = buffers.map(|buffer| RtpPacket {
                buffer,
                running_time: way.segment.as_ref().and_then(|segment| {
                    segment.to_running_time(buffer.pts().or_else(|| buffer.dts()))
                }),
            });
            match sender.push(packets) {
                Ok(()) => Ok(gst::FlowSuccess::Ok),
                Err(Closed::Stopped) => Err(gst::FlowError::Flushing),
                Err(Closed::Failed) => Err(gst::FlowError::Error),
            }
        }

        /// Holds the first buffer until the server is ready, so that nothing of a
        /// file's start is lost.
        fn hold(&self) -> Result<gst::FlowSuccess, gst::FlowError> {
            if self.passed.load(Ordering::Acquire) {
                return Ok(gst::FlowSuccess::Ok);
            }
            let Some(gate) = lock(&self.gate).clone() else {
                return Err(gst::FlowError::Flushing);
            };
            if !gate.wait(&self.called_off) {
                return Err(gst::FlowError::Flushing);
            }
            self.passed.store(true, Ordering::Release);
            Ok(gst::FlowSuccess::Ok)
        }

        /// A live source must not be held: what it sends before the server is
        /// ready goes to the queue of the session, past the preroll.
        fn bypass(&self) {
            let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
            let live = Mutex::new(None);
            let weak = self.obj().downgrade();
            let probe = self.obj().pad().add_probe(kinds, move |_, info| {
                let Some(sink) = weak.upgrade() else {
                    return gst::PadProbeReturn::Remove;
                };
                let imp = sink.imp();
                let open = lock(&imp.gate).as_ref().is_none_or(|gate| gate.is_open());
                let live = *lock(&live).get_or_insert_with(|| sink.is_live());
                if open || !live {
                    lock(&imp.probe).take();
                    return gst::PadProbeReturn::Remove;
                }
                // That nothing is taken any more upstream hears of in another way: with a flow that is no success GStreamer
                // releases the data once more.
                let _ = match &info.data {
                    Some(gst::PadProbeData::Buffer(buffer)) => {
                        imp.send(std::iter::once(buffer.as_ref()))
                    }
                    Some(gst::PadProbeData::BufferList(list)) => imp.send(list.iter()),
                    _ => return gst::PadProbeReturn::Ok,
                };
                gst::PadProbeReturn::Handled
            });
            *lock(&self.probe) = probe;
        }
    }

    #[glib::object_subclass]
    impl ObjectSubclass for RtpSink {
        const NAME: &'static str = "GstRtsp2RtpSink";
        type Type = super::RtpSink;
        type ParentType = gst_base::BaseSink;
    }

    impl ObjectImpl for RtpSink {
        fn constructed(&self) {
            self.parent_constructed();
            let sink = self.obj();
            // What comes late is sent late; a queue follows.
            sink.set_max_lateness(-1);
            sink.set_qos(false);
            sink.set_enable_last_sample(false);
            sink.set_processing_deadline(gst::ClockTime::ZERO);
            // With B-frames the first DTS lies before the segment.
            sink.set_drop_out_of_segment(false);
        }
    }

    impl GstObjectImpl for RtpSink {}

    impl ElementImpl for RtpSink {
        fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
            static METADATA: Lazy<gst::subclass::ElementMetadata> = Lazy::new(|| {
                gst::subclass::ElementMetadata::new(
                    "RTP stream of an RTSP sink",
                    "Sink/Network/RTP",
                    "Hands the packets of one stream to the session of rtspsink2",
                    "The gst-plugin-rtsp2 developers",
                )
            });
            Some(&METADATA)
        }

        fn pad_templates() -> &'static [gst::PadTemplate] {
            static TEMPLATES: Lazy<Vec<gst::PadTemplate>> = Lazy::new(|| {
                let caps = gst::Caps::new_empty_simple("application/x-rtp");
                gst::PadTemplate::new(
                    "sink",
                    gst::PadDirection::Sink,
                    gst::PadPresence::Always,
                    &caps,
                )
                .into_iter()
                .collect()
            });
            &TEMPLATES
        }

        fn change_state(
            &self,
            transition: gst::StateChange,
        ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
            if transition == gst::StateChange::ReadyToPaused {
                self.begin();
            }
            let result = self.parent_change_state(transition);
            if transition == gst::StateChange::PausedToReady {
                self.end();
            }
            result
        }
    }

    impl BaseSinkImpl for RtpSink {
        fn prepare(&self, _buffer: &gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
            self.hold()
        }

        fn prepare_list(
            &self,
            _list: &gst::BufferList,
        ) -> Result<gst::FlowSuccess, gst::FlowError> {
            self.hold()
        }

        fn render(&self, buffer: &gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
            self.send(std::iter::once(buffer.as_ref()))
        }

        fn render_list(&self, list: &gst::BufferList) -> Result<gst::FlowSuccess, gst::FlowError> {
            self.send(list.iter())
        }

        fn set_caps(&self, caps: &gst::Caps) -> Result<(), gst::LoggableError> {
            let Some(element) = self.element() else {
                return Ok(());
            };
            element
                .imp()
                .stream_caps(self.obj().stream(), caps)
                .map_err(|reason| gst::loggable_error!(CAT, "{reason}"))
        }

        fn event(&self, event: gst::Event) -> bool {
            match event.view() {
                gst::EventView::Segment(segment) => {
                    let segment = segment.segment().downcast_ref::<gst::ClockTime>();
                    lock(&self.way).segment = segment.cloned();
                }
                gst::EventView::FlushStop(_) => {
                    lock(&self.way).segment = None;
                    if let Some(element) = self.element() {
                        element.imp().stream_flushed(self.obj().stream());
                    }
                }
                _ => {}
            }
            self.parent_event(event)
        }

        fn unlock(&self) -> Result<(), gst::ErrorMessage> {
            self.called_off.store(true, Ordering::Release);
            if let Some(gate) = lock(&self.gate).clone() {
                gate.wake();
            }
            Ok(())
        }

        fn unlock_stop(&self) -> Result<(), gst::ErrorMessage> {
            self.called_off.store(false, Ordering::Release);
            Ok(())
        }
    }
}
