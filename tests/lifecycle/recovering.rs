//! A server that is restarted again and again.

use std::time::{Duration, Instant};

use crate::rounds;
use crate::support::mini::{Mini, Script, free_address};
use crate::support::player::{Log, Player};

const STREAM: &str = "stream_0";
/// From the next try, or from when the server is there if that is later, to the first packet. What
/// it takes is printed.
const BACK: Duration = Duration::from_secs(5);

/// When the try began that has led to the media of `since`: the messages say how long each try is
/// put off.
fn last_try(log: &Log, since: Instant) -> Option<Instant> {
    let mut told = log.messages.iter().zip(&log.posted).rev();
    told.find_map(|(message, posted)| {
        let structure = message.structure()?;
        let name = structure.name().as_str();
        let put_off = matches!(name, "rtspsrc2-connection-lost" | "rtspsrc2-retrying");
        let delay = structure.get::<u64>("delay").ok()?;
        (put_off && *posted < since).then(|| *posted + Duration::from_nanos(delay))
    })
}

#[test]
fn a_restarted_server_plays_again_soon_after_the_next_try() {
    let address = free_address();
    let mut server = Mini::at(address, Script::default());
    let player = Player::new(&server.url())
        .with("reconnect-max-delay", 500_000_000u64)
        .play();
    player.flows(STREAM, 10);
    let mut took = Vec::new();
    for round in 1..=rounds(3, 100) {
        drop(server);
        player.told("connection-lost", round);
        let before = player.log(|log| log.packets(STREAM).len());
        server = Mini::at(address, Script::default());
        let up = Instant::now();
        player.wait("media of the restarted server", |log| {
            log.packets(STREAM).len() > before
        });
        took.push(player.log(|log| {
            let first = log.packets(STREAM)[before].at;
            let tried = last_try(log, first).expect("the loss was told");
            first.saturating_duration_since(up.max(tried))
        }));
        player.flows(STREAM, 10);
    }
    player.has_no_error();
    took.sort();
    let (median, most) = (took[took.len() / 2], took[took.len() - 1]);
    println!("restarted: media after the next try within {median:?} (median), {most:?} (most)");
    assert!(most < BACK, "{took:?}");
}
