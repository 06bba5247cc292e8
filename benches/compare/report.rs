//! The table.

use crate::Options;
use crate::measure::{Results, Sample};
use crate::rows::{Row, Target};

const MIB: f64 = 1_048_576.0;

/// Targets met and missed by the tested element.
#[derive(Default)]
pub struct Verdicts(Vec<(String, String, bool)>);

impl Verdicts {
    pub fn add(&mut self, row: &str, target: &str, met: bool) {
        self.0.push((row.to_owned(), target.to_owned(), met));
    }

    pub fn print(&self) {
        let met = self.0.iter().filter(|v| v.2).count();
        println!("\ntargets met: {met} of {}", self.0.len());
        for (row, target, _) in self.0.iter().filter(|v| !v.2) {
            println!("  missed: {row}: {target}");
        }
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[half],
        _ => (values[half - 1] + values[half]) / 2.0,
    }
}

pub fn head(options: &Options) {
    println!(
        "{} against {}: median of {} run(s) of {} s each, {} cores, udp-buffer-size={}",
        options.tested,
        options.reference,
        options.runs,
        options.window.as_secs(),
        cores(),
        options.udp_buffer
    );
    if let Some(plugin) = &options.plugin {
        println!("plugin {}", plugin.display());
    }
    println!(
        "{:<18} {:<10} {:>9} {:>7} {:>8} {:>8} {:>9} {:>8} {:>9} {:>9}",
        "load",
        "element",
        "us/packet",
        "cpu %",
        "threads",
        "RSS MiB",
        "sent",
        "lost",
        "rcvbuf",
        "first ms"
    );
}

pub fn row(row: &Row, options: &Options, results: &Results, verdicts: &mut Verdicts) {
    for (element, result) in options.elements().into_iter().zip(results) {
        match result {
            Ok(samples) => line(row, element, samples),
            Err(error) => println!("{:<18} {element:<10} cannot run: {error}", row.name),
        }
    }
    let [Ok(reference), Ok(tested)] = results else {
        row.targets
            .iter()
            .for_each(|t| verdicts.add(row.name, &format!("{t:?}"), false));
        return;
    };
    for target in &row.targets {
        let (text, met) = judge(target, reference, tested);
        println!(
            "{:<18} {} {text}",
            "",
            if met { "met   " } else { "MISSED" }
        );
        verdicts.add(row.name, &text, met);
    }
}

fn line(row: &Row, element: &str, samples: &[Sample]) {
    let of = |f: fn(&Sample) -> f64| median(samples.iter().map(f).collect());
    let buffer = of(|s| s.receive_buffer);
    let buffer = if buffer > 0.0 {
        format!("{:.2} MiB", buffer / MIB)
    } else {
        "-".to_owned()
    };
    // Sessions start at different moments: only a single one has a first packet to compare with.
    let first = of(|s| s.first_ms);
    let first = if row.sources == 1 {
        format!("{first:.1}")
    } else {
        "-".to_owned()
    };
    println!(
        "{:<18} {element:<10} {:>9.2} {:>7.1} {:>8} {:>8.1} {:>9} {:>8} {buffer:>9} {first:>9}",
        row.name,
        of(|s| s.microseconds_per_packet),
        of(|s| s.cpu) * 100.0,
        of(|s| s.threads),
        of(|s| s.memory_mib),
        of(|s| s.sent),
        of(|s| s.lost),
    );
    let wanted = f64::from(row.sources * (1 + u32::from(row.load.audio)));
    let (pads, errors, skipped) = (of(|s| s.pads), of(|s| s.errors), of(|s| s.skipped));
    if pads < wanted || errors > 0.0 || skipped > 0.0 {
        println!(
            "{:<18} note: {pads} of {wanted} pads had media, {errors} errors, {skipped} bursts left out by the server",
            ""
        );
    }
}

fn judge(target: &Target, reference: &[Sample], tested: &[Sample]) -> (String, bool) {
    let of = |samples: &[Sample], f: fn(&Sample) -> f64| median(samples.iter().map(f).collect());
    let ratio = |what: &str, f: fn(&Sample) -> f64, limit: f64| {
        let ratio = of(tested, f) / of(reference, f);
        (
            format!("{what}: {ratio:.3} of the reference's, at most {limit:.3}"),
            ratio <= limit,
        )
    };
    match *target {
        Target::Cpu(limit) => ratio("CPU per packet", |s| s.microseconds_per_packet, limit),
        Target::ThreadRatio(limit) => ratio("threads", |s| s.threads, limit),
        Target::Memory(limit) => ratio("resident memory", |s| s.memory_mib, limit),
        Target::Threads(extra) => {
            let (threads, limit) = (of(tested, |s| s.threads), (cores() + extra) as f64);
            (
                format!("{threads} threads, at most {limit}"),
                threads <= limit,
            )
        }
        Target::NoLoss => {
            let (lost, buffer) = (of(tested, |s| s.lost), of(tested, |s| s.receive_buffer));
            let text = format!(
                "{lost} packets lost, effective SO_RCVBUF {:.2} MiB",
                buffer / MIB
            );
            let small = buffer > 0.0 && buffer < MIB;
            let note = if small {
                " (under 1 MiB: raise net.core.rmem_max)"
            } else {
                ""
            };
            (format!("{text}{note}"), lost == 0.0 || small)
        }
    }
}

fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, |n| n.get() as u64)
}
