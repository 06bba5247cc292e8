//! Digest against responses that others computed.

use super::*;

#[test]
fn digest_matches_the_vectors() {
    // covers: C-AUTH-03 C-AUTH-05 C-AUTH-06 C-AUTH-09 C-AUTH-12
    for (extra, describe, setup) in [
        (
            "",
            "8a0110f1bdafb8eb02f44752aa8618b8",
            "69d15e4aec978efbddcfeb0e8c4a0389",
        ),
        (
            ", qop=\"auth\"",
            "475c0a424d2db9d968c05ac703f42088",
            "2153e9506b7b77fe8bb4fd50937b09df",
        ),
        (
            ", algorithm=MD5, qop=auth",
            "475c0a424d2db9d968c05ac703f42088",
            "2153e9506b7b77fe8bb4fd50937b09df",
        ),
        (
            ", algorithm=SHA-256",
            "834cccd8b1d8c4e882de958399efe6f243a8021719a75e4cf6726dcdb87d1f0c",
            "056a51228fc8448f8b46a6a57f5fcfb439a47045b607fdf5bca5b18c7c03d07e",
        ),
        (
            ", algorithm=\"sha-256\", qop=\"auth-int,AUTH\"",
            "3d917f8d07e6368e1071004a20b46a501618395cbe966259fc89f8d54a4b07d0",
            "f686ba7d2ec9f3a1f647389578e2c8b16b50ecd2c75809dd157bff0ce4c7b753",
        ),
        (
            ", algorithm=SHA-512-256",
            "a951651de7f4292af2a51a9c4ccb4d87edbc6821eae86cc093391022a99a4a80",
            "74ba1ee25f3c825d1197ed361c92b7bc15754c5c2d1492a3611e643e60bd85ed",
        ),
        (
            ", algorithm=SHA-512-256, qop=\"auth\"",
            "b25af06e9af50a1ab8124aacd4a5e470931ceb59ed6729dade5d9f92ab8175f6",
            "5e28f618cca9696f4a7b4a320969d0c8f7706f002a54ce7d408989e9fa240241",
        ),
        (
            ", qop=auth-int",
            "cb2290637692babebef8e39ece6a8d3c",
            "5dde99d9156982fe677d48437e629bab",
        ),
        (
            ", algorithm=MD5-sess, qop=auth",
            "8861a3ca350c0278e1be4ec3f8705014",
            "31ee4c278dd1c6eb64e31ebb7fac9a0d",
        ),
    ] {
        let challenge = format!("{DIGEST}{extra}");
        let track = format!("{URI}/trackID=1");
        for (method, uri, expected) in [
            (Method::Describe, URI, describe),
            (Method::Setup, &*track, setup),
        ] {
            let answer = answer(&challenge, &method, uri, b"");
            assert_eq!(
                parameter(&answer, "response"),
                Some(&*format!("\"{expected}\"")),
                "{extra}"
            );
            assert_eq!(parameter(&answer, "uri"), Some(&*format!("\"{uri}\"")));
        }
    }
}

#[test]
fn digest_matches_the_examples_of_the_rfcs() {
    // covers: C-AUTH-03 C-AUTH-05
    let get = Method::Extension("GET".into());
    let response = |challenge: &str, user: &str, password: &str, uri: &str, cnonce: &str| {
        let mut authenticator = Authenticator::new(Some(Credentials {
            user: user.into(),
            password: password.into(),
        }));
        authenticator
            .challenged(&headers(&[challenge]), false, false)
            .unwrap();
        let answer = text(authenticator.authorization_with(&get, uri, b"", || cnonce.into()));
        parameter(&answer, "response").unwrap().to_string()
    };
    let rfc2617 = "Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", \
                   nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";
    assert_eq!(
        response(
            rfc2617,
            "Mufasa",
            "Circle Of Life",
            "/dir/index.html",
            "0a4f113b"
        ),
        "\"6629fae49393a05397450978507c4ef1\""
    );
    let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
    for (algorithm, expected) in [
        ("MD5", "\"8ca523f5e9506fed4657c9700eebdbec\""),
        (
            "SHA-256",
            "\"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1\"",
        ),
    ] {
        let challenge = format!(
            "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
             nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\""
        );
        let got = response(
            &challenge,
            "Mufasa",
            "Circle of Life",
            "/dir/index.html",
            cnonce,
        );
        assert_eq!(got, expected);
    }
    let corrected = "Digest realm=\"api@example.org\", qop=\"auth\", algorithm=SHA-512-256, \
                     nonce=\"5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK\"";
    let cnonce = "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v";
    assert_eq!(
        response(
            corrected,
            "J\u{e4}s\u{f8}n Doe",
            "Secret, or not?",
            "/doe.json",
            cnonce
        ),
        "\"3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5\""
    );
}
