//! TLS in front of the server. It belongs to the server's process, which is not measured.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

/// Most servers write each packet on its own, so a record is a packet.
const RECORD: usize = 1440;

/// A port whose connections go on to `server` in clear.
pub async fn in_front_of(server: SocketAddr) -> io::Result<u16> {
    let acceptor = TlsAcceptor::from(Arc::new(config().map_err(io::Error::other)?));
    let listener = super::listen().await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that goes away is the normal end of a session.
                let _ = relay(tcp, acceptor, server).await;
            });
        }
    });
    Ok(port)
}

fn config() -> Result<ServerConfig, Box<dyn std::error::Error + Send + Sync>> {
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der())?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)?;
    Ok(config)
}

async fn relay(tcp: TcpStream, acceptor: TlsAcceptor, server: SocketAddr) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let (mut from_client, mut to_client) = tokio::io::split(acceptor.accept(tcp).await?);
    let clear = TcpStream::connect(server).await?;
    clear.set_nodelay(true)?;
    let (mut from_server, mut to_server) = clear.into_split();
    let up = async {
        tokio::io::copy(&mut from_client, &mut to_server)
            .await
            .map(drop)
    };
    let down = async {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = from_server.read(&mut buffer).await?;
            if length == 0 {
                return Ok(());
            }
            for record in buffer[..length].chunks(RECORD) {
                to_client.write_all(record).await?;
            }
            to_client.flush().await?;
        }
    };
    tokio::select! {
        result = up => result,
        result = down => result,
    }
}
