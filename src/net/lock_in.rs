//! Which sender a UDP socket listens to.

use std::net::{IpAddr, SocketAddr};

/// What to do with a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is from the sender of the stream.
    Accept,
    /// It is the first from the sender of the stream: from now on only this
    /// address is listened to, and the socket can be connected to it.
    AcceptAndLock(SocketAddr),
    /// It is from somebody else.
    Drop,
}

/// Valid packets in a row from a port that was not named, until it is the sender's.
const OTHER_PORT: u8 = 3;

/// Keeps datagrams of third parties out of a stream (RFC 7826 §21.2).
///
/// The host is always known: `source` of the Transport header or else the RTSP
/// peer. The port is the named one, or else that of the first valid packet. A
/// port that was named and is silent gives way to another of the same host that
/// sends three valid packets in a row: servers behind a NAT do not know theirs.
#[derive(Clone, Debug)]
pub struct SourceFilter {
    rule: Rule,
    excluded: Vec<IpAddr>,
}

#[derive(Clone, Copy, Debug)]
enum Rule {
    Any,
    Host(IpAddr),
    Sender {
        host: IpAddr,
        port: Option<u16>,
        /// A port that was not named, and its valid packets in a row.
        other: (u16, u8),
    },
    Locked(SocketAddr),
}

impl SourceFilter {
    /// Anybody: a group that any source may send to.
    pub fn any() -> Self {
        Self::of(Rule::Any)
    }

    /// Anybody but these: `a=source-filter:excl` (RFC 4570 §3).
    pub fn any_but(excluded: impl IntoIterator<Item = IpAddr>) -> Self {
        let excluded = excluded.into_iter().map(|ip| ip.to_canonical()).collect();
        Self {
            excluded,
            ..Self::any()
        }
    }

    /// All ports of `host`: the source of a source-specific group (RFC 4607 §1).
    pub fn host(host: IpAddr) -> Self {
        Self::of(Rule::Host(host.to_canonical()))
    }

    /// One port of `host`: `port` if that sends, else what is found out. Port 0
    /// means not named, as servers write it.
    pub fn sender(host: IpAddr, port: Option<u16>) -> Self {
        Self::of(Rule::Sender {
            host: host.to_canonical(),
            port: port.filter(|p| *p != 0),
            other: (0, 0),
        })
    }

    fn of(rule: Rule) -> Self {
        Self {
            rule,
            excluded: Vec::new(),
        }
    }

    /// Judges a datagram. `valid` is asked only before the lock, so that stray
    /// bytes do not win it.
    pub fn accept(&mut self, from: SocketAddr, valid: impl FnOnce() -> bool) -> Verdict {
        let from_ip = from.ip().to_canonical();
        let accepted = match &mut self.rule {
            Rule::Any => !self.excluded.contains(&from_ip),
            Rule::Host(host) => from_ip == *host,
            Rule::Sender { host, port, other } => {
                if from_ip == *host && valid() {
                    let named = port.is_none_or(|port| port == from.port());
                    let packets = match *other {
                        (port, packets) if port == from.port() => packets.saturating_add(1),
                        _ => 1,
                    };
                    if named || packets >= OTHER_PORT {
                        self.rule = Rule::Locked(from);
                        return Verdict::AcceptAndLock(from);
                    }
                    *other = (from.port(), packets);
                }
                false
            }
            Rule::Locked(sender) => from.port() == sender.port() && from.ip() == sender.ip(),
        };
        match accepted {
            true => Verdict::Accept,
            false => Verdict::Drop,
        }
    }
}

/// Where a unicast stream and its RTCP come from.
#[derive(Clone, Copy, Debug)]
pub struct MediaPeer {
    host: IpAddr,
    rtp_port: Option<u16>,
    rtcp_port: Option<u16>,
}

impl MediaPeer {
    /// From the RTSP peer's address and what the Transport header says.
    ///
    /// A single `server_port` P means RTCP at P+1; 0 means none is named.
    pub fn new(
        rtsp_peer: IpAddr,
        source: Option<IpAddr>,
        server_port: Option<(u16, Option<u16>)>,
    ) -> Self {
        let host = source
            .map(|s| s.to_canonical())
            .filter(|s| !s.is_unspecified() && !s.is_multicast())
            .unwrap_or_else(|| rtsp_peer.to_canonical());
        let rtp_port = server_port.map(|(rtp, _)| rtp).filter(|p| *p != 0);
        let named_rtcp = server_port.and_then(|(_, rtcp)| rtcp).filter(|p| *p != 0);
        // "0-1" names no port at all.
        let rtcp_port = rtp_port.and_then(|p| named_rtcp.or_else(|| p.checked_add(1)));
        Self {
            host,
            rtp_port,
            rtcp_port,
        }
    }

    /// The filter of the RTP socket.
    pub fn rtp_filter(&self) -> SourceFilter {
        SourceFilter::sender(self.host, self.rtp_port)
    }

    /// The filter of the RTCP socket.
    pub fn rtcp_filter(&self) -> SourceFilter {
        SourceFilter::sender(self.host, self.rtcp_port)
    }
}

/// Whether bytes can be an RTP packet: version 2, a whole fixed header, and no
/// RTCP packet type (RFC 3550 §5.1, RFC 5761 §4).
pub fn looks_like_rtp(packet: &[u8]) -> bool {
    matches!(packet, [first, second, ..]
        if packet.len() >= 12 && first >> 6 == 2 && !(192..=223).contains(second))
}

/// Whether bytes can be an RTCP packet (RFC 3550 §6.4, RFC 5761 §4).
pub fn looks_like_rtcp(packet: &[u8]) -> bool {
    matches!(packet, [first, second, ..]
        if packet.len() >= 8 && first >> 6 == 2 && (192..=223).contains(second))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    // covers: C-SETUP-15, H-36
    #[test]
    fn a_named_port_that_sends_is_the_only_one() {
        let mut filter = SourceFilter::sender(ip("10.0.0.1"), Some(6970));
        assert_eq!(filter.accept(at("10.0.0.1:6972"), || true), Verdict::Drop);
        assert_eq!(filter.accept(at("10.0.0.2:6970"), || true), Verdict::Drop);
        assert_eq!(filter.accept(at("10.0.0.1:6970"), || false), Verdict::Drop);
        let sender = at("10.0.0.1:6970");
        assert_eq!(
            filter.accept(sender, || true),
            Verdict::AcceptAndLock(sender)
        );
        assert_eq!(
            filter.accept(sender, || unreachable!("locked")),
            Verdict::Accept
        );
        assert_eq!(filter.accept(at("10.0.0.2:6970"), || true), Verdict::Drop);
    }

    // covers: C-SETUP-15, H-36
    #[test]
    fn a_silent_named_port_gives_way_to_another_of_the_host() {
        let mut filter = SourceFilter::sender(ip("10.0.0.1"), Some(6970));
        let other = at("10.0.0.1:50000");
        assert_eq!(filter.accept(other, || true), Verdict::Drop);
        assert_eq!(filter.accept(other, || true), Verdict::Drop);
        // Neither another host nor what is no media, and only in a row.
        assert_eq!(filter.accept(at("10.0.0.2:50000"), || true), Verdict::Drop);
        assert_eq!(filter.accept(other, || false), Verdict::Drop);
        assert_eq!(filter.accept(at("10.0.0.1:50002"), || true), Verdict::Drop);
        assert_eq!(filter.accept(other, || true), Verdict::Drop);
        assert_eq!(filter.accept(other, || true), Verdict::Drop);
        assert_eq!(filter.accept(other, || true), Verdict::AcceptAndLock(other));
        assert_eq!(filter.accept(at("10.0.0.1:6970"), || true), Verdict::Drop);
    }

    // covers: C-SETUP-14, H-36
    #[test]
    fn without_a_port_the_first_valid_sender_of_the_host_wins() {
        for port in [None, Some(0)] {
            let mut filter = SourceFilter::sender(ip("10.0.0.1"), port);
            assert_eq!(filter.accept(at("10.0.0.9:4000"), || true), Verdict::Drop);
            assert_eq!(filter.accept(at("10.0.0.1:4000"), || false), Verdict::Drop);
            let sender = at("10.0.0.1:4002");
            assert_eq!(
                filter.accept(sender, || true),
                Verdict::AcceptAndLock(sender)
            );
            assert_eq!(filter.accept(at("10.0.0.1:4000"), || true), Verdict::Drop);
            assert_eq!(filter.accept(sender, || true), Verdict::Accept);
        }
    }

    #[test]
    fn mapped_addresses_are_the_ipv4_address() {
        let mut filter = SourceFilter::sender(ip("::ffff:10.0.0.1"), None);
        assert!(matches!(
            filter.accept(at("10.0.0.1:4"), || true),
            Verdict::AcceptAndLock(_)
        ));
    }

    // covers: C-MC-05
    #[test]
    fn a_source_specific_group_takes_its_source_on_any_port() {
        let mut filter = SourceFilter::host(ip("10.0.0.1"));
        assert_eq!(filter.accept(at("10.0.0.1:1"), || false), Verdict::Accept);
        assert_eq!(filter.accept(at("10.0.0.1:2"), || false), Verdict::Accept);
        assert_eq!(filter.accept(at("10.0.0.2:1"), || true), Verdict::Drop);
        assert_eq!(
            SourceFilter::any().accept(at("10.0.0.2:1"), || false),
            Verdict::Accept
        );
    }

    // covers: C-SETUP-14, C-SETUP-15, H-13
    #[test]
    fn where_a_stream_comes_from() {
        type Ports = Option<(u16, Option<u16>)>;
        let any = "10.0.0.1:1234";
        for (source, ports, rtp, rtcp) in [
            (None, Some((5, Some(6))), "10.0.0.1:5", "10.0.0.1:6"),
            (None, Some((5, None)), "10.0.0.1:5", "10.0.0.1:6"),
            (None, Some((5, Some(9))), "10.0.0.1:5", "10.0.0.1:9"),
            (None, Some((65535, None)), "10.0.0.1:65535", any),
            (None, Some((0, Some(1))), any, any),
            (None, None, any, any),
            (
                Some("10.9.9.9"),
                Some((5, None)),
                "10.9.9.9:5",
                "10.9.9.9:6",
            ),
            (Some("0.0.0.0"), Some((5, None)), "10.0.0.1:5", "10.0.0.1:6"),
            (
                Some("239.1.1.1"),
                Some((5, None)),
                "10.0.0.1:5",
                "10.0.0.1:6",
            ),
        ] as [(Option<&str>, Ports, &str, &str); 9]
        {
            let media = MediaPeer::new(ip("10.0.0.1"), source.map(ip), ports);
            for (filter, from) in [(media.rtp_filter(), rtp), (media.rtcp_filter(), rtcp)] {
                let case = format!("{source:?} {ports:?} {from}");
                let verdict = filter.clone().accept(at("10.8.8.8:5"), || true);
                assert_eq!(verdict, Verdict::Drop, "{case}");
                let verdict = filter.clone().accept(at(from), || true);
                assert_eq!(verdict, Verdict::AcceptAndLock(at(from)), "{case}");
            }
        }
    }

    #[test]
    fn rtp_and_rtcp_are_told_apart() {
        let mut packet = [0u8; 12];
        for (first, second, rtp, rtcp) in [
            (0x80, 96, true, false),
            (0x80, 224, true, false),
            (0x80, 200, false, true),
            (0x81, 201, false, true),
            (0x40, 96, false, false),
            (0x00, 200, false, false),
        ] {
            packet[0] = first;
            packet[1] = second;
            assert_eq!(looks_like_rtp(&packet), rtp, "{first:x} {second}");
            assert_eq!(looks_like_rtcp(&packet), rtcp, "{first:x} {second}");
        }
        packet[..2].copy_from_slice(&[0x80, 96]);
        assert!(!looks_like_rtp(&packet[..11]));
        packet[1] = 200;
        assert!(looks_like_rtcp(&packet[..8]) && !looks_like_rtcp(&packet[..7]));
        assert!(!looks_like_rtp(&[]) && !looks_like_rtcp(&[0x80]));
    }
}
