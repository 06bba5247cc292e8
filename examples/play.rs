//! Plays an RTSP location for a while and says how well that went.
//!
//! ```sh
//! cargo run --example play -- rtsp://camera/stream --duration 10
//! ```
//!
//! The figures come from the element's `stats` property; with an element that has none
//! (`--element rtspsrc`) the packets are counted at its pads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use gst::prelude::*;

type Error = Box<dyn std::error::Error>;

const HELP: &str = "\
usage: play URL [--element NAME] [--duration SECONDS] [--protocols tcp+udp] [--latency MS]
            [--user-id NAME --user-pw PASSWORD] [--plugin FILE] [--window]
  --window    show the video and play the sound instead of decoding to nothing";

struct Options {
    url: String,
    element: String,
    duration: Duration,
    properties: Vec<(&'static str, String)>,
    plugin: Option<String>,
    window: bool,
}

/// What one source pad delivered.
struct PadCounter {
    codec: String,
    packets: AtomicU64,
    bytes: AtomicU64,
}

#[derive(Default)]
struct Observed {
    first_packet: OnceLock<Duration>,
    first_frame: OnceLock<Duration>,
    pads: Mutex<BTreeMap<String, Arc<PadCounter>>>,
}

fn main() -> Result<(), Error> {
    let Some(options) = options()? else {
        println!("{HELP}");
        return Ok(());
    };
    gst::init()?;
    if let Some(file) = &options.plugin {
        gst::Plugin::load_file(file)?;
    }
    let source = gst::ElementFactory::make(&options.element).build()?;
    source.set_property("location", &options.url);
    for (name, value) in &options.properties {
        source.set_property_from_str(name, value);
    }
    let pipeline = gst::Pipeline::new();
    pipeline.add(&source)?;

    let observed = Arc::new(Observed::default());
    let start = Instant::now();
    let (weak, seen, window) = (pipeline.downgrade(), observed.clone(), options.window);
    source.connect_pad_added(move |_, pad| {
        let Some(pipeline) = weak.upgrade() else {
            return;
        };
        count(pad, &seen, start);
        if let Err(error) = decode(&pipeline, pad, &seen, start, window) {
            eprintln!("cannot play {}: {error}", pad.name());
        }
    });

    pipeline.set_state(gst::State::Playing)?;
    let result = wait(&pipeline, options.duration);
    let played = start.elapsed();
    report(&options, &source, &observed, played);
    pipeline.set_state(gst::State::Null)?;
    result?;
    if observed.first_frame.get().is_none() {
        return Err("no frame was decoded".into());
    }
    Ok(())
}

fn options() -> Result<Option<Options>, Error> {
    let mut options = Options {
        url: String::new(),
        element: "rtspsrc2".to_owned(),
        duration: Duration::from_secs(10),
        properties: vec![("latency", "200".to_owned())],
        plugin: None,
        window: false,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--element" => options.element = value()?,
            "--duration" => options.duration = Duration::from_secs_f64(value()?.parse()?),
            "--protocols" => options.properties.push(("protocols", value()?)),
            "--latency" => options.properties.push(("latency", value()?)),
            "--user-id" => options.properties.push(("user-id", value()?)),
            "--user-pw" => options.properties.push(("user-pw", value()?)),
            "--plugin" => options.plugin = Some(value()?),
            "--window" => options.window = true,
            _ if arg.starts_with("--") => return Ok(None),
            _ => options.url.clone_from(&arg),
        }
    }
    Ok((!options.url.is_empty()).then_some(options))
}

fn count(pad: &gst::Pad, observed: &Arc<Observed>, start: Instant) {
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    let field = |name: &str| caps.structure(0)?.get::<String>(name).ok();
    let counter = Arc::new(PadCounter {
        codec: field("encoding-name")
            .or_else(|| field("media"))
            .unwrap_or_default(),
        packets: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
    });
    let mut pads = observed.pads.lock().unwrap_or_else(PoisonError::into_inner);
    pads.insert(pad.name().to_string(), counter.clone());
    let seen = observed.clone();
    pad.add_probe(
        gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST,
        move |_, info| {
            let (packets, bytes) = match &info.data {
                Some(gst::PadProbeData::Buffer(buffer)) => (1, buffer.size()),
                Some(gst::PadProbeData::BufferList(list)) => (list.len(), list.calculate_size()),
                _ => (0, 0),
            };
            seen.first_packet.get_or_init(|| start.elapsed());
            counter.packets.fetch_add(packets as u64, Ordering::Relaxed);
            counter.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            gst::PadProbeReturn::Ok
        },
    );
}

/// Decodes what comes out of `pad`, into a window and loudspeakers or into nothing.
fn decode(
    pipeline: &gst::Pipeline,
    pad: &gst::Pad,
    observed: &Arc<Observed>,
    start: Instant,
    window: bool,
) -> Result<(), Error> {
    let decodebin = gst::ElementFactory::make("decodebin").build()?;
    let (weak, seen) = (pipeline.downgrade(), observed.clone());
    decodebin.connect_pad_added(move |_, pad| {
        let Some(pipeline) = weak.upgrade() else {
            return;
        };
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let video = caps
            .structure(0)
            .is_some_and(|s| s.name().starts_with("video/"));
        let audio = caps
            .structure(0)
            .is_some_and(|s| s.name().starts_with("audio/"));
        if video {
            let seen = seen.clone();
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                seen.first_frame.get_or_init(|| start.elapsed());
                gst::PadProbeReturn::Remove
            });
        }
        let chain = match (window, video, audio) {
            (true, true, _) => "queue ! videoconvert ! autovideosink",
            (true, _, true) => "queue ! audioconvert ! audioresample ! autoaudiosink",
            _ => "fakesink sync=false async=false",
        };
        if let Err(error) = append(&pipeline, pad, chain) {
            eprintln!("cannot show {}: {error}", pad.name());
        }
    });
    pipeline.add(&decodebin)?;
    decodebin.sync_state_with_parent()?;
    pad.link(
        &decodebin
            .static_pad("sink")
            .ok_or("decodebin has a sink pad")?,
    )?;
    Ok(())
}

fn append(pipeline: &gst::Pipeline, pad: &gst::Pad, chain: &str) -> Result<(), Error> {
    let bin = gst::parse::bin_from_description(chain, true)?;
    pipeline.add(&bin)?;
    bin.sync_state_with_parent()?;
    pad.link(&bin.static_pad("sink").ok_or("the chain has a sink pad")?)?;
    Ok(())
}

/// Until the time is over, the stream ends, or an error.
fn wait(pipeline: &gst::Pipeline, duration: Duration) -> Result<(), Error> {
    let bus = pipeline.bus().ok_or("a pipeline has a bus")?;
    let end = Instant::now() + duration;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let time = gst::ClockTime::try_from(left).unwrap_or(gst::ClockTime::ZERO);
        let kinds = [
            gst::MessageType::Error,
            gst::MessageType::Eos,
            gst::MessageType::Latency,
        ];
        let Some(message) = bus.timed_pop_filtered(time, &kinds) else {
            return Ok(());
        };
        match message.view() {
            gst::MessageView::Error(error) => {
                let details = error.debug().unwrap_or_default();
                return Err(format!("{}\n{details}", error.error()).into());
            }
            gst::MessageView::Latency(_) => pipeline.recalculate_latency()?,
            _ => return Ok(()),
        }
    }
}

fn report(options: &Options, source: &gst::Element, observed: &Observed, played: Duration) {
    let time = |at: &OnceLock<Duration>| match at.get() {
        Some(at) => format!("{:.0} ms", at.as_secs_f64() * 1e3),
        None => "none".to_owned(),
    };
    println!("element              {}", options.element);
    println!("played for           {:.1} s", played.as_secs_f64());
    println!("time to first packet {}", time(&observed.first_packet));
    println!("time to first frame  {}", time(&observed.first_frame));
    let has_stats = source
        .find_property("stats")
        .is_some_and(|p| p.value_type() == gst::Structure::static_type());
    let stats = has_stats
        .then(|| source.property::<Option<gst::Structure>>("stats"))
        .flatten();
    if let Some(stats) = &stats {
        for name in ["server", "transport", "state", "reconnects"] {
            if let Some(value) = text(stats, name) {
                println!("{name:<20} {value}");
            }
        }
    }
    println!(
        "{:<10} {:<14} {:>9} {:>12} {:>6} {:>10} {:>6} {:>10} {:>9}",
        "stream", "codec", "packets", "kbit/s", "lost", "reordered", "late", "duplicate", "jitter"
    );
    let streams = stats.as_ref().map(streams).unwrap_or_default();
    let pads = observed.pads.lock().unwrap_or_else(PoisonError::into_inner);
    for (name, pad) in pads.iter() {
        let stream = streams
            .iter()
            .find(|s| s.get::<String>("name").is_ok_and(|n| n == *name));
        let of = |field: &str| {
            stream
                .and_then(|stream| text(stream, field))
                .unwrap_or_else(|| "-".to_owned())
        };
        let packets = match of("packets") {
            unknown if unknown == "-" => pad.packets.load(Ordering::Relaxed).to_string(),
            known => known,
        };
        let jitter = stream.and_then(|s| s.get::<u64>("jitter").ok());
        // From the first packet on: the time to connect is not the stream's.
        let flowing = played.saturating_sub(observed.first_packet.get().copied().unwrap_or(played));
        let bits = pad.bytes.load(Ordering::Relaxed) as f64 * 8.0;
        println!(
            "{name:<10} {:<14} {packets:>9} {:>12.1} {:>6} {:>10} {:>6} {:>10} {:>9}",
            pad.codec,
            bits / 1e3 / flowing.as_secs_f64().max(1e-3),
            of("lost"),
            of("reordered"),
            of("late"),
            of("duplicate"),
            jitter.map_or_else(|| "-".to_owned(), |j| format!("{:.2} ms", j as f64 / 1e6)),
        );
    }
}

/// The structures of the field `streams`.
fn streams(stats: &gst::Structure) -> Vec<gst::Structure> {
    let Ok(list) = stats.get::<gst::List>("streams") else {
        return Vec::new();
    };
    list.iter()
        .filter_map(|value| value.get::<gst::Structure>().ok())
        .collect()
}

/// A field as text, without the type that GStreamer would write before it.
fn text(structure: &gst::StructureRef, name: &str) -> Option<String> {
    let value = structure.value(name).ok()?;
    if let Ok(text) = value.get::<String>() {
        return Some(text);
    }
    value.serialize().ok().map(|s| s.to_string())
}
