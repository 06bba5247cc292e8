//! What applications do around the element.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use gst::prelude::*;

use crate::support::mini::{Mini, Script, lock};
use crate::support::player::{PATIENCE, Player};

const STREAM: &str = "stream_0";
/// What a call may take here; that it takes less than 50 ms is measured by the bench.
const AT_ONCE: Duration = Duration::from_millis(500);

fn make(factory: &str) -> gst::Element {
    gst::ElementFactory::make(factory).build().expect(factory)
}

fn fakesink() -> gst::Element {
    let sink = make("fakesink");
    sink.set_property("sync", false);
    sink.set_property("async", false);
    sink
}

/// Counts what passes a pad, and waits for it.
#[derive(Clone, Default)]
struct Counter(Arc<(Mutex<usize>, Condvar)>);

impl Counter {
    fn on(pad: &gst::Pad, mask: gst::PadProbeType) -> Self {
        let counter = Self::default();
        let counted = counter.clone();
        pad.add_probe(mask, move |_, info| {
            counted.add(match &info.data {
                Some(gst::PadProbeData::BufferList(list)) => list.len(),
                _ => 1,
            });
            gst::PadProbeReturn::Ok
        });
        counter
    }

    fn media(pad: &gst::Pad) -> Self {
        Self::on(
            pad,
            gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST,
        )
    }

    fn add(&self, count: usize) {
        *lock(&self.0.0) += count;
        self.0.1.notify_all();
    }

    fn count(&self) -> usize {
        *lock(&self.0.0)
    }

    /// Waits for so many more.
    #[track_caller]
    fn more(&self, more: usize) {
        let count = lock(&self.0.0);
        let until = *count + more;
        let waited = self
            .0
            .1
            .wait_timeout_while(count, PATIENCE, |count| *count < until);
        assert!(!waited.expect("a lock").1.timed_out(), "{more} more");
    }
}

/// One source that is not in a `Player`.
fn source(mini: &Mini) -> gst::Element {
    crate::support::init();
    let src = make("rtspsrc2");
    src.set_property("location", mini.url());
    src
}

#[test]
fn a_source_that_is_stopped_leaves_the_others_of_a_funnel_alone() {
    crate::support::init();
    let minis = [(); 3].map(|()| Mini::new(Script::default()));
    let pipeline = gst::Pipeline::new();
    let (funnel, sink) = (make("funnel"), fakesink());
    pipeline.add_many([&funnel, &sink]).expect("new elements");
    funnel.link(&sink).expect("a link");
    let sources = [0, 1, 2].map(|index: usize| {
        let (src, counter) = (source(&minis[index]), Counter::default());
        let (funnel, counted) = (funnel.downgrade(), counter.clone());
        src.connect_pad_added(move |_, pad| {
            let funnel = funnel.upgrade().expect("the funnel");
            let sink = funnel.request_pad_simple("sink_%u").expect("a pad");
            let counted = counted.clone();
            let media = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
            sink.add_probe(media, move |_, _| {
                counted.add(1);
                gst::PadProbeReturn::Ok
            });
            // The element may be going down meanwhile.
            let _ = pad.link(&sink);
        });
        pipeline.add(&src).expect("a new element");
        (src, counter)
    });
    let out = sink.static_pad("sink").expect("a pad");
    let ends = Counter::on(&out, gst::PadProbeType::EVENT_FLUSH);
    let eos = Arc::new(AtomicBool::new(false));
    let seen = eos.clone();
    out.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        if info
            .event()
            .is_some_and(|event| event.type_() == gst::EventType::Eos)
        {
            seen.store(true, Release);
        }
        gst::PadProbeReturn::Ok
    });
    pipeline.set_state(gst::State::Playing).expect("PLAYING");
    sources.iter().for_each(|(_, counter)| counter.more(5));
    let (stopped, _) = &sources[1];
    stopped.set_locked_state(true);
    stopped.set_state(gst::State::Null).expect("NULL");
    let [(_, first), (_, second), (_, third)] = &sources;
    let was = second.count();
    first.more(20);
    third.more(20);
    assert_eq!(second.count(), was, "nothing comes from what is stopped");
    assert_eq!(ends.count(), 0, "a flush would reach the others");
    // It comes again.
    stopped.set_locked_state(false);
    stopped.sync_state_with_parent().expect("PLAYING");
    sources.iter().for_each(|(_, counter)| counter.more(5));
    let error = pipeline
        .bus()
        .expect("a bus")
        .pop_filtered(&[gst::MessageType::Error]);
    assert!(error.is_none(), "{error:?}");
    assert!(!eos.load(Acquire), "it is no end");
    pipeline.set_state(gst::State::Null).expect("NULL");
}

#[test]
fn sinks_behind_a_tee_come_and_go() {
    let mini = Mini::new(Script::default());
    let player = Player::linking(&mini.url(), Box::new(|_| false));
    let tee = make("tee");
    tee.set_property("allow-not-linked", true);
    player.pipeline.add(&tee).expect("a new element");
    let target = tee.downgrade();
    player.src.connect_pad_added(move |_, pad| {
        let tee = target.upgrade().expect("the tee");
        let _ = pad.link(&tee.static_pad("sink").expect("a pad"));
    });
    let branch = || {
        let (queue, sink) = (make("queue"), fakesink());
        player.pipeline.add_many([&queue, &sink]).expect("new");
        queue.link(&sink).expect("a link");
        sink.sync_state_with_parent().expect("a state");
        queue.sync_state_with_parent().expect("a state");
        let counter = Counter::media(&sink.static_pad("sink").expect("a pad"));
        let from = tee.request_pad_simple("src_%u").expect("a pad");
        from.link(&queue.static_pad("sink").expect("a pad"))
            .expect("a link");
        (queue, sink, from, counter)
    };
    let (first, second) = (branch(), branch());
    player.state(gst::State::Playing);
    first.3.more(10);
    second.3.more(10);
    // One goes, as applications do it: while its pad is idle.
    let (queue, sink, from, _) = second;
    let (gone, is_gone) = std::sync::mpsc::channel();
    from.add_probe(gst::PadProbeType::IDLE, move |pad, _| {
        if let Some(peer) = pad.peer() {
            let _ = pad.unlink(&peer);
        }
        // Probed once; the test may be over.
        let _ = gone.send(());
        gst::PadProbeReturn::Remove
    });
    is_gone.recv_timeout(PATIENCE).expect("an idle pad");
    tee.release_request_pad(&from);
    for element in [&queue, &sink] {
        element.set_state(gst::State::Null).expect("NULL");
        player.pipeline.remove(element).expect("ours");
    }
    first.3.more(10);
    // Another comes.
    branch().3.more(10);
    first.3.more(10);
    player.has_no_error();
}

#[test]
fn a_new_clock_while_playing_starts_the_timeline_anew() {
    let mini = Mini::new(Script::default());
    let player = Player::new(&mini.url()).play();
    player.flows(STREAM, 30);
    // Decades away from the monotonic one.
    let clock = glib::Object::builder::<gst::SystemClock>()
        .property("clock-type", gst::ClockType::Realtime)
        .build();
    player.pipeline.use_clock(Some(&clock));
    // As applications do after CLOCK_LOST.
    player.state(gst::State::Paused);
    let before = player.log(|log| log.packets(STREAM).len());
    player.state(gst::State::Playing);
    assert_eq!(player.src.clock().as_ref(), Some(clock.upcast_ref()));
    player.wait("a discontinuity on the new clock", |log| {
        let packets = log.packets(STREAM);
        packets.iter().skip(before).any(|packet| packet.discont)
    });
    player.flows(STREAM, 30);
    let last = player.log(|log| log.packets(STREAM).last().and_then(|packet| packet.pts));
    let (last, now) = (
        last.expect("a time"),
        player.pipeline.current_running_time().expect("a time"),
    );
    let apart = Duration::from_nanos(last.nseconds().abs_diff(now.nseconds()));
    assert!(apart < Duration::from_secs(5), "{last} at {now}");
    // One that the element alone is given, as bins do it.
    let other = glib::Object::builder::<gst::SystemClock>()
        .property("clock-type", gst::ClockType::Realtime)
        .build();
    player.src.set_clock(Some(&other)).expect("a clock");
    player.flows(STREAM, 30);
    player.has_no_error();
}

#[test]
fn a_probe_for_single_buffers_sees_all_of_them_without_lists() {
    let mini = Mini::new(Script::default());
    let player = Player::linking(&mini.url(), Box::new(|_| true)).with("buffer-lists", false);
    let counter = Counter::default();
    let counted = counter.clone();
    player.src.connect_pad_added(move |_, pad| {
        let counted = counted.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            assert!(info.buffer().is_some());
            counted.add(1);
            gst::PadProbeReturn::Ok
        });
    });
    let player = player.play();
    player.flows(STREAM, 60);
    let seen = counter.count();
    // The other probe of the pad comes first, and its packet may be on its way.
    player.log(|log| assert!(seen + 1 >= 60 && seen <= log.packets(STREAM).len()));
}

#[test]
fn a_probe_that_drops_buffers_drops_them_only() {
    let mini = Mini::new(Script::default());
    let player = Player::new(&mini.url()).with("buffer-lists", false);
    let (drops, dropped) = (Arc::new(AtomicBool::new(true)), Counter::default());
    let (dropping, counted) = (drops.clone(), dropped.clone());
    let passed = Arc::new(AtomicUsize::new(0));
    let passing = passed.clone();
    player.src.connect_pad_added(move |_, pad| {
        let (dropping, counted) = (dropping.clone(), counted.clone());
        let passing = passing.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            if dropping.load(Acquire) {
                counted.add(1);
                return gst::PadProbeReturn::Drop;
            }
            passing.fetch_add(1, AcqRel);
            gst::PadProbeReturn::Ok
        });
    });
    let player = player.play();
    dropped.more(30);
    drops.store(false, Release);
    player.flows(STREAM, 30);
    assert!(passed.load(Acquire) > 0);
    player.has_no_error();
}

/// Whether somebody waits, and whether the gate is open.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<(bool, bool)>, Condvar)>);

impl Gate {
    /// Waits until the gate is open, or the test has failed long ago.
    fn pass(&self) {
        let mut state = lock(&self.0.0);
        state.0 = true;
        self.0.1.notify_all();
        let _ = self
            .0
            .1
            .wait_timeout_while(state, 2 * PATIENCE, |state| !state.1);
    }

    #[track_caller]
    fn is_reached(&self) {
        let waited = self
            .0
            .1
            .wait_timeout_while(lock(&self.0.0), PATIENCE, |state| !state.0);
        assert!(!waited.expect("a lock").1.timed_out(), "nobody came");
    }

    fn open(&self) {
        lock(&self.0.0).1 = true;
        self.0.1.notify_all();
    }
}

#[test]
fn an_appsink_whose_callback_blocks_keeps_its_session() {
    let mini = Mini::new(Script {
        timeout: 2,
        ..Script::default()
    });
    let player = Player::linking(&mini.url(), Box::new(|_| false));
    let (gate, samples) = (Gate::default(), Counter::default());
    let (held, counted) = (gate.clone(), samples.clone());
    let sink = gst_app::AppSink::builder().sync(false).build();
    sink.set_callbacks(
        gst_app::AppSinkCallbacks::builder()
            .new_sample(move |sink| {
                sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                counted.add(1);
                held.pass();
                Ok(gst::FlowSuccess::Ok)
            })
            .build(),
    );
    player.pipeline.add(&sink).expect("a new element");
    let target = sink.static_pad("sink").expect("a pad").downgrade();
    player.src.connect_pad_added(move |_, pad| {
        let _ = pad.link(&target.upgrade().expect("the sink"));
    });
    let player = player.play();
    gate.is_reached();
    let keep_alives = mini.count("GET_PARAMETER");
    mini.wait_for("GET_PARAMETER", keep_alives + 3);
    // Neither a state change of the source nor its statistics wait for the callback.
    let begin = Instant::now();
    let _ = player.stats();
    player.src.set_property("latency", 300u32);
    assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
    gate.open();
    samples.more(30);
    player.has_no_error();
    player.log(|log| assert!(log.told("rtspsrc2-connection-lost").is_empty()));
}

#[test]
fn a_source_stops_at_once_while_the_callback_of_its_appsink_blocks() {
    let mini = Mini::new(Script::default());
    let player = Player::linking(&mini.url(), Box::new(|_| false));
    let gate = Gate::default();
    let held = gate.clone();
    let sink = gst_app::AppSink::builder().sync(false).build();
    let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |_| {
        held.pass();
        Err(gst::FlowError::Eos)
    });
    sink.set_callbacks(callbacks.build());
    player.pipeline.add(&sink).expect("a new element");
    let target = sink.static_pad("sink").expect("a pad").downgrade();
    player.src.connect_pad_added(move |_, pad| {
        let _ = pad.link(&target.upgrade().expect("the sink"));
    });
    let player = player.play();
    gate.is_reached();
    player.src.set_locked_state(true);
    let begin = Instant::now();
    player.src.set_state(gst::State::Null).expect("NULL");
    let took = begin.elapsed();
    gate.open();
    assert!(took < AT_ONCE, "{took:?}");
    mini.wait_for("TEARDOWN", 1);
    player.src.set_locked_state(false);
}

#[test]
fn a_bus_handler_that_sleeps_delays_messages_only() {
    let mini = Mini::new(Script {
        timeout: 2,
        ..Script::default()
    });
    let player = Player::new(&mini.url());
    let messages = Counter::default();
    let counted = messages.clone();
    let bus = player.pipeline.bus().expect("a bus");
    bus.unset_sync_handler();
    bus.set_sync_handler(move |_, message| {
        // Those of state changes come from the thread that makes the change.
        if message.type_() != gst::MessageType::StateChanged {
            std::thread::sleep(Duration::from_millis(300));
            counted.add(1);
        }
        gst::BusSyncReply::Drop
    });
    let player = player.play();
    player.flows(STREAM, 30);
    // One element message after the other, while media flows and the session is kept alive.
    mini.drop_connections();
    messages.more(2);
    player.flows(STREAM, 30);
    let keep_alives = mini.count("GET_PARAMETER");
    mini.wait_for("GET_PARAMETER", keep_alives + 2);
    let begin = Instant::now();
    player.src.set_state(gst::State::Ready).expect("READY");
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_signal_handler_that_sleeps_five_seconds_delays_its_own_element_only() {
    const SLEEP: Duration = Duration::from_secs(5);
    let mini = Mini::new(Script {
        timeout: 2,
        ..Script::default()
    });
    let (selecting, adding) = (Player::new(&mini.url()), Player::new(&mini.url()));
    selecting.src.connect("select-stream", false, move |_| {
        std::thread::sleep(SLEEP);
        Some(true.to_value())
    });
    adding
        .src
        .connect_pad_added(|_, _| std::thread::sleep(SLEEP));
    let begin = Instant::now();
    let (selecting, adding) = (selecting.play(), adding.play());
    assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
    // Another one is up and playing while the handlers sleep.
    mini.wait_for("DESCRIBE", 2);
    let other = Player::new(&mini.url()).play();
    other.flows(STREAM, 10);
    assert!(begin.elapsed() < SLEEP, "{:?}", begin.elapsed());
    selecting.flows(STREAM, 10);
    adding.flows(STREAM, 10);
    assert!(begin.elapsed() >= SLEEP);
    for player in [&selecting, &adding, &other] {
        player.has_no_error();
    }
}

#[test]
fn an_element_is_stopped_while_a_signal_handler_sleeps() {
    let mini = Mini::new(Script::default());
    let player = Player::new(&mini.url());
    let gate = Gate::default();
    let held = gate.clone();
    player.src.connect("select-stream", false, move |_| {
        held.pass();
        Some(true.to_value())
    });
    let player = player.play();
    gate.is_reached();
    let took = player.state(gst::State::Null);
    gate.open();
    assert!(took < AT_ONCE, "{took:?}");
    player.log(|log| assert!(log.pads.is_empty()));
    // The next start works, handler and all.
    player.state(gst::State::Playing);
    player.flows(STREAM, 10);
    player.has_no_error();
}
