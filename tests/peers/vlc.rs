//! VLC as the server: it only does RTP over UDP.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use crate::player::Player;
use crate::process::{Folder, Process, is_installed};
use crate::{SOON, have};

/// The owner of this process.
fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// VLC has to be told its port.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn vlc_as_a_server_is_played() {
    if !["cvlc", "setpriv"]
        .iter()
        .all(|program| is_installed(program))
    {
        crate::skip::skip("cvlc or setpriv is not installed");
        return;
    }
    if !have(&["x264enc", "mpegtsmux"]) {
        return;
    }
    let folder = Folder::new();
    let file = folder.file("video.ts");
    let make = format!(
        "videotestsrc num-buffers=250 name=src ! video/x-raw,width=320,height=240,framerate=25/1 \
         ! x264enc key-int-max=25 bitrate=300 speed-preset=ultrafast ! h264parse ! mpegtsmux \
         ! filesink location={}",
        file.display()
    );
    let maker = Player::launch(&make).play();
    maker.wait("a file for VLC", SOON, Player::has_ended);
    drop(maker);

    let port = free_port();
    let url = format!("rtsp://127.0.0.1:{port}/test");
    // VLC does not run as root.
    let mut command = match is_root() {
        true => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "cvlc"]);
            command
        }
        false => Command::new("cvlc"),
    };
    command
        .args(["--quiet", "--intf", "dummy", "--loop"])
        .arg(&file);
    command.arg(format!("--sout=#rtp{{sdp={url}}}"));
    command.env("HOME", folder.file("")).current_dir("/");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _vlc = Process::spawn(&mut command);
    // Until VLC listens, it refuses the connection.
    let player = Player::new(&url, &[("connect-attempts", "-1")]).play();
    player.wait_packets(&["stream_0"], 100);
    assert_eq!(player.transport(), "udp");
    assert!(!player.has_ended());
}
