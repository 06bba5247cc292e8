//! Basic and Digest with gst-rtsp-server.

use gst::prelude::*;

use crate::SOON;
use crate::player::Player;
use crate::process::Server;

const PASSWORD: &str = "S3cret-p4ss";
const WRONG: &str = "wr0ng-p4ss";

fn server(method: &str) -> Server {
    let login = format!("user:{PASSWORD}");
    Server::start(&[
        "--auth", method, &login, "--audio", "none", "--size", "320x240",
    ])
}

fn the_right_password_plays(method: &str) {
    let server = server(method);
    let login = [("user-id", "user"), ("user-pw", PASSWORD)];
    let player = Player::new(server.url(), &login).play();
    player.wait_packets(&["stream_0"], 10);
    let player = Player::new(&server.url_of(&format!("user:{PASSWORD}")), &[]).play();
    player.wait_packets(&["stream_0"], 10);
    // A password is never read back.
    let location: String = player.src.property("location");
    assert!(!location.contains(PASSWORD), "{location}");
}

fn a_wrong_password_is_not_authorized(method: &str) {
    let server = server(method);
    let login = [("user-id", "user"), ("user-pw", WRONG)];
    let in_url = server.url_of(&format!("user:{WRONG}"));
    for (url, settings) in [
        (server.url(), &login[..]),
        (&in_url, &[]),
        (server.url(), &[]),
    ] {
        let player = Player::new(url, settings).play();
        let (error, text) = player.wait_error(SOON);
        assert!(error.matches(gst::ResourceError::NotAuthorized), "{text}");
        assert!(!text.contains(WRONG), "{text}");
        assert!(text.contains("401"), "the status is named: {text}");
    }
}

#[test]
// covers: C-AUTH-18
fn basic_with_the_right_password_plays() {
    the_right_password_plays("basic");
}

#[test]
// covers: C-AUTH-03
fn digest_with_the_right_password_plays() {
    the_right_password_plays("digest");
}

#[test]
fn basic_with_a_wrong_password_is_not_authorized() {
    a_wrong_password_is_not_authorized("basic");
}

#[test]
fn digest_with_a_wrong_password_is_not_authorized() {
    a_wrong_password_is_not_authorized("digest");
}

#[test]
fn a_mount_that_is_not_there_is_not_found() {
    let server = Server::start(&["--audio", "none"]);
    let player = Player::new(&format!("{}-not", server.url()), &[]).play();
    let (error, text) = player.wait_error(SOON);
    assert!(error.matches(gst::ResourceError::NotFound), "{text}");
}
