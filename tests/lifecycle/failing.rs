//! Elements that fail to connect, one after the other.

use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpListener, TcpStream};
use std::time::Duration;

use gst::prelude::*;

use crate::held::{Held, alone, memory};
use crate::support;
use crate::support::mini::free_address;
use crate::{SOON, limit, rounds};

/// How a server fails.
const WAYS: [&str; 4] = ["refuses", "hangs up", "is no RTSP server", "knows nothing"];

/// Serves until the process ends; keeps nothing of what was.
fn serve(way: &'static str) -> SocketAddrV4 {
    let address = free_address();
    if way == "refuses" {
        return address;
    }
    let listener = TcpListener::bind(address).expect("our address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = answer(stream, way);
        }
    });
    address
}

fn answer(mut stream: TcpStream, way: &str) -> std::io::Result<()> {
    if way == "hangs up" {
        return Ok(());
    }
    stream.set_read_timeout(Some(SOON))?;
    let mut request = [0; 4096];
    loop {
        let length = stream.read(&mut request)?;
        if length == 0 {
            return Ok(());
        }
        let request = String::from_utf8_lossy(&request[..length]);
        let cseq = request.lines().find(|line| line.starts_with("CSeq"));
        let status = match way {
            "is no RTSP server" => "HTTP/1.1 400 Bad Request".to_owned(),
            _ => format!("RTSP/1.0 404 Not Found\r\n{}", cseq.unwrap_or_default()),
        };
        stream.write_all(format!("{status}\r\n\r\n").as_bytes())?;
        if way == "is no RTSP server" {
            return Ok(());
        }
    }
}

/// One element from its making to its end.
fn fail(address: SocketAddrV4, way: &str) {
    let src = gst::ElementFactory::make("rtspsrc2")
        .property("location", format!("rtsp://{address}/live"))
        .property("tcp-timeout", 20_000_000u64)
        .build()
        .expect("rtspsrc2");
    let pipeline = gst::Pipeline::new();
    pipeline.add(&src).expect("an empty pipeline");
    let _ = pipeline.set_state(gst::State::Playing);
    let bus = pipeline.bus().expect("a bus");
    let error = bus.timed_pop_filtered(
        Some(gst::ClockTime::from_seconds(20)),
        &[gst::MessageType::Error],
    );
    assert!(error.is_some(), "a server that {way} is an error");
    pipeline.set_state(gst::State::Null).expect("NULL");
}

#[test]
fn failing_again_and_again_costs_no_memory() {
    // A process starts at most 100 connections a second.
    let rounds = rounds(2_000, 100_000);
    let name = "failing::failing_again_and_again_costs_no_memory";
    alone(name, &[], limit(rounds, Duration::from_millis(100)), || {
        support::init();
        let servers = WAYS.map(|way| (way, serve(way)));
        let run = |rounds: usize| {
            for round in 0..rounds {
                let (way, address) = servers[round % WAYS.len()];
                fail(address, way);
            }
        };
        run(400);
        let (before, was) = (Held::now(), memory());
        let grown: Vec<usize> = (0..10)
            .map(|_| {
                run(rounds / 10);
                memory().saturating_sub(was)
            })
            .collect();
        println!("{rounds} rounds, {was} bytes before, and after each tenth: {grown:?} more");
        before.comes_back(SOON);
        let grown = memory().saturating_sub(was);
        // Not even a short string a round, and some for chance.
        assert!(
            grown < 512 * 1024 + rounds * 16,
            "{grown} bytes more than {was}"
        );
    });
}
