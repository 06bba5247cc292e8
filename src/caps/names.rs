//! Which names from a description become fields of caps: GStreamer interns each for ever, and a
//! server that comes back with new ones every time would fill the memory of the process.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::rtsp::limits;

/// What depayloaders and the jitter buffer look for, and what nearly every description has: these
/// are never left out, whatever other servers have sent.
const KNOWN: &[&str] = &[
    "a-framerate",
    "a-framesize",
    "a-maxptime",
    "a-mediaclk",
    "a-mid",
    "a-ptime",
    "a-recvonly",
    "a-rtcp-mux",
    "a-rtcp-rsize",
    "a-sendonly",
    "a-sendrecv",
    "a-tool",
    "a-ts-refclk",
    "a-type",
    "annex-f",
    "annex-i",
    "annex-j",
    "annex-l",
    "annex-t",
    "annex-v",
    "annexb",
    "apt",
    "auxiliarydatasizelength",
    "bitrate",
    "channel-order",
    "channels",
    "cif",
    "colorimetry",
    "config",
    "constantduration",
    "constantsize",
    "configuration",
    "cpresent",
    "crc",
    "ctsdeltalength",
    "delivery-method",
    "depth",
    "dtsdeltalength",
    "height",
    "indexdeltalength",
    "indexlength",
    "interlace",
    "interleaving",
    "level",
    "level-asymmetry-allowed",
    "level-id",
    "level-idx",
    "maxdisplacement",
    "maxplaybackrate",
    "maxps",
    "mode",
    "object",
    "octet-align",
    "packetization-mode",
    "profile",
    "profile-id",
    "profile-level-id",
    "ptime",
    "qcif",
    "randomaccessindication",
    "robust-sorting",
    "rtcp-fb-ccm-fir",
    "rtcp-fb-ccm-tmmbr",
    "rtcp-fb-goog-remb",
    "rtcp-fb-nack",
    "rtcp-fb-nack-pli",
    "rtcp-fb-transport-cc",
    "rtx-time",
    "sampling",
    "sizelength",
    "sprop-max-don-diff",
    "sprop-maxcapturerate",
    "sprop-stereo",
    "stereo",
    "streamstateindication",
    "streamtype",
    "tier",
    "tier-flag",
    "tx-mode",
    "useinbandfec",
    "usedtx",
    "width",
    "x-dimensions",
    "x-framerate",
];

/// How many names servers have brought along.
pub(super) struct Names {
    taken: AtomicUsize,
}

/// Of this process.
pub(super) static NAMES: Names = Names {
    taken: AtomicUsize::new(0),
};

impl Names {
    /// Whether a field may have this name: it can be serialised, and it is a known one, was one
    /// before, or there is room for another.
    pub fn admit(&self, name: &str) -> bool {
        let valid =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'+' | b'/');
        if name.is_empty() || name.len() > limits::CAPS_FIELD_NAME || !name.bytes().all(valid) {
            return false;
        }
        if KNOWN.contains(&name) || glib::Quark::try_from_str(name).is_some() {
            return true;
        }
        let more = |taken: usize| {
            let more = taken.checked_add(1)?;
            (more <= limits::CAPS_NAMES).then_some(more)
        };
        if self.taken.fetch_update(Relaxed, Relaxed, more).is_err() {
            // None where there are no elements, as in the fuzz targets.
            if let Some(category) = gst::DebugCategory::get("rtspsrc2") {
                gst::debug!(category, "{name} is left out of the caps: too many names");
            }
            return false;
        }
        // Here, so that it is counted once whichever way GStreamer keeps the name.
        glib::Quark::from_str(name);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtsp::sdp::Session;

    #[test]
    fn names_are_taken_up_to_a_bound_and_known_ones_always() {
        gst::init().unwrap();
        let names = Names {
            taken: AtomicUsize::new(limits::CAPS_NAMES - 2),
        };
        assert!(names.admit("a-first-one-of-this-test"));
        assert!(names.admit("a-first-one-of-this-test"), "again");
        assert!(names.admit("a-second-one-of-this-test"));
        assert!(!names.admit("a-third-one-of-this-test"));
        assert!(glib::Quark::try_from_str("a-third-one-of-this-test").is_none());
        assert!(names.admit("a-second-one-of-this-test"), "taken before");
        for known in KNOWN {
            assert!(names.admit(known), "{known}");
        }
    }

    #[test]
    fn names_that_cannot_be_serialised_are_refused() {
        gst::init().unwrap();
        for name in ["", "a b", "a=b", "ä", &"x".repeat(65)] {
            assert!(!NAMES.admit(name), "{name}");
        }
        assert!(NAMES.admit(&"x".repeat(limits::CAPS_FIELD_NAME)));
    }

    /// Fills the table of its process, so it runs in one of its own.
    #[test]
    fn a_server_with_new_names_each_time_adds_no_more_than_the_bound() {
        const ALONE: &str = "RTSP2_TEST_ALONE";
        if std::env::var_os(ALONE).is_none() {
            let test =
                "caps::names::tests::a_server_with_new_names_each_time_adds_no_more_than_the_bound";
            let mut child = std::process::Command::new(std::env::current_exe().unwrap());
            let output = child.args(["--exact", test]).env(ALONE, "1").output();
            let output = output.unwrap();
            assert!(
                output.status.success()
                    && String::from_utf8_lossy(&output.stdout).contains("1 passed"),
                "{output:?}"
            );
            return;
        }
        gst::init().unwrap();
        // As many as one description may have, each time others.
        let describe = |round: usize| {
            use std::fmt::Write;
            let mut text =
                "v=0\nm=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 ".to_string();
            for n in 0..100 {
                write!(text, "p{round}x{n}=1;").unwrap();
            }
            text += "packetization-mode=1\n";
            for n in 0..100 {
                write!(text, "a=n{round}x{n}:1\na=rtcp-fb:96 f{round}x{n}\n").unwrap();
                write!(text, "a=rid:r{round}x{n} send\na=ssrc:{n} s{round}x{n}:1\n").unwrap();
            }
            let session = Session::parse(text.as_bytes()).unwrap();
            super::super::media_caps(&session, &session.media[0]).unwrap()
        };
        let mut named = 0;
        for round in 0..20 {
            let caps = describe(round);
            let caps = caps.structure(0).unwrap();
            let odd = format!("{round}x");
            named += caps.fields().filter(|name| name.contains(&odd)).count();
            assert!(caps.has_field("packetization-mode"));
        }
        assert_eq!(named, limits::CAPS_NAMES);
    }
}
