//! What may lie between an element and its server: proxies, and a WebSocket bridge.

use std::fs::write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use super::process::{Folder, Process, is_installed, wait_for};
use super::skip::skip;

/// A login that all of them ask for.
pub const LOGIN: &str = "me:S3cret";

/// A process that listens on a port of this machine.
pub struct Way {
    pub port: u16,
    _process: Process,
    _folder: Folder,
}

/// Whether the program is there; says so if it is not.
pub fn have(program: &str) -> bool {
    let found = is_installed(program) || Path::new("/usr/sbin").join(program).exists();
    if !found {
        skip(format!("{program} is not installed"));
    }
    found
}

/// Starts a program that is told its port and a folder of its own.
fn start(command: impl Fn(u16, &Folder) -> Command) -> Way {
    // Another process may be quicker to take the port.
    for _ in 0..5 {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let folder = Folder::new();
        let mut command = command(port, &folder);
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut process = Process::spawn(quiet.stderr(Stdio::null()));
        let mut listens = false;
        wait_for("a proxy or its end", super::SOON, || {
            listens = TcpStream::connect(("127.0.0.1", port)).is_ok();
            listens || !process.is_running()
        });
        if listens && process.is_running() {
            return Way {
                port,
                _process: process,
                _folder: folder,
            };
        }
    }
    panic!("it does not start");
}

/// Basic authentication.
pub fn tinyproxy() -> Way {
    start(|port, folder| {
        let (user, password) = LOGIN.split_once(':').unwrap();
        let config = folder.file("tinyproxy.conf");
        let text =
            format!("Port {port}\nListen 127.0.0.1\nTimeout 60\nBasicAuth {user} {password}\n");
        write(&config, text).unwrap();
        let mut command = Command::new("tinyproxy");
        command.arg("-d").arg("-c").arg(config);
        command
    })
}

/// Digest authentication.
pub fn squid() -> Way {
    start(|port, folder| {
        let passwords = folder.file("passwords");
        write(&passwords, LOGIN).unwrap();
        let config = folder.file("squid.conf");
        let helper = format!("/usr/lib/squid/digest_file_auth {}", passwords.display());
        let text = format!(
            "http_port 127.0.0.1:{port}\npid_filename none\ncache deny all\naccess_log none\n\
             cache_log none\ncache_store_log none\nshutdown_lifetime 0 seconds\npinger_enable off\n\
             auth_param digest program {helper}\nauth_param digest realm proxy\n\
             auth_param digest children 1\nacl known proxy_auth REQUIRED\n\
             http_access allow known\nhttp_access deny all\n"
        );
        write(&config, text).unwrap();
        let mut command = Command::new("/usr/sbin/squid");
        command.arg("-N").arg("-f").arg(config);
        command
    })
}

/// SOCKS5 with user and password.
pub fn microsocks() -> Way {
    start(|port, _| {
        let (user, password) = LOGIN.split_once(':').unwrap();
        let mut command = Command::new("microsocks");
        command.args(["-i", "127.0.0.1", "-p", &port.to_string()]);
        command.args(["-u", user, "-P", password]);
        command
    })
}

/// A WebSocket in front of the RTSP server of this URL; `tls` is a certificate and its key.
pub fn websocket(server: &str, tls: Option<(&str, &str)>) -> Way {
    let server = port_of(server);
    start(|port, _| {
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/websocket_bridge.py");
        let mut command = Command::new("/usr/bin/python3");
        command
            .arg(script)
            .args([port, server].map(|p| p.to_string()));
        if let Some((certificate, key)) = tls {
            command.args([certificate, key]);
        }
        command
    })
}

/// Whether Python has the library of the bridge; says so if it has not.
pub fn have_websockets() -> bool {
    let mut command = Command::new("/usr/bin/python3");
    let found = command
        .args(["-c", "import websockets"])
        .stderr(Stdio::null());
    let found = found.status().is_ok_and(|status| status.success());
    if !found {
        skip("python3-websockets is not installed");
    }
    found
}

fn port_of(url: &str) -> u16 {
    let authority = url.split('/').nth(2).expect("a host");
    let (_, port) = authority.rsplit_once(':').expect("a port");
    port.parse().expect("a number")
}

/// The URL with another scheme, and perhaps another port.
pub fn over(url: &str, scheme: &str, port: Option<u16>) -> String {
    let (_, rest) = url.split_once("://").expect("a URL");
    let (authority, path) = rest.split_once('/').expect("a path");
    let (host, old) = authority.rsplit_once(':').expect("a port");
    let port = port.map_or_else(|| old.to_string(), |port| port.to_string());
    format!("{scheme}://{host}:{port}/{path}")
}
