//! The source pads of `rtspsrc2`: their queries and upstream events.

use std::sync::{Mutex, PoisonError};

use gst::prelude::*;
use gst::subclass::prelude::*;

use super::RtspSrc2;
use super::imp;
use crate::session::{CAT, Session};

pub(super) fn new(element: &RtspSrc2, name: &str) -> Option<gst::Pad> {
    let template = element.pad_template("stream_%u")?;
    let pad = gst::Pad::builder_from_template(&template)
        .name(name)
        .query_function(|pad, parent, request| {
            imp::RtspSrc2::catch_panic_pad_function(
                parent,
                || false,
                |src| query(src, request) || gst::Pad::query_default(pad, parent, request),
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

pub(super) fn query(src: &imp::RtspSrc2, query: &mut gst::QueryRef) -> bool {
    use gst::QueryViewMut::*;
    match query.view_mut() {
        Latency(query) => {
            query.set(true, src.latency(), gst::ClockTime::NONE);
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
        Seeking(query) => {
            let format = query.format();
            query.set(
                false,
                gst::GenericFormattedValue::none_for_format(format),
                gst::GenericFormattedValue::none_for_format(format),
            );
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
        gst::EventView::Seek(_) => {
            gst::debug!(CAT, "a live stream does not seek");
            false
        }
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
