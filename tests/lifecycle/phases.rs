//! Stopped and thrown away in each phase, while the server says nothing.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use gst::prelude::*;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::held::{Held, alone};
use crate::netns::{Namespace, namespace};
use crate::support::mini::{Mini, Script, free_address};
use crate::support::player::Player;
use crate::{SOON, limit, rounds};

/// What a call may take here; that it takes less than 50 ms is measured by the bench.
const AT_ONCE: Duration = Duration::from_millis(500);

/// A player that does not wait for the answer to its TEARDOWN.
fn player(url: &str) -> Player {
    Player::new(url).with("teardown-timeout", 0u64).play()
}

/// Stops, and lets go of everything at once.
fn throw_away(player: Player, phase: &str) {
    let begin = Instant::now();
    player.state(gst::State::Null);
    assert!(begin.elapsed() < AT_ONCE, "{phase}: {:?}", begin.elapsed());
    player.has_no_error();
    let (src, pipeline) = (player.src.downgrade(), player.pipeline.downgrade());
    drop(player);
    assert!(pipeline.upgrade().is_none(), "{phase}: the pipeline stays");
    let deadline = Instant::now() + SOON;
    // A handler may still run.
    while src.upgrade().is_some() {
        assert!(Instant::now() < deadline, "{phase}: the element stays");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A port whose connections are never accepted nor refused: the queue of the listener is full.
struct Deaf {
    address: SocketAddr,
    _listener: Socket,
    _queued: Vec<Socket>,
}

impl Deaf {
    fn new() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let address = SocketAddr::from(free_address());
        listener
            .bind(&SockAddr::from(address))
            .expect("our address");
        listener.listen(0).expect("a listener");
        let queued = (0..4)
            .map(|_| {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
                socket.set_nonblocking(true).expect("a socket");
                // In progress, if there is no room left.
                let _ = socket.connect(&SockAddr::from(address));
                socket
            })
            .collect();
        let deaf = Self {
            address,
            _listener: listener,
            _queued: queued,
        };
        let tried = TcpStream::connect_timeout(&deaf.address, Duration::from_millis(200));
        assert!(tried.is_err(), "nobody gets through");
        deaf
    }
}

fn in_connect() {
    let deaf = Deaf::new();
    let player = player(&format!("rtsp://{}/live", deaf.address));
    throw_away(player, "connect");
}

fn in_handshake() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let player = player(&format!("rtsps://{address}/live"));
    let (mut tcp, _) = listener.accept().expect("a connection");
    tcp.set_read_timeout(Some(SOON)).expect("a socket");
    tcp.read_exact(&mut [0; 5]).expect("a record of TLS");
    throw_away(player, "handshake");
}

fn in_request(method: &'static str) {
    let mini = Mini::new(Script {
        hang: Some(method),
        ..Script::default()
    });
    let player = player(&mini.url());
    match method {
        "PAUSE" => {
            player.flows("stream_0", 3);
            player.state(gst::State::Paused);
            mini.wait_for(method, 1);
        }
        "TEARDOWN" => player.flows("stream_0", 3),
        _ => mini.wait_for(method, 1),
    }
    throw_away(player, method);
    if method == "TEARDOWN" {
        mini.wait_for(method, 1);
    }
}

fn while_silent() {
    let mini = Mini::new(Script {
        media: false,
        ..Script::default()
    });
    let player = player(&mini.url());
    mini.wait_for("PLAY", 1);
    throw_away(player, "playing");
}

// covers: C-SESS-08
#[test]
fn stopped_in_each_phase_an_element_leaves_nothing_behind() {
    let rounds = rounds(3, 100);
    let name = "phases::stopped_in_each_phase_an_element_leaves_nothing_behind";
    alone(name, &[], limit(rounds, Duration::from_secs(30)), || {
        let all = || {
            in_connect();
            in_handshake();
            for method in ["OPTIONS", "DESCRIBE", "SETUP", "PLAY", "PAUSE", "TEARDOWN"] {
                in_request(method);
            }
            while_silent();
        };
        all();
        all();
        let before = Held::now();
        for _ in 0..rounds {
            all();
        }
        before.comes_back(SOON);
    });
}

#[test]
fn stopped_while_the_name_server_is_silent_an_element_leaves_nothing_behind() {
    let test = || {
        let name_server = UdpSocket::bind("127.0.0.1:53").expect("a namespace of our own");
        name_server.set_read_timeout(Some(SOON)).expect("a socket");
        let asked = || {
            let asked = name_server.recv_from(&mut [0; 512]);
            assert!(asked.is_ok(), "the name server is asked: {asked:?}");
        };
        let round = |name: &str| {
            let player = player(&format!("rtsp://{name}.test/live"));
            asked();
            throw_away(player, "DNS");
        };
        round("first");
        let mut before = Held::now();
        // The lookup itself cannot be ended; it ends a second later.
        before.threads -= 1;
        before.files = before.files.saturating_sub(1);
        // More names than there are threads for them: the last ones wait.
        let players: Vec<Player> = (0..6)
            .map(|camera| player(&format!("rtsp://camera{camera}.test/live")))
            .collect();
        asked();
        for player in players {
            throw_away(player, "DNS");
        }
        before.comes_back(2 * SOON);
    };
    let name = "phases::stopped_while_the_name_server_is_silent_an_element_leaves_nothing_behind";
    if std::env::var_os("RTSP2_TEST_ALONE").is_some() {
        return test();
    }
    let Some(namespace) = namespace(Namespace::new()) else {
        return;
    };
    namespace
        .set_name_server("127.0.0.1")
        .expect("a name server");
    alone(name, &namespace.prefix(), 6 * SOON, test);
}
