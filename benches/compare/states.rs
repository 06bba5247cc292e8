//! State changes while the server is silent, hung or gone, and the first buffer's delay.

use std::thread::sleep;
use std::time::Duration;

use crate::Options;
use crate::child::{Error, Role};
use crate::client::Downstream;
use crate::load_server;
use crate::measure::{start_client, start_server};
use crate::report::{Verdicts, median};
use crate::rows::Row;

pub const NAMES: [&str; 7] = [
    "first-buffer-200ms",
    "first-buffer-2000ms",
    "state-silent",
    "state-hung",
    "state-gone",
    "null-200-hung",
    "start-tls",
];
const START_LIMIT: u64 = 40;
const FIRST_MS: f64 = 5.0;
const STATE_MS: f64 = 50.0;
/// The default `teardown-timeout` of both elements.
const TEARDOWN_MS: f64 = 100.0;
const NULL_200_MS: f64 = 300.0;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Server {
    Silent,
    Hung,
    Gone,
}

pub fn run(options: &Options, verdicts: &mut Verdicts) -> Result<(), Error> {
    for (name, latency) in [(NAMES[0], 200), (NAMES[1], 2000)] {
        if options.wants(name) {
            let limit = |_: &str| FIRST_MS;
            each(name, options, verdicts, limit, |e| {
                first_buffer(e, latency, options)
            });
        }
    }
    for (name, server) in [
        (NAMES[2], Server::Silent),
        (NAMES[3], Server::Hung),
        (NAMES[4], Server::Gone),
    ] {
        if options.wants(name) {
            let limit = |step: &str| {
                if step == "READY→NULL" {
                    STATE_MS + TEARDOWN_MS
                } else {
                    STATE_MS
                }
            };
            each(name, options, verdicts, limit, |e| {
                changes(e, server, options)
            });
        }
    }
    if options.wants(NAMES[5]) {
        let limit = |_: &str| NULL_200_MS;
        each(NAMES[5], options, verdicts, limit, |e| all_down(e, options));
    }
    if options.wants(NAMES[6]) {
        start_tls(options, verdicts);
    }
    Ok(())
}

type Steps = Vec<(String, f64)>;

/// Runs a case for both elements and prints the median of each step against its limit.
fn each(
    name: &str,
    options: &Options,
    verdicts: &mut Verdicts,
    limit: impl Fn(&str) -> f64,
    mut case: impl FnMut(&str) -> Result<Steps, Error>,
) {
    println!("\n{name}");
    for element in options.elements() {
        let mut runs: Vec<Steps> = Vec::new();
        for _ in 0..options.runs {
            match case(element) {
                Ok(steps) => runs.push(steps),
                Err(error) => println!("  {element:<10} cannot run: {error}"),
            }
            if runs.is_empty() {
                break;
            }
        }
        let names: Vec<String> = runs
            .first()
            .map(|s| s.iter().map(|(n, _)| n.clone()).collect())
            .unwrap_or_default();
        let mut within = !names.is_empty();
        let mut shown = Vec::new();
        for step in &names {
            let values = runs
                .iter()
                .flatten()
                .filter(|(n, _)| n == step)
                .map(|(_, v)| *v)
                .collect();
            let value = median(values);
            within &= value < limit(step);
            shown.push(format!("{step} {value:.1} ms"));
        }
        println!("  {element:<10} {}", shown.join(", "));
        if element == options.tested {
            let limits: Vec<_> = names.iter().map(|s| format!("{:.0}", limit(s))).collect();
            verdicts.add(name, &format!("under {} ms", limits.join("/")), within);
        }
    }
}

fn row(sources: u32, latency: u32, silent: bool) -> Row {
    let load = load_server::Config {
        bitrate: 1_000_000,
        fps: 30,
        key_ratio: 5,
        audio: false,
        secured: false,
        silent,
        tls: false,
        tunnel: false,
    };
    let downstream = Downstream::Fakesink;
    Row {
        name: "",
        sources,
        udp: false,
        latency,
        downstream,
        load,
        targets: Vec::new(),
    }
}

fn first_buffer(element: &str, latency: u32, options: &Options) -> Result<Steps, Error> {
    let row = row(1, latency, false);
    let (mut server, port) = start_server(&row)?;
    let mut client = start_client(&row, element, options, port)?;
    client.ask("state playing")?;
    let first: f64 = client.ask("wait-first 10")?.get("mono")?;
    if first == 0.0 {
        return Err("no buffer".into());
    }
    let sent: f64 = server.ask("stats")?.get("first")?;
    Ok(vec![("first buffer".to_owned(), (first - sent) / 1e6)])
}

/// From PLAYING to the first buffer, TLS handshake included; not slower than the reference.
fn start_tls(options: &Options, verdicts: &mut Verdicts) {
    println!("\n{}", NAMES[6]);
    let mut medians = Vec::new();
    for element in options.elements() {
        let runs: Result<Vec<f64>, Error> = (0..options.runs)
            .map(|_| first_frame(element, options))
            .collect();
        match runs {
            Ok(values) => {
                let value = median(values);
                println!("  {element:<10} PLAYING to first buffer {value:.1} ms");
                medians.push(value);
            }
            Err(error) => println!("  {element:<10} cannot run: {error}"),
        }
    }
    let met = matches!(medians[..], [reference, tested] if tested <= reference);
    verdicts.add(NAMES[6], "at most the reference's", met);
}

fn first_frame(element: &str, options: &Options) -> Result<f64, Error> {
    let mut row = row(1, 200, false);
    row.load.tls = true;
    let (_server, port) = start_server(&row)?;
    let mut client = start_client(&row, element, options, port)?;
    let begin: f64 = client.ask("mark")?.get("mono")?;
    client.ask("state playing")?;
    let first: f64 = client.ask("wait-first 10")?.get("mono")?;
    match first == 0.0 {
        true => Err("no buffer".into()),
        false => Ok((first - begin) / 1e6),
    }
}

/// Every state change up and down while the server does not answer.
fn changes(element: &str, kind: Server, options: &Options) -> Result<Steps, Error> {
    let row = row(1, 200, kind == Server::Silent);
    let (mut server, port) = start_server(&row)?;
    let mut client = start_client(&row, element, options, port)?;
    let mut steps = Vec::new();
    let mut step = |client: &mut Role, to: &str, name: &str| -> Result<(), Error> {
        steps.push((
            name.to_owned(),
            client.ask(&format!("state {to}"))?.get("ms")?,
        ));
        sleep(Duration::from_millis(300));
        Ok(())
    };
    step(&mut client, "ready", "NULL→READY")?;
    step(&mut client, "paused", "READY→PAUSED")?;
    step(&mut client, "playing", "PAUSED→PLAYING")?;
    if kind != Server::Silent {
        client.ask("wait-first 10")?;
    }
    match kind {
        Server::Silent => {}
        Server::Hung => server.freeze()?,
        Server::Gone => server.end(),
    }
    sleep(Duration::from_millis(300));
    step(&mut client, "paused", "PLAYING→PAUSED")?;
    step(&mut client, "ready", "PAUSED→READY")?;
    step(&mut client, "null", "READY→NULL")?;
    Ok(steps)
}

fn all_down(element: &str, options: &Options) -> Result<Steps, Error> {
    let row = row(200, 200, false);
    let (server, port) = start_server(&row)?;
    let mut client = start_client(&row, element, options, port)?;
    client.ask("state playing")?;
    let pads: u32 = client
        .ask(&format!("wait-first {START_LIMIT}"))?
        .get("pads")?;
    if pads < row.sources {
        return Err(format!("only {pads} of {} play", row.sources).into());
    }
    server.freeze()?;
    sleep(Duration::from_millis(300));
    let down = client.ask("state null")?.get("ms")?;
    Ok(vec![("PLAYING→NULL".to_owned(), down)])
}
