//! `make bench`: rtspsrc and rtspsrc2 in turn, each in its own process, against one load server; and rtspclientsink and
//! rtspsink2 against one recording server.
//!
//! Both elements get the same load, the same `latency` and the same `udp-buffer-size`. Only the client's process is
//! measured. Runs alternate, and the median counts. See `--help` for the options.

#[path = "../load_server/mod.rs"]
mod load_server;

mod child;
mod client;
mod measure;
mod publish;
mod publisher;
mod recorder;
mod report;
mod rows;
mod states;

use std::path::PathBuf;
use std::time::Duration;

use child::Error;
use client::Downstream;

const HELP: &str = "\
usage: compare [--quick] [--list] [--row NAME]... [--elements A,B] [--plugin FILE]
               [--runs N] [--window SECONDS] [--udp-buffer-size BYTES]
  --quick            one run of 3 s per row instead of the median of 5 runs of 5 s
  --row NAME         only rows whose name contains NAME
  --elements A,B     the reference and the element under test (rtspsrc,rtspsrc2)
  --plugin FILE      the plugin under test (libgstrtsp2.so beside this program, else GST_PLUGIN_PATH)";

/// How the rows are run.
pub struct Options {
    pub reference: String,
    pub tested: String,
    pub plugin: Option<PathBuf>,
    pub runs: u32,
    pub warm_up: Duration,
    pub window: Duration,
    pub udp_buffer: i32,
    pub filters: Vec<String>,
}

impl Options {
    pub fn wants(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|f| name.contains(f.as_str()))
    }

    pub fn elements(&self) -> [&str; 2] {
        [&self.reference, &self.tested]
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.first().map(String::as_str) {
        Some("load-server") => server(&args[1..]),
        Some("client") => client(&args[1..]),
        Some("recorder") => recorder::run().map_err(Error::from),
        Some("publisher") => publish::publisher(&args[1..]),
        _ => compare(&args),
    };
    if let Err(error) = result {
        eprintln!("compare: {error}");
        std::process::exit(1);
    }
}

fn compare(args: &[String]) -> Result<(), Error> {
    let Some(options) = options(args)? else {
        return Ok(());
    };
    report::head(&options);
    let mut verdicts = report::Verdicts::default();
    for row in rows::rows().iter().filter(|r| options.wants(r.name)) {
        let results = measure::run(row, &options)?;
        report::row(row, &options, &results, &mut verdicts);
    }
    states::run(&options, &mut verdicts)?;
    publish::run(&options, &mut verdicts)?;
    verdicts.print();
    Ok(())
}

fn options(args: &[String]) -> Result<Option<Options>, Error> {
    let mut options = Options {
        reference: "rtspsrc".to_owned(),
        tested: "rtspsrc2".to_owned(),
        plugin: built_plugin(),
        runs: 5,
        warm_up: Duration::from_secs(2),
        window: Duration::from_secs(5),
        udp_buffer: 512 << 10,
        filters: Vec::new(),
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--quick" => (options.runs, options.window) = (1, Duration::from_secs(3)),
            "--row" => options.filters.push(value()?.clone()),
            "--runs" => options.runs = value()?.parse::<u32>()?.max(1),
            "--window" => options.window = Duration::from_secs(value()?.parse::<u64>()?.max(1)),
            "--udp-buffer-size" => options.udp_buffer = value()?.parse()?,
            "--plugin" => options.plugin = Some(value()?.into()),
            "--elements" => {
                let (a, b) = value()?.split_once(',').ok_or("--elements A,B")?;
                (options.reference, options.tested) = (a.to_owned(), b.to_owned());
            }
            "--list" => {
                rows::rows().iter().for_each(|r| println!("{}", r.name));
                states::NAMES.iter().for_each(|n| println!("{n}"));
                publish::names().for_each(|n| println!("{n}"));
                return Ok(None);
            }
            // What `cargo bench` passes to every bench program.
            "--bench" => {}
            _ => {
                println!("{HELP}");
                return Ok(None);
            }
        }
    }
    Ok(Some(options))
}

/// The plugin that cargo built with this program.
fn built_plugin() -> Option<PathBuf> {
    let exe = std::env::current_exe().ok()?;
    let name = "libgstrtsp2.so";
    let candidates = exe.ancestors().skip(1).take(2).map(|dir| dir.join(name));
    candidates.into_iter().find(|file| file.exists())
}

/// Arguments of the load server: `bitrate fps key_ratio audio secured silent tls tunnel`.
pub fn server_args(config: &load_server::Config) -> Vec<String> {
    vec![
        config.bitrate.to_string(),
        config.fps.to_string(),
        config.key_ratio.to_string(),
        config.audio.to_string(),
        config.secured.to_string(),
        config.silent.to_string(),
        config.tls.to_string(),
        config.tunnel.to_string(),
    ]
}

fn server(args: &[String]) -> Result<(), Error> {
    let [bitrate, fps, key_ratio, audio, secured, silent, tls, tunnel] = args else {
        return Err("load-server BITRATE FPS KEY-RATIO AUDIO SECURED SILENT TLS TUNNEL".into());
    };
    Ok(load_server::run(load_server::Config {
        bitrate: bitrate.parse()?,
        fps: fps.parse()?,
        key_ratio: key_ratio.parse()?,
        audio: audio.parse()?,
        secured: secured.parse()?,
        silent: silent.parse()?,
        tls: tls.parse()?,
        tunnel: tunnel.parse()?,
    })?)
}

/// Arguments of the client: `element plugin url sources streams udp latency udp-buffer downstream`.
pub fn client_args(config: &client::Config) -> Vec<String> {
    let plugin = config
        .plugin
        .as_ref()
        .map(|p| p.display().to_string())
        .unwrap_or_default();
    vec![
        config.element.clone(),
        plugin,
        config.url.clone(),
        config.sources.to_string(),
        config.streams.to_string(),
        config.udp.to_string(),
        config.latency.to_string(),
        config.udp_buffer.to_string(),
        format!("{:?}", config.downstream),
    ]
}

fn client(args: &[String]) -> Result<(), Error> {
    let [
        element,
        plugin,
        url,
        sources,
        streams,
        udp,
        latency,
        udp_buffer,
        downstream,
    ] = args
    else {
        return Err(
            "client ELEMENT PLUGIN URL SOURCES STREAMS UDP LATENCY UDP-BUFFER DOWNSTREAM".into(),
        );
    };
    client::run(&client::Config {
        element: element.clone(),
        plugin: (!plugin.is_empty()).then(|| PathBuf::from(plugin)),
        url: url.clone(),
        sources: sources.parse()?,
        streams: streams.parse()?,
        udp: udp.parse()?,
        latency: latency.parse()?,
        udp_buffer: udp_buffer.parse()?,
        downstream: match downstream.as_str() {
            "Fakesink" => Downstream::Fakesink,
            "Parse" => Downstream::Parse,
            "Blocking" => Downstream::Blocking,
            other => return Err(format!("unknown downstream: {other}").into()),
        },
    })
}
