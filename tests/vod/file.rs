//! A film of numbered frames, and a server for it.

use std::path::PathBuf;

use gst::prelude::*;

use crate::process::{Folder, Server};

/// Frames of the film: 8 s.
pub const FRAMES: u32 = 200;
pub const FPS: u32 = 25;
/// Frames from one key frame to the next.
pub const GOP: u32 = 25;
const WIDTH: usize = 320;
const HEIGHT: usize = 64;
/// One block of the picture for each bit.
const BITS: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// H.264 and AAC in MP4.
    Mp4,
    /// H.265 and Opus in Matroska.
    Mkv,
}

impl Kind {
    pub fn needs(self) -> &'static [&'static str] {
        match self {
            Kind::Mp4 => &["x264enc", "avenc_aac", "mp4mux", "avdec_h264"],
            Kind::Mkv => &["x265enc", "opusenc", "matroskamux", "avdec_h265"],
        }
    }

    pub fn decoder(self) -> &'static str {
        match self {
            Kind::Mp4 => "rtph264depay ! h264parse ! avdec_h264",
            Kind::Mkv => "rtph265depay ! h265parse ! avdec_h265",
        }
    }
}

/// The picture of a frame: its number in black and white, in I420.
fn picture(number: u32) -> Vec<u8> {
    let line = (0..WIDTH).map(|x| {
        let bit = x * BITS / WIDTH;
        if number >> bit & 1 == 1 { 235 } else { 16 }
    });
    let line: Vec<u8> = line.collect();
    let mut picture = line.repeat(HEIGHT);
    picture.resize(WIDTH * HEIGHT * 3 / 2, 128);
    picture
}

/// The number in a picture that was decoded.
pub fn number(luma: &[u8]) -> u32 {
    let at = |bit: usize| luma[HEIGHT / 2 * WIDTH + bit * WIDTH / BITS + WIDTH / BITS / 2];
    (0..BITS).map(|bit| u32::from(at(bit) > 128) << bit).sum()
}

/// A film that is served until this is dropped.
pub struct Film {
    pub server: Server,
    _folder: Folder,
}

impl Film {
    /// None: it cannot be made here.
    pub fn serve(kind: Kind) -> Option<Self> {
        if !crate::have(kind.needs()) {
            return None;
        }
        let folder = Folder::new();
        let path = make(kind, &folder);
        let source = format!("filesrc location={}", path.display());
        let launch = match kind {
            Kind::Mp4 => format!(
                "{source} ! qtdemux name=d  d.video_0 ! queue ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1  \
                 d.audio_0 ! queue ! aacparse ! rtpmp4gpay name=pay1 pt=97"
            ),
            Kind::Mkv => format!(
                "{source} ! matroskademux name=d  d.video_0 ! queue ! h265parse ! rtph265pay name=pay0 pt=96 config-interval=-1  \
                 d.audio_0 ! queue ! opusparse ! rtpopuspay name=pay1 pt=97"
            ),
        };
        let server = Server::start(&["--launch", &launch]);
        Some(Self {
            server,
            _folder: folder,
        })
    }

    pub fn url(&self) -> &str {
        self.server.url()
    }
}

fn make(kind: Kind, folder: &Folder) -> PathBuf {
    let (name, video, audio, muxer) = match kind {
        Kind::Mp4 => (
            "film.mp4",
            format!(
                "x264enc key-int-max={GOP} bframes=2 speed-preset=ultrafast option-string=scenecut=0 ! h264parse"
            ),
            "avenc_aac ! aacparse",
            "mp4mux",
        ),
        Kind::Mkv => (
            "film.mkv",
            format!(
                "x265enc key-int-max={GOP} speed-preset=ultrafast option-string=scenecut=0:min-keyint={GOP}:bframes=2:b-adapt=0:open-gop=0:pools=1 ! h265parse"
            ),
            "opusenc ! opusparse",
            "matroskamux",
        ),
    };
    let path = folder.file(name);
    let samples = FRAMES / FPS * 48_000 / 960;
    let pipeline = gst::parse::launch(&format!(
        "appsrc name=pictures format=time caps=video/x-raw,format=I420,width={WIDTH},height={HEIGHT},framerate={FPS}/1 \
         ! queue ! {video} ! queue ! mux.  \
         audiotestsrc num-buffers={samples} samplesperbuffer=960 wave=ticks ! audio/x-raw,rate=48000,channels=1 ! audioconvert \
         ! queue ! {audio} ! queue ! mux.  {muxer} name=mux ! filesink location={}",
        path.display()
    ));
    let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
    let pictures = pipeline.by_name("pictures").unwrap();
    let pictures = pictures.downcast::<gst_app::AppSrc>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let length = gst::ClockTime::SECOND / u64::from(FPS);
    for frame in 0..FRAMES {
        let mut buffer = gst::Buffer::from_mut_slice(picture(frame));
        let writable = buffer.get_mut().unwrap();
        writable.set_pts(length * u64::from(frame));
        writable.set_duration(length);
        pictures.push_buffer(buffer).unwrap();
    }
    pictures.end_of_stream().unwrap();
    let bus = pipeline.bus().unwrap();
    let patience = gst::ClockTime::from_seconds(120);
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = bus.timed_pop_filtered(patience, &kinds).expect("an end");
    assert_eq!(end.type_(), gst::MessageType::Eos, "{end:?}");
    pipeline.set_state(gst::State::Null).unwrap();
    path
}

#[test]
fn a_picture_is_read_back_as_its_number() {
    for frame in [0, 1, 77, FRAMES - 1, 0xffff] {
        assert_eq!(number(&picture(frame)), frame);
    }
}
