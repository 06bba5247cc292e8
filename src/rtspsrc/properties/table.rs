//! The properties that only `rtspsrc2` has, as GObject sees them.

use glib::prelude::*;
use gst::prelude::*;
use once_cell::sync::Lazy;

use super::Settings;
use crate::settings;

pub(in crate::rtspsrc) static PROPERTIES: Lazy<Vec<glib::ParamSpec>> = Lazy::new(|| {
    use glib::{
        ParamSpecBoolean as Bool, ParamSpecEnum as Enum, ParamSpecInt64 as Int64,
        ParamSpecString as Text, ParamSpecUInt as UInt, ParamSpecUInt64 as UInt64,
    };
    let d = Settings::default();
    let own = vec![
        UInt64::builder("timeout")
            .nick("Timeout")
            .blurb("Retry TCP transport after UDP timeout microseconds (0 = disabled)")
            .default_value(d.timeout)
            .mutable_playing()
            .build(),
        UInt::builder("latency")
            .nick("Buffer latency in ms")
            .blurb("Amount of ms to buffer")
            .default_value(d.latency)
            .mutable_playing()
            .build(),
        Bool::builder("drop-on-latency")
            .nick("Drop buffers when maximum latency is reached")
            .blurb("Drop the oldest packets as soon as downstream is behind by more than the latency of the pipeline")
            .default_value(d.drop_on_latency)
            .mutable_playing()
            .build(),
        Enum::builder_with_default("buffer-mode", d.buffer_mode)
            .nick("Buffer Mode")
            .blurb("Whether presentation times follow the sender's clock once the stream has begun")
            .build(),
        Enum::builder_with_default("backchannel", d.backchannel)
            .nick("Backchannel type")
            .blurb("The type of backchannel to setup. Default is 'none'.")
            .build(),
        Enum::builder_with_default("default-rtsp-version", d.default_rtsp_version)
            .nick("The RTSP version to try first")
            .blurb("The RTSP version that should be tried first when negotiating version.")
            .build(),
        Enum::builder_with_default("nat-method", d.nat_method)
            .nick("NAT Method")
            .blurb("Method to use for traversing firewalls and NAT")
            .build(),
        Bool::builder("do-retransmission")
            .nick("Retransmission")
            .blurb("Ask the server to retransmit lost packets")
            .default_value(d.do_retransmission)
            .build(),
        Bool::builder("short-header")
            .nick("Short Header")
            .blurb("Leave out User-Agent and Blocksize, for servers that fail on headers they do not know")
            .default_value(d.short_header)
            .build(),
        Bool::builder("force-non-compliant-url")
            .nick("Force non-compliant URL")
            .blurb("Always append the control attribute to the base URL; else the rule of RFC 3986 is tried when the server refuses that")
            .default_value(d.force_non_compliant_url)
            .build(),
        Bool::builder("is-live")
            .nick("Is live")
            .blurb("Whether to act as a live source; else it is read as downstream takes it, like a file")
            .default_value(d.is_live)
            .build(),
        Bool::builder("onvif-mode")
            .nick("Onvif Mode")
            .blurb("Act as an ONVIF client: recordings are replayed, and positions are nanoseconds since 1900-01-01 UTC")
            .default_value(d.onvif_mode)
            .build(),
        Bool::builder("onvif-rate-control")
            .nick("Onvif Rate Control")
            .blurb("When in onvif-mode, whether the server is to keep the pace; else it sends as fast as it is read")
            .default_value(d.onvif_rate_control)
            .build(),
        Bool::builder("client-managed-mikey")
            .nick("Client Managed MIKEY")
            .blurb("Make the keys of encrypted media here, for both directions; else only where the server wants that")
            .default_value(d.client_managed_mikey)
            .build(),
        Bool::builder("allow-clear-keys")
            .nick("Allow Clear Keys")
            .blurb("Take keys of encrypted media from the description (a=crypto) over a connection without TLS too")
            .default_value(d.allow_clear_keys)
            .build(),
        Bool::builder("udp-reconnect")
            .nick("Reconnect to the server")
            .blurb("While media comes over UDP, open a lost RTSP connection again and go on; else all is set up anew")
            .default_value(d.udp_reconnect)
            .build(),
        UInt64::builder("connection-speed")
            .nick("Connection Speed")
            .blurb("Does nothing, as in rtspsrc (network connection speed in kbps, 0 = unknown)")
            .maximum(u64::MAX / 1000)
            .default_value(d.connection_speed)
            .build(),
        Bool::builder("debug")
            .nick("Debug")
            .blurb("Does nothing, as in rtspsrc: messages are in the log of category rtsp2-message at level LOG")
            .default_value(d.debug)
            .deprecated()
            .build(),
        glib::ParamSpecBoxed::builder::<gst::Structure>("sdes")
            .nick("SDES")
            .blurb("The SDES items of our reports: cname, name, email, phone, location, tool, note")
            .build(),
        UInt::builder("probation")
            .nick("Number of probations")
            .blurb("Consecutive packet sequence numbers to accept the source")
            .default_value(d.probation)
            .build(),
        Bool::builder("add-reference-timestamp-meta")
            .nick("Add Reference Timestamp Meta")
            .blurb("Add Reference Timestamp Meta to buffers with the original clock timestamp before any adjustments when syncing to an RFC7273 clock or after clock synchronization via RTCP or inband NTP-64 header extensions.")
            .default_value(d.add_reference_timestamp_meta)
            .mutable_playing()
            .build(),
        Bool::builder("ntp-sync")
            .nick("Sync on NTP clock")
            .blurb("Synchronize received streams to the NTP clock")
            .default_value(d.ntp_sync)
            .mutable_playing()
            .build(),
        Enum::builder_with_default("ntp-time-source", d.ntp_time_source)
            .nick("NTP Time Source")
            .blurb("The clock that the NTP times in the sender's reports are of")
            .mutable_playing()
            .build(),
        Bool::builder("rfc7273-sync")
            .nick("Sync on RFC7273 clock")
            .blurb("Synchronize received streams to the RFC7273 clock (requires clock and offset to be provided)")
            .default_value(d.rfc7273_sync)
            .build(),
        Int64::builder("max-ts-offset")
            .nick("Max TS Offset")
            .blurb("The maximum absolute value of the time offset in nanoseconds; a clock that is further off is not followed (0 = no limit)")
            .minimum(0)
            .default_value(d.max_ts_offset)
            .mutable_playing()
            .build(),
        UInt64::builder("stall-timeout")
            .nick("Stall Timeout")
            .blurb("Nanoseconds without any media from a playing server after which it counts as lost (0 = never)")
            .default_value(d.stall_timeout)
            .mutable_playing()
            .build(),
        Enum::builder_with_default("delivery", d.delivery)
            .nick("Delivery")
            .blurb("Which threads push buffers downstream")
            .build(),
        Bool::builder("buffer-lists")
            .nick("Buffer Lists")
            .blurb("Push the packets of a frame as one buffer list; disable for probes that only see buffers")
            .default_value(d.buffer_lists)
            .mutable_playing()
            .build(),
        Text::builder("media")
            .nick("Media")
            .blurb("Kinds of media to set up, e.g. \"video\" or \"video,audio\"; the others cost nothing")
            .default_value(Some("all"))
            .build(),
        glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
            .nick("Statistics")
            .blurb("Statistics of the session and of each stream")
            .read_only()
            .build(),
    ];
    settings::properties().into_iter().chain(own).collect()
});
