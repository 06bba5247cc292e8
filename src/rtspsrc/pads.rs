//! The source pads of `rtspsrc2`: their queries and upstream events.

use std::sync::{Mutex, PoisonError};

use gst::prelude::*;
use gst::subclass::prelude::*;

use super::RtspSrc2;
use super::imp;
use crate::session::{CAT, SeekRequest, Session};

pub(super) fn new(element: &RtspSrc2, name: &str) -> Option<gst::Pad> {
    let template = element.pad_template("stream_%u")?;
    let pad = gst::Pad::builder_from_template(&template)
        .name(name)
        .query_function(|pad, parent, request| {
            imp::RtspSrc2::catch_panic_pad_function(
                parent,
                || false,
                |src| {
                    let name = pad.name();
                    query(src, Some(&name), request)
                        || gst::Pad::query_default(pad, parent, request)
                },
            )
        })
        .event_function(|pad, parent, event| {
            imp::RtspSrc2::catch_panic_pad_function(
                parent,
                || false,
                |src| {
                    src.session()
                        .is_some_and(|session| upstream_event(&session, Some(pad), &event))
                },
            )
        })
        // Nothing but what delivery pushes is ever asked for.
        .flags(gst::PadFlags::FIXED_CAPS)
        .build();
    Some(pad)
}

/// Takes a pad off the element, once: the session and a state change may both
/// want to, and `gst_element_remove_pad()` does not notice. A push under way
/// ends by itself.
pub(super) fn remove(element: &gst::Element, pad: &gst::Pad) {
    static REMOVING: Mutex<Vec<gst::Pad>> = Mutex::new(Vec::new());
    let removing = || REMOVING.lock().unwrap_or_else(PoisonError::into_inner);
    {
        let mut removing = removing();
        if removing.contains(pad) || pad.parent().as_ref() != Some(element.upcast_ref()) {
            return;
        }
        removing.push(pad.clone());
    }
    let _ = pad.set_active(false);
    let _ = element.remove_pad(pad);
    removing().retain(|other| other != pad);
}

pub(super) fn query(src: &imp::RtspSrc2, pad: Option<&str>, query: &mut gst::QueryRef) -> bool {
    use gst::QueryViewMut::*;
    match query.view_mut() {
        Latency(query) => {
            match src.is_live() {
                true => query.set(true, src.latency(), gst::ClockTime::NONE),
                false => query.set(false, gst::ClockTime::ZERO, gst::ClockTime::NONE),
            }
            true
        }
        Duration(query) if query.format() == gst::Format::Time => {
            match src.session().and_then(|session| session.duration()) {
                Some(duration) => {
                    query.set(duration);
                    true
                }
                None => false,
            }
        }
        Position(query) if query.format() == gst::Format::Time => {
            match src.session().and_then(|session| session.position(pad)) {
                Some(position) => {
                    query.set(position);
                    true
                }
                None => false,
            }
        }
        Seeking(query) => {
            let format = query.format();
            let track = src.session().and_then(|session| session.track());
            match track.filter(|_| format == gst::Format::Time) {
                Some(track) => {
                    let ns = |time: Option<u64>| time.map(gst::ClockTime::from_nseconds);
                    query.set(true, ns(track.start), ns(track.end));
                }
                None => query.set(
                    false,
                    gst::GenericFormattedValue::none_for_format(format),
                    gst::GenericFormattedValue::none_for_format(format),
                ),
            }
            true
        }
        Segment(query) => {
            let segment = src.session().and_then(|session| session.segment());
            let Some((rate, start, stop)) = segment else {
                return false;
            };
            query.set(rate, start, stop);
            true
        }
        Scheduling(query) => {
            query.set(gst::SchedulingFlags::SEQUENTIAL, 1, -1, 0);
            query.add_scheduling_modes([gst::PadMode::Push]);
            true
        }
        Uri(query) => {
            query.set_uri(src.location().as_deref());
            true
        }
        _ => false,
    }
}

pub(super) fn upstream_event(
    session: &Session,
    pad: Option<&gst::Pad>,
    event: &gst::EventRef,
) -> bool {
    match event.view() {
        gst::EventView::Seek(seek) => match SeekRequest::of(seek) {
            Some(request) => session.seek(request),
            None => {
                gst::debug!(CAT, "seeks are in TIME");
                false
            }
        },
        gst::EventView::CustomUpstream(event)
            if event
                .structure()
                .is_some_and(|s| s.name() == "GstForceKeyUnit") =>
        {
            session.force_key_unit(pad.map(|pad| pad.name().to_string()));
            true
        }
        gst::EventView::Latency(event) => {
            session.set_pipeline_latency(event.latency().into());
            true
        }
        // QOS, RECONFIGURE, …: there is nothing to do about them here.
        _ => true,
    }
}
