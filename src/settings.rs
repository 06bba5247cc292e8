//! What the properties of both elements share.

mod http;
mod table;
mod tls;

use std::time::Duration;

use glib::prelude::*;
use gst_rtsp::RTSPLowerTrans;

pub(crate) use self::table::properties;
use self::tls::TlsSettings;
pub(crate) use self::tls::{accept_certificate, emit_accept_certificate};
use crate::rtsp::transport::LowerTransport;
use crate::rtsp::url::{Credentials, SchemeTransport, Url, redact};
use crate::session::{Policy, Server};

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
const DEFAULT_USER_AGENT: &str = concat!("gst-plugin-rtsp2/", env!("CARGO_PKG_VERSION"));

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

/// The settings of both elements. Times are in the units of their properties.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Common {
    location: Option<(String, Url)>,
    protocols: RTSPLowerTrans,
    transport_preference: TransportPreference,
    retry: u32,
    tcp_timeout: u64,
    pub do_rtcp: bool,
    do_rtsp_keep_alive: bool,
    pub rtp_blocksize: u32,
    user_id: Option<String>,
    user_pw: Option<String>,
    user_agent: String,
    port_range: Option<(u16, u16)>,
    udp_buffer_size: i32,
    multicast_iface: Option<String>,
    teardown_timeout: u64,
    connect_attempts: i32,
    reconnect_attempts: i32,
    reconnect_initial_delay: u64,
    reconnect_max_delay: u64,
    http: http::Http,
    tls: TlsSettings,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            location: None,
            protocols: RTSPLowerTrans::TCP | RTSPLowerTrans::UDP | RTSPLowerTrans::UDP_MCAST,
            transport_preference: TransportPreference::default(),
            retry: 20,
            tcp_timeout: 20_000_000,
            do_rtcp: true,
            do_rtsp_keep_alive: true,
            rtp_blocksize: 0,
            user_id: None,
            user_pw: None,
            user_agent: DEFAULT_USER_AGENT.into(),
            port_range: None,
            udp_buffer_size: 512 * 1024,
            multicast_iface: None,
            teardown_timeout: 100 * MS,
            connect_attempts: 1,
            reconnect_attempts: -1,
            reconnect_initial_delay: 500 * MS,
            reconnect_max_delay: 30 * SECOND,
            http: http::Http::default(),
            tls: TlsSettings::default(),
        }
    }
}

/// What a change of a property asks of a running element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing before the next start.
    NextStart,
    Credentials,
    /// The session takes it over for what comes next.
    Adopt,
}

/// Those that [`Server::adopt`] takes over.
const ADOPTED: [&str; 7] = [
    "connect-attempts",
    "reconnect-attempts",
    "reconnect-initial-delay",
    "reconnect-max-delay",
    "tcp-timeout",
    "teardown-timeout",
    "user-agent",
];

/// The value of a property as its type.
pub(crate) fn value_of<'a, T: glib::value::FromValue<'a>>(
    value: &'a glib::Value,
) -> Result<T, String> {
    value.get::<T>().map_err(|error| error.to_string())
}

impl Common {
    /// The location without its password.
    pub fn location(&self) -> Option<String> {
        self.location.as_ref().map(|(text, _)| redact(text))
    }

    pub fn set_location(&mut self, location: Option<&str>) -> Result<(), String> {
        self.location = match location {
            None | Some("") => None,
            Some(text) => {
                let url = Url::parse(text).map_err(|error| error.to_string())?;
                Some((text.to_string(), url))
            }
        };
        Ok(())
    }

    /// Sets a property, if it is one of these.
    pub fn set(&mut self, name: &str, value: &glib::Value) -> Result<Option<Change>, String> {
        match name {
            "location" => self.set_location(value_of(value)?)?,
            "protocols" => self.protocols = value_of(value)?,
            "transport-preference" => self.transport_preference = value_of(value)?,
            "retry" => self.retry = value_of(value)?,
            "tcp-timeout" => self.tcp_timeout = value_of(value)?,
            "do-rtcp" => self.do_rtcp = value_of(value)?,
            "do-rtsp-keep-alive" => self.do_rtsp_keep_alive = value_of(value)?,
            "rtp-blocksize" => self.rtp_blocksize = value_of(value)?,
            "user-id" => self.user_id = value_of(value)?,
            "user-pw" => self.user_pw = value_of(value)?,
            // What would break the request is the default instead.
            "user-agent" => {
                self.user_agent = value_of::<Option<String>>(value)?
                    .filter(|agent| !agent.contains(['\r', '\n', '\0']))
                    .unwrap_or_else(|| DEFAULT_USER_AGENT.into());
            }
            "port-range" => self.port_range = parse_port_range(value_of(value)?)?,
            "udp-buffer-size" => self.udp_buffer_size = value_of(value)?,
            "multicast-iface" => self.multicast_iface = value_of(value)?,
            "teardown-timeout" => self.teardown_timeout = value_of(value)?,
            "connect-attempts" => self.connect_attempts = value_of(value)?,
            "reconnect-attempts" => self.reconnect_attempts = value_of(value)?,
            "reconnect-initial-delay" => self.reconnect_initial_delay = value_of(value)?,
            "reconnect-max-delay" => self.reconnect_max_delay = value_of(value)?,
            _ if self.tls.set(name, value)? => {}
            _ => return self.http.set(name, value),
        }
        Ok(Some(match name {
            "user-id" | "user-pw" => Change::Credentials,
            name if ADOPTED.contains(&name) => Change::Adopt,
            _ => Change::NextStart,
        }))
    }

    pub fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "location" => self.location().to_value(),
            "protocols" => self.protocols.to_value(),
            "transport-preference" => self.transport_preference.to_value(),
            "retry" => self.retry.to_value(),
            "tcp-timeout" => self.tcp_timeout.to_value(),
            "do-rtcp" => self.do_rtcp.to_value(),
            "do-rtsp-keep-alive" => self.do_rtsp_keep_alive.to_value(),
            "rtp-blocksize" => self.rtp_blocksize.to_value(),
            "user-id" => self.user_id.to_value(),
            // A secret is written, never read back.
            "user-pw" => None::<String>.to_value(),
            "user-agent" => self.user_agent.to_value(),
            "port-range" => self
                .port_range
                .map(|(min, max)| format!("{min}-{max}"))
                .to_value(),
            "udp-buffer-size" => self.udp_buffer_size.to_value(),
            "multicast-iface" => self.multicast_iface.to_value(),
            "teardown-timeout" => self.teardown_timeout.to_value(),
            "connect-attempts" => self.connect_attempts.to_value(),
            "reconnect-attempts" => self.reconnect_attempts.to_value(),
            "reconnect-initial-delay" => self.reconnect_initial_delay.to_value(),
            "reconnect-max-delay" => self.reconnect_max_delay.to_value(),
            name => return self.tls.get(name).or_else(|| self.http.get(name)),
        })
    }

    /// The credentials of the properties; they override those of the URL.
    pub fn credentials(&self) -> Option<Credentials> {
        self.user_id.as_ref().map(|user| Credentials {
            user: user.clone(),
            password: self.user_pw.clone().unwrap_or_default(),
        })
    }

    pub fn teardown_timeout(&self) -> Duration {
        Duration::from_nanos(self.teardown_timeout)
    }

    /// What a session is told of its server, or what the user is to mend.
    pub fn server(&self) -> Result<Server, String> {
        let Some((_, url)) = &self.location else {
            return Err("No RTSP location was given: set `location` to an rtsp:// URL".into());
        };
        let http = self.http.settings(url)?;
        let proxied = http.proxy.is_some();
        let transports = transports(self.protocols, self.transport_preference, url, proxied);
        if transports.is_empty() {
            return Err(format!(
                "{url}: scheme, proxy and `protocols` leave no transport; allow one of tcp, udp, udp-mcast"
            ));
        }
        Ok(Server {
            url: url.clone(),
            credentials: self.credentials(),
            user_agent: self.user_agent.replace("{VERSION}", &gstreamer_version()),
            transports,
            keep_alive: self.do_rtsp_keep_alive,
            response_timeout: Duration::from_micros(self.tcp_timeout),
            port_range: self.port_range,
            port_tries: self.retry,
            udp_buffer_size: usize::try_from(self.udp_buffer_size).unwrap_or(0),
            multicast_iface: self.multicast_iface.clone().filter(|name| !name.is_empty()),
            retries: Policy {
                connect_attempts: self.connect_attempts,
                reconnect_attempts: self.reconnect_attempts,
                initial_delay: Duration::from_nanos(self.reconnect_initial_delay),
                max_delay: Duration::from_nanos(self.reconnect_max_delay),
            },
            teardown_timeout: self.teardown_timeout(),
            http,
            tls: self.tls.tls()?,
        })
    }
}

/// Of the library that runs, as `{VERSION}` of `user-agent` names it.
fn gstreamer_version() -> String {
    let (major, minor, micro, _) = gst::version();
    format!("{major}.{minor}.{micro}")
}

/// The lower transports that `protocols` and the scheme of the URL allow, in
/// the order in which they are tried. Neither proxies nor tunnels carry datagrams.
fn transports(
    protocols: RTSPLowerTrans,
    preference: TransportPreference,
    url: &Url,
    proxied: bool,
) -> Vec<LowerTransport> {
    use SchemeTransport as S;
    let by_scheme = match url.forced_transport() {
        Some(S::Tcp | S::Tunnel | S::WebSocket) => RTSPLowerTrans::TCP,
        Some(S::Udp) => RTSPLowerTrans::UDP | RTSPLowerTrans::UDP_MCAST,
        None => RTSPLowerTrans::all(),
    };
    let by_road = match proxied {
        true => RTSPLowerTrans::TCP,
        false => RTSPLowerTrans::all(),
    };
    let allowed = protocols & by_scheme & by_road;
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
fn parse_port_range(text: Option<&str>) -> Result<Option<(u16, u16)>, String> {
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
            transports(protocols, preference, &Url::parse(url).unwrap(), false)
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
        for tunnel in ["rtsph://h/", "rtsp+ws://h/"] {
            assert_eq!(order(all, P::Udp, tunnel), [Tcp]);
        }
        let any = Url::parse(any).unwrap();
        assert_eq!(transports(all, P::Udp, &any, true), [Tcp]);
    }

    #[test]
    fn a_port_range_is_min_to_max() {
        assert_eq!(parse_port_range(None), Ok(None));
        assert_eq!(parse_port_range(Some("3000-3005")), Ok(Some((3000, 3005))));
        for wrong in ["3000", "0-10", "3005-3000", "a-b", "1-70000"] {
            assert!(parse_port_range(Some(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_user_agent_names_the_version_of_gstreamer() {
        gst::init().unwrap();
        let mut common = Common::default();
        common.set_location(Some("rtsp://h/")).unwrap();
        common
            .set("user-agent", &"Cam/1 GStreamer/{VERSION}".to_value())
            .unwrap();
        let agent = common.server().unwrap().user_agent;
        assert_eq!(agent, format!("Cam/1 GStreamer/{}", gstreamer_version()));
        assert!(agent.ends_with(|c: char| c.is_ascii_digit()), "{agent}");
    }

    #[test]
    fn what_a_session_adopts_may_be_set_while_playing() {
        gst::init().unwrap();
        for property in properties() {
            let name = property.name();
            let expected = ADOPTED.contains(&name) || ["user-id", "user-pw"].contains(&name);
            let flags = property.flags();
            let says = flags.bits() & gst::PARAM_FLAG_MUTABLE_PLAYING.bits() != 0;
            assert_eq!(says, expected, "{name}");
        }
    }
}
