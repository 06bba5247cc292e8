use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::net::connect::after;
use crate::net::testing::{WAIT, block_on, read_head};
use crate::rtsp::client::ErrorKind;

fn proxy(text: &str) -> Proxy {
    Proxy::parse(text).unwrap()
}

#[test]
fn a_proxy_is_a_host_with_scheme_credentials_and_port_if_need_be() {
    for (text, shown) in [
        ("p", "http://p:8080"),
        ("p:3128", "http://p:3128"),
        (" HTTP://p/ ", "http://p:8080"),
        ("http://[2001:db8::1]:1", "http://[2001:db8::1]:1"),
        ("user:S3cret@p:3128", "http://p:3128"),
        ("http://user:S3cret@p:3128/", "http://p:3128"),
        ("socks5://p", "socks5://p:1080"),
        ("socks5h://user:S3cret@p:9", "socks5://p:9"),
    ] {
        assert_eq!(proxy(text).to_string(), shown);
        let debug = format!("{:?}", proxy(text));
        assert!(!debug.contains("S3cret"), "{debug}");
    }
    for wrong in [
        "",
        "http://",
        "https://p",
        "ftp://S3cret@p",
        "p:S3cret",
        "a b",
    ] {
        let error = Proxy::parse(wrong).unwrap_err();
        assert!(!error.contains("S3cret"), "{error}");
    }
}

#[test]
fn the_environment_names_a_proxy_for_tunnels() {
    let from = |host, tls, variables: &[(&str, &str)]| {
        let variable = |name: &str| {
            let found = variables.iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| value.to_string())
        };
        let proxy = Proxy::from_environment(host, tls, variable).unwrap();
        proxy.map(|proxy| proxy.to_string())
    };
    let both = [("http_proxy", "p:1"), ("https_proxy", "q:2")];
    assert_eq!(from("h", false, &both).as_deref(), Some("http://p:1"));
    assert_eq!(from("h", true, &both).as_deref(), Some("http://q:2"));
    // A CGI client can set it.
    assert_eq!(from("h", false, &[("HTTP_PROXY", "p:1")]), None);
    assert_eq!(from("h", false, &[("http_proxy", "")]), None);
    for (host, list, direct) in [
        ("cam.example.org", "*", true),
        ("cam.example.org", "example.org", true),
        ("cam.example.org", "x, .Example.org", true),
        ("cam.example.org", "*.example.org", true),
        ("example.org", ".example.org", true),
        ("badexample.org", "example.org", false),
        ("cam.example.org", "", false),
        ("cam.example.org", ",,", false),
        ("10.0.0.1", "10.0.0.1", true),
        ("10.0.0.1", "0.0.1", false),
        ("::1", "[::1]", true),
    ] {
        let variables = [("http_proxy", "p:1"), ("no_proxy", list)];
        assert_eq!(
            from(host, false, &variables).is_none(),
            direct,
            "{host} {list}"
        );
    }
}

/// What the proxy is sent, and what became of the connection, if it answers so.
fn connect_http(userinfo: &str, answers: &[&str]) -> (Vec<String>, Result<(), ConnectError>) {
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = proxy(&format!("{userinfo}127.0.0.1:{port}"));
        let client = tokio::spawn(async move {
            let connected = proxy
                .connect("cam.example", 554, after(WAIT), Reach::Any)
                .await;
            connected.map(drop)
        });
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            asked.push(read_head(&mut stream).await);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        (asked, client.await.unwrap())
    })
}

const OK: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

// covers: C-HTUN-12
#[test]
fn connect_names_the_server_and_nothing_else() {
    let (asked, connected) = connect_http("me:S3cret@", &[OK]);
    connected.unwrap();
    let head = "CONNECT cam.example:554 HTTP/1.1\r\nHost: cam.example:554\r\n\r\n";
    assert_eq!(asked, [head], "credentials only when they are asked for");
}

// covers: C-AUTH-19
#[test]
fn a_407_is_answered_on_a_new_connection() {
    let basic = "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"r\"\r\n\
                 Content-Length: 5\r\n\r\nhello";
    let (asked, connected) = connect_http("me:S3cret@", &[basic, OK]);
    connected.unwrap();
    let expected = BASE64_STANDARD.encode("me:S3cret");
    let header = format!("Proxy-Authorization: Basic {expected}\r\n");
    assert!(asked[1].contains(&header), "{}", asked[1]);
    assert!(!asked[1].contains("\r\nAuthorization"));

    let digest = "HTTP/1.1 407 No\r\nProxy-Authenticate: Digest realm=\"r\", nonce=\"n\", \
                  algorithm=SHA-256, qop=\"auth\"\r\n\r\n";
    let (asked, connected) = connect_http("me:S3cret@", &[digest, OK]);
    connected.unwrap();
    for part in [
        "Digest username=\"me\"",
        "uri=\"cam.example:554\"",
        "algorithm=SHA-256",
    ] {
        assert!(asked[1].contains(part), "{}", asked[1]);
    }
}

// covers: C-AUTH-19, H-32
#[test]
fn refusals_and_garbage_of_a_proxy_are_errors_that_name_it() {
    let ask = "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"r\"\r\n\r\n";
    for (userinfo, answers, part, kind) in [
        ("", vec![ask], "wants a user name", ErrorKind::NotAuthorized),
        (
            "me:S3cret@",
            vec![ask, ask],
            "refused the user name",
            ErrorKind::NotAuthorized,
        ),
        (
            "",
            vec!["HTTP/1.1 403 Forbidden\r\n\r\n"],
            "answered 403 Forbidden",
            ErrorKind::Connect,
        ),
        (
            "",
            vec!["\x05\x00 what"],
            "does not speak HTTP",
            ErrorKind::Protocol,
        ),
        (
            "",
            vec!["HTTP/1.1 200 OK\r\n\r\nRTSP/1.0"],
            "before the server",
            ErrorKind::Protocol,
        ),
        (
            "",
            vec!["HTTP/1.1 200 OK\r\n"],
            "closed the connection",
            ErrorKind::Connect,
        ),
    ] {
        let (_, connected) = connect_http(userinfo, &answers);
        let error = connected.unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("The proxy 127.0.0.1:") && text.contains(part),
            "{text}"
        );
        assert!(!text.contains("S3cret"), "{text}");
        assert_eq!(error.kind(), kind, "{text}");
    }
}

#[test]
fn a_proxy_that_is_not_there_is_named() {
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let proxy = proxy(&format!("socks5://127.0.0.1:{port}"));
        let connected = proxy.connect("h", 554, after(WAIT), Reach::Any).await;
        let text = connected.unwrap_err().to_string();
        assert!(text.starts_with("Could not reach the proxy"), "{text}");
    });
}

// covers: H-18
#[test]
fn a_proxy_is_not_asked_for_addresses_out_of_reach() {
    block_on(async {
        let proxy = proxy("127.0.0.1:1");
        let connected = proxy
            .connect("169.254.169.254", 80, after(WAIT), Reach::PublicOnly)
            .await;
        assert!(matches!(connected, Err(ConnectError::OutOfReach { .. })));
    });
}

/// What the proxy gets after its method selection, if it answers so.
fn connect_socks(userinfo: &str, answers: &[&[u8]]) -> (Vec<u8>, Result<(), ConnectError>) {
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = proxy(&format!("socks5://{userinfo}127.0.0.1:{port}"));
        let client = tokio::spawn(async move {
            let connected = proxy
                .connect("cam.example", 554, after(WAIT), Reach::Any)
                .await;
            connected.map(drop)
        });
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut got = Vec::new();
        for answer in answers {
            stream.read_buf(&mut got).await.unwrap();
            stream.write_all(answer).await.unwrap();
        }
        // It may have hung up already.
        let _ = stream.shutdown().await;
        let connected = client.await.unwrap();
        let _ = stream.read_to_end(&mut got).await;
        (got, connected)
    })
}

#[test]
fn socks5_is_asked_by_name_with_user_and_password() {
    let ok: &[u8] = &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let (got, connected) = connect_socks("", &[&[5, 0], ok]);
    connected.unwrap();
    let asked = b"\x05\x01\x00\x05\x01\x00\x03\x0bcam.example\x02\x2a";
    assert_eq!(got, asked);

    let (got, connected) = connect_socks("me:S3cret@", &[&[5, 2], &[1, 0], ok]);
    connected.unwrap();
    assert!(
        got.windows(11).any(|w| w == b"\x01\x02me\x06S3cret"),
        "{got:?}"
    );
}

#[test]
fn refusals_and_garbage_of_a_socks5_proxy_are_errors_that_name_it() {
    for (userinfo, answers, part, kind) in [
        (
            "",
            vec![&[5u8, 0xff][..]],
            "wants a user name",
            ErrorKind::NotAuthorized,
        ),
        (
            "me:S3cret@",
            vec![&[5, 2], &[1, 1]],
            "refused the user",
            ErrorKind::NotAuthorized,
        ),
        (
            "",
            vec![&[5, 0], &[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]],
            "cannot reach",
            ErrorKind::Connect,
        ),
        (
            "",
            vec![b"HTTP/1.1 400 Bad\r\n\r\n"],
            "does not speak SOCKS5",
            ErrorKind::Protocol,
        ),
        ("", vec![&[5]], "closed the connection", ErrorKind::Connect),
    ] {
        let (_, connected) = connect_socks(userinfo, &answers);
        let error = connected.unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("The proxy 127.0.0.1:") && text.contains(part),
            "{text}"
        );
        assert!(!text.contains("S3cret"), "{text}");
        assert_eq!(error.kind(), kind, "{text}");
    }
}
