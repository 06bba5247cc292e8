//! RTSP over TLS with gst-rtsp-server (GnuTLS) and with stunnel (OpenSSL).

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex};

use gio::TlsCertificateFlags as Flags;
use gio::prelude::TlsCertificateExt;
use gst::prelude::*;

use crate::SOON;
use crate::certificates::{Authority, Identity, self_signed};
use crate::player::Player;
use crate::process::{Folder, Server, is_installed};

const SMALL: [&str; 4] = ["--audio", "none", "--size", "320x240"];
const VIDEO: [&str; 1] = ["stream_0"];

/// A folder with an authority and what it has issued.
struct Files {
    folder: Folder,
    authority: Authority,
    ca_file: PathBuf,
}

impl Files {
    fn new() -> Self {
        crate::init();
        let (folder, authority) = (Folder::new(), Authority::new("CA of a test"));
        let ca_file = authority.write(&folder.file(""), "ca");
        Self {
            folder,
            authority,
            ca_file,
        }
    }

    fn ca_file(&self) -> &str {
        self.ca_file.to_str().unwrap()
    }

    fn write(&self, identity: &Identity, name: &str) -> (String, String) {
        let (certificate, key) = identity.write(&self.folder.file(""), name);
        let text = |path: &Path| path.to_str().unwrap().to_string();
        (text(&certificate), text(&key))
    }

    fn serve(&self, identity: &Identity, more: &[&str]) -> Server {
        let (certificate, key) = self.write(identity, "server");
        let tls = ["--tls", &certificate, &key];
        Server::start(&[&tls[..], &SMALL, more].concat())
    }

    /// With a certificate of the authority.
    fn server(&self, more: &[&str]) -> Server {
        self.serve(&self.authority.issue(&["127.0.0.1"], |_| ()), more)
    }
}

/// The error that a player ends with, and its sentence.
fn refusal(player: &Player) -> (glib::Error, String) {
    let (error, _) = player.wait_error(SOON);
    let text = error.to_string();
    (error, text)
}

#[test]
// covers: B-TLS-01
fn a_server_of_an_own_issuer_plays_and_ends() {
    let files = Files::new();
    let server = files.server(&[]);
    let ca = [("tls-ca-file", files.ca_file())];
    let player = Player::new(server.url(), &ca).play();
    player.wait_packets(&VIDEO, 30);
    assert_eq!(player.transport(), "tcp");
    let by_scheme = server.url().replacen("rtsps", "rtspst", 1);
    let player = Player::new(&by_scheme, &ca).play();
    player.wait_packets(&VIDEO, 30);
    // Without the issuer nothing is asked of the server.
    let player = Player::new(server.url(), &[]).play();
    let (error, text) = refusal(&player);
    assert!(error.matches(gst::ResourceError::NotAuthorized), "{text}");
    assert!(text.contains("nobody that is trusted"), "{text}");
    let one = [("tls-validation-flags", "validate-all")];
    let player = Player::new(server.url(), &one);
    player.src.set_property(
        "tls-validation-flags",
        Flags::VALIDATE_ALL - Flags::UNKNOWN_CA,
    );
    player.play().wait_packets(&VIDEO, 10);
}

#[test]
// covers: C-TLS-02, H-31
fn the_fingerprint_of_the_error_pins_a_camera() {
    let files = Files::new();
    // Expired, of another name, signed by itself: as cameras come.
    let camera = self_signed(&["camera.local"], |p| {
        p.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let server = files.serve(&camera, &[]);
    let player = Player::new(server.url(), &[]).play();
    let (_, text) = refusal(&player);
    for reason in [
        "expired on 2021-01-01",
        "camera.local",
        "nobody that is trusted",
    ] {
        assert!(text.contains(reason), "{text}");
    }
    let (_, rest) = text.split_once("fingerprint is ").expect("the fingerprint");
    let fingerprint: String = rest.chars().take(32 * 3 - 1).collect();
    let player = Player::new(server.url(), &[("tls-fingerprint", &fingerprint)]).play();
    player.wait_packets(&VIDEO, 20);
    let other = fingerprint.replace('0', "1").replace('A', "0");
    let player = Player::new(server.url(), &[("tls-fingerprint", &other)]).play();
    let (_, text) = refusal(&player);
    assert!(
        text.contains("not the one that `tls-fingerprint` names"),
        "{text}"
    );
    let player = Player::new(server.url(), &[("tls-fingerprint", "AB:CD")]);
    assert!(player.pipeline.set_state(gst::State::Paused).is_err());
}

#[test]
// covers: C-TLS-06
fn a_server_that_wants_a_certificate_gets_ours() {
    let files = Files::new();
    let server = files.server(&["--client-ca", files.ca_file()]);
    let (certificate, key) = files.write(&files.authority.issue(&["me"], |_| ()), "client");
    let mut settings = vec![
        ("tls-ca-file", files.ca_file()),
        ("tls-client-certificate", &certificate),
        ("tls-client-key", &key),
    ];
    let player = Player::new(server.url(), &settings).play();
    player.wait_packets(&VIDEO, 20);
    settings.truncate(1);
    let player = Player::new(server.url(), &settings).play();
    refusal(&player);
}

#[test]
// covers: C-TLS-02, C-AUTH-18
fn the_application_may_accept_what_the_checks_refuse() {
    let files = Files::new();
    let camera = self_signed(&["camera.local"], |_| ());
    let server = files.serve(&camera, &["--auth", "basic", "user:secret"]);
    let asked = Arc::<AtomicUsize>::default();
    let seen = Arc::<Mutex<Vec<(String, Flags)>>>::default();
    for accepts in [true, false] {
        let login = [("user-id", "user"), ("user-pw", "secret")];
        let player = Player::new(server.url(), &login);
        let (count, log) = (asked.clone(), seen.clone());
        player
            .src
            .connect("accept-certificate", false, move |values| {
                assert!(
                    values[1]
                        .get::<Option<gio::TlsConnection>>()
                        .unwrap()
                        .is_none()
                );
                let certificate: gio::TlsCertificate = values[2].get().unwrap();
                let pem = certificate.certificate_pem().unwrap().to_string();
                log.lock().unwrap().push((pem, values[3].get().unwrap()));
                count.fetch_add(1, AcqRel);
                Some(accepts.to_value())
            });
        let player = player.play();
        if accepts {
            player.wait_packets(&VIDEO, 20);
        } else {
            let (error, text) = refusal(&player);
            assert!(error.matches(gst::ResourceError::NotAuthorized), "{text}");
        }
    }
    assert_eq!(asked.load(Acquire), 2, "once each");
    let same = |text: &str| text.split_whitespace().collect::<String>();
    for (pem, flags) in seen.lock().unwrap().iter() {
        assert_eq!(same(pem), same(&camera.certificate.pem()));
        assert_eq!(*flags, Flags::BAD_IDENTITY | Flags::UNKNOWN_CA);
    }
}

#[test]
fn a_database_of_gio_is_asked() {
    let files = Files::new();
    let server = files.server(&[]);
    for (ca_file, plays) in [
        (files.ca_file.clone(), true),
        (
            Authority::new("other").write(&files.folder.file(""), "other"),
            false,
        ),
    ] {
        let database = gio::TlsFileDatabase::new(&ca_file).unwrap();
        let player = Player::new(server.url(), &[]);
        player.src.set_property("tls-database", &database);
        let read: Option<gio::TlsDatabase> = player.src.property("tls-database");
        assert_eq!(read.as_ref(), Some(database.upcast_ref()));
        let player = player.play();
        match plays {
            true => player.wait_packets(&VIDEO, 20),
            false => {
                refusal(&player);
            }
        }
    }
}

#[test]
// covers: C-TLS-02
fn a_server_that_restarts_is_come_back_to_over_tls() {
    let files = Files::new();
    let mut server = files.server(&[]);
    let player = Player::new(server.url(), &[("tls-ca-file", files.ca_file())]).play();
    player.wait_packets(&VIDEO, 30);
    server.kill();
    player.wait("the loss is told", SOON, |p| p.was_told("connection-lost"));
    server.restart();
    player.wait("it comes back", SOON, |p| p.was_told("connection-restored"));
    player.wait_packets(&VIDEO, 30);
    assert_eq!(player.pads().len(), 1);
}

#[test]
// covers: C-TLS-02
fn a_camera_with_another_certificate_is_not_come_back_to() {
    let files = Files::new();
    let mut server = files.server(&[]);
    let settings = [
        ("tls-ca-file", files.ca_file()),
        ("reconnect-attempts", "2"),
    ];
    let player = Player::new(server.url(), &settings).play();
    player.wait_packets(&VIDEO, 10);
    server.kill();
    // The files that the server is started with anew.
    files.write(&self_signed(&["127.0.0.1"], |_| ()), "server");
    server.restart();
    player.wait("the refusal is told", SOON, |p| {
        p.was_told("certificate-refused")
    });
    assert!(!player.was_told("connection-restored"));
}

#[test]
// covers: H-31
fn clear_text_where_tls_is_expected_and_the_reverse_are_errors() {
    let files = Files::new();
    let clear = Server::start(&SMALL);
    let url = clear.url().replacen("rtsp", "rtsps", 1);
    let player = Player::new(&url, &[("tcp-timeout", "2000000")]).play();
    let (_, text) = refusal(&player);
    assert!(text.contains("TLS") || text.contains("handshake"), "{text}");
    let tls = files.server(&[]);
    let url = tls.url().replacen("rtsps", "rtsp", 1);
    let player = Player::new(&url, &[("tcp-timeout", "2000000")]).play();
    refusal(&player);
}

/// Answers whatever is asked with a redirect.
fn redirecting(to: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("rtsp://{}/old", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        while let Ok((mut tcp, _)) = listener.accept() {
            let mut request = [0; 4096];
            let length = tcp.read(&mut request).unwrap_or(0);
            let text = String::from_utf8_lossy(&request[..length]).into_owned();
            let cseq = text.lines().find(|line| line.starts_with("CSeq:"));
            let cseq = cseq.unwrap_or("CSeq: 1");
            let _ = write!(
                tcp,
                "RTSP/1.0 302 Moved\r\n{cseq}\r\nLocation: {to}\r\n\r\n"
            );
        }
    });
    url
}

#[test]
// covers: C-REDIR-03
fn a_redirect_may_lead_to_tls() {
    let files = Files::new();
    let server = files.server(&[]);
    let url = redirecting(server.url().to_string());
    let player = Player::new(&url, &[("tls-ca-file", files.ca_file())]).play();
    player.wait_packets(&VIDEO, 10);
}

/// Takes TLS off in front of a server: a listener, and a stunnel for each connection.
struct Stunnel {
    port: u16,
}

impl Stunnel {
    fn start(files: &Files, server: &Server, version: &str) -> Self {
        let identity = files.authority.issue(&["127.0.0.1"], |_| ());
        let (certificate, key) = files.write(&identity, "stunnel");
        let target = server.url().split('/').nth(2).unwrap();
        let config = files.folder.file(&format!("stunnel-{version}.conf"));
        let text = format!(
            "foreground = no\nsyslog = no\ncert = {certificate}\nkey = {key}\n\
             sslVersion = {version}\nconnect = {target}\n"
        );
        std::fs::write(&config, text).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            // A child goes when its connection does.
            while let Ok((tcp, _)) = listener.accept() {
                let (input, output) = (tcp.try_clone().unwrap(), tcp);
                let _ = Command::new("stunnel")
                    .arg(&config)
                    .stdin(OwnedFd::from(input))
                    .stdout(OwnedFd::from(output))
                    .stderr(std::process::Stdio::null())
                    .spawn();
            }
        });
        Self { port }
    }
}

#[test]
// covers: B-TLS-01, C-TLS-05
fn a_clear_server_behind_stunnel_plays() {
    if !is_installed("stunnel") {
        eprintln!("skipped: no stunnel");
        return;
    }
    let files = Files::new();
    let server = Server::start(&SMALL);
    for version in ["TLSv1.2", "TLSv1.3"] {
        let stunnel = Stunnel::start(&files, &server, version);
        let url = format!("rtspst://127.0.0.1:{}/test", stunnel.port);
        let player = Player::new(&url, &[("tls-ca-file", files.ca_file())]).play();
        player.wait_packets(&VIDEO, 30);
    }
}
