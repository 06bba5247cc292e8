//! A password and what is made of it reach the wire and nobody else.

use std::sync::{Arc, Mutex};

use gst::prelude::*;

use crate::support::mini::{Mini, Script, lock};
use crate::support::player::Player;

const PASSWORD: &str = "pa:ss/w%rd@7";
/// As a URL has it.
const ENCODED: &str = "pa%3Ass%2Fw%25rd%407";
/// `user:` and the password, as Basic authentication has them.
const BASIC: &str = "dXNlcjpwYTpzcy93JXJkQDc=";

/// All that our categories log.
fn log_lines() -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::<Mutex<Vec<String>>>::default();
    let log = lines.clone();
    gst::log::remove_default_log_function();
    gst::log::add_log_function(move |category, _, _, function, _, object, message| {
        if category.name().starts_with("rtsp") {
            let text = message.get().unwrap_or_default();
            let object = object.map(|object| object.to_string());
            lock(&log).push(format!("{function} {object:?} {text}"));
        }
    });
    gst::log::set_threshold_from_string("rtspsrc2:9,rtsp2*:9", false);
    lines
}

/// All that an application can read of the element.
fn readable(player: &Player) -> Vec<String> {
    let mut said = Vec::new();
    for property in player.src.list_properties() {
        if property.flags().contains(glib::ParamFlags::READABLE) {
            let value = player.src.property_value(property.name());
            let text = match value.get::<Option<gst::Structure>>() {
                Ok(structure) => structure.map(|s| s.to_string()).unwrap_or_default(),
                Err(_) => format!("{value:?}"),
            };
            said.push(format!("{}: {text}", property.name()));
        }
    }
    let dot = player
        .pipeline
        .debug_to_dot_data(gst::DebugGraphDetails::all());
    said.push(dot.to_string());
    let mut query = gst::query::Uri::new();
    assert!(player.src.query(&mut query));
    said.extend(query.uri().map(|uri| uri.to_string()));
    player.log(|log| {
        for message in &log.messages {
            said.push(format!("{message:?} {:?}", message.structure()));
            if let gst::MessageView::Error(error) = message.view() {
                let (text, debug) = (error.error(), error.debug());
                said.push(format!("{text} {debug:?} {:?}", error.details()));
            }
        }
        for (pad, _) in &log.pads {
            said.push(format!("{:?} {:?}", pad.current_caps(), pad.stream_id()));
        }
    });
    said
}

/// Plays, is refused, comes back with other credentials, and fails for good.
fn tell_no_one(digest: bool) {
    crate::support::init();
    let lines = log_lines();
    let mini = Mini::new(Script {
        auth: Some(("user", PASSWORD)),
        digest,
        timeout: 2,
        ..Script::default()
    });
    let url = mini
        .url()
        .replace("rtsp://", &format!("rtsp://user:{ENCODED}@"));
    let in_url = Player::new(&url).play();
    let in_properties = Player::new(&mini.url())
        .with("user-id", "user")
        .with("user-pw", PASSWORD)
        .play();
    let mut said = Vec::new();
    for player in [&in_url, &in_properties] {
        player.flows("stream_0", 10);
        said.extend(readable(player));
    }
    mini.wait_for("GET_PARAMETER", 2);
    mini.set(|script| script.auth = Some(("user", "other")));
    mini.drop_connections();
    for player in [&in_url, &in_properties] {
        player.told("authentication-refused", 1);
    }
    let failed = Player::new(&url).play();
    let (error, _) = failed.error();
    assert!(
        error.matches(gst::ResourceError::NotAuthorized),
        "{error:?}"
    );
    mini.set(|script| script.auth = Some(("user", PASSWORD)));
    in_properties.src.set_property("user-pw", PASSWORD);
    in_properties.told("connection-restored", 1);
    // A value that is refused is shown in the log.
    in_url.src.set_property(
        "location",
        format!("rtsp://user:{ENCODED}@host:port/{PASSWORD}"),
    );
    for player in [&in_url, &in_properties, &failed] {
        said.extend(readable(player));
        player.state(gst::State::Null);
        said.extend(readable(player));
    }
    let logged = lock(&lines).clone();
    assert!(
        logged.iter().any(|line| line.contains("DESCRIBE rtsp://")),
        "messages are logged: {} lines",
        logged.len()
    );

    // What was on the wire.
    let requests = mini.requests();
    let mut secrets = vec![PASSWORD.to_string(), ENCODED.into(), BASIC.into()];
    let responses = requests
        .iter()
        .filter_map(|request| request.header("Authorization"))
        .filter_map(|header| header.split_once("response=\"")?.1.split('"').next());
    secrets.extend(responses.map(str::to_string));
    let given = |text: &str| {
        let headers = requests.iter().filter_map(|r| r.header("Authorization"));
        headers.clone().any(|header| header.contains(text))
    };
    match digest {
        true => assert!(secrets.len() > 8, "digests of several requests"),
        false => assert!(given(BASIC), "so the test could have failed"),
    }
    for text in said.iter().chain(&logged) {
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{secret} in {text}");
        }
    }
    for request in &requests {
        let secret = secrets.iter().find(|s| request.uri.contains(s.as_str()));
        assert_eq!(secret, None, "{}", request.uri);
    }
}

// covers: C-AUTH-20
#[test]
fn the_password_of_basic_authentication_reaches_nobody() {
    tell_no_one(false);
}

// covers: C-AUTH-20
#[test]
fn the_password_of_digest_authentication_and_its_responses_reach_nobody() {
    tell_no_one(true);
}
