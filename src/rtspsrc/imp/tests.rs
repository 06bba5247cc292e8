use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::time::Duration;

use super::*;

const WAIT: Duration = Duration::from_secs(30);

/// The lines of the next request.
fn request(reader: &mut impl BufRead) -> Vec<String> {
    let lines = reader.lines().map(|line| line.expect("a request"));
    lines.take_while(|line| !line.is_empty()).collect()
}

#[test]
fn what_is_set_while_a_session_is_being_started_reaches_it() {
    gst::init().unwrap();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let element: super::super::RtspSrc2 = glib::Object::new();
    let url = format!("rtsp://{}/live", server.local_addr().unwrap());
    element.set_property("location", url);
    let imp = element.imp();

    // As start() does, which others interrupt.
    let settings = lock(&imp.settings).clone();
    let host = Arc::new(ElementHost {
        element: element.downgrade(),
    });
    let config = settings.config().unwrap();
    let session = Session::start(config, host, None, Predecessor::default()).unwrap();
    let clock: gst::Clock = gst::SystemClock::obtain();
    element.set_clock(Some(&clock)).unwrap();
    element.set_property("user-agent", "late/1");
    imp.keep(Arc::new(session), &settings);

    assert_eq!(imp.session().unwrap().clock(), Some(clock));
    let (stream, _) = server.accept().unwrap();
    stream.set_read_timeout(Some(WAIT)).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    let mut reply = |request: &[String], status: &str| {
        let cseq = request.iter().find(|line| line.starts_with("CSeq:"));
        let cseq = cseq.expect("a CSeq");
        write!(writer, "RTSP/1.0 {status}\r\n{cseq}\r\n\r\n").unwrap();
    };
    let options = request(&mut reader);
    reply(&options, "200 OK");
    let describe = request(&mut reader);
    reply(&describe, "404 Not Found");
    assert!(
        describe.contains(&"User-Agent: late/1".into()),
        "{describe:?}"
    );
    imp.stop();
}
