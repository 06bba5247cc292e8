use super::*;
use crate::rtsp::message::Headers;
use proptest::prelude::*;

fn url(text: &str) -> Url {
    Url::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn error(text: &str) -> UrlError {
    Url::parse(text).unwrap_err()
}

#[test]
fn ports_default_by_scheme_and_an_explicit_port_wins() {
    // covers: C-URL-01 C-URL-17
    use SchemeTransport::*;
    for (scheme, port, tls, transport) in [
        ("rtsp", 554, false, None),
        ("rtspu", 554, false, Some(Udp)),
        ("rtspt", 554, false, Some(Tcp)),
        ("rtsph", 80, false, Some(Tunnel)),
        ("rtsps", 322, true, None),
        ("rtspsu", 322, true, Some(Udp)),
        ("rtspst", 322, true, Some(Tcp)),
        ("rtspsh", 443, true, Some(Tunnel)),
        ("rtsp+ws", 80, false, Some(WebSocket)),
        ("rtspws", 80, false, Some(WebSocket)),
        ("ws", 80, false, Some(WebSocket)),
        ("rtsps+ws", 443, true, Some(WebSocket)),
        ("rtspwss", 443, true, Some(WebSocket)),
        ("WSS", 443, true, Some(WebSocket)),
        ("RTSP", 554, false, None),
        ("RtspST", 322, true, Some(Tcp)),
    ] {
        let implicit = url(&format!("{scheme}://h/x"));
        assert_eq!(
            (implicit.port(), implicit.explicit_port()),
            (port, None),
            "{scheme}"
        );
        assert_eq!(
            (implicit.is_tls(), implicit.forced_transport()),
            (tls, transport)
        );
        let wire = if tls { "rtsps" } else { "rtsp" };
        assert_eq!(implicit.request_uri(), format!("{wire}://h/x"));
        let explicit = url(&format!("{scheme}://h:8554/x"));
        assert_eq!(
            (explicit.port(), explicit.explicit_port()),
            (8554, Some(8554))
        );
        assert_eq!(explicit.request_uri(), format!("{wire}://h:8554/x"));
        assert_eq!(explicit.authority(), "h:8554");
    }
    assert_eq!(schemes().count(), 14);
    assert_eq!(url("rtsp://h:/x").port(), 554);
    assert_eq!(url("rtsp://h:/x").request_uri(), "rtsp://h/x");
}

// covers: C-URL-01
#[test]
fn another_port_is_tried_only_where_the_url_names_none() {
    for (text, other) in [
        ("rtsp://h/", None),
        ("rtspt://h/", None),
        ("rtsps://h/", Some(554)),
        ("rtspst://h/", Some(554)),
        ("rtsph://h/", Some(554)),
        ("rtsps://h:322/", None),
        ("rtsps://h:7441/", None),
    ] {
        assert_eq!(url(text).other_port(), other, "{text}");
    }
}

#[test]
fn path_and_query_are_kept_byte_for_byte() {
    // covers: C-URL-02 C-URL-05
    for tail in [
        "",
        "/",
        "/a/../b/./c//d",
        "/%7Euser/%2f%zz/;a=b;c@d&e",
        "/cam?channel=1&subtype=0",
        "?x=/y",
        "/caf\u{e9}",
        "/user=a&pw=b@c:d/x.sdp?real_stream",
    ] {
        let parsed = url(&format!("rtsp://Host.Example{tail}"));
        assert_eq!(parsed.request_uri(), format!("rtsp://Host.Example{tail}"));
        assert_eq!(parsed.path_and_query(), tail);
        assert_eq!(parsed.credentials(), None);
    }
    assert_eq!(url("rtsp://h/a?b#c?d/e").request_uri(), "rtsp://h/a?b");
    assert_eq!(url("rtsp://h#c").request_uri(), "rtsp://h");
}

#[test]
fn ipv6_literal_keeps_its_brackets_on_the_wire_and_loses_its_zone() {
    // covers: C-URL-03
    let plain = url("rtsp://[2001:DB8::1]:8554/x");
    assert_eq!(
        (plain.host(), plain.port(), plain.zone()),
        ("2001:DB8::1", 8554, None)
    );
    assert_eq!(plain.request_uri(), "rtsp://[2001:DB8::1]:8554/x");
    for (text, zone) in [
        ("fe80::1%25eth0", "eth0"),
        ("fe80::1%eth0", "eth0"),
        ("fe80::1%25", "25"),
        ("fe80::1%2", "2"),
        ("fe80::1%25a%2eb", "a.b"),
    ] {
        let zoned = url(&format!("rtspt://u:p@[{text}]/x"));
        assert_eq!(
            (zoned.host(), zoned.zone()),
            ("fe80::1", Some(zone)),
            "{text}"
        );
        assert_eq!(zoned.request_uri(), "rtsp://[fe80::1]/x");
        assert_eq!(zoned.authority(), "[fe80::1]");
    }
    for text in [
        "rtsp://[::1",
        "rtsp://[]/",
        "rtsp://[::g]/",
        "rtsp://[::1]x/",
        "rtsp://[fe80::1%]/",
        "rtsp://2001:db8::1/",
        "rtsp://[v1.x]/",
        "rtsp://[::1%25%0a]/",
    ] {
        assert_eq!(error(text), UrlError::Authority, "{text}");
    }
}

#[test]
fn user_information_becomes_credentials_and_leaves_the_url() {
    // covers: C-URL-04
    for (info, user, password) in [
        ("admin:secret", "admin", "secret"),
        ("admin", "admin", ""),
        ("admin:", "admin", ""),
        (":pw", "", "pw"),
        ("a%40b:p%3A%2fq", "a@b", "p:/q"),
        ("u:50%", "u", "50%"),
        ("u:%zz%4", "u", "%zz%4"),
        ("u:%e4", "u", "%e4"),
        ("u:%C3%A4", "u", "\u{e4}"),
        ("u:a:b", "u", "a:b"),
        ("u:p@ss", "u", "p@ss"),
        ("u@dom:p", "u@dom", "p"),
        ("u:p/w", "u", "p/w"),
        ("u:p#w?x", "u", "p#w?x"),
        ("u:x/@:#?@", "u", "x/@:#?@"),
    ] {
        for server in ["host", "host:8554", "[::1]"] {
            let parsed = url(&format!("rtsp://{info}@{server}/a@b"));
            let credentials = parsed.credentials().unwrap();
            assert_eq!(
                (&*credentials.user, &*credentials.password),
                (user, password),
                "{info}"
            );
            assert_eq!(parsed.request_uri(), format!("rtsp://{server}/a@b"));
        }
    }
    assert_eq!(url("rtsp://@h/").credentials(), None);
    // What reads plainly as host, port and path is that.
    let plain = url("rtsp://user:1234/x@h/p");
    assert_eq!(
        (plain.host(), plain.port(), plain.credentials()),
        ("user", 1234, None)
    );
    assert_eq!(error("rtsp://a%0d%0ab:p@h/"), UrlError::IllegalCharacter);
}

#[test]
fn controls_and_blanks_are_refused_but_at_the_ends() {
    // covers: C-URL-06
    for bad in ["\r", "\n", "\0", " ", "\t", "\x7f", "\u{85}", "\u{a0}"] {
        for text in [
            format!("rtsp://h{bad}x/"),
            format!("rtsp://h/{bad}x"),
            format!("rtsp://u:{bad}p@h/"),
        ] {
            assert_eq!(error(&text), UrlError::IllegalCharacter, "{text:?}");
            assert!(resolve_control("rtsp://h/", Some(&text), Join::Append).is_err());
        }
        assert_eq!(
            resolve_control("rtsp://h/", Some(&format!("a{bad}b")), Join::Append),
            Err(UrlError::IllegalCharacter)
        );
    }
    assert_eq!(url(" rtsp://h/x\t").request_uri(), "rtsp://h/x");
    assert_eq!(error("rtsp://h/x\n"), UrlError::IllegalCharacter);
}

#[test]
fn what_is_no_rtsp_url_is_refused() {
    for (text, expected) in [
        ("", UrlError::NoScheme),
        ("h/x", UrlError::NoScheme),
        ("://h", UrlError::NoScheme),
        ("1rtsp://h", UrlError::NoScheme),
        ("http://h/", UrlError::Scheme),
        ("rtspx://h/", UrlError::Scheme),
        ("rtsp://", UrlError::Authority),
        ("rtsp:///x", UrlError::Authority),
        ("rtsp://u@/x", UrlError::Authority),
        ("rtsp://h:0/", UrlError::Authority),
        ("rtsp://h:65536/", UrlError::Authority),
        ("rtsp://h:+1/", UrlError::Authority),
        ("rtsp://h:5 5/", UrlError::IllegalCharacter),
        ("rtsp://<h>/", UrlError::Authority),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
    let long = |length: usize| format!("rtsp://h/{}", "x".repeat(length - 9));
    assert!(Url::parse(&long(limits::URL)).is_ok());
    assert_eq!(error(&long(limits::URL + 1)), UrlError::TooLong);
}

#[test]
fn origin_is_security_host_and_port() {
    // covers: C-AUTH-20 C-URL-02
    let same = |a: &str, b: &str| url(a).same_origin(&url(b));
    assert!(same("rtsp://u:p@Host/a", "RTSPT://hOST:554/b?c"));
    assert!(same("rtsp://[::1]/", "rtsp://[0:0::1]/"));
    assert!(!same("rtsp://h/", "rtsps://h/"));
    assert!(!same("rtsp://h:322/", "rtsps://h:322/"));
    assert!(!same("rtsp://h/", "rtsp://h:555/"));
    assert!(!same("rtsp://h/", "rtsp://i/"));
    assert!(!same("rtsp://[fe80::1%a]/", "rtsp://[fe80::1%b]/"));
}

#[test]
fn no_form_of_output_shows_the_password() {
    // covers: C-URL-04 C-AUTH-20
    let parsed = url("rtspst://admin:s3cret@h:1/x?password=s3cret&a=b");
    assert_eq!(parsed.to_string(), "rtspst://h:1/x?password=***&a=b");
    let debug = format!("{parsed:?} {:?}", parsed.credentials());
    assert!(
        !debug.contains("s3cret") && debug.contains("admin"),
        "{debug}"
    );
}

#[test]
fn redaction_hides_user_information_in_any_text() {
    // covers: C-URL-04
    for (text, expected) in [
        ("nothing here, a@b", "nothing here, a@b"),
        ("open rtsp://u:p@h/x failed", "open rtsp://***@h/x failed"),
        ("<rtsp://u:p/w@h/x>", "<rtsp://***@h/x>"),
        (
            "url=\"rtsps://u:p@ss/wd@h\" rtsp://i",
            "url=\"rtsps://***@h\" rtsp://i",
        ),
        ("rtsp://h:554/path@2x?a=b", "rtsp://h:554/path@2x?a=b"),
        ("rtsp://h/a,rtsp://u:p@h/b", "rtsp://h/a,rtsp://***@h/b"),
        ("rtsp://u:half password@h/", "rtsp://*** password@h/"),
        ("http://u:p@h:80\r\nX", "http://***@h:80\r\nX"),
        (
            "rtsp://h/user=a_password=my_pw_channel=1.sdp?real",
            "rtsp://h/user=a_password=***?real",
        ),
        ("rtsp://h/?PWD=x;y=z", "rtsp://h/?PWD=***;y=z"),
        ("rtsp://[::1]:5/x", "rtsp://[::1]:5/x"),
        (
            "a=control:t?user=a&password=b&c",
            "a=control:t?user=a&password=***&c",
        ),
        ("url=/x?pwd=b;seq=1", "url=/x?pwd=***;seq=1"),
        ("no password: a pass", "no password: a pass"),
    ] {
        assert_eq!(redact(text), expected);
    }
}

#[test]
fn a_control_may_go_before_the_query_or_replace_it() {
    // covers: C-URL-12
    for (base, control, url) in [
        (
            "rtsp://h/p?t=x/y&z",
            "streamid=0",
            "rtsp://h/p/streamid=0?t=x/y&z",
        ),
        ("rtsp://h/p/?t", "/streamid=0", "rtsp://h/p/streamid=0?t"),
        ("rtsp://h?t", "streamid=0", "rtsp://h/streamid=0?t"),
        ("rtsp://h/p", "streamid=0", "rtsp://h/p/streamid=0"),
        ("rtsp://h/p?t", "*", "rtsp://h/p?t"),
        ("rtsp://h/p?t", "rtsp://g/a", "rtsp://g/a"),
    ] {
        let joined = resolve_control(base, Some(control), Join::BeforeQuery);
        assert_eq!(joined.as_deref(), Ok(url));
        let joined = resolve_control(base, Some(control), Join::WithoutQuery);
        assert_eq!(joined.as_deref(), Ok(url.split('?').next().unwrap()));
    }
}

#[test]
fn control_urls_match_the_vectors() {
    // covers: C-URL-09 C-URL-10 C-URL-11 C-URL-12 C-URL-05
    for (base, control, append, rfc) in [
        (
            "rtsp://h/a/b/",
            "trackID=1",
            "rtsp://h/a/b/trackID=1",
            "rtsp://h/a/b/trackID=1",
        ),
        (
            "rtsp://h/a/b",
            "trackID=1",
            "rtsp://h/a/b/trackID=1",
            "rtsp://h/a/trackID=1",
        ),
        (
            "rtsp://h/cam?channel=1&subtype=0",
            "trackID=0",
            "rtsp://h/cam?channel=1&subtype=0/trackID=0",
            "rtsp://h/trackID=0",
        ),
        ("rtsp://h", "t1", "rtsp://h/t1", "rtsp://h/t1"),
        ("rtsp://h/a/b/", "/t1", "rtsp://h/a/b/t1", "rtsp://h/t1"),
        (
            "rtsp://h/a/b",
            "?track=1",
            "rtsp://h/a/b/?track=1",
            "rtsp://h/a/b?track=1",
        ),
        (
            "rtsp://[2001:db8::1]:8554/x/",
            "streamid=0",
            "rtsp://[2001:db8::1]:8554/x/streamid=0",
            "rtsp://[2001:db8::1]:8554/x/streamid=0",
        ),
        ("rtsp://h/a/b", "*", "rtsp://h/a/b", "rtsp://h/a/b"),
        ("rtsp://h/a/b", "", "rtsp://h/a/b", "rtsp://h/a/b"),
        ("rtsp://h/a/b", " t1 ", "rtsp://h/a/b/t1", "rtsp://h/a/t1"),
        ("rtsp://h/a/b", "t1#f", "rtsp://h/a/b/t1", "rtsp://h/a/t1"),
        (
            "rtsp://h/a/b/c",
            "../d/./e/..",
            "rtsp://h/a/b/c/../d/./e/..",
            "rtsp://h/a/d/",
        ),
        ("rtsp://h/a", "../../..", "rtsp://h/a/../../..", "rtsp://h/"),
        (
            "rtsp://h/a?b=/c/",
            "t=1?u/../v",
            "rtsp://h/a?b=/c/t=1?u/../v",
            "rtsp://h/t=1?u/../v",
        ),
        ("rtsp://h?q", "t", "rtsp://h?q/t", "rtsp://h/t"),
    ] {
        assert_eq!(
            resolve_control(base, Some(control), Join::Append).as_deref(),
            Ok(append)
        );
        assert_eq!(
            resolve_control(base, Some(control), Join::Rfc3986).as_deref(),
            Ok(rfc)
        );
    }
    assert_eq!(
        resolve_control("rtsp://h/a", None, Join::Append).as_deref(),
        Ok("rtsp://h/a")
    );
}

#[test]
fn absolute_controls_are_used_as_given_and_other_schemes_refused() {
    // covers: C-URL-10 C-URL-04 H-17
    for join in [Join::Append, Join::Rfc3986] {
        let control = |text: &str| resolve_control("rtsp://h/a/b", Some(text), join);
        for text in ["rtsp://h:554/a/t1", "RTSP://Other//x/../y?z", "rtsps://h/x"] {
            assert_eq!(control(text).as_deref(), Ok(text));
        }
        assert_eq!(control("rtsp://u:p@h/t1#x").as_deref(), Ok("rtsp://h/t1"));
        for text in [
            "http://x/y",
            "file:///x",
            "file:///etc/passwd",
            "javascript:x",
            "rtsp:x",
            "rtspu://h/x",
        ] {
            assert_eq!(control(text), Err(UrlError::Scheme), "{text}");
        }
        assert_eq!(control("//other/t1"), Err(UrlError::NetworkPath));
        assert_eq!(control("rtsp:///x"), Err(UrlError::Authority));
        assert_eq!(control(&"x".repeat(1 << 20)), Err(UrlError::TooLong));
        assert_eq!(
            resolve_control("h/a", Some("t"), join),
            Err(UrlError::NoScheme)
        );
    }
    let control = "x".repeat(limits::URL - "rtsp://h/".len());
    assert!(resolve_control("rtsp://h", Some(&control), Join::Append).is_ok());
    assert_eq!(
        resolve_control("rtsp://hh", Some(&control), Join::Append),
        Err(UrlError::TooLong)
    );
}

#[test]
fn base_is_content_base_then_content_location_then_the_request() {
    // covers: C-URL-07 C-URL-08
    let request = "rtsps://cam.local:1/live/a?x";
    let relative = Some("base-url-relative");
    let schemeless = Some("base-url-without-scheme");
    let unusable = Some("base-url-unusable");
    for (content_base, content_location, expected, quirk) in [
        (None, None, request, None),
        (
            Some("rtsp://h/b/"),
            Some("rtsp://h/l/"),
            "rtsp://h/b/",
            None,
        ),
        (None, Some("rtsp://h/l/"), "rtsp://h/l/", None),
        (
            Some(" rtsp://u:p@h/b/#f "),
            None,
            "rtsp://h/b/",
            Some("base-url-with-credentials"),
        ),
        (Some("/x/"), None, "rtsps://cam.local:1/x/", relative),
        (Some("x/"), None, "rtsps://cam.local:1/live/x/", relative),
        (Some("?y"), None, "rtsps://cam.local:1/live/a?y", relative),
        (
            Some("192.0.2.1/x/"),
            None,
            "rtsps://192.0.2.1/x/",
            schemeless,
        ),
        (
            Some("192.0.2.1:554/x/"),
            None,
            "rtsps://192.0.2.1:554/x/",
            schemeless,
        ),
        (
            Some("CAM.local/x/"),
            None,
            "rtsps://CAM.local/x/",
            schemeless,
        ),
        (Some("[::1]/x/"), None, "rtsps://[::1]/x/", schemeless),
        (Some(""), Some("rtsp://h/l/"), "rtsp://h/l/", unusable),
        (
            Some("http://h/b/"),
            Some("rtsp://h/l/"),
            "rtsp://h/l/",
            unusable,
        ),
        (Some("//other/b/"), Some("file:x"), request, unusable),
        (Some("rtsp://h/a b/"), None, request, unusable),
        (
            Some("rtsp://:0"),
            Some("/l/"),
            "rtsps://cam.local:1/l/",
            unusable,
        ),
    ] {
        let mut headers = Headers::new();
        content_base
            .into_iter()
            .for_each(|value| headers.push("content-base", value));
        content_location
            .into_iter()
            .for_each(|value| headers.push("Content-Location", value));
        assert_eq!(
            base_url(&headers, request),
            (expected.to_string(), quirk),
            "{content_base:?}"
        );
    }
    let mut headers = Headers::new();
    headers.push(
        "Content-Base",
        format!("rtsp://h/{}", "x".repeat(limits::URL)),
    );
    assert_eq!(base_url(&headers, request), (request.to_string(), unusable));
}

proptest! {
    #[test]
    fn no_panic_on_arbitrary_text(a: String, b: String) {
        let _ = Url::parse(&a);
        let _ = Url::parse(&format!("rtsp://{a}"));
        let _ = redact(&format!("{a}://{b}"));
        let _ = resolve_control(&format!("rtsp://{a}"), Some(&b), Join::Rfc3986);
        let _ = resolve_control(&format!("rtsp://{a}"), Some(&b), Join::Append);
        let mut headers = Headers::new();
        headers.push("Content-Base", b);
        let _ = base_url(&headers, &a);
    }

    #[test]
    fn what_is_accepted_is_safe_on_the_wire(text in "[a-z@:/?#%.=\\[\\]0-9 \t\r\n]{0,40}") {
        if let Ok(parsed) = Url::parse(&format!("rtsp://{text}")) {
            let uri = parsed.request_uri();
            prop_assert!(!uri.contains(|c: char| c.is_whitespace() || c == '#'));
            prop_assert!(!parsed.authority().contains('@') && !parsed.host().is_empty());
            // Reading it again changes nothing.
            let again = Url::parse(uri).unwrap();
            prop_assert_eq!(again.request_uri(), uri);
        }
        let shown = redact(&format!("rtsp://u:sEcrEt{text}@h/x"));
        prop_assert!(!shown.contains("sEcrEt"), "{}", shown);
    }

    #[test]
    fn controls_stay_on_the_server_or_name_another_in_full(control in "[a-z:/?#.=*%]{0,30}") {
        for join in [Join::Append, Join::Rfc3986] {
            if let Ok(resolved) = resolve_control("rtsp://h:1/a/b?c", Some(&control), join) {
                prop_assert!(resolved.starts_with("rtsp://h:1/") || control.contains("://"));
            }
        }
    }
}
