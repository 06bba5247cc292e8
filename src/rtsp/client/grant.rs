//! What the Transport header of a SETUP response grants, and whether that may be used.
//!
//! Two rules stand behind it: the server chooses within what was offered, and nothing is ever
//! sent to an address only because the header names it (RFC 7826 §21.2).

use std::net::IpAddr;

use super::Intent;
use super::event::{Granted, Path};
use crate::rtsp::message::Headers;
use crate::rtsp::transport::{Cast, Lower, LowerTransport, Offer, Profile, Transport};

/// All that the judgement depends on.
pub(super) struct Asked<'a> {
    pub intent: Intent,
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
        (Profile::Savpf, Profile::Savp) => {
            quirks.push("savp-granted-for-savpf");
            Profile::Savp
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
        keys: None,
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

/// Whether the reply repeats an offer of TCP and names UDP ports all the same: a server that knows
/// UDP alone, and would take interleaved media for broken requests.
pub(super) fn echoes_tcp(headers: &Headers) -> bool {
    let value = headers.joined("Transport").unwrap_or_default();
    let reply = Transport::parse_list(&value).into_iter().next();
    reply.is_some_and(|reply| reply.lower == Lower::Tcp && reply.server_port.is_some())
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
    if asked.intent == Intent::Record {
        // To the peer and to no third host (RFC 2326 §16), and not to a port that is guessed.
        let rtp = rtp.ok_or("the reply names no usable port to send to")?;
        return Ok(Path::Udp {
            server: peer,
            rtp: Some(rtp),
            rtcp,
            send_to_server: true,
        });
    }
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
    // Nobody records on a system port; who names one wants us to write there.
    let lowest = match asked.intent {
        Intent::Play => 1,
        Intent::Record => 1024,
    };
    let rtcp = rtcp
        .or(rtp.checked_add(1))
        .filter(|rtcp| rtp >= lowest && *rtcp >= lowest);
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
mod tests;
