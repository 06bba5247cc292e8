//! The RTP-Info header (RFC 2326 §12.33, RFC 7826 §18.45).

use super::limits;

/// What RTP-Info says about one stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RtpInfo {
    /// As written; may be relative.
    pub url: String,
    /// RTSP 2.0, and some 1.0 devices.
    pub ssrc: Option<u32>,
    /// Sequence number of the first packet.
    pub seq: Option<u16>,
    /// RTP timestamp that the start of the range stands for.
    pub rtptime: Option<u32>,
}

impl RtpInfo {
    /// Takes a parameter; a value out of range counts as none. `false`: this is
    /// no parameter of ours.
    fn set(&mut self, parameter: &str) -> bool {
        let Some((name, value)) = parameter.split_once('=') else {
            return parameter.trim().is_empty();
        };
        let value = value.trim();
        match name.trim().to_ascii_lowercase().as_str() {
            "seq" => self.seq = value.parse().ok(),
            "rtptime" => self.rtptime = value.parse().ok(),
            "ssrc" => self.ssrc = u32::from_str_radix(value, 16).ok(),
            "session" => {}
            _ => return false,
        }
        true
    }

    fn set_url(&mut self, url: &str) -> bool {
        let url = url.trim_matches([',', ' ', '\t']);
        let fits = url.len() <= limits::URL;
        if fits {
            self.url = url.to_string();
        }
        fits
    }
}

/// Reads the entries of a header value in their order. Nothing in it can spoil
/// more than its own parameter.
pub fn parse(value: &str) -> Vec<RtpInfo> {
    let mut entries = Vec::new();
    for text in split_streams(value) {
        parse_stream(text, &mut entries);
        if entries.len() >= limits::RTP_INFO_ENTRIES {
            entries.truncate(limits::RTP_INFO_ENTRIES);
            break;
        }
    }
    entries
}

/// What is odd about a header value and the entries that were read in it.
pub fn quirks(value: &str, entries: &[RtpInfo]) -> Vec<&'static str> {
    let mut quirks = Vec::new();
    // A parameter that is there and could not be read.
    let names = |name: &str| value.to_ascii_lowercase().matches(name).count();
    let read = |field: fn(&RtpInfo) -> bool| entries.iter().filter(|entry| field(entry)).count();
    if names(";seq=") > read(|entry| entry.seq.is_some())
        || names("rtptime=") > read(|entry| entry.rtptime.is_some())
    {
        quirks.push("rtp-info-unreadable");
    }
    if value.trim_end().ends_with([';', ',']) {
        quirks.push("rtp-info-trailing-separator");
    }
    quirks
}

/// Splits at a comma that `url=` follows, since URLs may hold commas.
fn split_streams(value: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let text = rest?;
        let comma = text
            .match_indices(',')
            .filter_map(|(at, _)| text.split_at_checked(at))
            .filter_map(|(stream, tail)| Some((stream, tail.strip_prefix(',')?)))
            .find(|(_, tail)| strip_url_name(tail).is_some());
        match comma {
            Some((stream, tail)) => {
                rest = Some(tail);
                Some(stream)
            }
            None => {
                rest = None;
                Some(text)
            }
        }
    })
}

/// What follows `url=`.
fn strip_url_name(text: &str) -> Option<&str> {
    let (name, rest) = text.trim_start().split_at_checked(3)?;
    if !name.eq_ignore_ascii_case("url") {
        return None;
    }
    rest.trim_start().strip_prefix('=').map(str::trim_start)
}

fn parse_stream(text: &str, entries: &mut Vec<RtpInfo>) {
    let mut entry = RtpInfo::default();
    // Parameters may stand before the URL.
    let mut text = text.trim_matches([',', ' ', '\t']);
    let url = loop {
        if let Some(url) = strip_url_name(text) {
            break url;
        }
        let Some((parameter, rest)) = text.split_once(';') else {
            return;
        };
        entry.set(parameter);
        text = rest;
    };
    match url.strip_prefix('"') {
        Some(quoted) => {
            let (url, parameters) = quoted.split_once('"').unwrap_or((quoted, ""));
            if entry.set_url(url) {
                parse_blocks(parameters, entry, entries);
            }
        }
        None => {
            // The URL may hold `;`: parameters are taken off the end.
            let mut url = url;
            let mut parameters = Vec::new();
            while let Some((head, tail)) = url.rsplit_once(';') {
                if !RtpInfo::default().set(tail) {
                    break;
                }
                parameters.push(tail);
                url = head;
            }
            for parameter in parameters.iter().rev() {
                entry.set(parameter);
            }
            if entry.set_url(url) {
                entries.push(entry);
            }
        }
    }
}

/// The parameters after a quoted URL: `;seq=…` of 1.0, or blocks
/// ` ssrc=HEX:seq=…;rtptime=…` of 2.0, one for each source.
fn parse_blocks(parameters: &str, mut entry: RtpInfo, entries: &mut Vec<RtpInfo>) {
    let tidy: Vec<&str> = parameters.split('=').map(str::trim).collect();
    for parameter in tidy.join("=").split([';', ':', ' ', '\t', ',']) {
        let starts_block = parameter
            .get(..5)
            .is_some_and(|s| s.eq_ignore_ascii_case("ssrc="));
        if starts_block && entry.ssrc.is_some() && entries.len() < limits::RTP_INFO_ENTRIES {
            let next = RtpInfo {
                url: entry.url.clone(),
                ..RtpInfo::default()
            };
            entries.push(std::mem::replace(&mut entry, next));
        }
        entry.set(parameter);
    }
    entries.push(entry);
}

/// The entry of a stream. In this order: the same URL; a relative one that
/// leads to it from `base`; one that ends in the stream's control value; the
/// only one, if there is only one stream (devices print any URL then).
pub fn find<'a>(
    entries: &'a [RtpInfo],
    stream_url: &str,
    base: &str,
    control: Option<&str>,
    only_stream: bool,
) -> Option<&'a RtpInfo> {
    let wanted = normalise(stream_url);
    let by_url = || entries.iter().find(|entry| normalise(&entry.url) == wanted);
    let by_base = || {
        entries.iter().find(|entry| {
            !entry.url.contains("://")
                && resolutions(base, &entry.url)
                    .iter()
                    .any(|url| normalise(url) == wanted)
        })
    };
    let by_control = || {
        let control = control.filter(|control| !control.is_empty() && *control != "*")?;
        entries.iter().find(|entry| {
            entry.url.strip_suffix(control).is_some_and(|head| {
                // `track1` is no end of `xtrack1`.
                control.starts_with('/') || !head.ends_with(|c: char| c.is_ascii_alphanumeric())
            })
        })
    };
    let only = || {
        entries
            .first()
            .filter(|_| only_stream && entries.len() == 1)
    };
    by_url().or_else(by_base).or_else(by_control).or_else(only)
}

/// Lower case scheme and host, no user information, no default port.
fn normalise(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_string();
    };
    let scheme = scheme.to_ascii_lowercase();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host)
        .to_ascii_lowercase();
    let default_port = if scheme == "rtsps" { ":322" } else { ":554" };
    let host = host.strip_suffix(default_port).unwrap_or(&host);
    format!("{scheme}://{host}{path}")
}

/// What a relative URL may stand for: appended to the base, as most devices
/// mean it, on the root of the server, or beside the last segment (RFC 3986).
fn resolutions(base: &str, relative: &str) -> [String; 3] {
    let path = relative.trim_start_matches('/');
    let (scheme, rest) = base.split_once("://").unwrap_or(("rtsp", base));
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let directory = rest
        .rsplit_once('/')
        .map_or(rest, |(directory, _)| directory);
    [
        format!("{}/{path}", base.trim_end_matches('/')),
        format!("{scheme}://{authority}/{path}"),
        format!("{scheme}://{directory}/{path}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BASE: &str = "rtsp://h/a/";
    const STREAM: &str = "rtsp://h/a/trackID=1";

    fn find_one(value: &str, only_stream: bool) -> Option<RtpInfo> {
        find(&parse(value), STREAM, BASE, Some("trackID=1"), only_stream).cloned()
    }

    // covers: C-RTPI-01, C-RTPI-02, C-RTPI-03, C-RTPI-04, C-RTPI-05
    #[test]
    fn rtp_info_vectors() {
        for (value, seq, rtptime) in [
            (
                "url=rtsp://h/a/trackID=1;seq=10;rtptime=20",
                Some(10),
                Some(20),
            ),
            ("url=trackID=1;rtptime=20;seq=10", Some(10), Some(20)),
            (
                "url=rtsp://h:554/a/trackID=1;seq=10;rtptime=20;",
                Some(10),
                Some(20),
            ),
            ("URL=\"rtsp://h/a/trackID=1\";seq=10", Some(10), None),
            (
                "url=rtsp://h/a,b/trackID=1;seq=1,url=rtsp://h/a/trackID=1;seq=2",
                Some(2),
                None,
            ),
            ("url=rtsp://h/a/trackID=1;seq=70000;rtptime=-1", None, None),
            (
                " Url = RTSP://u:p@H/a/trackID=1 ; Seq = 10 ;; RTPTIME= 20 , ",
                Some(10),
                Some(20),
            ),
            (
                "seq=10;url=rtsp://h/a/trackID=1;rtptime=20",
                Some(10),
                Some(20),
            ),
            ("url=/a/trackID=1;seq=10", Some(10), None),
            (
                "url=rtsp://other/x/trackID=1;seq=10;session=abc",
                Some(10),
                None,
            ),
            ("url=rtsp://h/a/trackID=1", None, None),
            (
                "url=rtsp://h/a/trackID=1;seq=65535;rtptime=4294967295",
                Some(65535),
                Some(u32::MAX),
            ),
            (
                "url=rtsp://h/a/trackID=1;seq=65536;rtptime=4294967296",
                None,
                None,
            ),
        ] {
            let found = find_one(value, false).unwrap_or_else(|| panic!("{value}"));
            assert_eq!((found.seq, found.rtptime), (seq, rtptime), "{value}");
        }
    }

    // covers: C-RTPI-03
    #[test]
    fn rtsp_2_0_has_a_block_for_each_ssrc() {
        let value = "url=\"rtsp://h/a/trackID=1\" ssrc=0D12F123:seq=5712;rtptime=934207921 ssrc=1:seq=7, url=\"rtsp://h/b\" ssrc=4FAD8726:seq=57654;rtptime=2792482193";
        let entries = parse(value);
        assert_eq!(entries.len(), 3);
        assert_eq!(entries[0].ssrc, Some(0x0d12f123));
        assert_eq!(
            (entries[0].seq, entries[0].rtptime),
            (Some(5712), Some(934207921))
        );
        assert_eq!(
            (entries[1].ssrc, entries[1].seq, entries[1].rtptime),
            (Some(1), Some(7), None)
        );
        assert_eq!(
            (entries[2].url.as_str(), entries[2].ssrc),
            ("rtsp://h/b", Some(0x4fad8726))
        );
        let spaced = parse("url=\"trackID=1\" ; seq = 5 ; rtptime = 6");
        assert_eq!((spaced[0].seq, spaced[0].rtptime), (Some(5), Some(6)));
    }

    // covers: C-RTPI-05
    #[test]
    fn what_is_made_allowance_for_is_named() {
        for (value, expected) in [
            ("url=a;seq=1;rtptime=2", &[][..]),
            ("url=a;seq=1", &[]),
            ("url=a;seq=1;rtptime=-1", &["rtp-info-unreadable"]),
            ("url=a;seq=70000,url=b;seq=1", &["rtp-info-unreadable"]),
            ("url=a;seq=1;", &["rtp-info-trailing-separator"]),
        ] {
            assert_eq!(quirks(value, &parse(value)), expected, "{value}");
        }
    }

    // covers: C-RTPI-02
    #[test]
    fn commas_semicolons_and_equals_signs_in_a_url_survive() {
        let entries = parse("url=rtsp://h/a;b=1,c/t;x=2;seq=3, url=rtsp://h/q?a=b,c;seq=4");
        assert_eq!(entries.len(), 2);
        assert_eq!(
            (entries[0].url.as_str(), entries[0].seq),
            ("rtsp://h/a;b=1,c/t;x=2", Some(3))
        );
        assert_eq!(
            (entries[1].url.as_str(), entries[1].seq),
            ("rtsp://h/q?a=b,c", Some(4))
        );
    }

    // covers: C-RTPI-04, C-RTPI-08
    #[test]
    fn a_foreign_url_counts_only_for_the_only_stream() {
        let value = "url=rtsp://10.0.0.1/other;seq=1";
        assert_eq!(find_one(value, true).and_then(|entry| entry.seq), Some(1));
        assert_eq!(find_one(value, false), None);
        assert_eq!(find_one(&format!("{value},{value}"), true), None);
        assert_eq!(find_one("", true), None);
        assert_eq!(find_one("url=rtsp://x/atrackID=1;seq=1", false), None);
    }

    // covers: C-RTPI-08, H-29
    #[test]
    fn the_first_of_duplicates_wins_and_the_better_match_before_it() {
        let value = "url=rtsp://x/trackID=1;seq=1,url=rtsp://h/a/trackID=1;seq=2,url=rtsp://h/a/trackID=1;seq=3";
        assert_eq!(find_one(value, false).and_then(|entry| entry.seq), Some(2));
    }

    // covers: C-RTPI-04
    #[test]
    fn ports_and_default_ports_are_told_apart() {
        assert_eq!(normalise("RTSP://H:554/A"), "rtsp://h/A");
        assert_eq!(normalise("rtsps://h:322/a"), "rtsps://h/a");
        assert_eq!(normalise("rtsp://h:8554"), "rtsp://h:8554");
        assert_eq!(
            normalise("rtsp://[2001:DB8::1]:554/x"),
            "rtsp://[2001:db8::1]/x"
        );
    }

    // covers: H-29
    #[test]
    fn thousands_of_entries_are_cut() {
        let entries = |n: usize| parse(&vec!["url=a;seq=1"; n].join(","));
        assert_eq!(
            entries(limits::RTP_INFO_ENTRIES).len(),
            limits::RTP_INFO_ENTRIES
        );
        assert_eq!(
            entries(limits::RTP_INFO_ENTRIES + 1).len(),
            limits::RTP_INFO_ENTRIES
        );
        let blocks = format!("url=\"a\"{}", " ssrc=1:seq=1".repeat(5000));
        assert_eq!(parse(&blocks).len(), limits::RTP_INFO_ENTRIES);
        for junk in [
            "",
            ",",
            ";",
            "url",
            "url=",
            "url=\"",
            "seq=1",
            ";;;,,,",
            "url=;seq=-1",
        ] {
            assert!(parse(junk).len() <= 1, "{junk}");
        }
    }

    // covers: H-29
    #[test]
    fn an_entry_with_an_oversized_url_is_dropped() {
        for quote in ["", "\""] {
            let entry =
                |len: usize| format!("url={quote}{}{quote};seq=1, url=b;seq=2", "a".repeat(len));
            assert_eq!(parse(&entry(limits::URL)).len(), 2);
            assert_eq!(parse(&entry(limits::URL + 1)).len(), 1);
        }
    }

    proptest! {
        // covers: C-RTPI-05, H-29
        #[test]
        fn arbitrary_text_never_panics(
            value in "((url|seq|rtptime|ssrc)[= ]{0,2}[\"a-z0-9:/;,é-]{0,12}[;, ]{0,2}){0,8}|\\PC{0,100}"
        ) {
            let entries = parse(&value);
            let _ = find(&entries, STREAM, BASE, Some("1"), true);
        }
    }
}
