//! A handler of the application that does not return holds up its own element only.

use std::sync::{Arc, Condvar, Mutex};

use gst::prelude::*;

use crate::support::mini::{Mini, Script};
use crate::support::player::{PATIENCE, Player};

const OTHERS: usize = 50;
const STREAM: &str = "stream_0";

/// Whether somebody waits, and whether the gate is open.
type Gate = Arc<(Mutex<(bool, bool)>, Condvar)>;

fn wait_at(gate: &Gate) {
    let mut state = gate.0.lock().unwrap();
    state.0 = true;
    gate.1.notify_all();
    let _ = gate
        .1
        .wait_timeout_while(state, 2 * PATIENCE, |state| !state.1);
}

#[test]
fn others_keep_alive_and_reconnect_while_a_handler_does_not_return() {
    let mini = Mini::new(Script {
        timeout: 2,
        interval: std::time::Duration::from_millis(20),
        ..Script::default()
    });
    let held_up = Mini::new(Script {
        timeout: 2,
        ..Script::default()
    });
    let gate = Gate::default();
    // One in a signal handler, one in the handler of a bus.
    let held = gate.clone();
    let in_signal = Player::new(&held_up.url());
    in_signal.src.connect_pad_added(move |_, _| wait_at(&held));
    let in_bus = Player::new(&held_up.url());
    let bus_gate = Gate::default();
    let held = bus_gate.clone();
    in_bus
        .pipeline
        .bus()
        .expect("a bus")
        .set_sync_handler(move |_, message| {
            if message.type_() == gst::MessageType::StreamCollection {
                wait_at(&held);
            }
            gst::BusSyncReply::Drop
        });
    let in_signal = in_signal.play();
    let in_bus = in_bus.play();
    for gate in [&gate, &bus_gate] {
        let state = gate.0.lock().unwrap();
        let (_state, waited) = gate
            .1
            .wait_timeout_while(state, PATIENCE, |state| !state.0)
            .unwrap();
        assert!(!waited.timed_out(), "the handler was not called");
    }
    let others: Vec<Player> = (0..OTHERS)
        .map(|_| Player::new(&mini.url()).play())
        .collect();
    for player in &others {
        player.flows(STREAM, 3);
    }
    let keep_alives = mini.count("GET_PARAMETER");
    mini.wait_for("GET_PARAMETER", keep_alives + OTHERS);
    // The two are not played yet, but kept alive as well.
    held_up.wait_for("GET_PARAMETER", 2);
    assert_eq!(held_up.count("PLAY"), 0);
    mini.drop_connections();
    for player in &others {
        player.told("connection-restored", 1);
        player.flows(STREAM, 3);
        player.has_no_error();
        player.src.set_property("teardown-timeout", 0u64);
    }
    for gate in [&gate, &bus_gate] {
        gate.0.lock().unwrap().1 = true;
        gate.1.notify_all();
    }
    in_signal.flows(STREAM, 3);
    held_up.wait_for("PLAY", 2);
    drop(in_bus);
}
