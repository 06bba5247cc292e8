//! Starts and stops of one element against a real server.

use std::time::Duration;

use gst::prelude::*;

use crate::held::{Held, alone};
use crate::process::Server;
use crate::support::player::Player;
use crate::{SOON, limit, rounds};

#[test]
fn starts_and_stops_leave_nothing_behind() {
    let rounds = rounds(100, 1000);
    let name = "cycles::starts_and_stops_leave_nothing_behind";
    alone(name, &[], limit(rounds, Duration::from_secs(3)), || {
        let server = Server::start(&["--size", "160x120", "--bitrate", "200"]);
        let players = ["tcp", "udp"].map(|transport| {
            let player = Player::new(server.url()).with_str("protocols", transport);
            player
                .src
                .set_property("teardown-timeout", 2_000_000_000u64);
            player
        });
        let cycle = |player: &Player| {
            player.change(|log| *log = Default::default());
            player.state(gst::State::Playing);
            player.wait("a packet of each pad", |log| {
                let pads = &log.pads;
                pads.len() == 2
                    && pads
                        .iter()
                        .all(|(pad, _)| !log.packets(&pad.name()).is_empty())
            });
            player.state(gst::State::Null);
            player.has_no_error();
            assert_eq!(player.src.num_pads(), 0);
            player.change(|log| *log = Default::default());
            for sink in player.pipeline.children() {
                if sink != player.src {
                    sink.set_state(gst::State::Null).expect("NULL");
                    player.pipeline.remove(&sink).expect("ours");
                }
            }
        };
        // What is made once and kept.
        for round in 0..6 {
            cycle(&players[round % 2]);
        }
        let before = Held::now();
        for round in 0..rounds {
            cycle(&players[round % 2]);
        }
        before.comes_back(SOON);
        let sources = players.map(|player| player.src.downgrade());
        assert!(sources.iter().all(|src| src.upgrade().is_none()));
    });
}
