//! `ffmpeg -rtsp_flags listen` records, ffprobe counts.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::process::{Folder, Process, is_installed};
use crate::publisher::Publisher;
use crate::support::mini::free_address;
use crate::{SOON, h264, have};

pub fn is_there() -> bool {
    let there = is_installed("ffmpeg") && is_installed("ffprobe");
    if !there {
        crate::skip::skip("ffmpeg is not installed");
    }
    there
}

/// An ffmpeg that waits for a publisher and writes what it gets to `file`.
fn listen(url: &str, file: &Path) -> Process {
    let mut command = Command::new("ffmpeg");
    command
        .args([
            "-loglevel",
            "error",
            "-y",
            "-rtsp_flags",
            "listen",
            "-i",
            url,
        ])
        .args(["-c", "copy"])
        .arg(file)
        .stdin(Stdio::null());
    Process::spawn(&mut command)
}

/// Frames of a track of a file.
pub fn frames(file: &Path, track: &str) -> usize {
    let mut command = Command::new("ffprobe");
    command
        .args(["-v", "error", "-count_frames", "-select_streams", track])
        .args(["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"])
        .arg(file)
        .stdout(Stdio::piped());
    let (status, output) = Process::spawn(&mut command).output(SOON);
    assert!(status.success(), "{status}");
    let count = output.trim().trim_end_matches(',').parse();
    count.unwrap_or_else(|_| panic!("ffprobe said {output:?}"))
}

/// ffmpeg opens its port some time after it starts.
const PATIENT: &str = "connect-attempts=-1 reconnect-initial-delay=100000000";

#[test]
fn ffmpeg_writes_every_frame() {
    if !is_there() || !have(&["x264enc"]) {
        return;
    }
    let folder = Folder::new();
    let file = folder.file("published.mkv");
    let url = format!("rtsp://{}/live", free_address());
    let mut ffmpeg = listen(&url, &file);
    let publisher = Publisher::new(&url, PATIENT, &[&h264(100, false)]).play();
    publisher.wait_eos();
    publisher.set_state(gst::State::Null);
    // TEARDOWN ends it.
    ffmpeg.wait(SOON);
    assert_eq!(frames(&file, "v:0"), 100);
}

#[test]
fn ffmpeg_writes_sound_and_video() {
    if !is_there() || !have(&["x264enc", "avenc_aac"]) {
        return;
    }
    let folder = Folder::new();
    let file = folder.file("published.mkv");
    let url = format!("rtsp://{}/live", free_address());
    let mut ffmpeg = listen(&url, &file);
    let audio = "audiotestsrc num-buffers=94 ! audio/x-raw,rate=48000,channels=1 ! avenc_aac";
    let publisher = Publisher::new(&url, PATIENT, &[&h264(100, false), audio]).play();
    publisher.wait_eos();
    publisher.set_state(gst::State::Null);
    ffmpeg.wait(SOON);
    assert_eq!(frames(&file, "v:0"), 100);
    assert!(frames(&file, "a:0") >= 90);
}
