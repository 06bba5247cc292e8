//! What the element says on the bus, where no other test waits for it.

use std::time::Duration;

use crate::support::mini::{Media, Mini, Script};
use crate::support::player::Player;

fn two_streams() -> Script {
    Script {
        streams: vec![Media::H264, Media::Pcmu],
        ..Script::default()
    }
}

#[test]
fn a_quirk_is_told_once_by_its_name() {
    let mini = Mini::new(Script {
        refuse: Some(("PLAY", 460)),
        ..two_streams()
    });
    mini.set(|script| script.refusals = 1);
    let player = Player::new(&mini.url()).play();
    let quirk = player.told("quirk", 1);
    assert_eq!(quirk.get::<&str>("name"), Ok("per-stream-control"));
    player.flows("stream_0", 3);
    // The next session has it as well.
    mini.set(|script| script.refusals = 1);
    mini.drop_connections();
    player.told("connection-restored", 1);
    player.flows("stream_0", 3);
    player.log(|log| assert_eq!(log.told("rtspsrc2-quirk").len(), 1));
}

#[test]
fn a_stream_that_is_silent_among_others_is_told_by_its_pad() {
    let mini = Mini::new(Script {
        silent: vec![1],
        ..two_streams()
    });
    let player = Player::new(&mini.url())
        .with("stall-timeout", 1_000_000_000u64)
        .play();
    let stalled = player.told("stalled", 1);
    assert_eq!(stalled.get::<&str>("stream"), Ok("stream_1"));
    player.flows("stream_0", 10);
    player.log(|log| {
        assert_eq!(log.told("rtspsrc2-stalled").len(), 1);
        assert!(log.told("rtspsrc2-connection-lost").is_empty());
    });
}

// covers: B-RTCP-11
#[test]
fn a_source_that_times_out_is_told_as_rtspsrc_does() {
    let mini = Mini::new(two_streams());
    let player = Player::new(&mini.url()).play();
    player.flows("stream_0", 3);
    player.flows("stream_1", 3);
    mini.set(|script| script.silent = vec![1]);
    // Five intervals of at least 4 s, looked at with each report.
    let told = player.wait_for(Duration::from_secs(60), |log| {
        !log.told("GstRTSPSrcTimeout").is_empty()
    });
    assert!(told);
    let timeout = player.log(|log| {
        let message = log.told("GstRTSPSrcTimeout")[0];
        message.structure().map(|s| s.to_owned())
    });
    let timeout = timeout.expect("a structure");
    assert_eq!(timeout.get::<i32>("stream-number"), Ok(1), "{timeout}");
    assert_eq!(timeout.get::<u32>("ssrc"), Ok(0x1001), "{timeout}");
    let cause = timeout.value("cause").expect("a cause");
    let (_, cause) = glib::EnumValue::from_value(cause).expect("an enumeration");
    assert_eq!(cause.nick(), "rtcp");
    player.flows("stream_0", 3);
    player.has_no_error();
}
