//! Debian's rtsp-server-perl: what is published there plays with other clients.

use std::net::{SocketAddrV4, TcpStream};
use std::process::{Command, Stdio};

use gst::prelude::*;

use crate::process::{Folder, Process, is_installed, wait_for};
use crate::publisher::Publisher;
use crate::support::mini::free_address;
use crate::{SOON, h264, have};

struct Perl {
    _process: Process,
    source: SocketAddrV4,
    client: SocketAddrV4,
}

impl Perl {
    fn start() -> Option<Self> {
        if !is_installed("rtsp-server-perl") {
            crate::skip::skip("rtsp-server-perl is not installed");
            return None;
        }
        let (source, client) = (free_address(), free_address());
        let mut command = Command::new("rtsp-server-perl");
        command
            .arg(format!("--source_listen_address={}", source.ip()))
            .arg(format!("--serverport={}", source.port()))
            .arg(format!("--client_listen_address={}", client.ip()))
            .arg(format!("--clientport={}", client.port()))
            .stdin(Stdio::null());
        let mut process = Process::spawn(&mut command);
        wait_for("rtsp-server-perl", SOON, || {
            assert!(process.is_running(), "rtsp-server-perl has ended");
            TcpStream::connect(source).is_ok() && TcpStream::connect(client).is_ok()
        });
        Some(Self {
            _process: process,
            source,
            client,
        })
    }
}

#[test]
// It knows UDP only, and streams by `streamid=N` only.
// covers: P-PUB-06
fn what_is_published_plays_with_rtspsrc2_and_ffmpeg() {
    if !have(&["x264enc"]) {
        return;
    }
    let Some(server) = Perl::start() else { return };
    let url = format!("rtsp://{}/live", server.source);
    let publisher = Publisher::new(&url, "protocols=udp", &[&h264(-1, true)]).play();
    publisher.wait_sent(50);
    let url = format!("rtsp://{}/live", server.client);

    let reader = gst::parse::launch(&format!(
        "rtspsrc2 location={url} protocols=udp ! rtph264depay ! h264parse ! fakesink name=sink \
         num-buffers=25"
    ));
    let reader = reader.unwrap().downcast::<gst::Pipeline>().unwrap();
    reader.set_state(gst::State::Playing).unwrap();
    let types = [gst::MessageType::Eos, gst::MessageType::Error];
    let timeout = gst::ClockTime::from_seconds(SOON.as_secs());
    let message = reader.bus().unwrap().timed_pop_filtered(timeout, &types);
    reader.set_state(gst::State::Null).unwrap();
    let kind = message.as_ref().map(|message| message.type_());
    assert_eq!(kind, Some(gst::MessageType::Eos), "{message:?}");

    if !crate::ffmpeg::is_there() {
        return;
    }
    let folder = Folder::new();
    let file = folder.file("played.mkv");
    let mut command = Command::new("ffmpeg");
    command
        .args(["-loglevel", "error", "-rtsp_transport", "udp", "-i", &url])
        .args(["-frames:v", "25", "-c", "copy"])
        .arg(&file)
        .stdin(Stdio::null());
    let status = Process::spawn(&mut command).wait(SOON);
    assert!(status.success(), "{status}");
    assert!(crate::ffmpeg::frames(&file, "v:0") >= 25);
    assert_eq!(publisher.errors(), Vec::<String>::new());
}
