use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::time::Duration;

use super::*;
use crate::caps;
use crate::session::StreamDescription;

#[test]
fn what_is_set_while_a_session_is_being_started_reaches_it() {
    gst::init().unwrap();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let element: super::super::RtspSink2 = glib::Object::new();
    let url = format!("rtsp://{}/live", server.local_addr().unwrap());
    element.set_property("location", url);
    let imp = element.imp();

    // As start() does, which others interrupt.
    let settings = lock(&imp.settings).clone();
    let gate = Arc::new(Gate::default());
    let host = Arc::new(super::super::host::ElementHost {
        element: element.downgrade(),
        gate: gate.clone(),
    });
    let config = settings.config().unwrap();
    let publisher = Publisher::start(config, host, Predecessor::default()).unwrap();
    element.set_property("user-agent", "late/1");
    imp.keep(Running::new(publisher, gate), &settings);
    let caps = "application/x-rtp,media=audio,payload=0,clock-rate=8000,encoding-name=PCMU";
    let caps: gst::Caps = caps.parse().unwrap();
    let stream = StreamDescription {
        stream: 0,
        name: "sink_0".into(),
        media: caps::announced(&caps).unwrap().media,
        ssrc: None,
        exact: true,
    };
    imp.running().unwrap().publisher.announce(1, vec![stream]);

    let (stream, _) = server.accept().unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let mut writer = stream.try_clone().unwrap();
    let mut lines = BufReader::new(stream).lines().map(|line| line.unwrap());
    // OPTIONS may have been under way.
    let cseq = lines.by_ref().find(|line| line.starts_with("CSeq:"));
    let cseq = cseq.expect("a request");
    write!(writer, "RTSP/1.0 200 OK\r\n{cseq}\r\n\r\n").unwrap();
    assert!(lines.any(|line| line.starts_with("ANNOUNCE ")));
    let agent = lines.find(|line| line.starts_with("User-Agent:"));
    assert_eq!(agent.as_deref(), Some("User-Agent: late/1"));
    imp.stop();
}
