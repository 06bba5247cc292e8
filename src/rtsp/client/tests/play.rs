//! PLAY and PAUSE.

use super::*;
use crate::rtsp::range::Range;
use crate::rtsp::rtp_info::RtpInfo;

const BOTH: [&str; 2] = [TCP_REPLY, TCP_REPLY_2];

fn first_range(config: Config, sdp: &str) -> Option<String> {
    let mut peer = Peer::started(config);
    peer.play();
    peer.answer("OPTIONS", 200, PUBLIC);
    peer.describe(sdp);
    peer.answer("SETUP", 200, TCP_REPLY);
    header(&peer.request("PLAY"), "Range")
}

type PlayReply = (Option<Range>, Vec<(usize, RtpInfo)>, Option<f64>);

fn playing(peer: &mut Peer) -> PlayReply {
    peer.event(|event| match event {
        Event::Playing {
            range, info, scale, ..
        } => Some((*range, info.clone(), *scale)),
        _ => None,
    })
}

fn paused(peer: &mut Peer) -> bool {
    peer.event(|event| match event {
        Event::Paused { remote } => Some(*remote),
        _ => None,
    })
}

// covers: C-PLAY-01, C-PLAY-02
#[test]
fn the_first_play_states_its_range() {
    let with = |range: &str| ONE_STREAM.replace("t=0 0", &format!("t=0 0\r\na=range:{range}"));
    assert_eq!(first_range(tcp(), ONE_STREAM).as_deref(), Some("npt=0-"));
    assert_eq!(
        first_range(tcp(), &with("npt=0-60")).as_deref(),
        Some("npt=0-")
    );
    assert_eq!(
        first_range(tcp(), &with("npt=now-")).as_deref(),
        Some("npt=now-")
    );
    let resume = Config {
        start: Some(12_500_000_000),
        ..tcp()
    };
    assert_eq!(
        first_range(resume, &with("npt=0-60")).as_deref(),
        Some("npt=12.5-")
    );
}

// covers: C-PLAY-02, C-STAT-05, C-STAT-17
#[test]
fn a_refused_range_is_left_out_once() {
    for status in [400, 456, 457] {
        let mut peer = Peer::ready(tcp(), BOTH);
        peer.play();
        assert!(header(&peer.answer("PLAY", status, ""), "Range").is_some());
        assert_eq!(header(&peer.answer("PLAY", status, ""), "Range"), None);
        assert_eq!(peer.failed().status, Some(status));
        assert_eq!(peer.wire.len(), 1, "only TEARDOWN");
        peer.answer("TEARDOWN", 200, "");
        assert!(peer.is_closed());
    }
}

// covers: C-PLAY-05
#[test]
fn the_range_of_the_reply_counts_and_that_of_the_request_where_it_has_none() {
    for (reply, range) in [
        ("Range: npt=5.5-60", "npt=5.5-60"),
        ("Range: garbage", "npt=0-"),
        ("Session: S1", "npt=0-"),
    ] {
        let mut peer = Peer::ready(tcp(), BOTH);
        peer.play();
        peer.answer("PLAY", 200, reply);
        assert_eq!(playing(&mut peer).0, Range::parse(range), "{reply}");
    }
}

// covers: C-RTPI-04, C-PLAY-05
#[test]
fn the_reply_names_where_each_stream_begins() {
    let mut peer = Peer::ready(tcp(), BOTH);
    peer.play();
    peer.answer(
        "PLAY",
        200,
        "Scale: 2.0\nRTP-Info: url=rtsp://192.0.2.1/x/a;seq=7;rtptime=70, url=v;seq=8, url=other;seq=9",
    );
    let (_, mut info, scale) = playing(&mut peer);
    info.sort_by_key(|(media, _)| *media);
    let info: Vec<_> = info
        .into_iter()
        .map(|(media, entry)| (media, entry.seq, entry.rtptime))
        .collect();
    assert_eq!(info, [(0, Some(8), None), (1, Some(7), Some(70))]);
    assert_eq!(scale, Some(2.0));
}

// covers: C-PLAY-03
#[test]
fn play_after_pause_resumes_without_a_range() {
    let mut peer = Peer::playing(tcp(), BOTH);
    peer.pause();
    let pause = peer.request("PAUSE");
    assert_eq!(pause.uri, "rtsp://192.0.2.1/x");
    assert_eq!(header(&pause, "Range"), None);
    assert_eq!(peer.client.state(), State::Playing);
    peer.reply(&pause, 200, "", "");
    assert_eq!(peer.client.state(), State::Ready);
    assert!(paused(&mut peer));
    peer.play();
    assert_eq!(header(&peer.answer("PLAY", 200, ""), "Range"), None);
    assert_eq!(peer.client.state(), State::Playing);
}

// covers: C-STM-03
#[test]
fn a_burst_of_wishes_ends_in_the_last() {
    let mut peer = Peer::ready(tcp(), BOTH);
    peer.play();
    let play = peer.request("PLAY");
    for _ in 0..10 {
        peer.pause();
        peer.play();
    }
    peer.pause();
    assert!(peer.wire.is_empty(), "one is open");
    peer.reply(&play, 200, "", "");
    let pause = peer.request("PAUSE");
    peer.play();
    peer.pause();
    peer.play();
    peer.reply(&pause, 200, "", "");
    peer.answer("PLAY", 200, "");
    assert!(peer.wire.is_empty());
    assert_eq!(peer.client.state(), State::Playing);

    let mut peer = Peer::ready(tcp(), BOTH);
    peer.pause();
    assert!(peer.wire.is_empty(), "nothing plays, so nothing is paused");
}

// covers: C-PLAY-11, C-STAT-08, C-STAT-16, C-OPT-04
#[test]
fn a_server_that_cannot_pause_is_paused_here() {
    for status in [405, 455, 501, 551, 500] {
        let mut peer = Peer::playing(tcp(), BOTH);
        peer.pause();
        peer.answer("PAUSE", status, "");
        assert!(!paused(&mut peer));
        assert_eq!(peer.client.state(), State::Playing, "there it plays on");
        peer.play();
        assert!(
            peer.wire
                .iter()
                .all(|m| !matches!(m, Message::Request(r) if r.method == Method::Play))
        );
        playing(&mut peer);
        peer.wire.clear();
        peer.pause();
        assert_eq!(
            peer.wire.is_empty(),
            matches!(status, 405 | 501),
            "{status} is for ever"
        );
    }
}

// covers: C-PLAY-11
#[test]
fn pause_that_is_not_listed_is_not_sent() {
    let mut peer = Peer::started(tcp());
    peer.play();
    peer.answer("OPTIONS", 200, "Public: PLAY, SETUP");
    peer.describe(ONE_STREAM);
    peer.answer("SETUP", 200, TCP_REPLY);
    peer.answer("PLAY", 200, "");
    peer.pause();
    assert!(peer.wire.is_empty());
    assert!(!paused(&mut peer));
}

// covers: C-PLAY-11, C-STAT-10
#[test]
fn pause_that_is_not_answered_is_done_here() {
    let mut peer = Peer::playing(tcp(), BOTH);
    peer.pause();
    peer.seconds(10);
    assert!(!paused(&mut peer));
}

// covers: C-URL-13, C-PLAY-09, C-STAT-18
#[test]
fn without_aggregate_control_each_stream_is_controlled_on_its_own_url() {
    for status in [404, 405, 455, 459, 460] {
        let mut peer = Peer::ready(tcp(), BOTH);
        peer.play();
        assert_eq!(peer.answer("PLAY", status, "").uri, "rtsp://192.0.2.1/x");
        let video = peer.answer("PLAY", 200, "RTP-Info: url=rtsp://192.0.2.1/x/v;seq=1");
        assert_eq!(video.uri, "rtsp://192.0.2.1/x/v");
        assert!(header(&video, "Range").is_some());
        assert_eq!(peer.client.state(), State::Ready, "not before all play");
        let audio = peer.answer("PLAY", 200, "RTP-Info: url=rtsp://192.0.2.1/x/a;seq=2");
        assert_eq!(audio.uri, "rtsp://192.0.2.1/x/a");
        assert_eq!(peer.client.state(), State::Playing);
        assert_eq!(playing(&mut peer).1.len(), 2);
        peer.pause();
        assert_eq!(peer.answer("PAUSE", 200, "").uri, "rtsp://192.0.2.1/x/v");
        assert_eq!(peer.answer("PAUSE", 200, "").uri, "rtsp://192.0.2.1/x/a");
        assert_eq!(peer.client.state(), State::Ready);
        peer.teardown();
        peer.answer("TEARDOWN", 200, "");
        peer.answer("TEARDOWN", 200, "");
        assert!(peer.is_closed());
    }
}

// covers: C-PLAY-09, C-STAT-16
#[test]
fn the_control_mode_is_switched_only_once() {
    let mut peer = Peer::ready(tcp(), BOTH);
    peer.play();
    peer.answer("PLAY", 455, "");
    peer.answer("PLAY", 460, "");
    assert_eq!(peer.failed().status, Some(460));
}

// covers: C-URL-13, C-URL-15
#[test]
fn session_level_control_names_the_aggregate() {
    let mut peer = Peer::started(tcp());
    peer.play();
    peer.answer("OPTIONS", 200, PUBLIC);
    peer.describe(&TWO_STREAMS.replace("control:*", "control:rtsp://192.0.2.1/all"));
    peer.answer("SETUP", 200, TCP_REPLY);
    peer.answer("SETUP", 200, TCP_REPLY_2);
    assert_eq!(peer.answer("PLAY", 200, "").uri, "rtsp://192.0.2.1/all");
    assert_eq!(peer.client.aggregate_url(), "rtsp://192.0.2.1/all");
    peer.pause();
    assert_eq!(peer.request("PAUSE").uri, "rtsp://192.0.2.1/all");
}

// covers: C-STAT-05, C-STAT-07, C-STAT-14, C-STAT-22, C-SESS-08, C-STM-02
#[test]
fn a_refused_play_is_an_error_and_the_session_is_ended() {
    for (status, kind) in [
        (403, ErrorKind::Forbidden),
        (453, ErrorKind::Busy),
        (461, ErrorKind::NoTransport),
        (500, ErrorKind::ServerError),
        (501, ErrorKind::Settings),
        (503, ErrorKind::Busy),
        (551, ErrorKind::Settings),
    ] {
        let mut peer = Peer::ready(tcp(), BOTH);
        peer.play();
        peer.answer("PLAY", status, "");
        let teardown = peer.request("TEARDOWN");
        let error = peer.failed();
        assert_eq!((error.kind, error.phase), (kind, Phase::Play));
        assert!(!peer.is_closed());
        peer.reply(&teardown, 200, "", "");
        assert!(peer.is_closed() && peer.disconnects() == 1);
    }
}

// covers: C-STAT-10
#[test]
fn play_is_not_repeated_after_a_timeout() {
    let mut peer = Peer::ready(tcp(), BOTH);
    peer.play();
    peer.request("PLAY");
    peer.seconds(10);
    peer.request("TEARDOWN");
    let error = peer.failed();
    assert_eq!((error.kind, error.phase), (ErrorKind::Timeout, Phase::Play));
    assert!(peer.wire.is_empty());
}

fn seek(id: u64, range: &str) -> Seek {
    Seek {
        id,
        range: Range::parse(range).unwrap(),
        scale: None,
        speed: None,
        frames: None,
    }
}

fn moved(peer: &mut Peer) -> Option<u64> {
    peer.event(|event| match event {
        Event::Playing { seek, .. } => Some(*seek),
        _ => None,
    })
}

fn seek_refused(peer: &mut Peer) -> u64 {
    peer.event(|event| match event {
        Event::SeekRefused { id, .. } => Some(*id),
        _ => None,
    })
}

// covers: C-PLAY-04
#[test]
fn a_seek_is_pause_and_play_with_a_range() {
    let mut peer = Peer::playing(tcp(), BOTH);
    peer.did.clear();
    let now = peer.now;
    peer.client.seek(seek(1, "npt=20-30"), now);
    peer.pump();
    peer.answer("PAUSE", 200, "");
    assert!(!peer.saw(|event| matches!(event, Event::Paused { .. })));
    assert!(
        peer.saw(|event| matches!(event, Event::Seeking)),
        "before the PLAY"
    );
    let play = peer.answer("PLAY", 200, "");
    assert_eq!(header(&play, "Range").as_deref(), Some("npt=20-30"));
    assert_eq!(header(&play, "Scale"), None);
    assert_eq!(moved(&mut peer), Some(1));
    assert_eq!(peer.client.state(), State::Playing);
    assert!(peer.wire.is_empty());
}

// covers: C-PLAY-04, C-PLAY-11
#[test]
fn a_server_that_does_not_pause_is_moved_while_it_plays() {
    let mut peer = Peer::playing(tcp(), BOTH);
    for (id, pauses) in [(1, true), (2, false)] {
        peer.did.clear();
        let now = peer.now;
        peer.client.seek(seek(id, "npt=20-"), now);
        peer.pump();
        if pauses {
            peer.answer("PAUSE", 455, "");
        }
        peer.answer("PLAY", 200, "");
        assert_eq!(moved(&mut peer), Some(id));
        assert!(!peer.saw(|event| matches!(event, Event::Paused { .. })));
    }
}

// covers: C-PLAY-04, C-STM-03
#[test]
fn a_storm_of_seeks_ends_at_the_last() {
    let mut peer = Peer::playing(tcp(), BOTH);
    for id in 1..=50 {
        peer.did.clear();
        let now = peer.now;
        peer.client.seek(seek(id, &format!("npt={id}-")), now);
        peer.pump();
    }
    peer.answer("PAUSE", 200, "");
    let play = peer.request("PLAY");
    assert_eq!(header(&play, "Range").as_deref(), Some("npt=50-"));
    peer.did.clear();
    let now = peer.now;
    peer.client.seek(seek(51, "npt=51-"), now);
    peer.client.seek(seek(52, "npt=52-"), now);
    peer.pump();
    assert!(peer.wire.is_empty(), "one is open");
    peer.reply(&play, 200, "", "");
    assert_eq!(moved(&mut peer), Some(50));
    peer.answer("PAUSE", 200, "");
    let play = peer.answer("PLAY", 200, "");
    assert_eq!(header(&play, "Range").as_deref(), Some("npt=52-"));
    assert_eq!(moved(&mut peer), Some(52));
    assert!(peer.wire.is_empty());
}

// covers: C-PLAY-08
#[test]
fn a_refused_seek_goes_on_where_it_was() {
    for status in [400, 403, 455, 456, 457, 500, 501] {
        let mut peer = Peer::playing(tcp(), BOTH);
        peer.did.clear();
        let now = peer.now;
        peer.client.seek(seek(7, "npt=99-"), now);
        peer.pump();
        peer.answer("PAUSE", 200, "");
        peer.answer("PLAY", status, "");
        assert_eq!(seek_refused(&mut peer), 7, "{status}");
        if status == 501 {
            continue;
        }
        let play = peer.answer("PLAY", 200, "");
        assert_eq!(header(&play, "Range"), None, "as after any pause");
        assert_eq!(moved(&mut peer), None);
        assert_eq!(peer.client.state(), State::Playing);
    }
}

// covers: C-PLAY-08, C-PLAY-02
#[test]
fn a_seek_before_the_first_play_is_its_range_and_may_be_refused() {
    let mut peer = Peer::ready(tcp(), BOTH);
    peer.did.clear();
    let now = peer.now;
    peer.client.seek(seek(1, "npt=5-"), now);
    peer.pump();
    assert!(peer.wire.is_empty(), "nothing plays yet");
    peer.play();
    let play = peer.answer("PLAY", 457, "");
    assert_eq!(header(&play, "Range").as_deref(), Some("npt=5-"));
    assert_eq!(seek_refused(&mut peer), 1);
    let play = peer.answer("PLAY", 200, "");
    assert_eq!(header(&play, "Range").as_deref(), Some("npt=0-"));
    assert_eq!(moved(&mut peer), None);
}

// covers: C-PLAY-12, C-PLAY-13
#[test]
fn scale_and_speed_are_decimals_and_stay_over_a_pause() {
    let mut peer = Peer::playing(tcp(), BOTH);
    let now = peer.now;
    let fast = Seek {
        scale: Some(-2.0),
        speed: Some(1.5),
        ..seek(1, "npt=20-0")
    };
    peer.client.seek(fast, now);
    peer.pump();
    peer.answer("PAUSE", 200, "");
    let play = peer.answer("PLAY", 200, "");
    assert_eq!(header(&play, "Scale").as_deref(), Some("-2.0"));
    assert_eq!(header(&play, "Speed").as_deref(), Some("1.5"));
    peer.pause();
    peer.answer("PAUSE", 200, "");
    peer.play();
    let play = peer.answer("PLAY", 200, "");
    assert_eq!(header(&play, "Range"), None);
    assert_eq!(header(&play, "Scale").as_deref(), Some("-2.0"));
}

// covers: C-ONVIF-11, C-ONVIF-12, C-ONVIF-13
#[test]
fn a_replay_is_asked_for_as_onvif_says() {
    let config = Config {
        replay: Some(Replay {
            rate_control: false,
        }),
        ..tcp()
    };
    let mut peer = Peer::started(config);
    peer.play();
    peer.answer("OPTIONS", 200, PUBLIC);
    peer.describe(ONE_STREAM);
    let setup = peer.answer("SETUP", 200, TCP_REPLY);
    assert_eq!(header(&setup, "Require").as_deref(), Some("onvif-replay"));
    let play = peer.answer("PLAY", 200, "");
    assert_eq!(header(&play, "Require").as_deref(), Some("onvif-replay"));
    assert_eq!(header(&play, "Rate-Control").as_deref(), Some("no"));
    assert_eq!(header(&play, "Immediate"), None);
    assert_eq!(header(&play, "Frames"), None);
    for (frames, text) in [
        (Frames::Intra { interval_ms: None }, "intra"),
        (
            Frames::Intra {
                interval_ms: Some(4000),
            },
            "intra/4000",
        ),
        (Frames::Predicted, "predicted"),
    ] {
        let now = peer.now;
        let asked = Seek {
            frames: Some(frames),
            ..seek(1, "clock=20260101T000000Z-")
        };
        peer.client.seek(asked, now);
        peer.pump();
        let play = peer.answer("PLAY", 200, "");
        assert_eq!(header(&play, "Frames").as_deref(), Some(text));
        assert_eq!(
            header(&play, "Immediate").as_deref(),
            Some("yes"),
            "no PAUSE"
        );
    }
}
