//! Keys for secured media that this side makes, or that the application gives.

use std::time::SystemTime;

use super::spans::nanos;
use crate::rtp::ntp;
use crate::rtp::srtp::{Keys, MasterKey, Suite};
use crate::rtsp::client::OwnKeys;
use crate::rtsp::mikey::Fresh;

/// From 1900 to 1970 (RFC 868), in seconds.
const UNIX_EPOCH: u64 = 2_208_988_800;

/// What every peer has (RFC 3711 §5).
const SUITE: Suite = Suite::AesCm128Sha1_80;

/// A random key for these sources. `named`: the packets say which key they are protected with, so
/// that another may follow.
pub(super) fn random(sources: &[u32], named: bool) -> Option<Keys> {
    let mut material = zeroize::Zeroizing::new([0u8; 64]);
    rand::fill(material.as_mut_slice());
    let length = SUITE.key_len().saturating_add(SUITE.salt_len());
    let mut master = MasterKey::new(SUITE, material.get(..length)?)?;
    if named {
        master.mki = rand::random::<[u8; 4]>().to_vec();
    }
    let mut keys = Keys::new(SUITE, master);
    keys.rollovers = sources.iter().map(|ssrc| (*ssrc, 0)).collect();
    Some(keys)
}

/// As they are told the server.
pub(super) fn own(keys: Keys) -> OwnKeys {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let since_1900 = since
        .unwrap_or_default()
        .saturating_add(std::time::Duration::from_secs(UNIX_EPOCH));
    let fresh = Fresh {
        bundle: rand::random(),
        rand: rand::random(),
        ntp: ntp::from_nanos(nanos(since_1900)),
    };
    OwnKeys::new(keys, &fresh)
}
