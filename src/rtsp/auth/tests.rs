use super::*;
use crate::rtsp::message::{Request, Version};
use crate::rtsp::parse::parse_head;
use proptest::prelude::*;

mod vectors;

const CNONCE: &str = "0123456789abcdef";
const URI: &str = "rtsp://192.0.2.10:554/live";
const DIGEST: &str = "Digest realm=\"IP Camera\", nonce=\"a1b2c3d4e5f60718\"";

fn credentials() -> Credentials {
    Credentials {
        user: "admin".into(),
        password: "secret".into(),
    }
}

fn authenticator() -> Authenticator {
    Authenticator::new(Some(credentials()))
}

fn headers(values: &[&str]) -> Headers {
    let mut headers = Headers::new();
    for value in values {
        headers.push("WWW-Authenticate", *value);
    }
    headers
}

fn challenges(values: &[&str]) -> Vec<Challenge> {
    parse_challenges(&headers(values), "www-authenticate")
}

fn digest(value: &str) -> DigestChallenge {
    match challenges(&[value]).remove(0) {
        Challenge::Digest(digest) => digest,
        other => panic!("{value}: {other:?}"),
    }
}

fn reason(value: &str) -> &'static str {
    match &challenges(&[value])[..] {
        [Challenge::Unusable { reason, .. }] => reason,
        other => panic!("{value}: {other:?}"),
    }
}

fn text(value: Option<Vec<u8>>) -> String {
    String::from_utf8(value.unwrap()).unwrap()
}

fn describe(authenticator: &mut Authenticator) -> String {
    text(authenticator.authorization_with(&Method::Describe, URI, b"", || CNONCE.into()))
}

/// The value of a parameter of an Authorization value as it was written.
fn parameter<'a>(authorization: &'a str, name: &str) -> Option<&'a str> {
    let list = authorization.strip_prefix("Digest ").unwrap();
    list.split(", ")
        .find_map(|item| item.strip_prefix(name)?.strip_prefix('='))
}

/// Challenges once, then signs one request.
fn answer(challenge: &str, method: &Method, uri: &str, body: &[u8]) -> String {
    let mut authenticator = authenticator();
    authenticator
        .challenged(&headers(&[challenge]), false, false)
        .unwrap();
    text(authenticator.authorization_with(method, uri, body, || CNONCE.into()))
}

#[test]
fn auth_int_signs_the_body() {
    // covers: C-AUTH-12
    let sign = |body: &[u8]| {
        answer(
            &format!("{DIGEST}, qop=auth-int"),
            &Method::Describe,
            URI,
            body,
        )
    };
    assert_ne!(sign(b"x"), sign(b""));
    let auth = |body: &[u8]| answer(&format!("{DIGEST}, qop=auth"), &Method::Describe, URI, body);
    assert_eq!(auth(b"x"), auth(b""));
}

#[test]
fn quoting_follows_the_rfc() {
    // covers: C-AUTH-06 C-AUTH-07 C-AUTH-08
    assert_eq!(
        answer(
            &format!("{DIGEST}, qop=\"auth,auth-int\", algorithm=md5, opaque=abc"),
            &Method::Describe,
            URI,
            b""
        ),
        format!(
            "Digest username=\"admin\", realm=\"IP Camera\", nonce=\"a1b2c3d4e5f60718\", uri=\"{URI}\", \
             response=\"475c0a424d2db9d968c05ac703f42088\", algorithm=MD5, cnonce=\"{CNONCE}\", qop=auth, \
             nc=00000001, opaque=\"abc\""
        )
    );
    // The form of RFC 2069, and nothing that was not received.
    assert_eq!(
        answer(DIGEST, &Method::Describe, URI, b""),
        format!(
            "Digest username=\"admin\", realm=\"IP Camera\", nonce=\"a1b2c3d4e5f60718\", uri=\"{URI}\", \
             response=\"8a0110f1bdafb8eb02f44752aa8618b8\""
        )
    );
    let empty = answer(
        "Digest realm=\"\", nonce=n, opaque=\"\"",
        &Method::Describe,
        URI,
        b"",
    );
    assert_eq!(
        (parameter(&empty, "realm"), parameter(&empty, "opaque")),
        (Some("\"\""), Some("\"\""))
    );
}

#[test]
fn values_are_read_quoted_or_not_with_escapes_undone() {
    // covers: C-AUTH-07
    let odd = digest(
        r#"digest REALM = "a\"b\\c, d" ,Nonce=abc==, ALGORITHM="MD5",Qop=auth , stale="TRUE""#,
    );
    assert_eq!(odd.realm, br#"a"b\c, d"#);
    assert_eq!(
        (&odd.nonce[..], odd.qop, odd.stale),
        (&b"abc=="[..], Some(Qop::Auth), true)
    );
    assert_eq!(
        odd.algorithm,
        Algorithm {
            hash: Hash::Md5,
            session: false
        }
    );
    // The hash is over the unescaped realm, the header escapes it again.
    let answer = answer(
        r#"Digest realm="a\"b\\c", nonce="n""#,
        &Method::Describe,
        URI,
        b"",
    );
    assert!(answer.contains(r#"realm="a\"b\\c""#), "{answer}");
    assert_eq!(
        parameter(&answer, "response"),
        Some("\"d2c9cda9ee64f0a9b3dcaecd758f2de9\"")
    );
}

#[test]
fn all_challenges_are_read_in_order() {
    // covers: C-AUTH-01
    let list = challenges(&[
        "Negotiate, NTLM TlRMTVNTUAAB==, Digest realm=\"a, Basic realm=b\", nonce=n,qop=\"auth,auth-int\", Basic realm=\"c\"",
        "Bearer",
        "Digest nonce=\"m\", realm=d, algorithm=SHA-256",
    ]);
    let shown: Vec<_> = list
        .iter()
        .map(|c| (c.to_string(), c.realm().map(String::from_utf8_lossy)))
        .collect();
    let expected = [
        ("Negotiate (unknown scheme)", None),
        ("NTLM (unknown scheme)", None),
        ("Digest MD5", Some("a, Basic realm=b")),
        ("Basic", Some("c")),
        ("Bearer (unknown scheme)", None),
        ("Digest SHA-256", Some("d")),
    ];
    assert_eq!(
        shown,
        expected.map(|(name, realm)| (name.to_string(), realm.map(Into::into)))
    );
}

#[test]
fn first_usable_digest_wins_then_basic() {
    // covers: C-AUTH-02 C-AUTH-04
    let md5 = "Digest realm=r, nonce=md5";
    let sha = "Digest realm=r, nonce=sha, algorithm=SHA-256";
    let sha512 = "Digest realm=r, nonce=sha512, algorithm=SHA-512-256";
    let unknown = "Digest realm=r, nonce=x, algorithm=SHA-3";
    for (offered, strongest, expected) in [
        (vec!["Basic realm=r", md5, sha], false, "\"md5\""),
        (vec!["Basic realm=r", sha, md5], false, "\"sha\""),
        (vec![unknown, sha, md5], false, "\"sha\""),
        (vec![md5, sha, sha512], true, "\"sha512\""),
        (vec![unknown, md5, "Basic realm=r"], true, "\"md5\""),
    ] {
        let mut authenticator = authenticator();
        authenticator.set_prefer_strongest(strongest);
        authenticator
            .challenged(&headers(&offered), false, true)
            .unwrap();
        let answer = describe(&mut authenticator);
        assert_eq!(parameter(&answer, "nonce"), Some(expected), "{offered:?}");
    }
    let mut authenticator = authenticator();
    authenticator
        .challenged(&headers(&["Basic realm=r"]), false, true)
        .unwrap();
    assert_eq!(describe(&mut authenticator), "Basic YWRtaW46c2VjcmV0");
}

#[test]
fn unknown_algorithm_or_qop_is_unusable() {
    // covers: C-AUTH-04 H-24
    for (extra, expected) in [
        (", algorithm=SHA-3", "unknown algorithm"),
        (", algorithm=\"\"", "unknown algorithm"),
        (", algorithm=MD5-session", "unknown algorithm"),
        (", qop=\"auth-conf\"", "unknown qop"),
        (", qop=\"\"", "unknown qop"),
        (", algorithm=MD5-sess", "session algorithm without qop"),
    ] {
        let challenge = format!("{DIGEST}{extra}");
        assert_eq!(reason(&challenge), expected, "{extra}");
        let error = authenticator()
            .challenged(&headers(&[&challenge]), false, true)
            .unwrap_err();
        assert_eq!(error.kind, AuthErrorKind::NoUsableChallenge);
    }
    assert_eq!(reason("Digest realm=r"), "no nonce");
    assert_eq!(reason("Digest nonce=r"), "no realm");
}

#[test]
fn hostile_values_make_a_challenge_unusable_or_harmless() {
    // covers: H-23 C-AUTH-08
    assert_eq!(
        reason("Digest realm=\"a\0b\", nonce=n"),
        "illegal character"
    );
    assert_eq!(
        reason("Digest realm=\"a\r\nX: y\", nonce=n"),
        "illegal character"
    );
    assert_eq!(
        reason("Digest realm=\"a\", nonce=n, opaque=\"\\\n\""),
        "illegal character"
    );
    assert_eq!(reason("Digest nonce=n, realm=\"open"), "unclosed quote");
    assert_eq!(reason("Digest nonce=n, realm=\"open\\"), "unclosed quote");
    assert_eq!(reason("Basic realm=\"a\0\""), "illegal character");
    for name in ["realm", "nonce", "opaque"] {
        let value = |length: usize| {
            let others = "realm=r, nonce=n, opaque=o".replace(&format!("{name}="), "x=");
            format!("Digest {others}, {name}=\"{}\"", "\\x".repeat(length))
        };
        digest(&value(limits::AUTH_VALUE));
        assert_eq!(reason(&value(limits::AUTH_VALUE + 1)), "value too long");
        assert_eq!(reason(&value(1 << 20)), "value too long");
    }
    let mut hostile = Headers::new();
    hostile.push(
        "WWW-Authenticate",
        &b"Digest realm=\"caf\xe9 \\\"\\\\\t\", nonce=\"a,b\\\"\", opaque=\";=\""[..],
    );
    let mut authenticator = authenticator();
    authenticator.challenged(&hostile, false, false).unwrap();
    let value = authenticator
        .authorization(&Method::Describe, URI, b"")
        .unwrap();
    // The realm goes back byte for byte, and as one header.
    let realm = b"realm=\"caf\xe9 \\\"\\\\\t\"";
    assert!(value.windows(realm.len()).any(|window| window == realm));
    let mut request = Request::new(Method::Describe, URI, Version::V1_0);
    request.headers.push("Authorization", value.clone());
    let mut wire = Vec::new();
    request.write(&mut wire);
    let message = parse_head(&wire).unwrap().message;
    assert_eq!(
        message.headers().iter().collect::<Vec<_>>(),
        [("Authorization", &value[..])]
    );
}

#[test]
fn nonce_count_grows_per_nonce_and_cnonce_is_fresh() {
    // covers: C-AUTH-06 C-AUTH-10 C-AUTH-11
    let mut authenticator = authenticator();
    assert_eq!(
        authenticator.authorization(&Method::Options, URI, b""),
        None
    );
    let nonce = |n: u32| headers(&[&format!("Digest realm=r, nonce=n{n}, qop=auth, stale=true")]);
    authenticator.challenged(&nonce(1), false, false).unwrap();
    let mut cnonces = std::collections::HashSet::new();
    for count in 1..=11 {
        let answer = text(authenticator.authorization(&Method::Options, URI, b""));
        assert_eq!(parameter(&answer, "nc"), Some(&*format!("{count:08x}")));
        let cnonce = parameter(&answer, "cnonce").unwrap().to_string();
        assert_eq!(cnonce.len(), 34, "128 bits in hex, quoted");
        assert!(cnonces.insert(cnonce));
    }
    authenticator.challenged(&nonce(2), true, false).unwrap();
    let answer = text(authenticator.authorization(&Method::Options, URI, b""));
    assert_eq!(
        (parameter(&answer, "nc"), parameter(&answer, "nonce")),
        (Some("00000001"), Some("\"n2\""))
    );
}

#[test]
fn session_key_keeps_its_cnonce_per_nonce() {
    // covers: C-AUTH-12
    let mut authenticator = authenticator();
    let challenge = |n: u32| {
        headers(&[&format!(
            "Digest realm=r, nonce={n}, qop=auth, algorithm=MD5-sess, stale=true"
        )])
    };
    let cnonce = |authenticator: &mut Authenticator| {
        let answer = text(authenticator.authorization(&Method::Options, URI, b""));
        parameter(&answer, "cnonce").unwrap().to_string()
    };
    authenticator
        .challenged(&challenge(1), false, false)
        .unwrap();
    let first = cnonce(&mut authenticator);
    assert_eq!(cnonce(&mut authenticator), first);
    authenticator
        .challenged(&challenge(2), true, false)
        .unwrap();
    assert_ne!(cnonce(&mut authenticator), first);
}

#[test]
fn wrong_password_ends_after_one_try_even_with_new_nonces() {
    // covers: C-AUTH-15 C-AUTH-17
    for second in ["a", "b"] {
        let mut authenticator = authenticator();
        authenticator
            .challenged(&headers(&["Digest realm=r, nonce=a"]), false, false)
            .unwrap();
        describe(&mut authenticator);
        let again = headers(&[&format!("Digest realm=r, nonce={second}, stale=false")]);
        let error = authenticator.challenged(&again, true, false).unwrap_err();
        assert_eq!(error.kind, AuthErrorKind::Refused);
    }
    let mut authenticator = authenticator();
    authenticator
        .challenged(&headers(&["Basic realm=r"]), false, false)
        .unwrap();
    let error = authenticator
        .challenged(&headers(&["Basic realm=r"]), true, false)
        .unwrap_err();
    assert_eq!(error.kind, AuthErrorKind::Refused);
}

#[test]
fn stale_and_one_time_nonces_lead_to_one_retry_each() {
    // covers: C-AUTH-11 C-AUTH-15 H-22
    let nonce = |n: u32| headers(&[&format!("Digest realm=r, nonce={n}")]);
    let mut one_time = authenticator();
    one_time.challenged(&nonce(0), false, false).unwrap();
    describe(&mut one_time);
    for n in 1..50 {
        // Sent with the nonce that was accepted before; a new one comes.
        describe(&mut one_time);
        one_time.challenged(&nonce(n), true, false).unwrap();
        describe(&mut one_time);
    }
    // And now the repeated request is refused as well.
    assert_eq!(
        one_time
            .challenged(&nonce(50), true, false)
            .unwrap_err()
            .kind,
        AuthErrorKind::Refused
    );

    let stale = |n: u32| headers(&[&format!("Digest realm=r, nonce={n}, stale=true")]);
    let mut endless = authenticator();
    endless.challenged(&nonce(0), false, false).unwrap();
    let tries = (1..100).take_while(|n| {
        describe(&mut endless);
        endless.challenged(&stale(*n), true, false).is_ok()
    });
    assert_eq!(tries.count() as u32 + 1, limits::AUTH_RETRIES);
}

#[test]
fn no_credentials_or_challenge_names_realm_and_schemes() {
    // covers: C-AUTH-17
    let offer = headers(&[DIGEST, "Basic realm=\"x\""]);
    let error = Authenticator::new(None)
        .challenged(&offer, false, false)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the server wants a user name and password (realm \"IP Camera\", offered: Digest MD5, Basic)"
    );
    let error = authenticator()
        .challenged(&Headers::new(), false, false)
        .unwrap_err();
    assert_eq!(
        (error.kind, &*error.schemes),
        (AuthErrorKind::NoUsableChallenge, "none")
    );
    let injection = Credentials {
        user: "a\r\nX: y".into(),
        password: String::new(),
    };
    let error = Authenticator::new(Some(injection))
        .challenged(&offer, false, false)
        .unwrap_err();
    assert_eq!(error.kind, AuthErrorKind::NoCredentials);
}

#[test]
fn basic_in_clear_text_is_refused_once_digest_was_offered() {
    // covers: C-AUTH-18 H-24
    let basic = headers(&["Basic realm=r"]);
    let unknown = headers(&["Digest realm=r, nonce=n, algorithm=SHA-3", "Basic realm=r"]);
    let retry = authenticator().challenged(&basic, false, false).unwrap();
    assert!(retry.basic_in_clear);
    let retry = authenticator().challenged(&unknown, false, true).unwrap();
    assert!(!retry.basic_in_clear);
    assert_eq!(
        authenticator()
            .challenged(&unknown, false, false)
            .unwrap_err()
            .kind,
        AuthErrorKind::BasicRefused
    );

    let mut downgraded = authenticator();
    downgraded
        .challenged(&headers(&[DIGEST]), false, false)
        .unwrap();
    for had_authorization in [false, true] {
        let error = downgraded
            .challenged(&basic, had_authorization, false)
            .unwrap_err();
        assert_eq!(error.kind, AuthErrorKind::BasicRefused);
    }
    // New credentials do not make the server more trustworthy.
    downgraded.set_credentials(Some(credentials()));
    assert!(downgraded.challenged(&basic, false, false).is_err());

    let mut strict = authenticator();
    strict.set_allow_basic_in_clear(false);
    assert_eq!(
        strict.challenged(&basic, false, false).unwrap_err().kind,
        AuthErrorKind::BasicRefused
    );
    assert!(strict.challenged(&basic, false, true).is_ok());
}

#[test]
fn realm_change_is_reported() {
    // covers: H-24
    let mut authenticator = authenticator();
    let realm = |realm: &str| headers(&[&format!("Digest realm={realm}, nonce=n, stale=true")]);
    assert!(
        !authenticator
            .challenged(&realm("a"), false, false)
            .unwrap()
            .realm_changed
    );
    assert!(
        !authenticator
            .challenged(&realm("a"), false, false)
            .unwrap()
            .realm_changed
    );
    assert!(
        authenticator
            .challenged(&realm("b"), false, false)
            .unwrap()
            .realm_changed
    );
}

#[test]
fn new_credentials_start_over() {
    // covers: C-AUTH-15
    let mut authenticator = authenticator();
    authenticator
        .challenged(&headers(&[DIGEST]), false, false)
        .unwrap();
    authenticator.set_credentials(Some(credentials()));
    assert_eq!(
        authenticator.authorization(&Method::Describe, URI, b""),
        None
    );
    authenticator
        .challenged(&headers(&[DIGEST]), false, false)
        .unwrap();
    assert!(
        authenticator
            .authorization(&Method::Describe, URI, b"")
            .is_some()
    );
}

#[test]
fn debug_output_holds_no_password() {
    // covers: C-AUTH-20
    let mut authenticator = authenticator();
    authenticator
        .challenged(&headers(&[DIGEST]), false, false)
        .unwrap();
    describe(&mut authenticator);
    assert!(!format!("{authenticator:?}").contains("secret"));
}

proptest! {
    #[test]
    fn no_panic_and_one_header_whatever_the_challenge(
        bytes in prop::collection::vec(any::<u8>(), 0..60),
        tail in "[ -~]{0,60}",
    ) {
        // covers: H-23
        for prefix in [&b""[..], b"Digest nonce=n, realm=", b"Digest realm=r, nonce=\"x\\"] {
            let mut headers = Headers::new();
            headers.push("WWW-Authenticate", [prefix, &bytes, tail.as_bytes()].concat());
            let mut authenticator = authenticator();
            if authenticator.challenged(&headers, false, false).is_ok() {
                let value = authenticator.authorization(&Method::Describe, URI, b"").unwrap();
                prop_assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
                let again = parse_challenges(
                    &{ let mut h = Headers::new(); h.push("X", value); h }, "X");
                prop_assert_eq!(again.len(), 1);
            }
        }
    }
}
