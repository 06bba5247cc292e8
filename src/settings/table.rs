//! The properties of both elements as GObject sees them.

use gst::prelude::*;
use gst_rtsp::RTSPLowerTrans;

use super::{Common, DEFAULT_USER_AGENT, http, tls};

pub(crate) fn properties() -> Vec<glib::ParamSpec> {
    use glib::{
        ParamSpecBoolean as Bool, ParamSpecEnum as Enum, ParamSpecFlags as Flags,
        ParamSpecInt as Int, ParamSpecString as Text, ParamSpecUInt as UInt,
        ParamSpecUInt64 as UInt64,
    };
    let d = Common::default();
    let mut properties = vec![
        Text::builder("location")
            .nick("RTSP Location")
            .blurb("Location of the RTSP url")
            .build(),
        Flags::builder::<RTSPLowerTrans>("protocols")
            .nick("Protocols")
            .blurb("Allowed lower transport protocols")
            .default_value(d.protocols)
            .build(),
        Enum::builder_with_default("transport-preference", d.transport_preference)
            .nick("Transport Preference")
            .blurb("Which of the allowed transports is tried first")
            .build(),
        UInt::builder("retry")
            .nick("Retry")
            .blurb("Max number of retries when allocating RTP ports")
            .maximum(65_535)
            .default_value(d.retry)
            .build(),
        UInt64::builder("tcp-timeout")
            .nick("TCP Timeout")
            .blurb("Fail after timeout microseconds on TCP connections (0 = disabled)")
            .default_value(d.tcp_timeout)
            .mutable_playing()
            .build(),
        Bool::builder("do-rtcp")
            .nick("Do RTCP")
            .blurb("Send RTCP packets, disable for old incompatible server.")
            .default_value(d.do_rtcp)
            .build(),
        Bool::builder("do-rtsp-keep-alive")
            .nick("Do RTSP Keep Alive")
            .blurb("Send RTSP keep alive packets, disable for old incompatible server.")
            .default_value(d.do_rtsp_keep_alive)
            .build(),
        UInt::builder("rtp-blocksize")
            .nick("RTP Blocksize")
            .blurb("RTP packet size to suggest to the server, and to hold payloaders to (0 = disabled)")
            .maximum(65_536)
            .default_value(d.rtp_blocksize)
            .build(),
        Text::builder("user-id")
            .nick("user-id")
            .blurb("RTSP location URI user id for authentication")
            .mutable_playing()
            .build(),
        Text::builder("user-pw")
            .nick("user-pw")
            .blurb("RTSP location URI user password for authentication; reads back empty")
            .mutable_playing()
            .build(),
        Text::builder("user-agent")
            .nick("User Agent")
            .blurb("The User-Agent string to send to the server; {VERSION} stands for that of GStreamer")
            .default_value(Some(DEFAULT_USER_AGENT))
            .mutable_playing()
            .build(),
        Text::builder("port-range")
            .nick("Port range")
            .blurb("Client port range for RTP and RTCP data, eg. 3000-3005 (NULL = no restrictions)")
            .build(),
        Int::builder("udp-buffer-size")
            .nick("UDP Buffer Size")
            .blurb("Size of the kernel buffer of the RTP sockets in bytes, 0=default")
            .minimum(0)
            .default_value(d.udp_buffer_size)
            .build(),
        Text::builder("multicast-iface")
            .nick("Multicast Interface")
            .blurb("The network interface for multicast groups (NULL = that of the RTSP connection)")
            .build(),
        UInt64::builder("teardown-timeout")
            .nick("Teardown Timeout")
            .blurb("When transitioning to NULL, wait this many nanoseconds at most for the server's answer to TEARDOWN (0 = do not wait)")
            .default_value(d.teardown_timeout)
            .mutable_playing()
            .build(),
        Int::builder("connect-attempts")
            .nick("Connect Attempts")
            .blurb("How often a first connection is tried before it is an error (-1 = for ever)")
            .minimum(-1)
            .default_value(d.connect_attempts)
            .mutable_playing()
            .build(),
        Int::builder("reconnect-attempts")
            .nick("Reconnect Attempts")
            .blurb("How often a lost presentation is tried again before it is an error (-1 = for ever, 0 = never)")
            .minimum(-1)
            .default_value(d.reconnect_attempts)
            .mutable_playing()
            .build(),
        UInt64::builder("reconnect-initial-delay")
            .nick("Reconnect Initial Delay")
            .blurb("Nanoseconds before a lost presentation is tried again; doubles with each failure")
            .default_value(d.reconnect_initial_delay)
            .mutable_playing()
            .build(),
        UInt64::builder("reconnect-max-delay")
            .nick("Reconnect Max Delay")
            .blurb("Nanoseconds between two tries at most")
            .default_value(d.reconnect_max_delay)
            .mutable_playing()
            .build(),
    ];
    properties.extend(http::properties());
    properties.extend(tls::properties());
    properties
}
