//! What the properties of both elements share.

use gst_rtsp::RTSPLowerTrans;

use crate::rtsp::transport::LowerTransport;
use crate::rtsp::url::{SchemeTransport, Url};

/// Which transport is tried first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstRtsp2TransportPreference")]
pub enum TransportPreference {
    #[default]
    #[enum_value(name = "TCP interleaved, then UDP, then multicast", nick = "auto")]
    Auto,
    #[enum_value(name = "TCP interleaved first", nick = "tcp")]
    Tcp,
    #[enum_value(name = "UDP unicast first", nick = "udp")]
    Udp,
    #[enum_value(name = "UDP multicast first", nick = "multicast")]
    Multicast,
}

/// Not `GStreamer/…`: a widespread server delays each SETUP of those by a second.
pub(crate) const DEFAULT_USER_AGENT: &str = concat!("gst-plugin-rtsp2/", env!("CARGO_PKG_VERSION"));

/// The User-Agent to send; what would break the request is the default instead.
pub(crate) fn user_agent(text: Option<String>) -> String {
    text.filter(|agent| !agent.contains(['\r', '\n', '\0']))
        .unwrap_or_else(|| DEFAULT_USER_AGENT.into())
}

/// The lower transports that `protocols` and the scheme of the URL allow, in
/// the order in which they are tried.
pub(crate) fn transports(
    protocols: RTSPLowerTrans,
    preference: TransportPreference,
    url: &Url,
) -> Vec<LowerTransport> {
    let by_scheme = match url.forced_transport() {
        Some(SchemeTransport::Tcp) => RTSPLowerTrans::TCP,
        Some(SchemeTransport::Udp) => RTSPLowerTrans::UDP | RTSPLowerTrans::UDP_MCAST,
        _ => RTSPLowerTrans::all(),
    };
    let allowed = protocols & by_scheme;
    let mut order = vec![
        (LowerTransport::Tcp, RTSPLowerTrans::TCP),
        (LowerTransport::Udp, RTSPLowerTrans::UDP),
        (LowerTransport::UdpMulticast, RTSPLowerTrans::UDP_MCAST),
    ];
    let first = match preference {
        TransportPreference::Auto | TransportPreference::Tcp => 0,
        TransportPreference::Udp => 1,
        TransportPreference::Multicast => 2,
    };
    order[..=first].rotate_right(1);
    order
        .into_iter()
        .filter(|(_, flag)| allowed.contains(*flag))
        .map(|(transport, _)| transport)
        .collect()
}

/// `min-max`, as `rtspsrc` writes it; both ends belong to the range.
pub(crate) fn parse_port_range(text: Option<&str>) -> Result<Option<(u16, u16)>, String> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let wrong = || format!("port-range {text:?} is not of the form min-max with min < max");
    let (min, max) = text.split_once('-').ok_or_else(wrong)?;
    let min: u16 = min.trim().parse().map_err(|_| wrong())?;
    let max: u16 = max.trim().parse().map_err(|_| wrong())?;
    if min == 0 || min >= max {
        return Err(wrong());
    }
    Ok(Some((min, max)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports_follow_preference_protocols_and_scheme() {
        use LowerTransport::*;
        use TransportPreference as P;
        let order = |protocols, preference, url| {
            transports(protocols, preference, &Url::parse(url).unwrap())
        };
        let all = RTSPLowerTrans::TCP | RTSPLowerTrans::UDP | RTSPLowerTrans::UDP_MCAST;
        let (any, tcp, udp) = ("rtsp://h/", "rtspt://h/", "rtspu://h/");
        assert_eq!(order(all, P::Auto, any), [Tcp, Udp, UdpMulticast]);
        assert_eq!(order(all, P::Auto, tcp), [Tcp]);
        assert_eq!(order(all, P::Auto, udp), [Udp, UdpMulticast]);
        assert_eq!(order(all, P::Udp, any), [Udp, Tcp, UdpMulticast]);
        assert_eq!(order(all, P::Multicast, any), [UdpMulticast, Tcp, Udp]);
        assert_eq!(order(RTSPLowerTrans::UDP, P::Multicast, any), [Udp]);
        assert_eq!(order(RTSPLowerTrans::UDP, P::Multicast, tcp), []);
    }

    #[test]
    fn a_port_range_is_min_to_max() {
        assert_eq!(parse_port_range(None), Ok(None));
        assert_eq!(parse_port_range(Some("3000-3005")), Ok(Some((3000, 3005))));
        for wrong in ["3000", "0-10", "3005-3000", "a-b", "1-70000"] {
            assert!(parse_port_range(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
