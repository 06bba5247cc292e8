//! An HTTP tunnel in front of the server. It belongs to the server's process, which is not measured.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::TcpStream;

const OK: &[u8] =
    b"HTTP/1.0 200 OK\r\nContent-Type: application/x-rtsp-tunnelled\r\nCache-Control: no-cache\r\n\r\n";

/// A port whose pairs of GET and POST go on to `server` as one connection.
pub async fn in_front_of(server: SocketAddr) -> io::Result<u16> {
    let listener = super::listen().await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        let mut waiting = HashMap::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            // Heads come in one piece here, and one client after the other.
            let Ok(head) = head(&mut stream).await else {
                continue;
            };
            let cookie = head
                .lines()
                .find_map(|line| line.strip_prefix("x-sessioncookie: "))
                .unwrap_or_default()
                .to_owned();
            if head.starts_with("GET") {
                if stream.write_all(OK).await.is_ok() {
                    waiting.insert(cookie, stream);
                }
            } else if let Some(get) = waiting.remove(&cookie) {
                tokio::spawn(async move {
                    // A client that goes away is the normal end of a session.
                    let _ = relay(get, stream, server).await;
                });
            }
        }
    });
    Ok(port)
}

async fn head(stream: &mut TcpStream) -> io::Result<String> {
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

async fn relay(mut get: TcpStream, mut post: TcpStream, server: SocketAddr) -> io::Result<()> {
    let clear = TcpStream::connect(server).await?;
    clear.set_nodelay(true)?;
    let (mut from_server, mut to_server) = clear.into_split();
    let up = async {
        loop {
            // Each group of four stands for itself, as padding may follow any of them.
            let mut group = [0; 4];
            post.read_exact(&mut group).await?;
            let plain = BASE64_STANDARD.decode(group).map_err(io::Error::other)?;
            to_server.write_all(&plain).await?;
        }
    };
    let down = async { copy(&mut from_server, &mut get).await.map(drop) };
    tokio::select! {
        result = up => result,
        result = down => result,
    }
}
