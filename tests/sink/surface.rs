//! Properties, queries, statistics, secrets.

use gst::prelude::*;

use crate::have;
use crate::publisher::Publisher;
use crate::refusals::RTP;
use crate::scripted::{Rules, Scripted};
use crate::support::application::Application;

#[test]
fn the_uri_is_the_location_without_its_password() {
    crate::init();
    let sink = gst::ElementFactory::make("rtspsink2").build().unwrap();
    let handler = sink.dynamic_cast_ref::<gst::URIHandler>().unwrap();
    assert_eq!(handler.uri_type(), gst::URIType::Sink);
    handler
        .set_uri("rtsp://user:S3cret@server.example/live")
        .unwrap();
    let location: String = sink.property("location");
    assert!(!location.contains("S3cret"), "{location}");
    assert!(handler.set_uri("http://server.example/live").is_err());
    sink.set_property("user-pw", "S3cret");
    assert_eq!(sink.property::<Option<String>>("user-pw"), None);
    assert!(sink.element_flags().contains(gst::ElementFlags::SINK));
}

#[test]
fn it_has_what_rtspclientsink_has_or_the_readme_says_why_not() {
    if !have(&["rtspclientsink"]) {
        return;
    }
    let readme = include_str!("../../README.md");
    let theirs = gst::ElementFactory::make("rtspclientsink").build().unwrap();
    let ours = gst::ElementFactory::make("rtspsink2").build().unwrap();
    for pspec in theirs.list_properties() {
        let name = pspec.name();
        let Some(own) = ours.find_property(name) else {
            assert!(
                readme.contains(&format!("`{name}`")),
                "{name} is not explained"
            );
            continue;
        };
        let base = |pspec: &glib::ParamSpec| match pspec.value_type() {
            kind if kind.is_a(glib::Type::ENUM) => glib::Type::ENUM,
            kind if kind.is_a(glib::Type::FLAGS) => glib::Type::FLAGS,
            kind => kind,
        };
        assert_eq!(base(&own), base(&pspec), "{name}");
    }
    for signal in ["new-manager", "request-rtcp-key"] {
        assert!(
            readme.contains(&format!("`{signal}`")),
            "{signal} is not explained"
        );
    }
    for signal in ["handle-request", "update-sdp", "new-payloader"] {
        let types = |element: &gst::Element| {
            let id = glib::subclass::SignalId::lookup(signal, element.type_());
            let query = id.expect("a signal").query();
            let types: Vec<glib::Type> = query.param_types().iter().map(|t| (*t).into()).collect();
            (types, glib::Type::from(query.return_type()))
        };
        assert_eq!(types(&ours), types(&theirs), "{signal}");
    }
    assert!(readme.contains("`ulpfec-percentage`"));
}

#[test]
fn statistics_say_what_there_is() {
    crate::init();
    let server = Scripted::new(Rules::default());
    let publisher = Publisher::new(&server.url(), "", &[RTP]);
    assert_eq!(publisher.stats().n_fields(), 0);
    let publisher = publisher.play();
    publisher.wait_sent(20);
    let stats = publisher.stats();
    assert_eq!(stats.get::<&str>("transport"), Ok("tcp"));
    let stream = publisher.stream_stats(0).unwrap();
    assert_eq!(stream.get::<&str>("name"), Ok("sink_0"));
    assert!(stream.get::<u64>("bytes").unwrap() > 20 * 160, "{stream}");
}

#[test]
fn latency_is_answered() {
    crate::init();
    let server = Scripted::new(Rules::default());
    let publisher = Publisher::new(&server.url(), "", &[RTP]).play();
    server.wait_frames(0, 5);
    let mut query = gst::query::Latency::new();
    assert!(publisher.sink.query(&mut query));
    assert!(query.result().0, "the source is live");
}

#[test]
fn upstream_sees_what_can_be_published() {
    crate::init();
    let sink = gst::ElementFactory::make("rtspsink2").build().unwrap();
    let pad = sink.request_pad_simple("sink_7").unwrap();
    assert_eq!(pad.name(), "sink_7");
    let caps = pad.query_caps(None);
    for media in ["application/x-rtp", "video/x-h264", "audio/x-opus"] {
        assert!(
            caps.can_intersect(&media.parse::<gst::Caps>().unwrap()),
            "{media}"
        );
    }
    assert!(sink.request_pad_simple("sink_7").is_none());
    sink.release_request_pad(&pad);
    assert_eq!(sink.num_pads(), 0);
}

#[test]
fn a_query_string_stays_in_the_urls() {
    crate::init();
    let server = Scripted::new(Rules::default());
    let url = format!("{}?token=abc", server.url());
    let _publisher = Publisher::new(&url, "", &[RTP]).play();
    assert!(
        server
            .wait_request("ANNOUNCE", 1)
            .uri
            .contains("?token=abc")
    );
    assert!(server.wait_request("SETUP", 1).uri.contains("token=abc"));
    server.wait_frames(0, 5);
}

#[test]
fn handlers_in_c_change_what_is_announced_and_what_is_answered() {
    crate::init();
    let server = Scripted::new(Rules::default());
    let line = format!("{RTP} ! rtspsink2 name=e location={}", server.url());
    let application = Application::run(&line);
    let announce = server.wait_request("ANNOUNCE", 1);
    assert!(
        announce.body.contains("a=x-application:in C"),
        "{}",
        announce.body
    );
    server.wait_frames(0, 5);
    server.ask("GET_PARAMETER");
    let answer = server.wait_request("RTSP/1.0", 1);
    assert_eq!(
        (answer.uri.as_str(), answer.body.as_str()),
        ("200", "battery: 99\r\n")
    );
    drop(application);
}
