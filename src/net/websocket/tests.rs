use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::net::address::Reach;
use crate::net::connect::after;
use crate::net::http::HttpSettings;
use crate::net::testing::{WAIT, block_on, read_head};
use crate::net::tls::Connector;
use crate::rtsp::url::Url;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn answer(key: &str) -> Headers {
    let mut headers = Headers::new();
    headers.push("Upgrade", "WebSocket");
    headers.push("Connection", "keep-alive, Upgrade");
    headers.push("Sec-WebSocket-Accept", derive_accept_key(key.as_bytes()));
    headers.push("Sec-WebSocket-Protocol", PROTOCOL);
    headers
}

// covers: C-WS-02, H-33
#[test]
fn an_upgrade_must_be_what_was_asked_for() {
    assert!(check(&answer(KEY), KEY).is_ok());
    // The example of RFC 6455 §1.3.
    let accept = answer(KEY);
    let accept = accept.get_str("Sec-WebSocket-Accept").unwrap();
    assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert!(check(&answer("another"), KEY).is_err());
    for name in [
        "Upgrade",
        "Connection",
        "Sec-WebSocket-Accept",
        "Sec-WebSocket-Protocol",
    ] {
        let mut without = answer(KEY);
        without.remove(name);
        assert!(check(&without, KEY).is_err(), "{name}");
    }
    let mut other = answer(KEY);
    other.set("Sec-WebSocket-Protocol", "chat");
    assert!(check(&other, KEY).is_err());
    let mut extended = answer(KEY);
    extended.push("Sec-WebSocket-Extensions", "permessage-deflate");
    assert!(check(&extended, KEY).is_err());
}

/// A server's frame without a mask.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(short as u8),
        long @ 126..65_536 => {
            frame.push(126);
            frame.extend((long as u16).to_be_bytes());
        }
        huge => {
            frame.push(127);
            frame.extend((huge as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

struct Open {
    halves: Halves,
    head: String,
    server: TcpStream,
}

/// Opens one; `early` comes with the answer.
async fn open_websocket(path: Option<&str>, early: &[u8]) -> Open {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let target = Target {
        url: Url::parse(&format!("rtsp+ws://{address}/live")).unwrap(),
        timeout: WAIT,
        reach: Reach::Any,
        permit: false,
        tls: Arc::new(Connector::new(Default::default(), None)),
        credentials: None,
        user_agent: "me/1".into(),
        http: HttpSettings {
            websocket_path: path.map(str::to_string),
            ..HttpSettings::default()
        },
    };
    let client = tokio::spawn(open(Arc::new(target), after(WAIT)));
    let (mut server, _) = listener.accept().await.unwrap();
    let head = read_head(&mut server).await;
    let key = |line: &str| line.strip_prefix("Sec-WebSocket-Key: ").map(str::to_string);
    let key = head.lines().find_map(key).unwrap();
    let mut reply = b"HTTP/1.1 101 Switching Protocols\r\n".to_vec();
    for (name, value) in answer(&key).iter() {
        reply.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    reply.extend_from_slice(b"\r\n");
    reply.extend_from_slice(early);
    server.write_all(&reply).await.unwrap();
    let Ok((halves, ..)) = client.await.unwrap() else {
        panic!("no WebSocket");
    };
    Open {
        halves,
        head,
        server,
    }
}

async fn opened(
    early: &[u8],
) -> (
    Box<dyn AsyncRead + Send + Unpin>,
    Box<dyn AsyncWrite + Send + Unpin>,
    TcpStream,
) {
    let Open { halves, server, .. } = open_websocket(None, early).await;
    let Halves::Layered(read, write) = halves else {
        panic!("layers");
    };
    (read, write, server)
}

// covers: C-WS-01
#[test]
fn the_upgrade_asks_for_rtsp() {
    block_on(async {
        for (path, line) in [
            (None, "GET /live HTTP/1.1\r\n"),
            (Some("/ws"), "GET /ws HTTP/1.1\r\n"),
        ] {
            let Open { head, .. } = open_websocket(path, b"").await;
            assert!(head.starts_with(line), "{head}");
            for field in [
                "Upgrade: websocket",
                "Connection: Upgrade",
                "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Protocol: rtsp.onvif.org",
                "Host: 127.0.0.1:",
                "User-Agent: me/1",
            ] {
                assert!(head.contains(&format!("\r\n{field}")), "{field}: {head}");
            }
        }
    });
}

// covers: C-WS-04
#[test]
fn borders_of_messages_and_frames_mean_nothing() {
    block_on(async {
        let early = frame(0x82, b"one ");
        let (mut read, _write, mut server) = opened(&early).await;
        // A message in two frames, with a ping between; an empty one; one more.
        let mut bytes = frame(0x02, b"two ");
        bytes.extend(frame(0x89, b"ping"));
        bytes.extend(frame(0x80, b"three "));
        bytes.extend(frame(0x82, b""));
        bytes.extend(frame(0x82, b"four"));
        for byte in bytes {
            server.write_all(&[byte]).await.unwrap();
        }
        let mut text = [0; 18];
        read.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"one two three four");
        // RFC 6455 §5.5.2: the ping is answered, masked.
        let mut pong = [0; 10];
        server.read_exact(&mut pong).await.unwrap();
        assert_eq!(pong[..2], [0x8a, 0x84]);
        let payload: Vec<u8> = (0..4).map(|n| pong[6 + n] ^ pong[2 + n]).collect();
        assert_eq!(payload, b"ping");
        // RFC 6455 §5.5.1.
        server.write_all(&frame(0x88, &[])).await.unwrap();
        assert_eq!(read.read(&mut [0; 8]).await.unwrap(), 0);
    });
}

// covers: C-WS-03
#[test]
fn what_is_written_is_a_masked_binary_message() {
    block_on(async {
        let (_read, mut write, mut server) = opened(b"").await;
        let slices = [b"$\x00\x00\x03".as_slice(), b"abc"].map(IoSlice::new);
        assert_eq!(write.write_vectored(&slices).await.unwrap(), 7);
        write.flush().await.unwrap();
        let mut bytes = [0; 13];
        server.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes[..2], [0x82, 0x87]);
        let payload: Vec<u8> = (0..7).map(|n| bytes[6 + n] ^ bytes[2 + n % 4]).collect();
        assert_eq!(payload, b"$\x00\x00\x03abc");
        write.shutdown().await.unwrap();
        let mut close = [0; 2];
        server.read_exact(&mut close).await.unwrap();
        assert_eq!(close[0], 0x88);
    });
}

// covers: C-WS-03, H-33
#[test]
fn text_masks_and_large_messages_are_errors() {
    let most = limits::WEBSOCKET_MESSAGE;
    let huge = [[0x82, 127].as_slice(), &u64::MAX.to_be_bytes()].concat();
    let mut fragments = frame(0x02, &vec![0; most]);
    fragments.extend(frame(0x00, b"x"));
    for (bytes, part) in [
        (frame(0x81, b"text"), "text"),
        (frame(0x82, &vec![0; most + 1]), "the most"),
        (huge, "WebSocket"),
        (fragments, "the most"),
        (vec![0x82, 0x84, 1, 2, 3, 4, 5, 6, 7, 8], "WebSocket"),
        (frame(0xc2, b"x"), "WebSocket"),
        (frame(0x83, b"x"), "WebSocket"),
    ] {
        block_on(async {
            let (mut read, _write, mut server) = opened(b"").await;
            let peer = tokio::spawn(async move {
                // It may be cut off before all is sent.
                let _ = server.write_all(&bytes).await;
                server
            });
            let error = read.read(&mut [0; 64]).await.unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
            drop(peer.await.unwrap());
        });
    }
    block_on(async {
        let (mut read, _write, mut server) = opened(b"").await;
        let peer = tokio::spawn(async move {
            server
                .write_all(&frame(0x82, &vec![7; most]))
                .await
                .unwrap();
        });
        let mut bytes = vec![0; most];
        read.read_exact(&mut bytes).await.unwrap();
        peer.await.unwrap();
    });
}
