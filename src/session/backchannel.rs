//! Media to the server beside what is played (ONVIF Streaming §5.3): the way in for packets.
//!
//! A back channel outlives every attempt, as the lane of a published stream does. While the
//! server does not play, what comes is dropped: nobody wants to hear it later.

use std::sync::atomic::{AtomicBool, Ordering::*};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use super::keyframe::Encoding;
use super::lock::lock;
use super::publish::RtpPacket;
use super::publish::lane::{Lane, Outlet};
use crate::rtp::sender;

/// Speech that is later than this is not worth hearing.
const QUEUE_TIME: Duration = Duration::from_millis(500);

/// What the server takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// Index of the `m=` section.
    pub media: usize,
    /// RTP caps, in the server's order.
    pub formats: Vec<gst::Caps>,
}

impl Offered {
    fn clock_rate(&self, payload_type: u8) -> Option<u32> {
        let format = self.formats.iter().find_map(|caps| {
            let s = caps.structure(0)?;
            (s.get::<i32>("payload") == Ok(payload_type.into())).then_some(s)
        })?;
        u32::try_from(format.get::<i32>("clock-rate").ok()?).ok()
    }
}

/// One back channel of a session.
pub struct Backchannel {
    lane: Arc<Lane>,
    cname: String,
    offered: Mutex<Option<Arc<Offered>>>,
    open: AtomicBool,
    /// Payload type of the packets, whose clock rate the reports go by.
    payload_type: Mutex<Option<u8>>,
    unknown_told: AtomicBool,
}

impl Backchannel {
    fn new(cname: String, look: Arc<Notify>) -> Self {
        let lane = Arc::new(Lane::new(QUEUE_TIME, look));
        lane.disconnect(true);
        Self {
            lane,
            cname,
            offered: Mutex::default(),
            open: AtomicBool::new(false),
            payload_type: Mutex::default(),
            unknown_told: AtomicBool::new(false),
        }
    }

    /// Whether the server takes packets now.
    pub fn is_open(&self) -> bool {
        self.open.load(Acquire)
    }

    /// What the server takes, once it has said so.
    pub fn offered(&self) -> Option<Arc<Offered>> {
        lock(&self.offered).clone()
    }

    /// Sends packets, or drops them where nobody takes them. Waits for nobody.
    pub fn push<'a>(&self, packets: impl IntoIterator<Item = RtpPacket<'a>>) {
        for packet in packets {
            if self.is_open() && self.is_offered(packet.buffer) {
                // A session that has ended takes nothing.
                let _ = self.lane.push([packet]);
            }
        }
    }

    /// Whether the server takes this payload type. Reports follow it.
    fn is_offered(&self, buffer: &gst::BufferRef) -> bool {
        // The lane looks at the rest.
        let mut header = [0; 2];
        if buffer.copy_to_slice(0, &mut header).is_err() {
            return false;
        }
        let [_, payload_type] = header;
        let payload_type = payload_type & 0x7f;
        let mut current = lock(&self.payload_type);
        if *current == Some(payload_type) {
            return true;
        }
        let rate = self
            .offered()
            .and_then(|offered| offered.clock_rate(payload_type));
        let Some(clock_rate) = rate else {
            if !self.unknown_told.swap(true, AcqRel) {
                gst::warning!(
                    super::CAT,
                    "the server takes no payload type {payload_type} on its back channel"
                );
            }
            return false;
        };
        *current = Some(payload_type);
        self.lane.describe(
            Encoding::Other,
            sender::Config {
                clock_rate,
                cname: self.cname.clone(),
                // A microphone's times are what somebody measured.
                exact: false,
                ..sender::Config::default()
            },
            rand::random(),
        );
        true
    }

    pub(super) fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    /// The server says what it takes; another offer than before is described anew.
    pub(super) fn offer(&self, offered: Offered) {
        {
            let mut old = lock(&self.offered);
            if old.as_deref() == Some(&offered) {
                return;
            }
            *old = Some(Arc::new(offered));
        }
        *lock(&self.payload_type) = None;
    }

    /// The server plays: it takes packets as well.
    pub(super) fn open(&self, outlet: Outlet) {
        self.lane.connect(outlet, None);
        self.lane.open();
        self.open.store(true, Release);
    }

    /// It takes none any more.
    pub(super) fn close(&self) {
        self.open.store(false, Release);
        self.lane.disconnect(true);
    }
}

/// The back channels of a session, in the order of the description.
pub(super) struct Backchannels {
    all: Mutex<Vec<Arc<Backchannel>>>,
    /// Of all our sources.
    pub cname: String,
    /// The first packet of one has left: reports are due.
    pub look: Arc<Notify>,
}

impl Backchannels {
    pub fn new(cname: String) -> Self {
        Self {
            all: Mutex::default(),
            cname,
            look: Arc::default(),
        }
    }

    pub fn get(&self, number: usize) -> Option<Arc<Backchannel>> {
        lock(&self.all).get(number).cloned()
    }

    /// That of an `m=` section.
    pub fn of_media(&self, media: usize) -> Option<Arc<Backchannel>> {
        let all = lock(&self.all);
        let of_it = |channel: &&Arc<Backchannel>| {
            channel
                .offered()
                .is_some_and(|offered| offered.media == media)
        };
        all.iter().find(of_it).cloned()
    }

    /// What a description offers; those before are found again by their order.
    pub fn describe(&self, offered: Vec<Offered>) -> Vec<Arc<Backchannel>> {
        let mut all = lock(&self.all);
        while all.len() < offered.len() {
            let channel = Backchannel::new(self.cname.clone(), self.look.clone());
            all.push(Arc::new(channel));
        }
        let described = all.iter().zip(offered);
        described
            .map(|(channel, offered)| {
                channel.offer(offered);
                channel.clone()
            })
            .collect()
    }
}
