//! The measured process of a publishing row: one pipeline with N sinks of one element, fed with ready-made RTP.
//!
//! | command | answer |
//! |---|---|
//! | `playing` | `playing mono=…`: when the last pad had its caps |
//! | `mark` | `mark cpu=… sent=… threads=… rss=… errors=… late_us=… blocked_us=…` |
//!
//! A thread for each pad feeds it frame by frame, as a live source does: a frame is due when it comes, so no sink waits for
//! the clock. `late_us` is the worst delay of a frame since the last mark, `blocked_us` the longest push.
//! rtspclientsink takes ready-made RTP only through a payloader; it gets one that hands the packets on, a frame at a
//! time.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use gst::prelude::*;
use nix::time::{ClockId, clock_gettime};

use crate::load_server::{AccessUnit, monotonic};

type Error = Box<dyn std::error::Error>;

const FPS: u64 = 30;
const KEY_EVERY: u64 = 2 * FPS;
const KEY_RATIO: u64 = 5;
const PAYLOAD_TYPE: u8 = 96;

/// In place of an element: `fakesink` that syncs to the clock, as sinks do.
pub const FEEDER: &str = "feeder";
/// The same behind the payloader that rtspclientsink needs.
pub const FEEDER_WITH_PAYLOADER: &str = "feeder-with-payloader";

#[derive(Clone, Debug)]
pub struct Config {
    pub element: String,
    pub plugin: Option<PathBuf>,
    pub url: String,
    /// Elements, each with `pads` pads.
    pub sinks: u32,
    pub pads: u32,
    pub udp: bool,
    /// Of a pad.
    pub bitrate: u64,
}

#[derive(Default)]
struct Shared {
    sent: AtomicU64,
    errors: AtomicU64,
    shown: AtomicBool,
    late_us: AtomicU64,
    blocked_us: AtomicU64,
    /// When the last pad had its caps.
    caps_at: AtomicU64,
}

pub fn run(config: &Config) -> Result<(), Error> {
    gst::init()?;
    if let Some(file) = &config.plugin {
        gst::Plugin::load_file(file)?;
    }
    let shared = Arc::new(Shared::default());
    let pipeline = gst::Pipeline::new();
    let mut pads = Vec::new();
    for index in 0..config.sinks {
        let (sink, payloads) = match config.element.as_str() {
            FEEDER | FEEDER_WITH_PAYLOADER => (fakesink()?, config.element != FEEDER),
            element => (
                publisher(element, index, config)?,
                element == "rtspclientsink",
            ),
        };
        pipeline.add(&sink)?;
        for _ in 0..config.pads {
            let pad = match sink.static_pad("sink") {
                Some(_) if payloads => {
                    let payloader = glib::Object::new::<passthrough::Payloader>();
                    pipeline.add(&payloader)?;
                    payloader.link(&sink)?;
                    payloader.static_pad("sink").ok_or("no pad")?
                }
                Some(pad) => pad,
                None => sink.request_pad_simple("sink_%u").ok_or("no pad")?,
            };
            if payloads && pad.has_property("payloader") {
                pad.set_property("payloader", glib::Object::new::<passthrough::Payloader>());
            }
            let src = gst::Pad::builder(gst::PadDirection::Src).build();
            src.link(&pad)?;
            pads.push(src);
        }
    }
    let bus = pipeline.bus().ok_or("a pipeline has a bus")?;
    let seen = shared.clone();
    bus.set_sync_handler(move |_, message| {
        if let gst::MessageView::Error(error) = message.view() {
            seen.errors.fetch_add(1, Ordering::Relaxed);
            if !seen.shown.swap(true, Ordering::Relaxed) {
                eprintln!("publisher: {} ({:?})", error.error(), error.debug());
            }
        }
        gst::BusSyncReply::Drop
    });

    say("ready");
    let mut pads = Some(pads);
    for line in std::io::stdin().lock().lines() {
        match line?.trim() {
            "playing" => {
                let pads = pads.take().ok_or("playing already")?;
                pipeline.set_state(gst::State::Playing)?;
                feed(config, &pipeline, pads, &shared);
                say(&format!(
                    "playing mono={}",
                    shared.caps_at.load(Ordering::SeqCst)
                ));
            }
            "mark" => mark(&shared)?,
            other => return Err(format!("unknown command: {other}").into()),
        }
    }
    std::process::exit(0);
}

fn publisher(element: &str, index: u32, config: &Config) -> Result<gst::Element, Error> {
    let sink = gst::ElementFactory::make(element).build()?;
    sink.set_property("location", format!("{}/{index}", config.url));
    sink.set_property_from_str("protocols", if config.udp { "udp" } else { "tcp" });
    Ok(sink)
}

fn fakesink() -> Result<gst::Element, Error> {
    let sink = gst::ElementFactory::make("fakesink");
    Ok(sink.property("sync", true).build()?)
}

/// Starts to feed, a thread for each pad as encoders have one; returns when all pads have their caps.
fn feed(config: &Config, pipeline: &gst::Pipeline, pads: Vec<gst::Pad>, shared: &Arc<Shared>) {
    let ready = Arc::new(Barrier::new(pads.len() + 1));
    let other = config.bitrate / 8 * (KEY_EVERY / FPS) / (KEY_EVERY - 1 + KEY_RATIO);
    let units = Arc::new([
        AccessUnit::key(PAYLOAD_TYPE, (other * KEY_RATIO) as usize),
        AccessUnit::predicted(PAYLOAD_TYPE, other as usize),
    ]);
    for (index, pad) in pads.into_iter().enumerate() {
        let (pipeline, shared, ready, units) = (
            pipeline.clone(),
            shared.clone(),
            ready.clone(),
            units.clone(),
        );
        std::thread::spawn(move || feed_pad(index, &pipeline, &pad, &shared, &ready, &units));
    }
    ready.wait();
}

fn feed_pad(
    index: usize,
    pipeline: &gst::Pipeline,
    pad: &gst::Pad,
    shared: &Shared,
    ready: &Barrier,
    units: &[AccessUnit; 2],
) {
    let (sps, pps) = crate::load_server::parameter_sets_base64();
    let caps = gst::Caps::builder("application/x-rtp")
        .field("media", "video")
        .field("payload", i32::from(PAYLOAD_TYPE))
        .field("clock-rate", 90_000)
        .field("encoding-name", "H264")
        .field("packetization-mode", "1")
        .field("profile-level-id", "42c033")
        .field("sprop-parameter-sets", format!("{sps},{pps}"))
        .build();
    let _ = pad.set_active(true);
    pad.push_event(
        gst::event::StreamStart::builder(&format!("bench/{index}"))
            .group_id(gst::GroupId::next())
            .build(),
    );
    pad.push_event(gst::event::Caps::new(&caps));
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    pad.push_event(gst::event::Segment::new(&segment));
    shared.caps_at.fetch_max(monotonic(), Ordering::SeqCst);
    ready.wait();

    let mut start = Instant::now();
    let mut began = gst::ClockTime::ZERO;
    let mut sequence = 0u16;
    for frame in 0u64.. {
        if frame == 1 {
            // The first one is the preroll.
            (start, began) = playing(pipeline);
        }
        let due = Duration::from_nanos(frame * 1_000_000_000 / FPS);
        std::thread::sleep(due.saturating_sub(start.elapsed()));
        let late = start.elapsed().saturating_sub(due);
        let unit = &units[usize::from(!frame.is_multiple_of(KEY_EVERY))];
        let rtp_time = (frame * 90_000 / FPS) as u32;
        let pts = began + gst::ClockTime::from_nseconds(due.as_nanos() as u64);
        let mut list = gst::BufferList::new_sized(unit.slots.len());
        let packets = list.make_mut();
        for slot in &unit.slots {
            let mut packet = unit.bytes[slot.start..slot.end].to_vec();
            packet[2..4].copy_from_slice(&sequence.to_be_bytes());
            packet[4..8].copy_from_slice(&rtp_time.to_be_bytes());
            packet[8..12].copy_from_slice(&(index as u32 + 1).to_be_bytes());
            sequence = sequence.wrapping_add(1);
            let mut buffer = gst::Buffer::from_mut_slice(packet);
            let buffer_ref = buffer.make_mut();
            buffer_ref.set_pts(pts);
            buffer_ref.set_dts(pts);
            if !frame.is_multiple_of(KEY_EVERY) {
                buffer_ref.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
            packets.add(buffer);
        }
        let count = unit.slots.len() as u64;
        let push = Instant::now();
        if pad.push_list(list).is_err() {
            return;
        }
        shared.sent.fetch_add(count, Ordering::Relaxed);
        let micros = |time: Duration| time.as_micros() as u64;
        shared.late_us.fetch_max(micros(late), Ordering::Relaxed);
        shared
            .blocked_us
            .fetch_max(micros(push.elapsed()), Ordering::Relaxed);
    }
}

/// When the pipeline plays, and its running time then.
fn playing(pipeline: &gst::Pipeline) -> (Instant, gst::ClockTime) {
    loop {
        if let Some(time) = pipeline.current_running_time() {
            return (Instant::now(), time);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn mark(shared: &Shared) -> Result<(), Error> {
    let cpu = Duration::from(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?);
    let status = std::fs::read_to_string("/proc/self/status")?;
    let field = |name: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(name));
        line.and_then(|v| v.split_whitespace().next())
            .unwrap_or("0")
            .to_owned()
    };
    say(&format!(
        "mark cpu={} sent={} threads={} rss={} errors={} late_us={} blocked_us={}",
        cpu.as_nanos(),
        shared.sent.load(Ordering::Relaxed),
        field("Threads:"),
        field("VmRSS:"),
        shared.errors.load(Ordering::Relaxed),
        shared.late_us.swap(0, Ordering::Relaxed),
        shared.blocked_us.swap(0, Ordering::Relaxed),
    ));
    Ok(())
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody to tell means that the parent has gone; stdin's end says so too.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// A payloader for what is payloaded already, the cheapest that rtspclientsink takes.
mod passthrough {
    use std::sync::{Mutex, PoisonError};

    use gst::subclass::prelude::*;
    use gst_rtp::prelude::*;
    use gst_rtp::subclass::prelude::*;
    use once_cell::sync::Lazy;

    #[derive(Default)]
    pub struct Imp {
        frame: Mutex<Option<gst::BufferList>>,
    }

    glib::wrapper! {
        pub struct Payloader(ObjectSubclass<Imp>)
            @extends gst_rtp::RTPBasePayload, gst::Element, gst::Object;
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Imp {
        const NAME: &'static str = "BenchPassthroughPay";
        type Type = Payloader;
        type ParentType = gst_rtp::RTPBasePayload;
    }

    impl ObjectImpl for Imp {}
    impl GstObjectImpl for Imp {}

    impl ElementImpl for Imp {
        fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
            static METADATA: Lazy<gst::subclass::ElementMetadata> = Lazy::new(|| {
                gst::subclass::ElementMetadata::new(
                    "RTP passthrough",
                    "Codec/Payloader/Network/RTP",
                    "Hands on",
                    "the bench",
                )
            });
            Some(&METADATA)
        }

        fn pad_templates() -> &'static [gst::PadTemplate] {
            static TEMPLATES: Lazy<Vec<gst::PadTemplate>> = Lazy::new(|| {
                let caps = gst::Caps::builder("application/x-rtp").build();
                [
                    ("sink", gst::PadDirection::Sink),
                    ("src", gst::PadDirection::Src),
                ]
                .into_iter()
                .filter_map(|(name, direction)| {
                    gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps).ok()
                })
                .collect()
            });
            &TEMPLATES
        }
    }

    impl RTPBasePayloadImpl for Imp {
        fn set_caps(&self, caps: &gst::Caps) -> Result<(), gst::LoggableError> {
            let failed = || gst::loggable_error!(gst::CAT_RUST, "caps");
            self.obj().set_options("video", true, "H264", 90_000);
            let structure = caps.structure(0).ok_or_else(failed)?;
            let fields: gst::Structure = structure
                .iter()
                .filter(|(name, _)| {
                    [
                        "packetization-mode",
                        "profile-level-id",
                        "sprop-parameter-sets",
                    ]
                    .contains(&name.as_str())
                })
                .fold(
                    gst::Structure::new_empty("fmtp"),
                    |mut fields, (name, value)| {
                        fields.set_value(name.as_str(), value.clone());
                        fields
                    },
                );
            self.obj().set_outcaps(Some(&fields)).map_err(|_| failed())
        }

        fn handle_buffer(
            &self,
            mut buffer: gst::Buffer,
        ) -> Result<gst::FlowSuccess, gst::FlowError> {
            // The base class writes into it, and the list that it came in holds it as well.
            buffer.make_mut();
            let last = {
                let mut header = [0; 2];
                buffer.copy_to_slice(0, &mut header).is_ok() && header[1] & 0x80 != 0
            };
            let mut frame = self.frame.lock().unwrap_or_else(PoisonError::into_inner);
            frame
                .get_or_insert_with(gst::BufferList::new)
                .make_mut()
                .add(buffer);
            match frame.take_if(|_| last) {
                Some(list) => {
                    drop(frame);
                    self.obj().push_list(list)
                }
                None => Ok(gst::FlowSuccess::Ok),
            }
        }
    }
}
