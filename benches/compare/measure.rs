//! One row: both elements in turn under the same load.

use std::io::IsTerminal;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::child::{Error, Role};
use crate::client;
use crate::rows::{Row, Target};
use crate::{Options, client_args, server_args};

const START_LIMIT: u64 = 40;
/// "Threads 10 s after the last PLAY".
const SETTLE: Duration = Duration::from_secs(10);

/// What one run of one element gave.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    pub microseconds_per_packet: f64,
    /// Part of one core.
    pub cpu: f64,
    pub threads: f64,
    pub memory_mib: f64,
    pub sent: f64,
    pub lost: f64,
    /// Left out by the server because the client did not read.
    pub skipped: f64,
    /// Bytes that the kernel allows (its own count, twice what was asked for); 0 if unknown.
    pub receive_buffer: f64,
    /// From the server's first packet to the first buffer on a pad.
    pub first_ms: f64,
    pub pads: f64,
    pub errors: f64,
}

/// Samples of the reference and of the tested element; an element that cannot run has the reason.
pub type Results = [Result<Vec<Sample>, String>; 2];

pub fn run(row: &Row, options: &Options) -> Result<Results, Error> {
    let mut results: Results = [Ok(Vec::new()), Ok(Vec::new())];
    for run in 0..options.runs {
        for (element, result) in options.elements().into_iter().zip(&mut results) {
            let Ok(samples) = result else { continue };
            if std::io::stderr().is_terminal() {
                eprint!(
                    "\x1b[K{} {element} run {}/{}\r",
                    row.name,
                    run + 1,
                    options.runs
                );
            }
            match once(row, element, options) {
                Ok(sample) => samples.push(sample),
                Err(error) => *result = Err(error.to_string()),
            }
        }
    }
    if std::io::stderr().is_terminal() {
        eprint!("\x1b[K");
    }
    Ok(results)
}

/// The client of a row against the server at `port`.
pub fn start_client(row: &Row, element: &str, options: &Options, port: u16) -> Result<Role, Error> {
    let config = client::Config {
        element: element.to_owned(),
        plugin: (element == options.tested)
            .then(|| options.plugin.clone())
            .flatten(),
        url: match (row.load.tls, row.load.tunnel) {
            (true, _) => format!("rtsps://127.0.0.1:{port}/load"),
            (false, true) => format!("rtsph://127.0.0.1:{port}/load"),
            (false, false) => format!("rtsp://127.0.0.1:{port}/load"),
        },
        sources: row.sources,
        streams: 1 + u32::from(row.load.audio),
        udp: row.udp,
        latency: row.latency,
        udp_buffer: options.udp_buffer,
        downstream: row.downstream,
    };
    let client = Role::start("client", &client_args(&config))?;
    match client.line()?.as_str() {
        "ready" => Ok(client),
        other => Err(other.into()),
    }
}

/// A load server and its port.
pub fn start_server(row: &Row) -> Result<(Role, u16), Error> {
    let server = Role::start("load-server", &server_args(&row.load))?;
    let line = server.line()?;
    let port = line
        .strip_prefix("port ")
        .ok_or("the server did not say its port")?
        .parse()?;
    Ok((server, port))
}

fn once(row: &Row, element: &str, options: &Options) -> Result<Sample, Error> {
    let (mut server, port) = start_server(row)?;
    let mut client = start_client(row, element, options, port)?;
    client.ask("state playing")?;
    let first = client.ask(&format!("wait-first {START_LIMIT}"))?;
    let playing = Instant::now();
    sleep(options.warm_up);

    let begin = client.ask("mark")?;
    sleep(options.window);
    let end = client.ask("mark")?;
    let receive_buffer = if row.udp {
        receive_buffer(client.id())
    } else {
        0.0
    };
    let threads = if row.targets.iter().any(|t| matches!(t, Target::Threads(_))) {
        sleep(SETTLE.saturating_sub(playing.elapsed()));
        client.ask("mark")?.get::<f64>("threads")?
    } else {
        end.get::<f64>("threads")?
    };

    // Losses are exact: the server ends, what is on its way arrives, both have counted from the first packet on.
    server.ask("stop")?;
    sleep(Duration::from_millis(500 + u64::from(row.latency)));
    let sent = server.ask("stats")?;
    let received = client.ask("mark")?;

    let packets = end.get::<f64>("packets")? - begin.get::<f64>("packets")?;
    let cpu = end.get::<f64>("cpu")? - begin.get::<f64>("cpu")?;
    let time = end.get::<f64>("mono")? - begin.get::<f64>("mono")?;
    if packets <= 0.0 {
        return Err(format!("{element} received nothing").into());
    }
    let total = sent.get::<f64>("packets")?;
    Ok(Sample {
        microseconds_per_packet: cpu / 1e3 / packets,
        cpu: cpu / time,
        threads,
        memory_mib: end.get::<f64>("rss")? / 1024.0,
        sent: total,
        lost: total - received.get::<f64>("packets")?,
        skipped: sent.get::<f64>("skipped")?,
        receive_buffer,
        first_ms: (first.get::<f64>("mono")? - sent.get::<f64>("first")?) / 1e6,
        pads: first.get("pads")?,
        errors: received.get("errors")?,
    })
}

/// The largest receive buffer among the process's UDP sockets, as `ss` shows it.
fn receive_buffer(pid: u32) -> f64 {
    let Ok(output) = Command::new("ss").args(["-Huanmp"]).output() else {
        return 0.0;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let mine = format!("pid={pid},");
    let mut largest = 0.0_f64;
    let mut is_mine = false;
    for line in text.lines() {
        // The memory of a socket is on the line after it, or at its end, by version.
        is_mine = line.contains(&mine) || (is_mine && line.starts_with(char::is_whitespace));
        if is_mine {
            let rb = line
                .split_once(",rb")
                .map(|(_, rest)| rest.split(',').next().unwrap_or(""));
            largest = largest.max(rb.and_then(|v| v.parse().ok()).unwrap_or(0.0));
        }
    }
    largest
}
