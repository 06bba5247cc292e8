use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::*};
use std::task::{Context, Poll};
use std::time::Duration;

use rcgen::{BasicConstraints, IsCa, date_time_ymd};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::net::address::Reach;
use crate::net::connect::ConnectError;
use crate::net::road::{Halves, Target};
use crate::rtsp::client::ErrorKind;
use crate::rtsp::url::Url;
use certificates::{Authority, Identity, self_signed};

#[path = "../../../tests/support/certificates.rs"]
mod certificates;

const WAIT: Duration = Duration::from_secs(20);
const ALL: TlsCertificateFlags = TlsCertificateFlags::VALIDATE_ALL;

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(async { tokio::time::timeout(WAIT, future).await.unwrap() })
}

/// A folder that goes with its test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        let name = format!("rtsp2-tls-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn server_config(identity: &Identity) -> ServerConfig {
    let key = PrivateKeyDer::try_from(identity.key.serialize_der()).unwrap();
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate.der().clone()], key)
        .unwrap()
}

/// Serves TLS and greets; says what kind each handshake was, and its version.
struct Server {
    port: u16,
    handshakes: Arc<Mutex<Vec<(rustls::HandshakeKind, rustls::ProtocolVersion)>>>,
}

impl Server {
    async fn start(config: ServerConfig) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let handshakes = Arc::<Mutex<Vec<_>>>::default();
        let log = handshakes.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, log) = (acceptor.clone(), log.clone());
                tokio::spawn(async move {
                    let Ok(mut tls) = acceptor.accept(tcp).await else {
                        return;
                    };
                    let session = tls.get_ref().1;
                    let kind = session.handshake_kind().unwrap();
                    log.lock()
                        .unwrap()
                        .push((kind, session.protocol_version().unwrap()));
                    let _ = tls.write_all(b"hello").await;
                    let _ = tls.read(&mut [0; 16]).await;
                });
            }
        });
        Self { port, handshakes }
    }

    async fn of(identity: &Identity) -> Self {
        Self::start(server_config(identity)).await
    }

    /// Connects as `host` and takes the greeting.
    async fn greet(&self, connector: &Connector, host: &str) -> Result<(), TlsError> {
        let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))
            .await
            .unwrap();
        let mut stream = connector.connect(Stream::Tcp(tcp), host).await?;
        let mut greeting = [0; 5];
        match stream.read_exact(&mut greeting).await {
            Ok(_) => assert_eq!(&greeting, b"hello"),
            Err(error) => return Err(failure(host, error)),
        }
        Ok(())
    }
}

fn trusting(ca_file: Option<PathBuf>) -> Settings {
    Settings {
        ca_file,
        ..Settings::default()
    }
}

fn refusal(result: Result<(), TlsError>) -> Arc<Refused> {
    match result {
        Err(TlsError::Refused(refused)) => refused,
        other => panic!("{other:?}"),
    }
}

#[test]
fn fingerprints_are_read_as_tools_write_them() {
    let digits = "0123456789abcdef".repeat(4);
    let bytes = Fingerprint::parse(&digits).unwrap();
    let shown = bytes.to_string();
    assert!(shown.starts_with("01:23:45:67:89:AB:CD:EF:01"), "{shown}");
    assert_eq!(shown.len(), 32 * 3 - 1);
    for text in [
        &shown,
        &shown.to_lowercase(),
        &format!("sha256 Fingerprint={shown}\n"),
        &digits.to_uppercase(),
    ] {
        assert_eq!(Fingerprint::parse(text), Some(bytes), "{text}");
    }
    for wrong in [
        "",
        "ab",
        &digits[1..],
        &format!("{digits}0"),
        &digits.replace('0', "x"),
    ] {
        assert_eq!(Fingerprint::parse(wrong), None, "{wrong}");
    }
}

type Defect = (&'static str, TlsCertificateFlags, Identity, &'static str);

// covers: B-TLS-01, C-TLS-02, H-31
#[test]
fn each_defect_fails_its_check_and_that_alone() {
    let authority = Authority::new("CA");
    let defects: [Defect; 6] = [
        (
            "expired",
            TlsCertificateFlags::EXPIRED,
            authority.issue(&["localhost"], |p| p.not_after = date_time_ymd(2021, 3, 4)),
            "it expired on 2021-03-04",
        ),
        (
            "not valid yet",
            TlsCertificateFlags::NOT_ACTIVATED,
            authority.issue(&["localhost"], |p| p.not_before = date_time_ymd(2090, 3, 4)),
            "it is not valid before 2090-03-04",
        ),
        (
            "of another name",
            TlsCertificateFlags::BAD_IDENTITY,
            authority.issue(&["cam.example", "192.0.2.7"], |_| ()),
            "it is not for localhost but for cam.example, 192.0.2.7",
        ),
        (
            "with its name in CN only",
            TlsCertificateFlags::BAD_IDENTITY,
            authority.issue(&[], |p| {
                p.distinguished_name
                    .push(rcgen::DnType::CommonName, "localhost");
            }),
            "it is not for localhost",
        ),
        (
            "signed by itself",
            TlsCertificateFlags::UNKNOWN_CA,
            self_signed(&["localhost"], |_| ()),
            "nobody that is trusted has issued it",
        ),
        (
            "of another issuer",
            TlsCertificateFlags::UNKNOWN_CA,
            Authority::new("CA").issue(&["localhost"], |_| ()),
            // It has the name of the one that is trusted, and another key.
            "nobody that is trusted has issued it",
        ),
    ];
    let folder = Folder::new();
    let ca_file = authority.write(folder.path(), "ca");
    block_on(async {
        for (what, flag, identity, text) in defects {
            let server = Server::of(&identity).await;
            let with = |checks| {
                let settings = Settings {
                    checks,
                    ..trusting(Some(ca_file.clone()))
                };
                Connector::new(settings, None)
            };
            let refused = refusal(server.greet(&with(ALL), "localhost").await);
            assert_eq!(refused.failed, flag, "{what}");
            let message = TlsError::Refused(refused.clone()).to_string();
            assert!(message.contains(text), "{what}: {message}");
            let print = Fingerprint::of(identity.certificate.der()).to_string();
            assert!(message.contains(&print), "{what}: {message}");
            assert_eq!(refused.chain[0], *identity.certificate.der());
            refusal(server.greet(&with(flag), "localhost").await);
            server
                .greet(&with(ALL - flag), "localhost")
                .await
                .unwrap_or_else(|error| panic!("{what} may pass: {error}"));
        }
    });
}

// covers: C-TLS-02
#[test]
fn all_that_is_wrong_is_found_at_once() {
    let identity = self_signed(&["cam"], |p| p.not_after = date_time_ymd(2021, 3, 4));
    block_on(async {
        let server = Server::of(&identity).await;
        let all = Connector::new(Settings::default(), None);
        let refused = refusal(server.greet(&all, "127.0.0.1").await);
        use TlsCertificateFlags as Flags;
        assert_eq!(
            refused.failed,
            Flags::EXPIRED | Flags::BAD_IDENTITY | Flags::UNKNOWN_CA
        );
        let none = Settings {
            checks: Flags::empty(),
            ..Settings::default()
        };
        let none = Connector::new(none, None);
        server.greet(&none, "127.0.0.1").await.unwrap();
    });
}

// covers: B-TLS-01
#[test]
fn issuers_and_certificates_of_the_file_are_trusted_for_their_names() {
    let folder = Folder::new();
    let authority = Authority::new("CA");
    let issued = authority.issue(&["localhost", "127.0.0.1"], |_| ());
    let plain = self_signed(&["localhost"], |_| ());
    // As `openssl req -x509` makes them.
    let as_issuer = self_signed(&["localhost"], |p| {
        p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let all = folder.path().join("all.pem");
    let certificates = [&plain, &as_issuer].map(|identity| identity.certificate.pem());
    std::fs::write(&all, authority.pem() + &certificates.concat()).unwrap();
    block_on(async {
        for (identity, other_name) in [(issued, "[::1]"), (plain, "127.0.0.1"), (as_issuer, "cam")]
        {
            let server = Server::of(&identity).await;
            let connector = Connector::new(trusting(Some(all.clone())), None);
            server.greet(&connector, "localhost").await.unwrap();
            let refused = server
                .greet(&connector, other_name.trim_matches(['[', ']']))
                .await;
            assert_eq!(refusal(refused).failed, TlsCertificateFlags::BAD_IDENTITY);
            // The platform knows none of them.
            let platform = Connector::new(Settings::default(), None);
            let refused = refusal(server.greet(&platform, "localhost").await);
            assert_eq!(refused.failed, TlsCertificateFlags::UNKNOWN_CA);
        }
    });
}

// covers: C-TLS-02, H-31
#[test]
fn a_pin_trusts_its_certificate_alone() {
    let folder = Folder::new();
    let authority = Authority::new("CA");
    let bad = self_signed(&["cam"], |p| p.not_after = date_time_ymd(2021, 3, 4));
    let good = authority.issue(&["localhost"], |_| ());
    let settings = Settings {
        pin: Some(Fingerprint::of(bad.certificate.der())),
        ..trusting(Some(authority.write(folder.path(), "ca")))
    };
    block_on(async {
        let connector = Connector::new(settings, Some(granting().0));
        let server = Server::of(&bad).await;
        server.greet(&connector, "localhost").await.unwrap();
        let server = Server::of(&good).await;
        let refused = refusal(server.greet(&connector, "localhost").await);
        let text = refused.to_string();
        assert!(
            text.contains("not the one that `tls-fingerprint` names"),
            "{text}"
        );
        assert!(!connector.overrules(&refused).await, "nobody is asked");
    });
}

/// An appeal that is granted, and how often it was asked.
fn granting() -> (Appeal, Arc<AtomicUsize>) {
    let asked = Arc::<AtomicUsize>::default();
    let count = asked.clone();
    let appeal = Box::new(move |_: Arc<Refused>| {
        count.fetch_add(1, AcqRel);
        let (answer, receiver) = oneshot::channel();
        answer.send(true).unwrap();
        receiver
    });
    (appeal, asked)
}

fn target(url: &str, tls: Arc<Connector>, timeout: Duration) -> Target {
    Target {
        url: Url::parse(url).unwrap(),
        timeout,
        reach: Reach::Any,
        tls,
        permit: false,
        credentials: None,
        user_agent: String::new(),
        http: Default::default(),
    }
}

async fn open(url: &str, tls: &Arc<Connector>) -> Result<(), ConnectError> {
    let (halves, _) = target(url, tls.clone(), WAIT).open().await?;
    let Halves::Layered(mut read, _) = halves else {
        panic!("TLS is a layer");
    };
    let mut greeting = [0; 5];
    read.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"hello");
    Ok(())
}

// covers: C-TLS-02
#[test]
fn what_an_appeal_grants_holds_for_that_host() {
    let identity = self_signed(&["cam"], |_| ());
    block_on(async {
        let server = Server::of(&identity).await;
        let (appeal, asked) = granting();
        let tls = Arc::new(Connector::new(Settings::default(), Some(appeal)));
        for (host, expected) in [("127.0.0.1", 1), ("127.0.0.1", 1), ("localhost", 2)] {
            let url = format!("rtsps://{host}:{}/x", server.port);
            open(&url, &tls).await.unwrap();
            assert_eq!(asked.load(Acquire), expected, "{host}");
        }
        let deny: Appeal = Box::new(|_| oneshot::channel().1);
        let tls = Arc::new(Connector::new(Settings::default(), Some(deny)));
        let url = format!("rtsps://127.0.0.1:{}/x", server.port);
        let error = open(&url, &tls).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Certificate);
        assert!(error.is_answer());
    });
}

// covers: B-TLS-01
#[test]
fn both_versions_are_spoken_and_sessions_resumed() {
    let folder = Folder::new();
    let authority = Authority::new("CA");
    let identity = authority.issue(&["localhost"], |_| ());
    let ca_file = authority.write(folder.path(), "ca");
    use rustls::HandshakeKind::{Full, Resumed};
    use rustls::ProtocolVersion::{TLSv1_2, TLSv1_3};
    block_on(async {
        for (versions, expected) in [
            ([&rustls::version::TLS12], TLSv1_2),
            ([&rustls::version::TLS13], TLSv1_3),
        ] {
            let key = PrivateKeyDer::try_from(identity.key.serialize_der()).unwrap();
            let provider = Arc::new(ring::default_provider());
            let config = ServerConfig::builder_with_provider(provider)
                .with_protocol_versions(&versions)
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![identity.certificate.der().clone()], key)
                .unwrap();
            let server = Server::start(config).await;
            let connector = Connector::new(trusting(Some(ca_file.clone())), None);
            for _ in 0..2 {
                server.greet(&connector, "localhost").await.unwrap();
            }
            let seen = server.handshakes.lock().unwrap().clone();
            assert_eq!(seen, [(Full, expected), (Resumed, expected)]);
        }
    });
}

// covers: C-TLS-06
#[test]
fn a_server_may_want_our_certificate() {
    let folder = Folder::new();
    let authority = Authority::new("CA");
    let identity = authority.issue(&["localhost"], |_| ());
    let own = authority.issue(&["client"], |_| ());
    let ca_file = authority.write(folder.path(), "ca");
    let (certificate, key_file) = own.write(folder.path(), "client");
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap())
        .unwrap();
    block_on(async {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let provider = Arc::new(ring::default_provider());
            let clients = WebPkiClientVerifier::builder_with_provider(
                Arc::new(roots.clone()),
                provider.clone(),
            );
            let key = PrivateKeyDer::try_from(identity.key.serialize_der()).unwrap();
            let config = ServerConfig::builder_with_provider(provider)
                .with_protocol_versions(&[version])
                .unwrap()
                .with_client_cert_verifier(clients.build().unwrap())
                .with_single_cert(vec![identity.certificate.der().clone()], key)
                .unwrap();
            let server = Server::start(config).await;
            let mut settings = trusting(Some(ca_file.clone()));
            let without = Connector::new(settings.clone(), None);
            let error = server.greet(&without, "localhost").await.unwrap_err();
            let text = error.to_string();
            assert!(
                text.contains("tls-client-certificate"),
                "{version:?}: {text}"
            );
            settings.client = Some((certificate.clone(), key_file.clone()));
            let with = Connector::new(settings, None);
            server.greet(&with, "localhost").await.unwrap();
        }
    });
}

#[test]
fn files_that_cannot_be_used_are_named_with_their_property() {
    let folder = Folder::new();
    let missing = folder.path().join("missing.pem");
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "nothing\n").unwrap();
    let identity = self_signed(&["localhost"], |_| ());
    let (certificate, key) = identity.write(folder.path(), "own");
    let (_, other_key) = self_signed(&["x"], |_| ()).write(folder.path(), "other");
    let client = |certificate: &Path, key: &Path| Settings {
        client: Some((certificate.into(), key.into())),
        ..Settings::default()
    };
    block_on(async {
        let server = Server::of(&identity).await;
        for (property, settings) in [
            ("tls-ca-file", trusting(Some(missing.clone()))),
            ("tls-ca-file", trusting(Some(empty.clone()))),
            ("tls-client-certificate", client(&missing, &key)),
            ("tls-client-key", client(&certificate, &missing)),
            ("tls-client-key", client(&certificate, &certificate)),
            ("tls-client-key", client(&certificate, &other_key)),
        ] {
            let connector = Connector::new(settings, None);
            let error = server.greet(&connector, "localhost").await.unwrap_err();
            assert!(matches!(&error, TlsError::File { property: p, .. } if *p == property));
            assert_eq!(ConnectError::from(error).kind(), ErrorKind::Settings);
        }
    });
}

/// Answers each connection with `reply`, then closes it or lets it hang.
async fn stranger(reply: &'static [u8], closes: bool) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut tcp, _)) = listener.accept().await {
            let _ = tcp.read(&mut [0; 1024]).await;
            let _ = tcp.write_all(reply).await;
            if !closes {
                kept.push(tcp);
            }
        }
    });
    port
}

// covers: C-TLS-02, H-31
#[test]
fn who_speaks_no_tls_is_found_out_and_never_talked_to_in_clear() {
    block_on(async {
        let tls = Arc::new(Connector::new(Settings::default(), None));
        let url = |port| format!("rtsps://127.0.0.1:{port}/x");
        let port = stranger(b"RTSP/1.0 400 Bad Request\r\n\r\n", false).await;
        let error = open(&url(port), &tls).await.unwrap_err();
        assert!(
            error.to_string().contains("the scheme for it is rtsp"),
            "{error}"
        );
        assert_eq!(error.kind(), ErrorKind::Protocol);
        let port = stranger(b"", true).await;
        let error = open(&url(port), &tls).await.unwrap_err();
        assert!(
            error.to_string().contains("ended the connection"),
            "{error}"
        );
        assert_eq!(error.kind(), ErrorKind::Connect);
        let port = stranger(b"", false).await;
        let soon = Duration::from_millis(100);
        let result = target(&url(port), tls.clone(), soon).open().await;
        let Err(error) = result else {
            panic!("a road over silence");
        };
        assert!(matches!(error, ConnectError::Silent { .. }), "{error}");
        assert!(!error.is_answer());
    });
}

// covers: B-TLS-04
#[test]
fn an_end_without_close_notify_is_told_from_a_message() {
    let identity = self_signed(&["localhost"], |_| ());
    block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(Arc::new(server_config(&identity)));
        tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.unwrap();
            let mut tls = acceptor.accept(tcp).await.unwrap();
            tls.write_all(b"RTSP/1.0 200").await.unwrap();
            tls.flush().await.unwrap();
            // Only TCP ends.
            let (mut tcp, _) = tls.into_inner();
            tcp.shutdown().await.unwrap();
        });
        let settings = Settings {
            pin: Some(Fingerprint::of(identity.certificate.der())),
            ..Settings::default()
        };
        let connector = Connector::new(settings, None);
        let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .unwrap();
        let mut stream = connector
            .connect(Stream::Tcp(tcp), "localhost")
            .await
            .unwrap();
        let mut text = Vec::new();
        let error = stream.read_to_end(&mut text).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(text, b"RTSP/1.0 200");
    });
}

/// Gives these one a read.
struct Records(VecDeque<io::Result<Vec<u8>>>);

impl AsyncRead for Records {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.0.pop_front() {
            Some(Ok(bytes)) if bytes.is_empty() => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Ok(bytes)) => {
                buffer.put_slice(&bytes);
                Poll::Ready(Ok(()))
            }
            Some(Err(error)) => Poll::Ready(Err(error)),
            None => Poll::Ready(Ok(())),
        }
    }
}

#[test]
fn a_read_takes_all_records_that_have_arrived() {
    let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
    let pending = || Ok(Vec::new());
    let records = [
        Ok(b"ab".to_vec()),
        Ok(b"cd".to_vec()),
        pending(),
        pending(),
        Ok(b"ef".to_vec()),
        Err(reset()),
        Ok(b"gh".to_vec()),
    ];
    block_on(async {
        let mut stream = stream::Greedy::new(Records(VecDeque::from(records)));
        let mut buffer = [0; 16];
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 4);
        assert_eq!(&buffer[..4], b"abcd");
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 2);
        let error = stream.read(&mut buffer).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 2);
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 0);
    });
}
