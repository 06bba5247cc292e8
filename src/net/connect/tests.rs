use super::*;
use std::net::Ipv4Addr;
use tokio::net::TcpListener;

const WAIT: Duration = Duration::from_secs(10);

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(async { tokio::time::timeout(WAIT, future).await.unwrap() })
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// An address that refuses: bound, so that nobody else takes the port, but not listening.
fn refusing() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&loopback(0).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// An address that does not answer: a listener whose accept queue is full drops SYNs.
fn silent() -> (Vec<Socket>, SocketAddr) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&loopback(0).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut sockets = vec![listener];
    for _ in 0..4 {
        let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        filler.set_nonblocking(true).unwrap();
        let _ = filler.connect(&address.into());
        sockets.push(filler);
    }
    (sockets, address)
}

#[test]
fn families_are_interleaved_beginning_with_the_preferred() {
    let a = |list: &[&str]| {
        list.iter()
            .map(|t| t.parse().unwrap())
            .collect::<Vec<SocketAddr>>()
    };
    assert_eq!(
        interleave(a(&[
            "[fd00::1]:1",
            "[fd00::2]:1",
            "[fd00::3]:1",
            "10.0.0.1:1",
            "10.0.0.2:1"
        ])),
        a(&[
            "[fd00::1]:1",
            "10.0.0.1:1",
            "[fd00::2]:1",
            "10.0.0.2:1",
            "[fd00::3]:1"
        ]),
    );
    assert_eq!(
        interleave(a(&["10.0.0.1:1", "[fd00::1]:1"])),
        a(&["10.0.0.1:1", "[fd00::1]:1"])
    );
    assert_eq!(interleave(Vec::new()), Vec::new());
}

#[test]
fn a_connection_has_its_options() {
    block_on(async {
        let listener = TcpListener::bind(loopback(0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stream = connect("127.0.0.1", (port, None), after(WAIT), Reach::Any)
            .await
            .unwrap();
        assert_eq!(stream.peer_addr().unwrap(), loopback(port));
        assert!(stream.nodelay().unwrap());
        let socket = socket2::SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
    });
}

#[test]
fn a_refused_address_starts_the_next_at_once() {
    block_on(async {
        let (_keep, refused) = refusing();
        let listener = TcpListener::bind(loopback(0)).await.unwrap();
        let good = listener.local_addr().unwrap();
        let begin = Instant::now();
        let stream = race(vec![refused, good], after(WAIT)).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        assert!(begin.elapsed() < STAGGER);
    });
}

#[test]
fn a_silent_address_is_overtaken_after_the_stagger() {
    block_on(async {
        let (_keep, silent) = silent();
        let listener = TcpListener::bind(loopback(0)).await.unwrap();
        let good = listener.local_addr().unwrap();
        let begin = Instant::now();
        let stream = race(vec![silent, good], after(WAIT)).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        assert!(begin.elapsed() >= STAGGER);
    });
}

#[test]
fn errors_name_host_port_and_each_address() {
    block_on(async {
        let (_keep, refused) = refusing();
        let ports = (refused.port(), None);
        let error = connect("127.0.0.1", ports, after(WAIT), Reach::Any)
            .await
            .unwrap_err();
        assert!(error.is_answer());
        let text = error.to_string();
        let expected = format!(
            "Could not connect to 127.0.0.1:{0} (127.0.0.1:{0}: ",
            refused.port()
        );
        assert!(text.starts_with(&expected), "{text}");
        assert!(text.contains("refused"), "{text}");

        let (_keep, silent) = silent();
        let soon = after(Duration::from_millis(50));
        let error = connect("127.0.0.1", (silent.port(), None), soon, Reach::Any)
            .await
            .unwrap_err();
        assert!(!error.is_answer());
        assert!(error.to_string().ends_with("no answer)"), "{error}");
    });
}

// covers: C-URL-01
#[test]
fn the_other_port_is_tried_when_the_first_refuses_or_is_silent() {
    block_on(async {
        let listener = TcpListener::bind(loopback(0)).await.unwrap();
        let good = listener.local_addr().unwrap();
        let (_keep, refused) = refusing();
        let (_keep_too, silent) = silent();
        for first in [refused, silent] {
            let ports = (first.port(), Some(good.port()));
            let soon = after(Duration::from_millis(500));
            let stream = connect("127.0.0.1", ports, soon, Reach::Any).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), good);
        }
        let (_keep, also_refused) = refusing();
        let ports = (refused.port(), Some(also_refused.port()));
        let error = connect("127.0.0.1", ports, after(WAIT), Reach::Any)
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&also_refused.to_string()), "{text}");
        assert!(text.contains(&refused.to_string()), "{text}");
    });
}

#[test]
fn addresses_that_had_no_turn_are_named_too() {
    block_on(async {
        let (_keep, silent) = silent();
        let (_keep, other) = refusing();
        let attempts = race(vec![silent, other], after(Duration::from_millis(50)))
            .await
            .unwrap_err();
        let texts: Vec<_> = attempts.iter().map(Attempt::to_string).collect();
        assert_eq!(
            texts,
            [
                format!("{silent}: no answer"),
                format!("{other}: no time left to try it")
            ]
        );
    });
}

// covers: H-18
#[test]
fn the_address_connected_to_is_the_one_that_was_checked() {
    block_on(async {
        let listener = TcpListener::bind(loopback(0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["127.0.0.1", "localhost"] {
            let error = connect(host, (port, None), after(WAIT), Reach::PublicOnly)
                .await
                .unwrap_err();
            assert!(matches!(error, ConnectError::OutOfReach { .. }), "{error}");
        }
        let accepted = tokio::time::timeout(Duration::from_millis(20), listener.accept()).await;
        assert!(accepted.is_err(), "no SYN was sent");
    });
}

#[test]
fn four_set_ups_at_once_per_host_and_port() {
    block_on(async {
        let limiter = Limiter::new(2, 100, Duration::from_millis(1));
        let first = limiter.permit("cam", 554).await;
        let _second = limiter.permit("CAM", 554).await;
        let _other_port = limiter.permit("cam", 555).await;
        let soon = Duration::from_millis(20);
        assert!(
            tokio::time::timeout(soon, limiter.permit("cam", 554))
                .await
                .is_err()
        );
        drop(first);
        let _third = limiter.permit("cam", 554).await;
        assert!(
            tokio::time::timeout(soon, limiter.permit("cam", 554))
                .await
                .is_err()
        );
    });
}

#[test]
fn hosts_that_nobody_sets_up_are_forgotten() {
    block_on(async {
        let limiter = Limiter::new(4, 1000, Duration::from_millis(1));
        for i in 0..50 {
            drop(limiter.permit(&format!("cam{i}"), 554).await);
        }
        assert_eq!(limiter.hosts.lock().unwrap().len(), 1);
    });
}

#[test]
fn starts_in_a_window_are_bounded() {
    block_on(async {
        let window = Duration::from_millis(60);
        let limiter = Limiter::new(100, 5, window);
        let begin = Instant::now();
        let mut at = Vec::new();
        for _ in 0..12 {
            let _permit = limiter.permit("cam", 554).await;
            at.push(begin.elapsed());
        }
        for (start, fifth_later) in at.iter().zip(at.iter().skip(5)) {
            assert!(*fifth_later >= *start + window, "{at:?}");
        }
    });
}
