//! Publishing: rtspclientsink and rtspsink2 in turn against one recording server.
//!
//! What feeds them is in the measured process: it makes each packet and pushes it at its time. In the same run the same
//! feeder is measured with `fakesink sync=true` in the element's place, and the CPU rows compare what is left once that is
//! taken off on both sides. Of rtspclientsink the payloader without which it takes no RTP is a part; what that one costs is
//! shown as well.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Options;
use crate::child::{Error, Role};
use crate::publisher;
use crate::report::{Verdicts, median};

const ELEMENTS: [&str; 2] = ["rtspclientsink", "rtspsink2"];
/// What feeds them, alone, and with the payloader that rtspclientsink needs.
const FEEDERS: [&str; 2] = [publisher::FEEDER, publisher::FEEDER_WITH_PAYLOADER];
const START_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);
/// Reaching the server's replies is part of the delay: OPTIONS, ANNOUNCE, SETUP, RECORD on loopback.
const FIRST_MS: f64 = 50.0;
/// A frame interval: a source that is held up for longer misses a frame.
const STALL_MS: f64 = 33.0;
/// How long the server stands still.
const HUNG: Duration = Duration::from_secs(20);
/// What is queued at 8 Mbit/s in `max-queue-time`, and the allocator's share.
const HUNG_MEMORY_MIB: f64 = 4.0;
const THREADS_BESIDE_PADS: f64 = 6.0;

struct Row {
    name: &'static str,
    sinks: u32,
    pads: u32,
    udp: bool,
    mbit: u64,
    kind: Kind,
}

enum Kind {
    /// CPU per packet without what feeding takes, as a part of rtspclientsink's.
    Cpu(f64),
    /// Threads of the element with this many pads.
    Threads,
    /// From the last caps to the first packet at the server.
    First,
    /// The server is stopped while it records.
    Hung,
}

const ROWS: [Row; 8] = [
    row("publish-tcp-1x20", 1, 1, false, 20, Kind::Cpu(1.0 / 3.0)),
    row("publish-tcp-20x2", 20, 1, false, 2, Kind::Cpu(1.0 / 3.0)),
    row("publish-udp-1x20", 1, 1, true, 20, Kind::Cpu(1.0 / 3.0)),
    row("publish-udp-20x2", 20, 1, true, 2, Kind::Cpu(1.0 / 3.0)),
    row("publish-threads-8-pads", 1, 8, false, 1, Kind::Threads),
    row("publish-first-tcp", 1, 2, false, 2, Kind::First),
    row("publish-first-udp", 1, 2, true, 2, Kind::First),
    row("publish-hung-server", 1, 1, false, 8, Kind::Hung),
];

const fn row(name: &'static str, sinks: u32, pads: u32, udp: bool, mbit: u64, kind: Kind) -> Row {
    Row {
        name,
        sinks,
        pads,
        udp,
        mbit,
        kind,
    }
}

pub fn names() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|row| row.name)
}

/// What one run of one element gave.
#[derive(Clone, Debug, Default)]
struct Sample {
    microseconds_per_packet: f64,
    lost: f64,
    threads: f64,
    memory_mib: f64,
    /// Memory that was added while the server stood still.
    growth_mib: f64,
    first_ms: f64,
    late_ms: f64,
    blocked_ms: f64,
    errors: f64,
}

/// Of the reference and of the tested element, or why there are none.
type Samples = [Result<Vec<Sample>, String>; 2];

pub fn run(options: &Options, verdicts: &mut Verdicts) -> Result<(), Error> {
    for row in ROWS.iter().filter(|row| options.wants(row.name)) {
        let mut samples: Samples = [Ok(Vec::new()), Ok(Vec::new())];
        let mut feeders: Samples = [Ok(Vec::new()), Ok(Vec::new())];
        let runs = match row.kind {
            // It takes long and does not scatter.
            Kind::Hung => 1,
            _ => options.runs,
        };
        for _ in 0..runs {
            for (element, samples) in ELEMENTS.iter().zip(&mut samples) {
                let Ok(list) = samples else { continue };
                match once(row, element, options) {
                    Ok(sample) => list.push(sample),
                    Err(error) => *samples = Err(error.to_string()),
                }
            }
            if let Kind::Cpu(_) = row.kind {
                for (feeder, samples) in FEEDERS.iter().zip(&mut feeders) {
                    let Ok(list) = samples else { continue };
                    match feeding(row, feeder, options) {
                        Ok(sample) => list.push(sample),
                        Err(error) => *samples = Err(error.to_string()),
                    }
                }
            }
        }
        println!("\n{}", row.name);
        let feeder = feeders[0].as_deref().unwrap_or_default();
        for (element, samples) in ELEMENTS.iter().zip(&samples) {
            match samples {
                Ok(samples) => line(row, element, samples, feeder),
                Err(error) => println!("  {element:<15} cannot run: {error}"),
            }
        }
        if let [Ok(feeder), Ok(with_payloader)] = &feeders
            && !feeder.is_empty()
        {
            println!(
                "  feeding         {:.2} us/packet, the payloader before rtspclientsink {:.2}",
                own_cpu(feeder, &[]),
                own_cpu(with_payloader, feeder)
            );
        }
        let (text, met) = judge(row, &samples, &feeders);
        println!("  {} {text}", if met { "met   " } else { "MISSED" });
        verdicts.add(row.name, &text, met);
    }
    Ok(())
}

fn of(samples: &[Sample], field: fn(&Sample) -> f64) -> f64 {
    median(samples.iter().map(field).collect())
}

/// CPU per packet of the element alone.
fn own_cpu(samples: &[Sample], feeder: &[Sample]) -> f64 {
    let cpu = |s: &Sample| s.microseconds_per_packet;
    of(samples, cpu)
        - if feeder.is_empty() {
            0.0
        } else {
            of(feeder, cpu)
        }
}

fn line(row: &Row, element: &str, samples: &[Sample], feeder: &[Sample]) {
    let errors = of(samples, |s| s.errors);
    let what = match row.kind {
        Kind::Cpu(_) => format!(
            "{:.2} us/packet ({:.2} with feeding), {} threads, {:.1} MiB, {} lost",
            own_cpu(samples, feeder),
            own_cpu(samples, &[]),
            of(samples, |s| s.threads),
            of(samples, |s| s.memory_mib),
            of(samples, |s| s.lost),
        ),
        Kind::Threads => format!("{} threads", of(samples, |s| s.threads)),
        Kind::First => format!("{:.1} ms", of(samples, |s| s.first_ms)),
        Kind::Hung => format!(
            "worst frame {:.1} ms late, longest push {:.1} ms, memory +{:.1} MiB",
            of(samples, |s| s.late_ms),
            of(samples, |s| s.blocked_ms),
            of(samples, |s| s.growth_mib),
        ),
    };
    println!("  {element:<15} {what}, {errors} errors");
}

fn judge(row: &Row, samples: &Samples, feeders: &Samples) -> (String, bool) {
    let [reference, Ok(tested)] = samples else {
        return ("did not run".to_owned(), false);
    };
    let errors = of(tested, |s| s.errors);
    let (text, met) = match row.kind {
        Kind::Cpu(limit) => {
            let (Ok(reference), [Ok(feeder), _]) = (reference, feeders) else {
                return ("nothing to compare with".to_owned(), false);
            };
            let ratio = own_cpu(tested, feeder) / own_cpu(reference, feeder);
            let text = format!("CPU per packet: {ratio:.3} of the reference's, at most {limit:.3}");
            (text, ratio <= limit)
        }
        Kind::Threads => {
            let limit = f64::from(row.pads) + THREADS_BESIDE_PADS;
            let threads = of(tested, |s| s.threads);
            (
                format!("{threads} threads, at most {limit}"),
                threads <= limit,
            )
        }
        Kind::First => {
            let first = of(tested, |s| s.first_ms);
            (
                format!("{first:.1} ms, at most {FIRST_MS} ms"),
                first <= FIRST_MS,
            )
        }
        Kind::Hung => {
            let (blocked, growth) = (of(tested, |s| s.blocked_ms), of(tested, |s| s.growth_mib));
            let text = format!(
                "longest push {blocked:.1} ms (under {STALL_MS}), memory +{growth:.1} MiB (at most {HUNG_MEMORY_MIB})"
            );
            (text, blocked < STALL_MS && growth <= HUNG_MEMORY_MIB)
        }
    };
    (text, met && errors == 0.0)
}

fn once(row: &Row, element: &str, options: &Options) -> Result<Sample, Error> {
    let mut server = Role::start("recorder", &[])?;
    let port = server.line()?;
    let port = port.strip_prefix("port ").ok_or("no port")?.to_owned();
    let mut client = start(
        row,
        element,
        &format!("rtsp://127.0.0.1:{port}/bench"),
        options,
    )?;
    let idle = client.ask("mark")?.get::<f64>("threads")?;
    let caps_at: f64 = client.ask("playing")?.get("mono")?;
    let deadline = Instant::now() + START_LIMIT;
    let first = loop {
        let stats = server.ask("stats")?;
        let recording: u32 = stats.get("recording")?;
        let first: f64 = stats.get("first")?;
        if first > 0.0 && recording >= row.sinks {
            break first;
        }
        if Instant::now() > deadline {
            return Err("nothing was recorded".into());
        }
        sleep(POLL);
    };
    sleep(options.warm_up);

    let begin = (client.ask("mark")?, server.ask("stats")?);
    match row.kind {
        Kind::Hung => {
            server.freeze()?;
            // The queue is full after its time; what grows from then on is the figure.
            sleep(HUNG / 4);
            let full = client.ask("mark")?.get::<f64>("rss")?;
            sleep(HUNG * 3 / 4);
            let end = client.ask("mark")?;
            return Ok(Sample {
                late_ms: end.get::<f64>("late_us")? / 1e3,
                blocked_ms: end.get::<f64>("blocked_us")? / 1e3,
                growth_mib: (end.get::<f64>("rss")? - full).max(0.0) / 1024.0,
                errors: end.get("errors")?,
                ..Sample::default()
            });
        }
        _ => sleep(options.window),
    }
    let end = (client.ask("mark")?, server.ask("stats")?);
    let packets = end.1.get::<f64>("packets")? - begin.1.get::<f64>("packets")?;
    let sent = end.0.get::<f64>("sent")? - begin.0.get::<f64>("sent")?;
    if packets <= 0.0 {
        return Err("nothing arrived".into());
    }
    let feeders = f64::from(row.sinks * row.pads);
    Ok(Sample {
        microseconds_per_packet: (end.0.get::<f64>("cpu")? - begin.0.get::<f64>("cpu")?)
            / 1e3
            / packets,
        // What is on its way at both marks is the same to a frame.
        lost: (sent - packets).max(0.0),
        threads: end.0.get::<f64>("threads")? - idle - feeders,
        memory_mib: end.0.get::<f64>("rss")? / 1024.0,
        first_ms: (first - caps_at) / 1e6,
        late_ms: end.0.get::<f64>("late_us")? / 1e3,
        blocked_ms: end.0.get::<f64>("blocked_us")? / 1e3,
        errors: end.0.get("errors")?,
        growth_mib: 0.0,
    })
}

/// The CPU that feeding alone takes.
fn feeding(row: &Row, feeder: &str, options: &Options) -> Result<Sample, Error> {
    let mut client = start(row, feeder, "", options)?;
    client.ask("playing")?;
    sleep(options.warm_up);
    let begin = client.ask("mark")?;
    sleep(options.window);
    let end = client.ask("mark")?;
    let between = |field: &str| Ok::<f64, Error>(end.get::<f64>(field)? - begin.get::<f64>(field)?);
    Ok(Sample {
        microseconds_per_packet: between("cpu")? / 1e3 / between("sent")?,
        ..Sample::default()
    })
}

fn start(row: &Row, element: &str, url: &str, options: &Options) -> Result<Role, Error> {
    let config = publisher::Config {
        element: element.to_owned(),
        plugin: (element == ELEMENTS[1])
            .then(|| options.plugin.clone())
            .flatten(),
        url: url.to_owned(),
        sinks: row.sinks,
        pads: row.pads,
        udp: row.udp,
        bitrate: row.mbit * 1_000_000,
    };
    let client = Role::start("publisher", &args(&config))?;
    match client.line()?.as_str() {
        "ready" => Ok(client),
        _ => Err("the publisher did not start".into()),
    }
}

/// Arguments of the publisher: `element plugin url sinks pads udp bitrate`.
fn args(config: &publisher::Config) -> Vec<String> {
    let plugin = config.plugin.as_ref().map(|p| p.display().to_string());
    vec![
        config.element.clone(),
        plugin.unwrap_or_default(),
        config.url.clone(),
        config.sinks.to_string(),
        config.pads.to_string(),
        config.udp.to_string(),
        config.bitrate.to_string(),
    ]
}

/// The role `publisher`.
pub fn publisher(args: &[String]) -> Result<(), Error> {
    let [element, plugin, url, sinks, pads, udp, bitrate] = args else {
        return Err("publisher ELEMENT PLUGIN URL SINKS PADS UDP BITRATE".into());
    };
    publisher::run(&publisher::Config {
        element: element.clone(),
        plugin: (!plugin.is_empty()).then(|| PathBuf::from(plugin)),
        url: url.clone(),
        sinks: sinks.parse()?,
        pads: pads.parse()?,
        udp: udp.parse()?,
        bitrate: bitrate.parse()?,
    })
}
