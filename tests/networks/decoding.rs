//! What a decoder makes of a bad link.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::*};
use std::time::Duration;

use gst::prelude::*;

use crate::link::{Link, Weather};
use crate::netns::Namespace;
use crate::process::wait_for;

#[test]
fn pictures_come_through_loss_jitter_and_doubles() {
    crate::support::init();
    // In a namespace, since it binds its ports on all addresses.
    let Some(namespace) = crate::netns::namespace(Namespace::new()) else {
        return;
    };
    let server = crate::cuts::server(&namespace);
    let host = server.url().trim_start_matches("rtsp://");
    let address = host.split('/').next().and_then(|host| host.parse().ok());
    let link = Link::between(
        namespace.outside_address(),
        address.expect("an address"),
        Weather {
            lost: 50,
            doubled: 20,
            jitter: Duration::from_millis(20),
            ..Weather::default()
        },
    );
    let description = format!(
        "rtspsrc2 name=src location={} protocols=udp ! rtph264depay ! h264parse ! avdec_h264 \
         ! fakesink name=sink sync=false async=false",
        link.url(server.url())
    );
    let pipeline = gst::parse::launch(&description).expect("a pipeline");
    let pipeline = pipeline.downcast::<gst::Pipeline>().expect("a pipeline");
    let frames = Arc::<AtomicU64>::default();
    let counter = frames.clone();
    let sink = pipeline
        .by_name("sink")
        .and_then(|sink| sink.static_pad("sink"));
    sink.expect("a pad")
        .add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            counter.fetch_add(1, Relaxed);
            gst::PadProbeReturn::Ok
        });
    pipeline.set_state(gst::State::Playing).expect("a state");
    let bus = pipeline.bus().expect("a bus");
    wait_for("100 pictures", Duration::from_secs(40), || {
        let error = bus.pop_filtered(&[gst::MessageType::Error]);
        assert!(error.is_none(), "{error:?}");
        frames.load(Relaxed) >= 100
    });
    let stats: gst::Structure = pipeline
        .by_name("src")
        .expect("the source")
        .property("stats");
    println!("{stats}, {:?}", link.counts());
    pipeline.set_state(gst::State::Null).expect("a state");
}
