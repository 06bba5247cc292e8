//! Everything that an application, its pipeline and a server may do, all at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use gst::prelude::*;

use crate::support::mini::{Media, Mini, Script};
use crate::support::player::Player;
use crate::{SOON, limit, rounds};

/// Numbers without a pattern, the same in each run (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn change_states(player: &Player, mini: &Mini, rounds: usize) {
    use gst::State::*;
    let mut dice = Dice(7);
    for round in 0..rounds {
        let state = [Playing, Playing, Paused, Ready, Null][dice.roll(5) as usize];
        // What follows an error of the server may fail.
        let _ = player.pipeline.set_state(state);
        if round % 7 == 0 && state == Playing {
            let before = player.log(|log| log.pads.len());
            // Long enough for pads, most of the time.
            player.wait_for(Duration::from_millis(300), |log| log.pads.len() > before);
        }
        match dice.roll(8) {
            0 => mini.drop_connections(),
            1 => mini.set(|script| script.media = !script.media),
            2 => mini.ask("OPTIONS", 9),
            _ => {}
        }
    }
}

/// Reads all properties and writes them back, and some of them anew.
fn use_properties(src: &gst::Element, dice: &mut Dice) {
    for property in src.list_properties().iter() {
        let flags = property.flags();
        let name = property.name();
        if !flags.contains(glib::ParamFlags::READABLE) || ["name", "parent"].contains(&name) {
            continue;
        }
        let value = src.property_value(name);
        if flags.contains(glib::ParamFlags::WRITABLE) && name != "location" {
            src.set_property_from_value(name, &value);
        }
    }
    src.set_property("latency", dice.roll(500) as u32);
    src.set_property("user-id", ["one", "two"][dice.roll(2) as usize]);
    let _: gst::Structure = src.property("stats");
}

/// Queries, events and links of the pads that there are.
fn use_pads(src: &gst::Element, dice: &mut Dice) {
    for pad in src.src_pads() {
        let _ = pad.query_caps(None);
        let _ = pad.current_caps();
        let _ = pad.query(&mut gst::query::Latency::new());
        let _ = pad.query_position::<gst::ClockTime>();
        let _ = pad.query(&mut gst::query::Uri::new());
        let key_unit = gst::Structure::builder("GstForceKeyUnit").field("all-headers", true);
        let _ = pad.send_event(gst::event::CustomUpstream::new(key_unit.build()));
        let _ = pad.send_event(gst::event::Reconfigure::new());
        let _ = pad.send_event(gst::event::Latency::new(gst::ClockTime::from_mseconds(
            dice.roll(300),
        )));
        if let Some(peer) = pad.peer()
            && dice.roll(2) == 0
        {
            let _ = pad.unlink(&peer);
            let _ = pad.link(&peer);
        }
    }
}

fn use_element(player: &Player, dice: &mut Dice) {
    let key_unit = gst::Structure::new_empty("GstForceKeyUnit");
    let _ = player
        .src
        .send_event(gst::event::CustomUpstream::new(key_unit));
    let tag = gst::Structure::new_empty("x-application");
    let _ = player
        .src
        .send_event(gst::event::CustomDownstream::new(tag));
    let _ = player.src.query(&mut gst::query::Latency::new());
    let _ = player.pipeline.recalculate_latency();
    if dice.roll(4) == 0 {
        let _ = player.src.set_clock(Some(&gst::SystemClock::obtain()));
    }
}

/// Parameters that were asked for, and those that were answered.
#[derive(Default)]
struct Promised {
    asked: AtomicUsize,
    answered: Arc<AtomicUsize>,
}

fn use_parameters(src: &gst::Element, promised: &Promised, dice: &mut Dice) {
    let answered = promised.answered.clone();
    let promise = gst::Promise::with_change_func(move |_| {
        answered.fetch_add(1, AcqRel);
    });
    let none = None::<String>;
    let taken = match dice.roll(2) {
        0 => src.emit_by_name::<bool>("get-parameter", &[&"a", &none, &promise]),
        _ => src.emit_by_name::<bool>("set-parameter", &[&"a", &"1", &none, &promise]),
    };
    promised.asked.fetch_add(1, AcqRel);
    if !taken {
        promise.interrupt();
    }
}

fn race(rounds: usize) {
    let script = || Script {
        streams: vec![Media::H264, Media::Pcmu],
        ..Script::default()
    };
    let mini = Mini::new(script());
    let player = Player::new(&mini.url()).with("teardown-timeout", 0u64);
    let promised = Promised::default();
    let sent = player
        .src
        .connect("before-send", false, |_| Some(true.to_value()));
    let done = AtomicBool::new(false);
    let until_done = |seed: u64, act: &dyn Fn(&mut Dice)| {
        let mut dice = Dice(seed);
        while !done.load(Acquire) {
            act(&mut dice);
            std::thread::sleep(Duration::from_micros(500));
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| until_done(11, &|dice| use_properties(&player.src, dice)));
        scope.spawn(|| until_done(13, &|dice| use_pads(&player.src, dice)));
        scope.spawn(|| until_done(17, &|dice| use_pads(&player.src, dice)));
        scope.spawn(|| until_done(23, &|dice| use_parameters(&player.src, &promised, dice)));
        scope.spawn(|| until_done(19, &|dice| use_element(&player, dice)));
        change_states(&player, &mini, rounds);
        done.store(true, Release);
    });
    player.state(gst::State::Null);
    assert_eq!(player.src.num_pads(), 0);
    player.src.disconnect(sent);
    let deadline = std::time::Instant::now() + SOON;
    let answered = || promised.answered.load(Acquire);
    while answered() < promised.asked.load(Acquire) {
        assert!(
            std::time::Instant::now() < deadline,
            "a promise is not kept"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    // After all that it plays as ever.
    mini.set(|to| *to = script());
    player.change(|log| *log = Default::default());
    player.state(gst::State::Playing);
    player.flows("stream_0", 10);
    player.flows("stream_1", 10);
    player.has_no_error();
    let src = player.src.downgrade();
    drop(player);
    let deadline = std::time::Instant::now() + SOON;
    while src.upgrade().is_some() {
        assert!(std::time::Instant::now() < deadline, "the element stays");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_element_takes_anything_at_any_time() {
    let rounds = rounds(150, 10_000);
    let (tell, ended) = mpsc::channel();
    let racing = std::thread::spawn(move || {
        race(rounds);
        // The test may have given up.
        let _ = tell.send(());
    });
    let told = ended.recv_timeout(limit(rounds, Duration::from_secs(1)));
    if told == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("somebody waits for ever");
    }
    racing.join().expect("nobody fails");
}
