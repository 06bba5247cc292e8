//! What the Transport header of a SETUP response grants, and whether that may be used.
//!
//! Two rules stand behind it: the server chooses within what was offered, and nothing is ever
//! sent to an address only because the header names it (RFC 7826 §21.2).

use std::net::IpAddr;

use super::event::{Granted, Path};
use crate::rtsp::message::Headers;
use crate::rtsp::transport::{Cast, Lower, LowerTransport, Offer, Profile, Transport};

/// All that the judgement depends on.
pub(super) struct Asked<'a> {
    pub offer: &'a Offer,
    pub profile: Profile,
    /// The server's address and ours on the RTSP connection.
    pub peer: IpAddr,
    pub local: IpAddr,
    pub tcp_allowed: bool,
    /// Channels of the streams that are set up.
    pub channels_used: &'a [u8],
    /// A free pair for a TCP grant that names none.
    pub channels_free: Option<(u8, u8)>,
    /// Group, ttl and port of the description, for what the reply leaves out.
    pub group: Option<(IpAddr, Option<u8>)>,
    pub port: u16,
}

/// Harmless oddities, by name.
pub(super) type Quirks = Vec<&'static str>;

pub(super) fn judge(
    asked: &Asked,
    headers: &Headers,
    quirks: &mut Quirks,
) -> Result<Granted, String> {
    let reply = match headers.joined("Transport") {
        // Without the header the offer stands as it was made.
        None => {
            quirks.push("setup-reply-without-transport");
            Transport {
                profile: asked.profile,
                ..Transport::default()
            }
        }
        Some(value) => Transport::parse_list(&value)
            .into_iter()
            .next()
            .ok_or_else(|| unusable(&value))?,
    };
    quirks.extend(&reply.quirks);
    let absent = headers.get("Transport").is_none();
    let profile = match (asked.profile, reply.profile) {
        (asked, granted) if asked == granted => granted,
        // Less than was asked for, and all of it was.
        (Profile::Avpf, Profile::Avp) => {
            quirks.push("avp-granted-for-avpf");
            Profile::Avp
        }
        (asked, granted) => return Err(format!("{granted} was granted where {asked} was offered")),
    };
    let lower = if absent {
        asked.offer.lower_transport()
    } else {
        granted_lower(asked, &reply)?
    };
    let path = match lower {
        LowerTransport::Tcp => tcp(asked, &reply, quirks)?,
        LowerTransport::Udp => udp(asked, &reply, quirks)?,
        LowerTransport::UdpMulticast => multicast(asked, &reply)?,
    };
    Ok(Granted {
        profile,
        ssrc: reply.ssrc,
        path,
    })
}

fn unusable(value: &str) -> String {
    let kind = value.trim_start().to_ascii_lowercase();
    if kind.starts_with("x-real-rdt") || kind.starts_with("x-pn-tng") {
        format!("the server sends RDT (RealNetworks), which is not supported: {value}")
    } else {
        format!("the Transport of the reply cannot be used: {value}")
    }
}

/// A transport that was not offered is refused, except TCP, which opens nothing new.
fn granted_lower(asked: &Asked, reply: &Transport) -> Result<LowerTransport, String> {
    let offered = asked.offer.lower_transport();
    // Some servers leave `/TCP` out but name channels.
    let interleaved =
        reply.interleaved.is_some() && reply.server_port.is_none() && reply.client_port.is_none();
    let granted = if reply.lower == Lower::Tcp || interleaved {
        LowerTransport::Tcp
    } else {
        match (reply.cast, offered) {
            (Some(Cast::Multicast), _) | (None, LowerTransport::UdpMulticast) => {
                LowerTransport::UdpMulticast
            }
            _ => LowerTransport::Udp,
        }
    };
    let multicast_over_tcp = granted == LowerTransport::Tcp && reply.cast == Some(Cast::Multicast);
    let taken = granted == offered
        || (granted == LowerTransport::Tcp && offered == LowerTransport::Udp && asked.tcp_allowed);
    if !taken || multicast_over_tcp {
        return Err(format!("{granted} was granted where {offered} was offered"));
    }
    Ok(granted)
}

fn tcp(asked: &Asked, reply: &Transport, quirks: &mut Quirks) -> Result<Path, String> {
    if asked.offer.lower_transport() != LowerTransport::Tcp {
        quirks.push("tcp-granted-for-udp");
    } else if reply.interleaved.is_none() && !quirks.contains(&"setup-reply-without-transport") {
        quirks.push("setup-reply-without-channels");
    }
    let (rtp, rtcp) = match (reply.channels(), asked.offer) {
        (
            Some((rtp, rtcp)),
            Offer::Tcp {
                channels: (asked, _),
            },
        ) if rtp != *asked => {
            quirks.push("channels-differ");
            (rtp, rtcp)
        }
        (Some(channels), _) => channels,
        (
            None,
            Offer::Tcp {
                channels: (rtp, rtcp),
            },
        ) => (*rtp, Some(*rtcp)),
        (None, _) => {
            let (rtp, rtcp) = asked.channels_free.ok_or("no channel is free")?;
            (rtp, Some(rtcp))
        }
    };
    // A shared channel was not asked for, and would feed RTCP to the media.
    if rtcp == Some(rtp) && !reply.rtcp_mux {
        return Err(format!("channel {rtp} is to carry both RTP and RTCP"));
    }
    for channel in [Some(rtp), rtcp].into_iter().flatten() {
        if asked.channels_used.contains(&channel) {
            return Err(format!("channel {channel} belongs to another stream"));
        }
    }
    Ok(Path::Tcp { rtp, rtcp })
}

fn udp(asked: &Asked, reply: &Transport, quirks: &mut Quirks) -> Result<Path, String> {
    if let (Offer::Udp { ports }, Some(client)) = (asked.offer, reply.client_port)
        && client.0 != ports.0
    {
        quirks.push("client-port-differs");
    }
    if reply.destination.is_some()
        && reply.destination.as_deref().and_then(address) != Some(asked.local.to_canonical())
    {
        // We listen where we listen.
        quirks.push("destination-differs");
    }
    let peer = asked.peer.to_canonical();
    let server = match reply.source.as_deref().map(address) {
        None => peer,
        // A host name is not looked up.
        Some(None) => {
            quirks.push("source-not-an-address");
            peer
        }
        Some(Some(source)) if source.is_multicast() || is_broadcast(source) => {
            return Err(format!("media cannot come from {source}"));
        }
        Some(Some(source))
            if source.is_unspecified() || source.is_loopback() != peer.is_loopback() =>
        {
            quirks.push("source-not-reachable");
            peer
        }
        Some(Some(source)) => source,
    };
    if server != peer {
        quirks.push("source-is-another-host");
    }
    // A server's media never comes from a system port; whoever names one wants us to write there.
    let (rtp, rtcp) = match reply.server_ports() {
        Some((rtp, rtcp)) if rtp >= 1024 => {
            if rtcp.is_some_and(|rtcp| rtp.checked_add(1) != Some(rtcp)) {
                quirks.push("server-ports-not-a-pair");
            }
            (Some(rtp), rtcp.filter(|port| *port >= 1024))
        }
        _ => {
            quirks.push("server-port-unknown");
            (None, None)
        }
    };
    Ok(Path::Udp {
        server,
        rtp,
        rtcp,
        send_to_server: server == peer && rtp.is_some(),
    })
}

fn multicast(asked: &Asked, reply: &Transport) -> Result<Path, String> {
    let described = asked.group.map(|(group, _)| group);
    let group = match reply.destination.as_deref() {
        Some(named) => address(named),
        None => described,
    };
    let group = group
        .filter(|group| is_usable_group(*group))
        .ok_or_else(|| {
            let named = reply.destination.as_deref().unwrap_or("none");
            format!("no usable multicast group (the reply names {named})")
        })?;
    let (rtp, rtcp) = match reply.port.or(reply.server_port).or(reply.client_port) {
        Some((rtp, rtcp)) => (rtp, rtcp),
        None => (asked.port, None),
    };
    let rtcp = rtcp
        .or(rtp.checked_add(1))
        .filter(|rtcp| rtp != 0 && *rtcp != 0);
    let rtcp = rtcp.ok_or("no usable multicast port")?;
    let ttl = reply
        .ttl
        .or(asked.group.and_then(|(_, ttl)| ttl))
        .unwrap_or(1);
    let source = reply.source.as_deref().and_then(address).filter(|source| {
        is_source_specific(group) && !source.is_multicast() && !source.is_unspecified()
    });
    Ok(Path::Multicast {
        group,
        rtp,
        rtcp,
        ttl,
        source,
    })
}

fn address(text: &str) -> Option<IpAddr> {
    let text = text
        .strip_prefix('[')
        .and_then(|t| t.strip_suffix(']'))
        .unwrap_or(text);
    text.parse()
        .ok()
        .map(|address: IpAddr| address.to_canonical())
}

fn is_broadcast(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.is_broadcast())
}

/// Not the local control block, where routing protocols live, and not what never leaves the host.
fn is_usable_group(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_multicast() && !v4.octets().starts_with(&[224, 0, 0]),
        IpAddr::V6(v6) => {
            // The lowest four bits of the second octet are the scope; 0 and 1 are not routed.
            let scope = v6.segments().first().map_or(0, |segment| segment & 0xf);
            v6.is_multicast() && scope > 1
        }
    }
}

/// RFC 4607 §1.
fn is_source_specific(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(v4) => v4.octets().starts_with(&[232]),
        IpAddr::V6(v6) => v6
            .segments()
            .first()
            .is_some_and(|segment| segment & 0xfff0 == 0xff30),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: Offer = Offer::Tcp { channels: (4, 5) };
    const UDP: Offer = Offer::Udp {
        ports: (5000, 5001),
    };
    const MULTICAST: Offer = Offer::Multicast { ports: None };

    fn judged(offer: Offer, transport: Option<&str>) -> (Result<Path, String>, Quirks) {
        let asked = Asked {
            offer: &offer,
            profile: Profile::Avp,
            peer: "192.0.2.1".parse().unwrap(),
            local: "192.0.2.9".parse().unwrap(),
            tcp_allowed: true,
            channels_used: &[0, 1],
            channels_free: Some((2, 3)),
            group: Some(("239.1.1.1".parse().unwrap(), Some(3))),
            port: 6000,
        };
        let mut headers = Headers::new();
        if let Some(transport) = transport {
            headers.push("Transport", transport);
        }
        let mut quirks = Quirks::new();
        (
            judge(&asked, &headers, &mut quirks).map(|granted| granted.path),
            quirks,
        )
    }

    fn path(offer: Offer, transport: &str) -> Option<Path> {
        judged(offer, Some(transport)).0.ok()
    }

    fn udp(server: &str, rtp: Option<u16>, rtcp: Option<u16>, send: bool) -> Option<Path> {
        Some(Path::Udp {
            server: server.parse().unwrap(),
            rtp,
            rtcp,
            send_to_server: send,
        })
    }

    fn group(group: &str, rtp: u16, rtcp: u16, ttl: u8, source: Option<&str>) -> Option<Path> {
        let source = source.map(|s| s.parse().unwrap());
        Some(Path::Multicast {
            group: group.parse().unwrap(),
            rtp,
            rtcp,
            ttl,
            source,
        })
    }

    // covers: C-SETUP-10, H-13
    #[test]
    fn what_was_not_offered_is_refused() {
        for (offer, transport) in [
            (
                TCP,
                "RTP/AVP;unicast;client_port=5000-5001;server_port=7000-7001",
            ),
            (
                TCP,
                "RTP/AVP;multicast;destination=239.1.1.1;port=7000-7001",
            ),
            (TCP, "RTP/AVP/TCP;multicast;interleaved=4-5"),
            (TCP, "RTP/SAVP/TCP;unicast;interleaved=4-5"),
            (TCP, "RAW/RAW/UDP;unicast"),
            (TCP, ""),
            (
                UDP,
                "RTP/AVP;multicast;destination=239.1.1.1;port=7000-7001",
            ),
            (UDP, "RTP/SAVP;unicast;server_port=7000-7001"),
            (
                MULTICAST,
                "RTP/AVP;unicast;client_port=5000-5001;server_port=7000-7001",
            ),
            (MULTICAST, "RTP/AVP/TCP;unicast;interleaved=4-5"),
        ] {
            assert!(
                judged(offer, Some(transport)).0.is_err(),
                "{offer:?} {transport}"
            );
        }
    }

    // covers: C-SETUP-10
    #[test]
    fn a_tcp_grant_to_a_udp_ask_is_taken_where_tcp_is_allowed() {
        assert_eq!(
            path(UDP, "RTP/AVP/TCP;unicast;interleaved=6-7"),
            Some(Path::Tcp {
                rtp: 6,
                rtcp: Some(7)
            })
        );
        assert_eq!(
            path(UDP, "RTP/AVP/TCP;unicast"),
            Some(Path::Tcp {
                rtp: 2,
                rtcp: Some(3)
            })
        );
    }

    // covers: C-SETUP-11
    #[test]
    fn what_the_reply_leaves_out_stays_as_asked() {
        assert_eq!(
            judged(TCP, None).0,
            Ok(Path::Tcp {
                rtp: 4,
                rtcp: Some(5)
            })
        );
        assert_eq!(
            judged(UDP, None).0.ok(),
            udp("192.0.2.1", None, None, false)
        );
        assert_eq!(
            judged(MULTICAST, None).0.ok(),
            group("239.1.1.1", 6000, 6001, 3, None)
        );
        assert_eq!(
            path(UDP, "RTP/AVP;client_port=5000-5001;server_port=7000-7001"),
            udp("192.0.2.1", Some(7000), Some(7001), true)
        );
        assert_eq!(
            path(MULTICAST, "RTP/AVP"),
            group("239.1.1.1", 6000, 6001, 3, None)
        );
    }

    // covers: C-SETUP-12, C-SETUP-13
    #[test]
    fn channels_are_those_of_the_reply() {
        for (transport, rtp, rtcp) in [
            ("RTP/AVP/TCP;unicast;interleaved=8-9", 8, Some(9)),
            ("RTP/AVP/TCP;interleaved=8", 8, Some(9)),
            ("RTP/AVP/TCP;interleaved=9-200", 9, Some(200)),
            ("RTP/AVP/TCP;interleaved=255", 255, None),
            ("RTP/AVP/TCP;unicast", 4, Some(5)),
            ("RTP/AVP;unicast;interleaved=8-9", 8, Some(9)),
        ] {
            assert_eq!(
                path(TCP, transport),
                Some(Path::Tcp { rtp, rtcp }),
                "{transport}"
            );
        }
    }

    // covers: H-12
    #[test]
    fn channels_that_cross_are_refused() {
        for channels in [
            "0-1", "1-2", "255-0", "8-8", "9-8", "256-257", "8-256", "x-y", "7-0",
        ] {
            let transport = format!("RTP/AVP/TCP;unicast;interleaved={channels}");
            assert_eq!(path(TCP, &transport), None, "{channels}");
        }
    }

    // covers: C-SETUP-14
    #[test]
    fn a_server_port_may_be_missing_or_single() {
        for (ports, rtp, rtcp, send) in [
            (";server_port=7000-7001", Some(7000), Some(7001), true),
            (";server_port=7000-9001", Some(7000), Some(9001), true),
            (";server_port=7000", Some(7000), Some(7001), true),
            (";server_port=0-0", None, None, false),
            (";server_port=0-1", None, None, false),
            ("", None, None, false),
        ] {
            let transport = format!("RTP/AVP;unicast;client_port=5000-5001{ports}");
            assert_eq!(
                path(UDP, &transport),
                udp("192.0.2.1", rtp, rtcp, send),
                "{ports}"
            );
        }
    }

    // covers: C-SETUP-15, H-13
    #[test]
    fn a_third_host_is_received_from_but_never_sent_to() {
        let with = |source: &str| {
            path(
                UDP,
                &format!("RTP/AVP;unicast;server_port=7000-7001;source={source}"),
            )
        };
        assert_eq!(
            with("192.0.2.1"),
            udp("192.0.2.1", Some(7000), Some(7001), true)
        );
        assert_eq!(
            with("::ffff:192.0.2.1"),
            udp("192.0.2.1", Some(7000), Some(7001), true)
        );
        assert_eq!(
            with("198.51.100.7"),
            udp("198.51.100.7", Some(7000), Some(7001), false)
        );
        for ignored in ["", "0.0.0.0", "127.0.0.1", "::", "camera.local"] {
            assert_eq!(
                with(ignored),
                udp("192.0.2.1", Some(7000), Some(7001), true),
                "{ignored}"
            );
        }
        for refused in ["239.1.1.1", "255.255.255.255", "ff02::1"] {
            assert_eq!(with(refused), None, "{refused}");
        }
    }

    // covers: C-SETUP-14, H-13
    #[test]
    fn nothing_is_sent_to_a_system_port() {
        let granted = path(
            UDP,
            "RTP/AVP;unicast;server_port=53-54;client_port=5000-5001",
        );
        assert_eq!(granted, udp("192.0.2.1", None, None, false));
    }

    // covers: C-SETUP-18, C-SETUP-22
    #[test]
    fn other_destinations_and_client_ports_are_only_named() {
        let (granted, quirks) = judged(
            UDP,
            Some(
                "RTP/AVP;unicast;destination=198.51.100.1;client_port=9000-9001;server_port=7000-7001",
            ),
        );
        assert_eq!(granted.ok(), udp("192.0.2.1", Some(7000), Some(7001), true));
        assert_eq!(quirks, ["client-port-differs", "destination-differs"]);
        let (_, quirks) = judged(
            UDP,
            Some(
                "RTP/AVP;unicast;destination=192.0.2.9;client_port=5000-5001;server_port=7000-7001",
            ),
        );
        assert!(quirks.is_empty(), "{quirks:?}");
    }

    // covers: C-SETUP-16, C-SETUP-17
    #[test]
    fn ssrc_and_mode_never_spoil_a_reply() {
        for extra in [
            "ssrc= 1234",
            "ssrc=xyz",
            "mode=play",
            "mode=\"PLAY\"",
            "MODE=\"PLAY,RECORD\"",
            "mode=receive",
        ] {
            let transport = format!("RTP/AVP/TCP;unicast;interleaved=4-5;{extra}");
            assert_eq!(
                path(TCP, &transport),
                Some(Path::Tcp {
                    rtp: 4,
                    rtcp: Some(5)
                }),
                "{extra}"
            );
        }
    }

    // covers: C-MC-01, C-MC-05, H-13
    #[test]
    fn the_reply_decides_group_ports_and_ttl() {
        for (transport, expected) in [
            (
                "RTP/AVP;multicast;destination=239.9.9.9;port=7000-7001;ttl=9",
                group("239.9.9.9", 7000, 7001, 9, None),
            ),
            (
                "RTP/AVP;multicast;destination=239.9.9.9;port=7000",
                group("239.9.9.9", 7000, 7001, 3, None),
            ),
            (
                "RTP/AVP;multicast;port=7000-7001",
                group("239.1.1.1", 7000, 7001, 3, None),
            ),
            (
                "RTP/AVP;multicast;destination=232.9.9.9;source=192.0.2.5",
                group("232.9.9.9", 6000, 6001, 3, Some("192.0.2.5")),
            ),
            (
                "RTP/AVP;multicast;destination=239.9.9.9;source=192.0.2.5",
                group("239.9.9.9", 6000, 6001, 3, None),
            ),
            (
                "RTP/AVP;multicast;destination=ff35::9",
                group("ff35::9", 6000, 6001, 3, None),
            ),
        ] {
            assert_eq!(path(MULTICAST, transport), expected, "{transport}");
        }
        for refused in [
            "127.0.0.1",
            "192.0.2.7",
            "255.255.255.255",
            "224.0.0.5",
            "0.0.0.0",
            "ff01::1",
            "::1",
            "name",
        ] {
            let transport = format!("RTP/AVP;multicast;destination={refused};port=7000-7001");
            assert_eq!(path(MULTICAST, &transport), None, "{refused}");
        }
        assert_eq!(
            path(
                MULTICAST,
                "RTP/AVP;multicast;destination=239.9.9.9;port=0-0"
            ),
            None
        );
        assert_eq!(
            path(
                MULTICAST,
                "RTP/AVP;multicast;destination=239.9.9.9;port=65535"
            ),
            None
        );
    }
}
