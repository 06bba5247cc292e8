//! Every road to a gst-rtsp-server: its HTTP tunnel, in clear and over TLS, proxies of others, and a WebSocket.
//! The server is killed and comes back on each of them.

use crate::SOON;
use crate::certificates::self_signed;
use crate::player::Player;
use crate::process::{Folder, Server};
use crate::ways::{self, LOGIN, over};

const SMALL: [&str; 4] = ["--audio", "none", "--size", "320x240"];
const VIDEO: [&str; 1] = ["stream_0"];

/// It plays, interleaved, and does so again after the server was away.
fn plays_and_comes_back(server: &mut Server, url: &str, settings: &[(&str, &str)]) {
    let player = Player::new(url, settings).play();
    player.wait_packets(&VIDEO, 30);
    assert_eq!(player.transport(), "tcp");
    let pads = player.pads();
    server.kill();
    player.wait("the loss is told", SOON, |p| p.was_told("connection-lost"));
    server.restart();
    player.wait("it comes back", SOON, |p| p.was_told("connection-restored"));
    player.wait_packets(&VIDEO, 30);
    assert_eq!(player.pads(), pads, "the same pads");
}

/// A server with a certificate of its own making, and the folder that holds it.
fn tls_server() -> (Server, Folder, [String; 2]) {
    crate::init();
    let folder = Folder::new();
    let own = self_signed(&["127.0.0.1"], |_| ());
    let (certificate, key) = own.write(&folder.file(""), "server");
    let files = [certificate, key].map(|path| path.to_str().unwrap().to_string());
    let tls = ["--tls", &files[0], &files[1]];
    (Server::start(&[&tls[..], &SMALL].concat()), folder, files)
}

// covers: C-HTUN-01, C-HTUN-03, C-HTUN-04, C-HTUN-05
#[test]
fn an_http_tunnel() {
    let mut server = Server::start(&SMALL);
    let url = over(server.url(), "rtsph", None);
    plays_and_comes_back(&mut server, &url, &[]);
}

// covers: C-HTUN-08
#[test]
fn an_http_tunnel_over_tls() {
    let (mut server, _folder, _) = tls_server();
    let url = over(server.url(), "rtspsh", None);
    let (error, text) = Player::new(&url, &[]).play().wait_error(SOON);
    assert!(error.matches(gst::ResourceError::NotAuthorized), "{text}");
    plays_and_comes_back(&mut server, &url, &[("tls-validation-flags", "0")]);
}

#[test]
fn rtsp_authentication_is_inside_the_tunnel() {
    let server = Server::start(&[&SMALL[..], &["--auth", "digest", "user:secret"]].concat());
    let url = over(&server.url_of("user:secret"), "rtsph", None);
    let player = Player::new(&url, &[]).play();
    player.wait_packets(&VIDEO, 30);
}

fn through(scheme: &str, proxy: &str) {
    let mut server = Server::start(&SMALL);
    let url = over(server.url(), scheme, None);
    let wrong = proxy.replace("S3cret", "wr0ng");
    let (error, text) = Player::new(&url, &[("proxy", &wrong)])
        .play()
        .wait_error(SOON);
    assert!(
        error.matches(gst::ResourceError::NotAuthorized),
        "{error:?}"
    );
    // Of a request that goes to the proxy as it is, it may answer as if it were the server.
    let says_proxy = error.message().contains("The proxy ");
    assert!(says_proxy || scheme == "rtsph", "{error:?}");
    assert!(!format!("{error:?} {text}").contains("wr0ng"), "{error:?}");
    plays_and_comes_back(&mut server, &url, &[("proxy", proxy)]);
}

// covers: C-AUTH-19
#[test]
fn connect_through_tinyproxy_with_basic() {
    if ways::have("tinyproxy") {
        let way = ways::tinyproxy();
        through("rtsp", &format!("{LOGIN}@127.0.0.1:{}", way.port));
    }
}

// covers: C-AUTH-19
#[test]
fn connect_through_squid_with_digest() {
    if ways::have("squid") {
        let way = ways::squid();
        through("rtsp", &format!("http://{LOGIN}@127.0.0.1:{}", way.port));
    }
}

// covers: C-HTUN-12
#[test]
fn an_http_tunnel_through_tinyproxy() {
    if ways::have("tinyproxy") {
        let way = ways::tinyproxy();
        through("rtsph", &format!("http://{LOGIN}@127.0.0.1:{}", way.port));
    }
}

// covers: C-HTUN-12
#[test]
fn an_http_tunnel_through_squid() {
    if ways::have("squid") {
        let way = ways::squid();
        through("rtsph", &format!("http://{LOGIN}@127.0.0.1:{}", way.port));
    }
}

#[test]
fn socks5_through_microsocks() {
    if ways::have("microsocks") {
        let way = ways::microsocks();
        let proxy = format!("socks5://{LOGIN}@127.0.0.1:{}", way.port);
        through("rtsp", &proxy);
        through("rtsph", &proxy);
    }
}

// covers: C-HTUN-12
#[test]
fn tls_inside_a_proxys_connection() {
    if !ways::have("squid") {
        return;
    }
    let (mut server, _folder, _) = tls_server();
    let way = ways::squid();
    let proxy = format!("http://{LOGIN}@127.0.0.1:{}", way.port);
    let settings = [("proxy", proxy.as_str()), ("tls-validation-flags", "0")];
    for scheme in ["rtsps", "rtspsh"] {
        let url = over(server.url(), scheme, None);
        plays_and_comes_back(&mut server, &url, &settings);
    }
}

// covers: C-WS-01, C-WS-03, C-WS-04
#[test]
fn a_websocket() {
    if !ways::have_websockets() {
        return;
    }
    let mut server = Server::start(&SMALL);
    let bridge = ways::websocket(server.url(), None);
    let url = over(server.url(), "rtsp+ws", Some(bridge.port));
    plays_and_comes_back(&mut server, &url, &[]);
    if ways::have("tinyproxy") {
        let way = ways::tinyproxy();
        let proxy = format!("{LOGIN}@127.0.0.1:{}", way.port);
        let settings = [("proxy", proxy.as_str()), ("websocket-path", "/other")];
        let url = over(server.url(), "ws", Some(bridge.port));
        plays_and_comes_back(&mut server, &url, &settings);
    }
}

// covers: C-WS-01
#[test]
fn a_websocket_over_tls() {
    if !ways::have_websockets() {
        return;
    }
    let (_, _folder, files) = tls_server();
    let mut server = Server::start(&SMALL);
    let bridge = ways::websocket(server.url(), Some((&files[0], &files[1])));
    let url = over(server.url(), "wss", Some(bridge.port));
    plays_and_comes_back(&mut server, &url, &[("tls-validation-flags", "0")]);
}
