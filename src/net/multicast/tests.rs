use super::*;
use std::time::Duration;

const WAIT: Duration = Duration::from_secs(10);

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async { tokio::time::timeout(WAIT, future).await.unwrap() })
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn loopback() -> Interface {
    Interface::owning("127.0.0.1:0".parse().unwrap()).unwrap()
}

/// An address of the machine on an interface that has multicast; the loopback
/// interface has none for IPv6, usually.
fn local_address(v4: bool) -> Option<SocketAddr> {
    use nix::net::if_::InterfaceFlags;
    let wanted = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_MULTICAST;
    let found = nix::ifaddrs::getifaddrs()
        .unwrap()
        .filter(|entry| entry.flags.contains(wanted))
        .filter_map(|entry| entry.address.as_ref().and_then(socket_addr))
        .find(|address| match address {
            SocketAddr::V4(v4_address) => v4 && !v4_address.ip().is_loopback(),
            SocketAddr::V6(v6) => !v4 && !v6.ip().is_unicast_link_local(),
        });
    if found.is_none() {
        eprintln!("skipped: no interface with multicast on this machine");
    }
    found
}

/// A group on ports that are free now.
fn group(address: &str) -> Group {
    let wildcard = if ip(address).is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let pair = UdpPair::bind(wildcard.parse().unwrap(), None, 20).unwrap();
    Group {
        address: ip(address),
        rtp_port: pair.rtp.local_port(),
        rtcp_port: None,
        ttl: Some(1),
        source: None,
    }
}

/// Sends to groups without leaving the machine.
struct Sender(Socket);

impl Sender {
    fn new(local: &str) -> Self {
        let local = SocketAddr::new(ip(local), 0);
        let socket = new_socket(local).unwrap();
        socket.bind(&local.into()).unwrap();
        match local.ip() {
            IpAddr::V4(v4) => {
                let from = if v4.is_loopback() {
                    Ipv4Addr::LOCALHOST
                } else {
                    v4
                };
                socket.set_multicast_if_v4(&from).unwrap();
                socket.set_multicast_ttl_v4(0).unwrap();
            }
            IpAddr::V6(_) => {
                let index = Interface::owning(local).unwrap().index;
                socket.set_multicast_if_v6(index).unwrap();
                socket.set_multicast_hops_v6(0).unwrap();
            }
        }
        Self(socket)
    }

    fn send(&self, payload: &[u8], to: IpAddr, port: u16) -> bool {
        match self.0.send_to(payload, &SocketAddr::new(to, port).into()) {
            Ok(_) => true,
            Err(error) => {
                eprintln!("skipped: no multicast on this machine: {error}");
                false
            }
        }
    }
}

async fn receive(socket: &UdpSocket) -> Option<Vec<Vec<u8>>> {
    let mut got = Vec::new();
    while got.is_empty() {
        if tokio::time::timeout(Duration::from_millis(500), socket.readable())
            .await
            .is_err()
        {
            return None;
        }
        socket
            .try_recv(|payload, _, _| got.push(payload.to_vec()))
            .unwrap();
    }
    Some(got)
}

// covers: C-MC-01, H-13
#[test]
fn other_addresses_and_ports_are_refused() {
    block_on(async {
        let good = Group {
            address: ip("239.1.2.3"),
            rtp_port: 5000,
            rtcp_port: None,
            ttl: None,
            source: None,
        };
        for bad in [
            Group {
                address: ip("127.0.0.1"),
                ..good
            },
            Group {
                address: ip("255.255.255.255"),
                ..good
            },
            Group {
                address: ip("224.0.0.1"),
                ..good
            },
            Group {
                address: ip("ff02::1"),
                ..good
            },
            Group {
                rtp_port: 0,
                ..good
            },
            Group {
                rtp_port: 65535,
                ..good
            },
            Group {
                rtcp_port: Some(5000),
                ..good
            },
            Group {
                source: Some(ip("::1")),
                ..good
            },
            Group {
                source: Some(ip("239.1.1.1")),
                ..good
            },
            Group {
                source: Some(ip("0.0.0.0")),
                ..good
            },
        ] {
            let error = join(&bad, &Interface::any()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{bad:?}");
        }
    });
}

#[test]
fn the_rtcp_port_is_the_named_or_the_next() {
    let group = |rtp_port, rtcp_port| Group {
        address: ip("239.1.2.3"),
        rtp_port,
        rtcp_port,
        ttl: None,
        source: None,
    };
    for (rtp, rtcp, target) in [
        (5000, None, Some("239.1.2.3:5001")),
        (5000, Some(0), Some("239.1.2.3:5001")),
        (5000, Some(7000), Some("239.1.2.3:7000")),
        (65535, None, None),
    ] {
        assert_eq!(
            group(rtp, rtcp).rtcp_target(),
            target.map(|t| t.parse().unwrap())
        );
    }
}

// covers: C-MC-02
#[test]
fn the_interface_is_the_named_one_or_that_of_the_connection() {
    let lo = loopback();
    assert_ne!(lo.index, 0);
    assert_eq!(lo.v4, Some(Ipv4Addr::LOCALHOST));
    assert_eq!(Interface::by_name(&lo.name).unwrap(), lo);
    let error = Interface::by_name("no-such-if0").unwrap_err();
    assert!(error.to_string().contains("no-such-if0"), "{error}");
    assert!(Interface::by_name("a\0b").is_err());
    assert!(Interface::owning("192.0.2.77:5".parse().unwrap()).is_err());
    let mapped = "[::ffff:127.0.0.1]:5".parse().unwrap();
    assert_eq!(Interface::owning(mapped).unwrap(), lo);
}

// covers: C-MC-01, C-MC-02
#[test]
fn all_who_joined_a_group_get_it_and_no_other_group() {
    block_on(async {
        let group = group("239.77.1.1");
        let lo = loopback();
        let first = join(&group, &lo).unwrap();
        let second = join(&group, &lo).unwrap();
        // A socket of the same machine that has joined another group on the port.
        let other = Group {
            address: ip("239.77.1.2"),
            ..group
        };
        let _other = join(&other, &lo).unwrap();
        let sender = Sender::new("127.0.0.1");
        if !sender.send(b"other group", other.address, group.rtp_port) {
            return;
        }
        sender.send(b"media", group.address, group.rtp_port);
        sender.send(b"report", group.address, group.rtp_port + 1);
        for pair in [&first, &second] {
            assert_eq!(receive(&pair.rtp).await.unwrap(), [b"media"]);
            assert_eq!(receive(&pair.rtcp).await.unwrap(), [b"report"]);
        }
        // RTCP to the group reaches the others.
        first
            .rtcp
            .try_send_to(b"rr", group.rtcp_target().unwrap())
            .unwrap();
        assert_eq!(receive(&second.rtcp).await.unwrap(), [b"rr"]);
    });
}

// covers: C-MC-02
#[test]
fn the_same_group_on_another_interface_is_not_heard() {
    block_on(async {
        let Some(local) = local_address(true) else {
            return;
        };
        let group = group("239.77.1.3");
        let here = join(&group, &loopback()).unwrap();
        let there = join(&group, &Interface::owning(local).unwrap()).unwrap();
        let sender = Sender::new(&local.ip().to_string());
        if !sender.send(b"there", group.address, group.rtp_port) {
            return;
        }
        assert_eq!(receive(&there.rtp).await.unwrap(), [b"there"]);
        Sender::new("127.0.0.1").send(b"here", group.address, group.rtp_port);
        assert_eq!(receive(&here.rtp).await.unwrap(), [b"here"]);
    });
}

// covers: C-MC-04, C-MC-05
#[test]
fn a_source_specific_join_hears_only_its_source() {
    block_on(async {
        let group = Group {
            source: Some(ip("127.0.0.2")),
            ..group("232.77.1.1")
        };
        let lo = loopback();
        let pair = join(&group, &lo).unwrap();
        // Somebody else on this machine wants every source.
        let everybody = join(
            &Group {
                source: None,
                ..group
            },
            &lo,
        )
        .unwrap();
        let (wrong, right) = (Sender::new("127.0.0.3"), Sender::new("127.0.0.2"));
        if !wrong.send(b"wrong", group.address, group.rtp_port) {
            return;
        }
        right.send(b"right", group.address, group.rtp_port);
        assert_eq!(receive(&pair.rtp).await.unwrap(), [b"right"]);
        assert_eq!(receive(&everybody.rtp).await.unwrap(), [b"wrong", b"right"]);
    });
}

// covers: C-MC-01, C-MC-02
#[test]
fn ipv6_groups_any_source_and_source_specific() {
    block_on(async {
        let Some(local) = local_address(false) else {
            return;
        };
        let interface = Interface::owning(local).unwrap();
        let own = local.ip().to_string();
        let sender = Sender::new(&own);
        for (address, source, expected) in [
            ("ff15::77:1", None, true),
            ("ff35::8077:1", Some(own.as_str()), true),
            ("ff35::8077:2", Some("fd00::99"), false),
        ] {
            let group = Group {
                source: source.map(ip),
                ..group(address)
            };
            let pair = join(&group, &interface).unwrap();
            if !sender.send(b"media", group.address, group.rtp_port) {
                return;
            }
            let got = receive(&pair.rtp).await;
            assert_eq!(got.is_some(), expected, "{address} from {source:?}");
        }
    });
}

// covers: C-MC-02
#[cfg(target_os = "linux")]
#[test]
fn dropping_the_sockets_leaves_the_group() {
    block_on(async {
        // /proc/net/igmp shows the address as a number in the machine's byte order.
        let entry = format!("{:08X}", u32::from_ne_bytes([239, 77, 1, 9]));
        let joined = || {
            std::fs::read_to_string("/proc/net/igmp")
                .unwrap()
                .contains(&entry)
        };
        let pair = join(&group("239.77.1.9"), &loopback()).unwrap();
        assert!(joined());
        drop(pair);
        assert!(!joined());
    });
}
