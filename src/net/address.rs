//! Which addresses may be connected to or sent to.
//!
//! The network names addresses (redirects, `source=`, `destination=`); these
//! rules keep a server from aiming the client at third parties.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// How far a connection may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Any address: the user named the host.
    Any,
    /// Only addresses of the public Internet: a public server named the host.
    PublicOnly,
}

impl Reach {
    /// Whether a connection to `ip` is within reach.
    pub fn allows(self, ip: IpAddr) -> bool {
        match self {
            Reach::Any => true,
            Reach::PublicOnly => is_public(ip),
        }
    }
}

/// Whether `ip` is a unicast address of the public Internet: not loopback,
/// link-local (cloud metadata services), private, shared (RFC 6598),
/// documentation, benchmarking or reserved.
pub fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(a == 0
        || ip.is_loopback()
        || ip.is_private()
        || ip.is_link_local()
        || ip.is_documentation()
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b))
        || a >= 224)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    // Addresses that carry an IPv4 address reach what that address reaches: IPv4-compatible,
    // NAT64 (RFC 6052) and 6to4 (RFC 3056).
    let embedded = match ip.segments() {
        [0, 0, 0, 0, 0, 0, hi, lo] | [0x64, 0xff9b, 0, 0, 0, 0, hi, lo] => Some((hi, lo)),
        [0x2002, hi, lo, ..] => Some((hi, lo)),
        _ => None,
    };
    if let Some((hi, lo)) = embedded {
        let ([a, b], [c, d]) = (hi.to_be_bytes(), lo.to_be_bytes());
        return is_public_v4(Ipv4Addr::new(a, b, c, d));
    }
    // Global unicast is 2000::/3 (RFC 4291 §2.4); 2001:db8::/32 is documentation.
    let [first, second, ..] = ip.segments();
    (first & 0xe000) == 0x2000 && (first, second) != (0x2001, 0x0db8)
}

/// Whether `ip` is a source-specific multicast group (RFC 4607 §1).
pub fn is_ssm(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => matches!(ip.octets(), [232, ..]),
        IpAddr::V6(ip) => matches!(ip.segments(), [a, 0, ..] if (a & 0xfff0) == 0xff30),
    }
}

/// Whether `ip` is a multicast group that media may use: not the local network
/// control block (RFC 5771 §4), not a reserved scope or well-known node group
/// (RFC 4291 §2.7).
pub fn is_media_group(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_multicast() && !matches!(ip.octets(), [224, 0, 0, _]),
        IpAddr::V6(ip) => {
            let [first, middle @ .., last] = ip.segments();
            let scope = first & 0x000f;
            let well_known = (first & 0x00f0) == 0 && middle == [0; 6] && last < 0x100;
            ip.is_multicast() && scope != 0 && scope != 0x0f && !well_known
        }
    }
}

/// Whether a datagram may be sent to `to`: a unicast host or a media group, and a port.
pub fn is_sendable(to: SocketAddr) -> bool {
    let ip = to.ip().to_canonical();
    if to.port() == 0 || ip.is_unspecified() {
        return false;
    }
    if ip.is_multicast() {
        return is_media_group(ip);
    }
    // 0/8 and 240/4, which holds the limited broadcast address (RFC 6890).
    !matches!(ip, IpAddr::V4(v4) if matches!(v4.octets(), [0 | 240..=255, ..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    // covers: H-18
    #[test]
    fn only_public_addresses_are_public() {
        for public in [
            "8.8.8.8",
            "100.63.0.1",
            "172.32.0.1",
            "2600::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(is_public(ip(public)), "{public}");
            assert!(Reach::PublicOnly.allows(ip(public)), "{public}");
        }
        for inner in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.1.1.1",
            "192.0.2.1",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff0e::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:a00:1::",
            "2001:db8::1",
        ] {
            assert!(!is_public(ip(inner)), "{inner}");
            assert!(!Reach::PublicOnly.allows(ip(inner)), "{inner}");
            assert!(Reach::Any.allows(ip(inner)), "{inner}");
        }
    }

    // covers: C-MC-01, C-MC-02, H-13
    #[test]
    fn reserved_groups_and_unicast_are_no_media_groups() {
        for group in [
            "239.1.2.3",
            "232.1.1.1",
            "224.0.1.1",
            "224.1.1.1",
            "ff15::1",
            "ff3e::8000:1",
        ] {
            assert!(is_media_group(ip(group)), "{group}");
        }
        for other in [
            "127.0.0.1",
            "255.255.255.255",
            "192.168.1.255",
            "224.0.0.1",
            "224.0.0.251",
            "240.0.0.1",
            "::1",
            "ff02::1",
            "ff02::2",
            "ff05::fb",
            "ff10::1",
            "ff1f::1",
        ] {
            assert!(!is_media_group(ip(other)), "{other}");
        }
    }

    // covers: C-MC-02, C-SETUP-14, H-13
    #[test]
    fn nothing_is_sent_to_broadcast_reserved_groups_or_port_zero() {
        for (text, sendable) in [
            ("192.0.2.1:5000", true),
            ("127.0.0.1:5000", true),
            ("[::1]:5000", true),
            ("239.1.1.1:5000", true),
            ("192.0.2.1:0", false),
            ("255.255.255.255:5000", false),
            ("0.0.0.0:5000", false),
            ("[::]:5000", false),
            ("224.0.0.1:5000", false),
            ("[ff02::1]:5000", false),
            ("[::ffff:255.255.255.255]:5000", false),
            ("240.0.0.1:5000", false),
        ] {
            assert_eq!(is_sendable(text.parse().unwrap()), sendable, "{text}");
        }
    }

    // covers: C-MC-05
    #[test]
    fn ssm_groups_are_232_8_and_ff3x_32() {
        for (text, ssm) in [
            ("232.0.0.1", true),
            ("233.0.0.1", false),
            ("ff3e::1", true),
            ("ff35::8000:1", true),
            ("ff35:1::1", false),
            ("ff15::1", false),
        ] {
            assert_eq!(is_ssm(ip(text)), ssm, "{text}");
        }
    }
}
