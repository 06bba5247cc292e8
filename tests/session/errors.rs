//! What cannot be played is one clear message, and the element plays the next URL.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use gst::prelude::*;

use crate::support::mini::{Mini, Script, free_address};
use crate::support::player::Player;

/// What the one error message must be.
struct Expected {
    is: Box<dyn Fn(&glib::Error) -> bool>,
    phase: &'static str,
    status: Option<u16>,
    /// Parts of the text.
    says: Vec<String>,
}

fn expected<E>(code: E, phase: &'static str, says: &[&str]) -> Expected
where
    E: glib::error::ErrorDomain + 'static,
{
    Expected {
        is: Box::new(move |error| error.matches(code)),
        phase,
        status: None,
        says: says.iter().map(|part| part.to_string()).collect(),
    }
}

/// The element fails as expected, and then plays from another server.
#[track_caller]
fn fails(player: Player, expected: Expected, what: &str) {
    let player = player.play();
    let (error, details) = player.error();
    let text = error.message().to_string();
    assert!((expected.is)(&error), "{what}: {error:?}");
    for part in &expected.says {
        assert!(
            text.contains(part.as_str()),
            "{what}: no {part:?} in {text:?}"
        );
    }
    // One line for a person, not the form of a data type.
    assert!(text.contains("rtsp://"), "{what}: {text:?}");
    for odd in ["Some(", "None", "Err(", "{", "\n"] {
        assert!(!text.contains(odd), "{what}: {text:?}");
    }
    let details = details.expect("details");
    assert_eq!(
        details.get::<&str>("phase"),
        Ok(expected.phase),
        "{what}: {details}"
    );
    let status = details.get::<u32>("rtsp-status-code").ok();
    assert_eq!(status, expected.status.map(u32::from), "{what}: {details}");
    if expected.status.is_some() {
        assert!(details.has_field("rtsp-method"), "{what}: {details}");
        assert_eq!(details.get::<&str>("rtsp-status-reason"), Ok("Scripted"));
    }

    player.state(gst::State::Null);
    assert_eq!(player.log(|log| log.errors().len()), 1, "{what}");
    player.change(|log| {
        log.messages.clear();
        log.pads.clear();
    });
    let good = Mini::new(Script::default());
    player.src.set_property("location", good.url());
    player.state(gst::State::Playing);
    player.flows("stream_0", 3);
    player.has_no_error();
}

fn refused(method: &'static str, status: u16, expected: Expected) {
    let mini = Mini::new(Script {
        refuse: Some((method, status)),
        ..Script::default()
    });
    let mut says = expected.says;
    says.push(format!("{method} rtsp://{}", mini.address()));
    says.push(format!("was answered {status} Scripted"));
    let expected = Expected {
        status: Some(status),
        says,
        ..expected
    };
    fails(
        Player::new(&mini.url()),
        expected,
        &format!("{method} {status}"),
    );
}

#[test]
fn each_status_is_an_error_with_its_code_and_a_hint() {
    use gst::{ResourceError as R, StreamError as S};
    let describe = |status, expected| refused("DESCRIBE", status, expected);
    let settings = |hint| expected(R::Settings, "describe", &[hint]);
    describe(400, settings("check the URL"));
    describe(
        401,
        expected(
            R::NotAuthorized,
            "describe",
            &["check user name and password"],
        ),
    );
    describe(
        403,
        expected(R::NotAuthorized, "describe", &["this user has no right"]),
    );
    describe(404, expected(R::NotFound, "describe", &["check the path"]));
    describe(405, settings("cannot do this"));
    describe(
        406,
        expected(S::WrongType, "describe", &["that of a stream"]),
    );
    describe(451, settings("refuses a parameter"));
    describe(452, settings("check the URL"));
    describe(453, expected(R::Busy, "describe", &["no room now"]));
    describe(454, expected(R::Read, "describe", &[]));
    describe(455, settings("not in the state"));
    describe(456, settings("refuses a parameter"));
    describe(457, settings("refuses a parameter"));
    describe(458, settings("refuses a parameter"));
    describe(459, settings("in another way"));
    describe(460, settings("in another way"));
    describe(461, settings("allow more transports"));
    describe(462, settings("allow more transports"));
    describe(463, settings("keys"));
    describe(
        500,
        expected(R::OpenRead, "describe", &["its log may say why"]),
    );
    describe(501, settings("cannot do this"));
    describe(502, expected(R::Busy, "describe", &["no room now"]));
    describe(503, expected(R::Busy, "describe", &["no room now"]));
    describe(504, expected(R::Busy, "describe", &["no room now"]));
    describe(505, settings("speaks neither RTSP 1.0 nor 2.0"));
    describe(551, settings("lacks an option"));
}

#[test]
fn a_refusal_after_the_description_names_its_request() {
    use gst::ResourceError as R;
    refused(
        "OPTIONS",
        505,
        expected(R::Settings, "options", &["RTSP 1.0"]),
    );
    refused("SETUP", 404, expected(R::NotFound, "setup", &[]));
    refused(
        "SETUP",
        461,
        expected(R::Settings, "setup", &["no transport is left"]),
    );
    refused("SETUP", 453, expected(R::Busy, "setup", &[]));
    refused("PLAY", 454, expected(R::Read, "play", &[]));
    refused("PLAY", 500, expected(R::OpenRead, "play", &[]));
}

#[test]
fn a_description_without_anything_to_play_says_why() {
    use gst::StreamError as S;
    const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\n";
    for (media, code, part) in [
        ("", S::CodecNotFound, "the description has no media"),
        (
            "m=video 0 RAW/RAW/UDP 33\r\n",
            S::CodecNotFound,
            "is not RTP",
        ),
        ("m=application 0 TCP 9\r\n", S::CodecNotFound, "is not RTP"),
    ] {
        let description: &'static str = format!("{HEAD}{media}").leak();
        let mini = Mini::new(Script {
            description: Some(description),
            ..Script::default()
        });
        fails(
            Player::new(&mini.url()),
            expected(code, "describe", &[part]),
            media,
        );
    }
    let mini = Mini::new(Script {
        description: Some("<html>Not found</html>"),
        ..Script::default()
    });
    fails(
        Player::new(&mini.url()),
        expected(S::WrongType, "describe", &["check that the URL"]),
        "HTML",
    );
}

#[test]
fn a_server_that_does_not_answer_is_named_with_the_request() {
    for (method, phase) in [
        ("DESCRIBE", "describe"),
        ("SETUP", "setup"),
        ("PLAY", "play"),
    ] {
        let mini = Mini::new(Script {
            hang: Some(method),
            ..Script::default()
        });
        fails(
            Player::new(&mini.url()).with("tcp-timeout", 300_000u64),
            expected(
                gst::ResourceError::Read,
                phase,
                &[method, "no response came in time"],
            ),
            method,
        );
        mini.set(|script| script.hang = None);
    }
}

#[test]
fn a_host_that_is_not_there_is_named() {
    let url = "rtsp://no-such-host.invalid/live";
    fails(
        Player::new(url).with("tcp-timeout", 5_000_000u64),
        expected(
            gst::ResourceError::OpenRead,
            "connect",
            &["no-such-host.invalid", "check address, port and network"],
        ),
        url,
    );
    let address = free_address();
    fails(
        Player::new(&format!("rtsp://{address}/live")),
        expected(
            gst::ResourceError::OpenRead,
            "connect",
            &[
                &address.to_string(),
                "refused",
                "check address, port and network",
            ],
        ),
        "a refused port",
    );
}

/// Answers whatever it is asked with these bytes, and closes.
fn answering(bytes: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind(free_address()).expect("the address is ours");
    let address = listener.local_addr().expect("an address");
    // Ends with the process: each test has few of them.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut asked = [0; 1024];
            if stream.read(&mut asked).is_ok() {
                // The client may have closed already.
                let _ = stream.write_all(&bytes);
            }
        }
    });
    address
}

#[test]
fn what_is_no_rtsp_server_is_called_by_its_name() {
    let http = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec();
    let tls = vec![21, 3, 3, 0, 2, 2, 70];
    let noise: Vec<u8> = (0..200_000u32).map(|i| (i * 7 % 31) as u8 | 0x80).collect();
    for (bytes, says) in [
        (http, vec!["HTTP server", "check the port"]),
        (tls, vec!["TLS server", "rtsps"]),
        (
            b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec(),
            vec!["no RTSP server", "SSH-2.0"],
        ),
        (noise, vec!["no RTSP"]),
    ] {
        let url = format!("rtsp://{}/live", answering(bytes));
        fails(
            Player::new(&url),
            expected(gst::ResourceError::OpenRead, "options", &says),
            says[0],
        );
    }
    // It may be anything that says nothing.
    let url = format!("rtsp://{}/live", answering(Vec::new()));
    fails(
        Player::new(&url),
        expected(
            gst::ResourceError::OpenRead,
            "describe",
            &["closed the connection", "check address, port and network"],
        ),
        "nothing",
    );
}

#[test]
fn settings_that_cannot_work_are_an_error_of_the_state_change() {
    let (clear, tls) = ("rtsph://camera.example/live", "rtsps://camera.example/live");
    for (url, (name, value, mended), part) in [
        (clear, ("proxy", "ftp://me:S3cret@gateway", ""), "proxy"),
        (clear, ("protocols", "udp", "tcp"), "no transport"),
        (tls, ("tls-fingerprint", "AB:CD", ""), "tls-fingerprint"),
        (tls, ("tls-client-key", "key.pem", ""), "tls-client-key"),
    ] {
        let player = Player::new(url);
        player.src.set_property_from_str(name, value);
        assert!(player.pipeline.set_state(gst::State::Playing).is_err());
        let (error, _) = player.error();
        assert!(error.matches(gst::ResourceError::Settings), "{error:?}");
        assert!(error.message().contains(part), "{error}");
        assert!(!error.message().contains("S3cret"), "{error}");
        player.state(gst::State::Null);
        player.src.set_property_from_str(name, mended);
        player.change(|log| log.messages.clear());
        let good = Mini::new(Script::default());
        player.src.set_property("location", good.url());
        player.state(gst::State::Playing);
        player.flows("stream_0", 3);
    }
}
