//! The element, as its session sees it. All of it runs on the element's thread
//! for foreign code.

use std::sync::Arc;

use gst::prelude::*;
use gst::subclass::prelude::*;

use super::gate::Gate;
use super::{CAT, RtspSink2};
use crate::session::{CertificateHost, PublishHost, Review, Reviewed};
use crate::{settings, signals};

pub(super) struct ElementHost {
    pub element: glib::WeakRef<RtspSink2>,
    /// Of the start that the session belongs to.
    pub gate: Arc<Gate>,
}

/// What is tried when the network takes no larger packets: the least MTU of
/// IPv6 without headers, then that of IPv4 (RFC 8200 §5, RFC 791 §3.2).
const SMALLER: &[u32] = &[1_200, 528];

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

impl PublishHost for ElementHost {
    fn element(&self) -> Option<gst::Element> {
        self.element.upgrade().map(|element| element.upcast())
    }

    fn ready(&self) {
        self.gate.open();
        if let Some(element) = self.element.upgrade() {
            element.imp().session_is_ready();
        }
    }

    fn force_key_unit(&self, stream: u32, all_headers: bool, count: u32) {
        let pad = self.element.upgrade().and_then(|e| e.imp().pad(stream));
        if let Some(stream) = pad.and_then(|pad| pad.stream()) {
            stream.sink.force_key_unit(all_headers, count);
        }
    }

    fn sent_all(&self, stream: u32) {
        if let Some(element) = self.element.upgrade() {
            element.imp().all_is_sent(stream);
        }
    }

    fn packet_too_large(&self, stream: u32, size: usize) {
        let Some(element) = self.element.upgrade() else {
            return;
        };
        let Some(pad) = element.imp().pad(stream) else {
            return;
        };
        let payloader = pad.payloader().filter(|payloader| {
            payloader
                .find_property("mtu")
                .is_some_and(|pspec| pspec.value_type() == u32::static_type())
        });
        let limit = u32::try_from(size).unwrap_or(u32::MAX);
        let made = payloader.as_ref().map(|p| p.property::<u32>("mtu"));
        if made.is_some_and(|mtu| mtu < limit) {
            // Made before it was lowered.
            return;
        }
        let smaller = payloader.and_then(|payloader| {
            let limit = limit.min(payloader.property::<u32>("mtu"));
            let mtu = SMALLER.iter().find(|mtu| **mtu < limit)?;
            Some((payloader, *mtu))
        });
        match smaller {
            Some((payloader, mtu)) => {
                gst::info!(
                    CAT,
                    obj = pad,
                    "the network takes no {size} bytes, mtu = {mtu}"
                );
                payloader.set_property("mtu", mtu);
            }
            None => gst::element_warning!(
                element,
                gst::ResourceError::Write,
                (
                    "The network takes no packets of {size} bytes ({}): set a smaller `mtu` where \
                     they are made",
                    pad.name()
                )
            ),
        }
    }

    fn estimated_bitrate(&self, _bits_per_second: u64, limited: bool) {
        if let Some(element) = self.element.upgrade() {
            element.imp().bitrate_is(limited);
        }
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
