use super::*;
use std::collections::HashSet;

const WAIT: Duration = Duration::from_secs(10);

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async { tokio::time::timeout(WAIT, future).await.unwrap() })
}

fn localhost() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn pair() -> UdpPair {
    UdpPair::bind(localhost(), None, 20).unwrap()
}

fn sender() -> std::net::UdpSocket {
    std::net::UdpSocket::bind(localhost()).unwrap()
}

/// Receives until `count` datagrams are there.
async fn receive(socket: &UdpSocket, count: usize) -> Vec<(Vec<u8>, SocketAddr, Instant)> {
    let mut got = Vec::new();
    while got.len() < count {
        socket.readable().await.unwrap();
        while socket
            .try_recv(|p, from, at| got.push((p.to_vec(), from, at)))
            .unwrap()
        {}
    }
    got
}

// covers: C-SETUP-05
#[test]
fn the_pair_is_even_and_odd_of_the_family_asked_for() {
    block_on(async {
        for local in ["127.0.0.1:554", "[::1]:554", "0.0.0.0:0"] {
            let local: SocketAddr = local.parse().unwrap();
            let pairs: Vec<_> = (0..20)
                .map(|_| UdpPair::bind(local, None, 20).unwrap())
                .collect();
            for pair in &pairs {
                assert_eq!(pair.rtp.local_port() % 2, 0);
                assert_eq!(pair.rtcp.local_port(), pair.rtp.local_port() + 1);
                assert_eq!(pair.rtp.local_addr().ip(), local.ip());
                assert_eq!(pair.rtcp.local_addr().ip(), local.ip());
            }
        }
    });
}

/// A range whose ports are free now: from a pair that the system picked.
fn free_range(pairs: u16) -> (u16, u16) {
    loop {
        let low = pair().rtp.local_port();
        let Some(high) = low.checked_add(pairs * 2 - 1) else {
            continue;
        };
        let free = (low..=high)
            .map(|port| std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, port)))
            .collect::<Result<Vec<_>, _>>();
        if free.is_ok() {
            return (low, high);
        }
    }
}

// covers: C-SETUP-05
#[test]
fn every_pair_of_a_range_is_found_and_then_it_is_an_error() {
    block_on(async {
        let (low, high) = free_range(25);
        let mut taken = HashSet::new();
        let mut pairs = Vec::new();
        for _ in 0..25 {
            let pair = UdpPair::bind(localhost(), Some((low, high)), 20).unwrap();
            assert!((low..high).contains(&pair.rtp.local_port()));
            assert!(taken.insert(pair.rtp.local_port()));
            pairs.push(pair);
        }
        let error = UdpPair::bind(localhost(), Some((low, high)), 20).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(
            error
                .to_string()
                .contains(&format!("between {low} and {high}")),
            "{error}"
        );
        let freed = pairs.remove(7).rtp.local_port();
        let found = UdpPair::bind(localhost(), Some((low, high)), 20).unwrap();
        assert_eq!(found.rtp.local_port(), freed);
    });
}

// covers: C-SETUP-05
#[test]
fn a_half_taken_pair_is_not_used() {
    block_on(async {
        let (low, high) = free_range(2);
        let _odd = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, low + 1)).unwrap();
        for _ in 0..10 {
            let pair = UdpPair::bind(localhost(), Some((low, high)), 20).unwrap();
            assert_eq!(pair.rtp.local_port(), low + 2);
        }
    });
}

#[test]
fn ranges_are_cut_to_whole_pairs() {
    block_on(async {
        for (min, max) in [
            (5001, 5002),
            (5000, 5000),
            (5003, 5000),
            (65535, 65535),
            (0, 1),
        ] {
            let error = UdpPair::bind(localhost(), Some((min, max)), 20).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{min}-{max}");
        }
        let (low, high) = free_range(2);
        let pair = UdpPair::bind(localhost(), Some((low + 1, high)), 20).unwrap();
        assert_eq!(pair.rtp.local_port(), low + 2);
        drop(pair);
        let pair = UdpPair::bind(localhost(), Some((low, high - 1)), 20).unwrap();
        assert_eq!(pair.rtp.local_port(), low);
        UdpPair::bind(localhost(), Some((0, 65535)), 20).unwrap();
    });
}

#[test]
fn without_a_runtime_it_is_an_error() {
    assert!(UdpPair::bind(localhost(), None, 20).is_err());
}

#[test]
fn datagrams_come_with_sender_and_arrival_in_order() {
    block_on(async {
        let pair = pair();
        let sender = sender();
        pair.rtp.set_recv_buffer(1024 * 1024).unwrap();
        let before = Instant::now();
        for i in 0..300u16 {
            sender
                .send_to(&i.to_be_bytes(), pair.rtp.local_addr())
                .unwrap();
        }
        let sent = Instant::now();
        // The queue's waiting time is not part of the arrival time.
        let delay = Duration::from_millis(300);
        tokio::time::sleep(delay).await;
        let got = receive(&pair.rtp, 300).await;
        // A busy machine reads its two clocks some time apart.
        let slack = Duration::from_millis(150);
        for (i, (payload, from, arrival)) in got.iter().enumerate() {
            assert_eq!(payload, &(i as u16).to_be_bytes());
            assert_eq!(*from, sender.local_addr().unwrap());
            assert!(*arrival + slack >= before && *arrival <= sent + slack);
        }
    });
}

#[test]
fn four_batches_and_then_the_turn_of_others() {
    block_on(async {
        let pair = pair();
        let sender = sender();
        let total = BATCH_SIZE * limits::UDP_BATCHES + 1;
        pair.rtp.set_recv_buffer(1024 * 1024).unwrap();
        for i in 0..total {
            sender
                .send_to(&[0; 20][..i % 2 + 1], pair.rtp.local_addr())
                .unwrap();
        }
        pair.rtp.readable().await.unwrap();
        let mut got = 0;
        assert!(pair.rtp.try_recv(|_, _, _| got += 1).unwrap());
        assert_eq!(got, total - 1);
        assert!(!pair.rtp.try_recv(|_, _, _| got += 1).unwrap());
        assert_eq!(got, total);
        // A short batch has cleared the readiness; a new datagram sets it again.
        let soon = Duration::from_millis(10);
        assert!(
            tokio::time::timeout(soon, pair.rtp.readable())
                .await
                .is_err()
        );
        sender.send_to(b"x", pair.rtp.local_addr()).unwrap();
        assert_eq!(receive(&pair.rtp, 1).await.len(), 1);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn coalesced_datagrams_are_cut_by_their_stride() {
    block_on(async {
        let pair = pair();
        let sender = sender();
        let state = UdpSocketState::new((&sender).into()).unwrap();
        let contents: Vec<u8> = (0..3500u32).map(|i| (i / 1000) as u8).collect();
        let transmit = quinn_udp::Transmit {
            destination: pair.rtp.local_addr(),
            ecn: None,
            contents: &contents,
            segment_size: Some(1000),
            src_ip: None,
        };
        state.try_send((&sender).into(), &transmit).unwrap();
        let got = receive(&pair.rtp, 4).await;
        let lengths: Vec<_> = got.iter().map(|(p, _, _)| (p.len(), p[0])).collect();
        assert_eq!(lengths, [(1000, 0), (1000, 1), (1000, 2), (500, 3)]);
    });
}

// covers: H-36
#[test]
fn the_largest_and_the_empty_datagram_do_no_harm() {
    block_on(async {
        let pair = pair();
        let sender = sender();
        sender.send_to(&[], pair.rtp.local_addr()).unwrap();
        sender.send_to(&[7; 65_507], pair.rtp.local_addr()).unwrap();
        sender.send_to(b"x", pair.rtp.local_addr()).unwrap();
        let got = receive(&pair.rtp, 2).await;
        assert_eq!(got[0].0, [7; 65_507]);
        assert_eq!(got[1].0, b"x");
    });
}

// covers: H-36
#[test]
fn icmp_errors_are_not_fatal() {
    block_on(async {
        let pair = pair();
        let gone = sender();
        let dead = gone.local_addr().unwrap();
        drop(gone);
        pair.rtcp.connect(dead).unwrap();
        for _ in 0..5 {
            pair.rtcp.try_send_to(b"to nobody", dead).unwrap();
        }
        // The error of the last one is pending when the first datagram comes.
        let Ok(back) = std::net::UdpSocket::bind(dead) else {
            eprintln!("skipped: another process took the port");
            return;
        };
        back.send_to(b"y", pair.rtcp.local_addr()).unwrap();
        assert_eq!(receive(&pair.rtcp, 1).await[0].0, b"y");
        pair.rtcp.try_send_to(b"x", dead).unwrap();
        back.set_read_timeout(Some(WAIT)).unwrap();
        assert_eq!(back.recv(&mut [0; 4]).unwrap(), 1);
    });
}

// covers: C-SETUP-15, H-36
#[test]
fn a_connected_socket_hears_only_its_peer() {
    block_on(async {
        let pair = pair();
        let (peer, other) = (sender(), sender());
        pair.rtp.connect(peer.local_addr().unwrap()).unwrap();
        other.send_to(b"other", pair.rtp.local_addr()).unwrap();
        peer.send_to(b"peer", pair.rtp.local_addr()).unwrap();
        let got = receive(&pair.rtp, 1).await;
        assert_eq!(got.len(), 1);
        assert_eq!(
            (got[0].0.as_slice(), got[0].1),
            (&b"peer"[..], peer.local_addr().unwrap())
        );
        pair.rtp
            .try_send_to(b"hello", peer.local_addr().unwrap())
            .unwrap();
        peer.set_read_timeout(Some(WAIT)).unwrap();
        let mut buffer = [0; 16];
        assert_eq!(peer.recv(&mut buffer).unwrap(), 5);
    });
}

// covers: C-MC-02, H-13
#[test]
fn nothing_is_sent_to_broadcast_or_port_zero() {
    block_on(async {
        let pair = pair();
        for to in ["255.255.255.255:5000", "127.0.0.1:0", "224.0.0.1:5000"] {
            let error = pair
                .rtcp
                .try_send_to(b"x", to.parse().unwrap())
                .unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{to}");
        }
    });
}

#[test]
fn the_receive_buffer_holds_the_burst_that_it_promises() {
    block_on(async {
        let pair = pair();
        let sender = sender();
        let asked = 128 * 1024;
        let buffer = pair.rtp.set_recv_buffer(asked).unwrap();
        assert_eq!(
            (buffer.asked, buffer.effective, buffer.is_clamped()),
            (asked, asked, false)
        );
        #[cfg(target_os = "linux")]
        assert_eq!(buffer.burst, 2 * asked / 2304);
        // Distinct sizes, so that nothing is coalesced on the way.
        for i in 0..4 * buffer.burst {
            sender
                .send_to(&[0; 1400][i % 2..], pair.rtp.local_addr())
                .unwrap();
        }
        let mut got = 0;
        pair.rtp.readable().await.unwrap();
        while pair.rtp.try_recv(|_, _, _| got += 1).unwrap() {}
        assert!(got >= buffer.burst, "{got} of {}", buffer.burst);
        assert!(got < 4 * buffer.burst, "the buffer is larger than it says");
    });
}

#[test]
fn a_buffer_that_nobody_may_have_is_reported_as_clamped() {
    block_on(async {
        let buffer = pair().rtp.set_recv_buffer(usize::MAX).unwrap();
        assert!(buffer.is_clamped());
    });
}

#[test]
fn kernel_timestamps_map_to_the_monotonic_clock() {
    let clock = ClockPair {
        monotonic: Instant::now() + WAIT * 2,
        wall: Duration::from_secs(1000),
    };
    let ms = Duration::from_millis;
    assert_eq!(clock.arrival(None), clock.monotonic);
    assert_eq!(
        clock.arrival(Some(clock.wall - ms(7))),
        clock.monotonic - ms(7)
    );
    assert_eq!(
        clock.arrival(Some(clock.wall - OLDEST)),
        clock.monotonic - OLDEST
    );
    // A wall clock that was set between kernel and us.
    assert_eq!(clock.arrival(Some(clock.wall + ms(1))), clock.monotonic);
    assert_eq!(
        clock.arrival(Some(clock.wall - OLDEST - ms(1))),
        clock.monotonic
    );
}

#[test]
fn receiving_inside_of_the_callback_does_no_harm() {
    block_on(async {
        let (first, second) = (pair(), pair());
        let sender = sender();
        sender.send_to(b"1", first.rtp.local_addr()).unwrap();
        sender.send_to(b"2", second.rtp.local_addr()).unwrap();
        second.rtp.readable().await.unwrap();
        first.rtp.readable().await.unwrap();
        let mut inner = Vec::new();
        let mut outer = Vec::new();
        first
            .rtp
            .try_recv(|payload, _, _| {
                second
                    .rtp
                    .try_recv(|p, _, _| inner.extend_from_slice(p))
                    .unwrap();
                outer.extend_from_slice(payload);
            })
            .unwrap();
        assert_eq!((inner.as_slice(), outer.as_slice()), (&b"2"[..], &b"1"[..]));
    });
}

#[test]
fn the_wildcard_is_of_the_same_family_and_scope() {
    assert_eq!(
        wildcard("10.0.0.1:5".parse().unwrap()),
        "0.0.0.0:0".parse().unwrap()
    );
    let scoped = SocketAddrV6::new("fe80::1".parse().unwrap(), 5, 0, 3);
    assert_eq!(
        wildcard(scoped.into()),
        SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 3).into()
    );
}

#[test]
fn packets_of_equal_size_leave_together() {
    let run = |sizes: &[usize], segments| {
        let packets: Vec<Bytes> = sizes.iter().map(|size| vec![0; *size].into()).collect();
        equal_run(packets.iter(), segments)
    };
    assert_eq!(run(&[], 64), 0);
    assert_eq!(run(&[1000], 64), 1);
    assert_eq!(
        run(&[1000, 1000, 1000, 300, 1000], 64),
        4,
        "a short one ends it"
    );
    assert_eq!(
        run(&[300, 1000, 1000], 64),
        1,
        "a longer one is another run"
    );
    assert_eq!(run(&[1000; 20], 16), 16);
    assert_eq!(run(&[1000; 20], 1), 1, "a driver that cannot");
    assert_eq!(
        run(&[30_000, 30_000, 30_000], 64),
        2,
        "more than a datagram"
    );
}

#[test]
fn a_run_arrives_in_order_and_in_its_own_sizes_and_may_be_fragmented() {
    block_on(async {
        let (ours, theirs) = (pair(), pair());
        ours.rtp.prepare_sending(0).unwrap();
        let sizes = [1400, 1400, 700, 1400, 1400, 60_000, 12, 12, 65_507, 1];
        let packets: Vec<Bytes> = sizes
            .iter()
            .zip(0u8..)
            .map(|(size, number)| vec![number; *size].into())
            .collect();
        let mut rest = &packets[..];
        let mut scratch = Vec::new();
        while !rest.is_empty() {
            let to = theirs.rtp.local_addr();
            let (sent, result) = ours.rtp.try_send_run(rest.iter(), to, &mut scratch);
            rest = &rest[sent..];
            if let Err(error) = result {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            }
        }
        let got = receive(&theirs.rtp, packets.len()).await;
        for ((payload, _, _), packet) in got.iter().zip(&packets) {
            assert_eq!(payload, packet);
        }
    });
}

#[test]
fn a_packet_that_the_network_never_takes_says_so_and_others_go_on() {
    block_on(async {
        let (ours, theirs) = (pair(), pair());
        ours.rtp.prepare_sending(0).unwrap();
        let packets = [Bytes::from(vec![1; 65_508]), Bytes::from_static(b"next")];
        let mut scratch = Vec::new();
        let to = theirs.rtp.local_addr();
        let (sent, result) = ours.rtp.try_send_run(packets.iter(), to, &mut scratch);
        assert_eq!(sent, 0);
        assert!(is_too_large(&result.unwrap_err()));
        let (sent, result) = ours.rtp.try_send_run(packets[1..].iter(), to, &mut scratch);
        assert_eq!(sent, 1);
        result.unwrap();
        assert_eq!(receive(&theirs.rtp, 1).await[0].0, b"next");
    });
}
