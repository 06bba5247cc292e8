//! What reads bytes of the network, without sockets: floor 1 and `caps.rs`. The rest of the plugin
//! would have to be built with the fuzzer's counters for nothing.
#![forbid(unsafe_code)]

#[path = "../../src"]
mod plugin {
    pub mod caps;
    pub mod rtp;
    pub mod rtsp;
}

// Where they look for each other.
pub use plugin::{caps, rtp, rtsp};

/// Reads numbers off the fuzzer's bytes; all are 0 after the end.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    pub fn u32(&mut self) -> u32 {
        u32::from(self.u16()) << 16 | u32::from(self.u16())
    }

    /// Up to `count` bytes.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }
}
