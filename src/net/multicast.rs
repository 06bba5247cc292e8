//! Multicast groups: joining, any-source and source-specific, IPv4 and IPv6.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};

use nix::sys::socket::{SockaddrStorage, setsockopt};
use socket2::{InterfaceIndexOrAddress, Socket};

use super::address::is_media_group;
use super::udp::{UdpPair, UdpSocket, new_socket, same_family};

/// A group that carries a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// The group's address.
    pub address: IpAddr,
    /// The port of RTP.
    pub rtp_port: u16,
    /// The port of RTCP; the next if not named (RFC 3550 §11).
    pub rtcp_port: Option<u16>,
    /// How far RTCP goes that is sent to the group.
    pub ttl: Option<u8>,
    /// The only source that is listened to (RFC 4607).
    pub source: Option<IpAddr>,
}

impl Group {
    /// Where RTCP for the whole group goes.
    pub fn rtcp_target(&self) -> Option<SocketAddr> {
        self.ports()
            .map(|(_, rtcp)| SocketAddr::new(self.address, rtcp))
    }

    fn ports(&self) -> Option<(u16, u16)> {
        let rtp = Some(self.rtp_port).filter(|p| *p != 0)?;
        let rtcp = match self.rtcp_port {
            Some(rtcp) if rtcp != 0 => rtcp,
            _ => rtp.checked_add(1)?,
        };
        (rtp != rtcp).then_some((rtp, rtcp))
    }

    fn check(&self) -> io::Result<(u16, u16)> {
        let wrong = |what: String| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        if !is_media_group(self.address) {
            return wrong(format!(
                "{} is not a multicast group for media",
                self.address
            ));
        }
        if let Some(source) = self.source
            && (source.is_multicast()
                || source.is_unspecified()
                || !same_family(source, self.address))
        {
            return wrong(format!("{source} cannot be a source of {}", self.address));
        }
        match self.ports() {
            Some(ports) => Ok(ports),
            None => wrong(format!("no usable ports for {}", self.address)),
        }
    }
}

/// The network interface that a group is joined on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The system's name of it, empty if the system chooses.
    pub name: String,
    index: u32,
    v4: Option<Ipv4Addr>,
}

impl Interface {
    /// Whichever the system's routes choose.
    pub fn any() -> Self {
        Self {
            name: String::new(),
            index: 0,
            v4: None,
        }
    }

    /// The one with this name.
    pub fn by_name(name: &str) -> io::Result<Self> {
        Self::find(name.to_owned())
    }

    /// The one that owns a local address: that of the RTSP connection. On a
    /// machine with several networks the group is on the side where the server is.
    pub fn owning(local: SocketAddr) -> io::Result<Self> {
        let ip = local.ip().to_canonical();
        let scope = match local {
            SocketAddr::V6(v6) => v6.scope_id(),
            SocketAddr::V4(_) => 0,
        };
        for entry in nix::ifaddrs::getifaddrs()? {
            let owns = match entry.address.as_ref().and_then(socket_addr) {
                Some(SocketAddr::V6(v6)) => {
                    ip == *v6.ip() && (scope == 0 || scope == v6.scope_id())
                }
                Some(SocketAddr::V4(v4)) => ip == *v4.ip(),
                None => false,
            };
            if owns {
                return Self::find(entry.interface_name);
            }
        }
        Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("no interface has the address {ip}"),
        ))
    }

    fn find(name: String) -> io::Result<Self> {
        let index = nix::net::if_::if_nametoindex(name.as_str()).map_err(|error| {
            io::Error::new(
                io::Error::from(error).kind(),
                format!("interface {name:?}: {error}"),
            )
        })?;
        let v4 = nix::ifaddrs::getifaddrs()?
            .filter(|entry| entry.interface_name == name)
            .find_map(|entry| match entry.address.as_ref().and_then(socket_addr) {
                Some(SocketAddr::V4(v4)) => Some(*v4.ip()),
                _ => None,
            });
        Ok(Self { name, index, v4 })
    }
}

fn socket_addr(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address
        .as_sockaddr_in()
        .map(|a| SocketAddr::from((a.ip(), a.port())));
    v4.or_else(|| {
        let a = address.as_sockaddr_in6()?;
        Some(SocketAddrV6::new(a.ip(), a.port(), a.flowinfo(), a.scope_id()).into())
    })
}

/// Joins a group with both sockets, which leave it when they are dropped.
/// Called in the context of the runtime that shall own them.
///
/// Other sockets may use the same ports of the same group: both get everything.
pub fn join(group: &Group, interface: &Interface) -> io::Result<UdpPair> {
    let (rtp, rtcp) = group.check()?;
    Ok(UdpPair {
        rtp: UdpSocket::new(joined(group, rtp, interface)?)?,
        rtcp: UdpSocket::new(joined(group, rtcp, interface)?)?,
    })
}

fn joined(group: &Group, port: u16, interface: &Interface) -> io::Result<Socket> {
    let address = match group.address {
        IpAddr::V4(v4) => SocketAddr::from((v4, port)),
        // A link-local group is one per interface.
        IpAddr::V6(v6) => SocketAddrV6::new(v6, port, 0, interface.index).into(),
    };
    let socket = new_socket(address)?;
    // Not SO_REUSEPORT, which would spread the packets over the sockets.
    socket.set_reuse_address(true)?;
    // Bound to the group, the socket gets nothing of other groups on this port.
    socket.bind(&address.into())?;
    match group.source {
        Some(source) => join_source(&socket, address, source, interface)?,
        None => match group.address {
            IpAddr::V4(v4) => {
                socket.join_multicast_v4_n(&v4, &InterfaceIndexOrAddress::Index(interface.index))?
            }
            IpAddr::V6(v6) => socket.join_multicast_v6(&v6, interface.index)?,
        },
    }
    set_sending(&socket, group, interface)?;
    // Without this the group comes in from other interfaces too, if anybody has joined it there.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    match group.address {
        IpAddr::V4(_) => socket.set_multicast_all_v4(false)?,
        IpAddr::V6(_) => socket.set_multicast_all_v6(false)?,
    }
    Ok(socket)
}

/// RTCP to the group leaves by the interface that it is received on.
fn set_sending(socket: &Socket, group: &Group, interface: &Interface) -> io::Result<()> {
    let ttl = group.ttl.filter(|ttl| *ttl != 0).map(u32::from);
    match group.address {
        IpAddr::V4(_) => {
            if let Some(address) = &interface.v4 {
                socket.set_multicast_if_v4(address)?;
            }
            ttl.map_or(Ok(()), |ttl| socket.set_multicast_ttl_v4(ttl))
        }
        IpAddr::V6(_) => {
            if interface.index != 0 {
                socket.set_multicast_if_v6(interface.index)?;
            }
            ttl.map_or(Ok(()), |ttl| socket.set_multicast_hops_v6(ttl))
        }
    }
}

/// The socket option of a source-specific join, for which socket2 and nix have no
/// IPv6 call (RFC 3678 §5.1.2).
mod source_group {
    use nix::libc;
    use nix::sys::socket::SockaddrStorage;
    use nix::{setsockopt_impl, sockopt_impl};

    /// `struct group_source_req`.
    #[derive(Clone, Copy)]
    #[repr(C)]
    pub struct GroupSource {
        pub interface: u32,
        pub group: SockaddrStorage,
        pub source: SockaddrStorage,
    }

    sockopt_impl!(
        JoinV4,
        SetOnly,
        libc::IPPROTO_IP,
        libc::MCAST_JOIN_SOURCE_GROUP,
        GroupSource
    );
    sockopt_impl!(
        JoinV6,
        SetOnly,
        libc::IPPROTO_IPV6,
        libc::MCAST_JOIN_SOURCE_GROUP,
        GroupSource
    );
}

fn join_source(
    socket: &Socket,
    group: SocketAddr,
    source: IpAddr,
    interface: &Interface,
) -> io::Result<()> {
    let request = source_group::GroupSource {
        interface: interface.index,
        group: group.into(),
        source: SocketAddr::new(source, 0).into(),
    };
    match group {
        SocketAddr::V4(_) => setsockopt(socket, source_group::JoinV4, &request)?,
        SocketAddr::V6(_) => setsockopt(socket, source_group::JoinV6, &request)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests;
