//! SRTP of one stream that is published.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

use crate::rtp::srtp::{Inbound, Keys, Outbound};

/// The keys of both directions. A server may give none for its own: its reports cannot be read
/// then.
pub(in crate::session) struct StreamKeys {
    pub own: Keys,
    pub server: Option<Keys>,
}

/// What is done to the packets of a stream on their way.
#[derive(Default)]
pub(super) struct Protection {
    secured: Option<Secured>,
    /// Reports that the server's keys did not protect.
    pub unauthentic: u64,
}

struct Secured {
    own: Keys,
    outbound: Outbound,
    inbound: Option<Inbound>,
}

impl Protection {
    /// From now on. None: the stream is clear. False: the keys cannot be used.
    pub fn set(&mut self, keys: Option<StreamKeys>) -> bool {
        let Some(StreamKeys { own, server }) = keys else {
            self.secured = None;
            return true;
        };
        let outbound = match self.secured.take() {
            // Numbers go on under a key, they never begin anew (RFC 3711 §9.1).
            Some(secured) if secured.own == own => Some(secured.outbound),
            _ => Outbound::new(own.clone()),
        };
        self.secured = outbound.map(|outbound| Secured {
            own,
            outbound,
            inbound: server.and_then(Inbound::new),
        });
        self.secured.is_some()
    }

    pub fn is_on(&self) -> bool {
        self.secured.is_some()
    }

    /// Name of the suite.
    pub fn suite(&self) -> Option<&'static str> {
        let secured = self.secured.as_ref()?;
        Some(secured.own.suite.name())
    }

    /// Octets that a packet needs behind its end.
    pub fn room(&self) -> usize {
        let secured = self.secured.as_ref();
        secured.map_or(0, |secured| secured.own.overhead())
    }

    /// A packet as it leaves; None if it must not.
    pub fn media(&mut self, mut packet: BytesMut) -> Option<Bytes> {
        if let Some(secured) = &mut self.secured {
            secured.outbound.rtp(&mut packet).ok()?;
        }
        Some(packet.freeze())
    }

    /// A report as it leaves.
    pub fn report(&mut self, mut packet: Vec<u8>) -> Option<Vec<u8>> {
        if let Some(secured) = &mut self.secured {
            secured.outbound.rtcp(&mut packet).ok()?;
        }
        Some(packet)
    }

    /// A report that came, in clear; None if it is not to be believed.
    pub fn heard<'a>(&mut self, packet: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        let Some(secured) = &mut self.secured else {
            return Some(Cow::Borrowed(packet));
        };
        let mut packet = packet.to_vec();
        let inbound = secured.inbound.as_mut();
        if inbound.is_some_and(|inbound| inbound.rtcp(&mut packet).is_ok()) {
            return Some(Cow::Owned(packet));
        }
        self.unauthentic = self.unauthentic.saturating_add(1);
        None
    }
}
