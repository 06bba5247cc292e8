//! The measured process: one pipeline with N sources of one element, driven over stdin.
//!
//! | command | answer |
//! |---|---|
//! | `state NAME` | `state ms=… result=…` |
//! | `wait-first SECONDS` | `first pads=… mono=…`: all pads have had a buffer, and when the first did |
//! | `mark` | `mark cpu=… packets=… threads=… rss=… pads=… errors=…` |
//!
//! Both elements are measured in the same way: one pad probe that counts. Nothing else runs here.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gst::prelude::*;
use nix::time::{ClockId, clock_gettime};

use crate::load_server::monotonic;

/// What follows a source pad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Downstream {
    Fakesink,
    /// `rtph264depay ! h264parse ! fakesink` for video, `fakesink` for the rest.
    Parse,
    /// Every buffer holds its streaming thread for 20 ms.
    Blocking,
}

#[derive(Clone, Debug)]
pub struct Config {
    pub element: String,
    pub plugin: Option<PathBuf>,
    pub url: String,
    pub sources: u32,
    /// Pads of a source.
    pub streams: u32,
    pub udp: bool,
    pub latency: u32,
    pub udp_buffer: i32,
    pub downstream: Downstream,
}

/// One pad's packets and its first moment; a cache line of its own, so that pads do not disturb each other.
#[derive(Default)]
#[repr(align(64))]
struct PadCounter {
    packets: AtomicU64,
    first: AtomicU64,
}

#[derive(Default)]
struct Shared {
    pads: Mutex<Vec<Arc<PadCounter>>>,
    errors: AtomicU64,
    shown: AtomicBool,
}

impl Shared {
    fn pads(&self) -> Vec<Arc<PadCounter>> {
        self.pads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

pub fn run(config: &Config) -> Result<(), Box<dyn std::error::Error>> {
    gst::init()?;
    if let Some(file) = &config.plugin {
        gst::Plugin::load_file(file)?;
    }
    let shared = Arc::new(Shared::default());
    let pipeline = gst::Pipeline::new();
    for _ in 0..config.sources {
        pipeline.add(&source(config, &pipeline, &shared)?)?;
    }
    let bus = pipeline.bus().ok_or("a pipeline has a bus")?;
    let seen = shared.clone();
    bus.set_sync_handler(move |_, message| {
        if let gst::MessageView::Error(error) = message.view() {
            seen.errors.fetch_add(1, Ordering::Relaxed);
            if !seen.shown.swap(true, Ordering::Relaxed) {
                eprintln!("client: {} ({:?})", error.error(), error.debug());
            }
        }
        gst::BusSyncReply::Drop
    });

    say("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("state"), Some(name)) => set_state(&pipeline, name)?,
            (Some("wait-first"), Some(seconds)) => {
                wait_first(config, &shared, Duration::from_secs(seconds.parse()?));
            }
            (Some("mark"), None) => mark(&shared)?,
            _ => return Err(format!("unknown command: {line}").into()),
        }
    }
    // The parent is done; what shutting down costs has been measured by `state` if it was asked for.
    std::process::exit(0);
}

fn source(
    config: &Config,
    pipeline: &gst::Pipeline,
    shared: &Arc<Shared>,
) -> Result<gst::Element, Box<dyn std::error::Error>> {
    let source = gst::ElementFactory::make(&config.element).build()?;
    source.set_property("location", &config.url);
    source.set_property_from_str("protocols", if config.udp { "udp" } else { "tcp" });
    if config.url.starts_with("rtsps") {
        // The certificate is of the server's own making.
        source.set_property_from_str("tls-validation-flags", "0");
    }
    source.set_property("latency", config.latency);
    source.set_property("udp-buffer-size", config.udp_buffer);
    let (pipeline, shared, downstream) = (pipeline.downgrade(), shared.clone(), config.downstream);
    source.connect_pad_added(move |_, pad| {
        let Some(pipeline) = pipeline.upgrade() else {
            return;
        };
        count(pad, &shared);
        if let Err(error) = link(&pipeline, pad, downstream) {
            eprintln!("client: cannot link {}: {error}", pad.name());
        }
    });
    Ok(source)
}

fn count(pad: &gst::Pad, shared: &Shared) {
    let counter = Arc::new(PadCounter::default());
    shared
        .pads
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(counter.clone());
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
    pad.add_probe(kinds, move |_, info| {
        let packets = match &info.data {
            Some(gst::PadProbeData::BufferList(list)) => list.len() as u64,
            _ => 1,
        };
        if counter.packets.fetch_add(packets, Ordering::Relaxed) == 0 {
            counter.first.store(monotonic(), Ordering::Relaxed);
        }
        gst::PadProbeReturn::Ok
    });
}

fn link(
    pipeline: &gst::Pipeline,
    pad: &gst::Pad,
    downstream: Downstream,
) -> Result<(), Box<dyn std::error::Error>> {
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    let video = caps.structure(0).and_then(|s| s.get::<&str>("media").ok()) == Some("video");
    let sink = "fakesink sync=false async=false";
    let chain = match downstream {
        Downstream::Parse if video => format!("rtph264depay ! h264parse ! {sink}"),
        Downstream::Blocking => format!("identity sleep-time=20000 ! {sink}"),
        _ => sink.to_owned(),
    };
    let chain = gst::parse::bin_from_description(&chain, true)?;
    pipeline.add(&chain)?;
    chain.sync_state_with_parent()?;
    pad.link(
        &chain
            .static_pad("sink")
            .ok_or("the chain has no sink pad")?,
    )?;
    Ok(())
}

fn set_state(pipeline: &gst::Pipeline, name: &str) -> Result<(), Box<dyn std::error::Error>> {
    let state = match name {
        "null" => gst::State::Null,
        "ready" => gst::State::Ready,
        "paused" => gst::State::Paused,
        "playing" => gst::State::Playing,
        _ => return Err(format!("unknown state: {name}").into()),
    };
    let start = Instant::now();
    let result = pipeline.set_state(state);
    say(&format!(
        "state ms={:.3} result={result:?}",
        start.elapsed().as_secs_f64() * 1e3
    ));
    Ok(())
}

fn wait_first(config: &Config, shared: &Shared, limit: Duration) {
    let wanted = (config.sources * config.streams) as usize;
    let deadline = Instant::now() + limit;
    let first = || {
        let pads = shared.pads();
        let firsts = pads
            .iter()
            .map(|p| p.first.load(Ordering::Relaxed))
            .filter(|&t| t != 0);
        firsts.collect::<Vec<_>>()
    };
    let mut times = first();
    while times.len() < wanted && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
        times = first();
    }
    let earliest = times.iter().min().copied().unwrap_or(0);
    say(&format!("first pads={} mono={earliest}", times.len()));
}

fn mark(shared: &Shared) -> Result<(), Box<dyn std::error::Error>> {
    // The scheduler's own sum, in nanoseconds; utime and stime would come in ticks of 10 ms.
    let cpu = Duration::from(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?);
    let pads = shared.pads();
    let packets: u64 = pads.iter().map(|p| p.packets.load(Ordering::Relaxed)).sum();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let field = |name: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(name));
        line.and_then(|v| v.split_whitespace().next())
            .unwrap_or("0")
            .to_owned()
    };
    say(&format!(
        "mark cpu={} packets={packets} threads={} rss={} pads={} errors={} mono={}",
        cpu.as_nanos(),
        field("Threads:"),
        field("VmRSS:"),
        pads.len(),
        shared.errors.load(Ordering::Relaxed),
        monotonic(),
    ));
    Ok(())
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody to tell means that the parent has gone; stdin's end says so too.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
