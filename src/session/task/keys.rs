//! The keys of secured media, and what is done with them.

use std::time::Instant;

use super::*;
use crate::caps;
use crate::rtp::srtp::{Inbound, Outbound};
use crate::session::keys;
use crate::session::publish::lane::Lane;
use crate::session::publish::protection::StreamKeys;

/// Both directions of a stream that is secured.
pub(super) struct Secured {
    pub inbound: Inbound,
    pub outbound: Outbound,
    /// Source of what we send.
    pub ssrc: u32,
}

impl Task {
    /// Asks the application for keys; else they are made here.
    pub(super) fn need_keys(&mut self, media: usize, usage: KeyUse) {
        let host = self.host.clone();
        let index = u32::try_from(media).unwrap_or(u32::MAX);
        let asked = self
            .foreign
            .ask(move || (media, usage, host.media_keys(index, usage)));
        if let Some(attempt) = &mut self.attempt {
            attempt.keying = Some(asked);
        }
    }

    pub(super) fn keyed(
        &mut self,
        media: usize,
        usage: KeyUse,
        caps: Option<gst::Caps>,
        now: Instant,
    ) {
        let ssrc: u32 = rand::random();
        let talks = self.is_backchannel(media);
        let given = caps.map(|caps| caps::keys(&caps));
        if let Some(Err(why)) = &given {
            gst::warning!(CAT, "the keys given for media {media} are not used: {why}");
        }
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        let source = match usage {
            // What comes from the application has a source of its own.
            KeyUse::Own if talks => 0,
            KeyUse::Own => ssrc,
            // That of the server, or any.
            KeyUse::Both => attempt
                .sdp
                .as_ref()
                .and_then(|sdp| sdp.media.iter().find(|m| m.index == media))
                .and_then(|media| Some(media.ssrc_attributes().next()?.ssrc))
                .unwrap_or(0),
        };
        let keys = match given {
            Some(Ok(mut keys)) => {
                // What we send begins at 0.
                if keys.rollovers.is_empty() || usage == KeyUse::Own {
                    keys.rollovers = vec![(source, 0)];
                }
                Some(keys)
            }
            Some(Err(_)) => None,
            None => keys::random(&[source], usage == KeyUse::Both),
        };
        if let Some(keys) = &keys {
            attempt.keys.insert(media, (ssrc, keys.clone()));
        }
        attempt.client.set_keys(media, keys.map(keys::own), now);
    }

    /// What goes to a back channel is encrypted if the media is. False: its keys cannot be used.
    pub(super) fn protect(&mut self, media: usize, lane: &Lane, server: Option<Keys>) -> bool {
        let Some(server) = server else {
            return lane.protect(None);
        };
        let own = self.attempt.as_mut().and_then(|a| a.keys.remove(&media));
        own.is_some_and(|(_, own)| {
            let server = Some(server);
            lane.protect(Some(StreamKeys { own, server }))
        })
    }

    /// With the server's keys and ours. Ours go with the path that is opened: no other one may count
    /// from the start under them.
    pub(super) fn secure(&mut self, media: usize, keys: Keys) -> Option<Secured> {
        let (ssrc, own) = self.attempt.as_mut()?.keys.remove(&media)?;
        Some(Secured {
            inbound: Inbound::new(keys)?,
            outbound: Outbound::new(own)?,
            ssrc,
        })
    }
}
