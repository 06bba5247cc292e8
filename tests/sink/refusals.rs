//! What a server may refuse, and what is said about it.

use gst::prelude::*;

use crate::publisher::Publisher;
use crate::scripted::{Rules, Scripted};

/// RTP of a few bytes: no encoder is needed to be refused.
pub const RTP: &str = "audiotestsrc is-live=true samplesperbuffer=160 \
    ! audio/x-raw,rate=8000,channels=1 ! mulawenc ! rtppcmupay";

fn refused(method: &'static str, status: u16) -> (glib::Error, String) {
    crate::init();
    let server = Scripted::new(Rules {
        refuse: Some((method, status, usize::MAX)),
        ..Default::default()
    });
    let publisher = Publisher::new(&server.url(), "", &[RTP]).play();
    let (error, text) = publisher.wait_error();
    assert!(
        text.contains(&status.to_string()),
        "the status is named: {text}"
    );
    // No media is sent without RECORD.
    assert_eq!(server.frames(0), 0, "{text}");
    (error, text)
}

#[test]
// covers: P-PUB-10
fn a_refused_announce_says_why() {
    for (status, code) in [
        (401, gst::ResourceError::NotAuthorized),
        (403, gst::ResourceError::NotAuthorized),
        (404, gst::ResourceError::NotFound),
        (405, gst::ResourceError::Settings),
        (453, gst::ResourceError::Busy),
        (501, gst::ResourceError::Settings),
    ] {
        let (error, text) = refused("ANNOUNCE", status);
        assert!(error.matches(code), "{status}: {text}");
    }
}

#[test]
fn a_description_that_is_not_taken_is_of_the_wrong_type() {
    for status in [406, 415] {
        let (error, text) = refused("ANNOUNCE", status);
        assert!(
            error.matches(gst::StreamError::WrongType),
            "{status}: {text}"
        );
    }
}

#[test]
fn a_server_in_trouble_is_an_error() {
    refused("ANNOUNCE", 500);
}

#[test]
fn a_refused_setup_leaves_no_transport() {
    let (error, text) = refused("SETUP", 461);
    assert!(error.matches(gst::ResourceError::Settings), "{text}");
}

#[test]
// covers: P-PUB-10
fn a_refused_record_is_an_error() {
    for status in [403, 405] {
        refused("RECORD", status);
    }
}

#[test]
fn a_server_that_is_busy_is_tried_again_if_that_is_wanted() {
    crate::init();
    let server = Scripted::new(Rules {
        refuse: Some(("ANNOUNCE", 503, 2)),
        ..Default::default()
    });
    let settings = "connect-attempts=5 reconnect-initial-delay=10000000";
    let _publisher = Publisher::new(&server.url(), settings, &[RTP]).play();
    server.wait_frames(0, 10);
    assert!(server.methods().iter().filter(|m| *m == "ANNOUNCE").count() >= 3);
}

#[test]
fn a_server_that_does_not_answer_is_an_error_after_tcp_timeout() {
    crate::init();
    let server = Scripted::new(Rules {
        hang: Some("ANNOUNCE"),
        ..Default::default()
    });
    let publisher = Publisher::new(&server.url(), "tcp-timeout=300000", &[RTP]).play();
    let (_, text) = publisher.wait_error();
    assert!(text.contains("ANNOUNCE"), "{text}");
    // Going down does not wait for it.
    let before = std::time::Instant::now();
    publisher.set_state(gst::State::Null);
    assert!(before.elapsed() < std::time::Duration::from_secs(5));
}

#[test]
fn a_server_that_is_not_there_is_an_error() {
    crate::init();
    let url = format!("rtsp://{}/live", crate::support::mini::free_address());
    let publisher = Publisher::new(&url, "", &[RTP]).play();
    let (error, text) = publisher.wait_error();
    assert!(error.matches(gst::ResourceError::OpenWrite), "{text}");
}

#[test]
fn without_a_location_it_does_not_start() {
    crate::init();
    let publisher = Publisher::launch(&format!("rtspsink2 name=out {RTP} ! out."));
    assert!(publisher.pipeline.set_state(gst::State::Playing).is_err());
    let (error, text) = publisher.wait_error();
    assert!(error.matches(gst::ResourceError::Settings), "{text}");
}
