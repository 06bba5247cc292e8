//! What is measured, and what it has to reach.

use crate::client::Downstream;
use crate::load_server;

/// A load: what the server sends and how the client takes it.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: &'static str,
    pub sources: u32,
    pub udp: bool,
    pub latency: u32,
    pub downstream: Downstream,
    pub load: load_server::Config,
    pub targets: Vec<Target>,
}

#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// CPU per packet, as a part of rtspsrc's.
    Cpu(f64),
    /// Threads of the process, as a part of rtspsrc's.
    ThreadRatio(f64),
    /// Threads of the process beyond the number of cores.
    Threads(u64),
    /// Resident memory, as a part of rtspsrc's.
    Memory(f64),
    /// No packet lost, if the socket buffer is 1 MiB or more.
    NoLoss,
}

fn load(mbit: u64, fps: u32, key_ratio: u32, audio: bool) -> load_server::Config {
    load_server::Config {
        bitrate: mbit * 1_000_000,
        fps,
        key_ratio,
        audio,
        secured: false,
        silent: false,
        tls: false,
        tunnel: false,
    }
}

fn tcp(name: &'static str, sources: u32, mbit: u64, targets: &[Target]) -> Row {
    let (load, targets) = (load(mbit, 30, 5, false), targets.to_vec());
    Row {
        name,
        sources,
        udp: false,
        latency: 200,
        downstream: Downstream::Fakesink,
        load,
        targets,
    }
}

fn parse(row: Row, name: &'static str) -> Row {
    Row {
        name,
        downstream: Downstream::Parse,
        targets: vec![Target::Cpu(0.5)],
        ..row
    }
}

fn udp(name: &'static str, row: Row, targets: &[Target]) -> Row {
    Row {
        name,
        udp: true,
        targets: targets.to_vec(),
        ..row
    }
}

fn tls(name: &'static str, row: Row) -> Row {
    let targets = vec![Target::Cpu(0.5)];
    let load = load_server::Config {
        tls: true,
        ..row.load
    };
    Row {
        name,
        load,
        targets,
        ..row
    }
}

fn tunnel(name: &'static str, row: Row) -> Row {
    let targets = vec![Target::Cpu(0.5)];
    let load = load_server::Config {
        tunnel: true,
        ..row.load
    };
    Row {
        name,
        load,
        targets,
        ..row
    }
}

/// The loads of `make bench`, in the order of its table.
pub fn rows() -> Vec<Row> {
    use Target::{Cpu, Memory, NoLoss, ThreadRatio, Threads};
    let one_20 = tcp("tcp-1x20", 1, 20, &[Cpu(0.25)]);
    let one_200 = tcp("tcp-1x200", 1, 200, &[Cpu(0.25)]);
    let fifty = tcp("tcp-50x2", 50, 2, &[Cpu(0.25)]);
    let many = tcp("tcp-200x1", 200, 1, &[Cpu(1.0 / 3.0), Memory(1.0)]);
    let both = Row {
        load: load(2, 30, 5, true),
        ..tcp("tcp-100x2+audio", 100, 2, &[Cpu(0.5), ThreadRatio(0.5)])
    };
    // Equal bursts: a larger key frame would be the one that decides.
    let bursts = Row {
        load: load(200, 60, 1, false),
        ..one_200.clone()
    };
    let pairs = Row {
        load: load(1, 30, 5, true),
        ..tcp("threads-200x2", 200, 1, &[Threads(16)])
    };
    let blocking = Row {
        downstream: Downstream::Blocking,
        targets: vec![Threads(16 + 2 * 200)],
        name: "threads-blocking",
        ..pairs.clone()
    };
    let secured = Row {
        name: "tcp-1x20-srtp",
        load: load_server::Config {
            secured: true,
            ..load(20, 30, 5, false)
        },
        targets: vec![Cpu(0.5)],
        ..one_20.clone()
    };
    vec![
        udp("udp-1x20-srtp", secured.clone(), &[Cpu(0.5)]),
        secured,
        parse(one_20.clone(), "tcp-1x20-parse"),
        parse(one_200.clone(), "tcp-1x200-parse"),
        parse(fifty.clone(), "tcp-50x2-parse"),
        parse(many.clone(), "tcp-200x1-parse"),
        tls("tls-1x20", one_20.clone()),
        tunnel("http-tunnel-1x20", one_20.clone()),
        udp("udp-1x20", one_20.clone(), &[Cpu(0.5)]),
        udp("udp-50x2", fifty.clone(), &[Cpu(0.5)]),
        udp("udp-1x200", bursts.clone(), &[Cpu(0.5), NoLoss]),
        Row {
            latency: 2000,
            ..udp("udp-1x200-2000ms", bursts, &[Cpu(0.5), NoLoss])
        },
        one_20,
        one_200,
        fifty,
        many,
        both,
        pairs,
        blocking,
    ]
}
