//! Publishing over an HTTP tunnel, a proxy and a WebSocket.

use crate::process::Server;
use crate::publisher::Publisher;
use crate::recorder::Recorder;
use crate::ways::{self, LOGIN, over};
use crate::{SOON, h264, have};

const FRAMES: usize = 100;

fn all_of_it_arrives(recorder: &Recorder, url: &str, settings: &str) {
    let video = h264(FRAMES as i32, false);
    let publisher = Publisher::new(url, settings, &[&video]).play();
    publisher.wait_eos();
    recorder.wait_film(0, FRAMES);
    assert_eq!(publisher.stats().get::<&str>("transport"), Ok("tcp"));
    assert_eq!(publisher.errors(), Vec::<String>::new());
}

// covers: C-HTUN-05
#[test]
fn a_file_is_published_over_an_http_tunnel() {
    if have(&["x264enc"]) {
        let recorder = Recorder::new(&["rtph264depay"]);
        let url = over(recorder.url(), "rtsph", None);
        all_of_it_arrives(&recorder, &url, "");
    }
}

#[test]
fn a_file_is_published_through_a_proxy() {
    if have(&["x264enc"]) && ways::have("microsocks") {
        let recorder = Recorder::new(&["rtph264depay"]);
        let way = ways::microsocks();
        let proxy = format!("proxy=socks5://{LOGIN}@127.0.0.1:{}", way.port);
        all_of_it_arrives(&recorder, recorder.url(), &proxy);
    }
}

// covers: C-WS-03
#[test]
fn a_file_is_published_over_a_websocket() {
    if have(&["x264enc"]) && ways::have_websockets() {
        let recorder = Recorder::new(&["rtph264depay"]);
        let bridge = ways::websocket(recorder.url(), None);
        let url = over(recorder.url(), "rtsp+ws", Some(bridge.port));
        all_of_it_arrives(&recorder, &url, "");
    }
}

#[test]
fn a_publisher_comes_back_over_its_tunnel() {
    if !have(&["x264enc"]) {
        return;
    }
    let record = ["--record", "rtph264depay name=depay0 ! fakesink"];
    let mut server = Server::start(&record);
    let url = over(server.url(), "rtsph", None);
    let publisher = Publisher::new(&url, "", &[&h264(-1, true)]).play();
    publisher.wait_sent(100);
    server.kill();
    publisher.wait_element_message("rtspsink2-connection-lost");
    server.restart();
    publisher.wait_element_message("rtspsink2-connection-restored");
    let sent = |publisher: &Publisher| {
        let stream = publisher.stream_stats(0).expect("a stream");
        stream.get::<u64>("packets").unwrap()
    };
    let before = sent(&publisher);
    crate::process::wait_for("more packets", SOON, || sent(&publisher) > before + 50);
}
