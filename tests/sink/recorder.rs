//! A gst-rtsp-server in this process that records, and what came to it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, mpsc};

use gst::prelude::*;
use gst_rtsp_server::prelude::*;

use crate::SOON;

/// An RTP packet as it came to the depayloader.
#[derive(Debug, Clone, Copy)]
pub struct Packet {
    pub seq: u16,
    pub rtp: u32,
    pub size: usize,
    pub pts: Option<gst::ClockTime>,
}

#[derive(Default, Debug)]
pub struct Track {
    pub packets: Vec<Packet>,
    /// What the depayloader made of them.
    pub frames: usize,
    pub caps: Option<gst::Caps>,
}

type Tracks = Arc<Mutex<BTreeMap<usize, Track>>>;

pub struct Recorder {
    url: String,
    main_loop: glib::MainLoop,
    thread: Option<std::thread::JoinHandle<()>>,
    tracks: Tracks,
}

impl Recorder {
    /// One depayloader a stream.
    pub fn new(depayloaders: &[&str]) -> Self {
        Self::with(depayloaders, gst_rtsp::RTSPProfile::AVP, |_| {})
    }

    pub fn with(
        depayloaders: &[&str],
        profiles: gst_rtsp::RTSPProfile,
        configure: impl FnOnce(&gst_rtsp_server::RTSPServer) + Send + 'static,
    ) -> Self {
        crate::init();
        let parts = depayloaders.iter().enumerate();
        let parts: Vec<String> = parts
            .map(|(i, depay)| format!("{depay} name=depay{i} ! fakesink async=false sync=false"))
            .collect();
        let launch = format!("( {} )", parts.join("  "));
        let (sender, ready) = mpsc::channel();
        let tracks = Tracks::default();
        let (log, count) = (tracks.clone(), depayloaders.len());
        let thread = std::thread::spawn(move || {
            let context = glib::MainContext::new();
            let main_loop = glib::MainLoop::new(Some(&context), false);
            let server = gst_rtsp_server::RTSPServer::new();
            server.set_address("127.0.0.1");
            server.set_service("0");
            configure(&server);
            let factory = gst_rtsp_server::RTSPMediaFactory::new();
            factory.set_launch(&launch);
            factory.set_transport_mode(gst_rtsp_server::RTSPTransportMode::RECORD);
            factory.set_profiles(profiles);
            let role = gst::Structure::builder("user")
                .field("media.factory.access", true)
                .field("media.factory.construct", true)
                .build();
            factory.add_role_from_structure(&role);
            factory.connect_media_configure(move |_, media| {
                let bin = media.element().downcast::<gst::Bin>().unwrap();
                for index in 0..count {
                    let depay = bin.by_name(&format!("depay{index}")).unwrap();
                    watch(&depay, index, &log);
                }
            });
            server.mount_points().unwrap().add_factory("/test", factory);
            let _source = server.attach(Some(&context)).unwrap();
            let url = format!("rtsp://127.0.0.1:{}/test", server.bound_port());
            sender.send((url, main_loop.clone())).unwrap();
            main_loop.run();
        });
        let (url, main_loop) = ready.recv_timeout(SOON).unwrap();
        Self {
            url,
            main_loop,
            thread: Some(thread),
            tracks,
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn track<T>(&self, index: usize, look: impl FnOnce(&Track) -> T) -> T {
        look(self.tracks.lock().unwrap().entry(index).or_default())
    }

    /// Waits for frames of a stream.
    pub fn wait_frames(&self, index: usize, frames: usize) {
        crate::process::wait_for(&format!("{frames} frames of {index}"), SOON, || {
            self.track(index, |track| track.frames >= frames)
        });
    }

    /// Waits for the frames of a film; the last one may be missing. On a busy machine
    /// gst-rtsp-server (1.22) lets go of what came right before TEARDOWN: it stops its own
    /// pipeline while that is on its way through it. That it was sent before TEARDOWN is
    /// shown by `the_last_packets_go_before_teardown`.
    pub fn wait_film(&self, index: usize, frames: usize) {
        super::process::wait_for("the frames of the film", SOON, || {
            self.times(index) + 1 >= frames
        });
    }

    /// Different RTP times, which are frames of video.
    pub fn times(&self, index: usize) -> usize {
        self.track(index, |track| {
            let times: std::collections::BTreeSet<u32> =
                track.packets.iter().map(|packet| packet.rtp).collect();
            times.len()
        })
    }
}

fn watch(depay: &gst::Element, index: usize, log: &Tracks) {
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
    let packets = log.clone();
    let sink = depay.static_pad("sink").unwrap();
    sink.add_probe(kinds, move |pad, info| {
        let mut tracks = packets.lock().unwrap();
        let track = tracks.entry(index).or_default();
        if track.caps.is_none() {
            track.caps = pad.current_caps();
        }
        let mut note = |buffer: &gst::BufferRef| {
            let mut header = [0; 8];
            if buffer.copy_to_slice(0, &mut header).is_ok() {
                track.packets.push(Packet {
                    seq: u16::from_be_bytes([header[2], header[3]]),
                    rtp: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
                    size: buffer.size(),
                    pts: buffer.pts(),
                });
            }
        };
        match &info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => note(buffer),
            Some(gst::PadProbeData::BufferList(list)) => list.iter().for_each(note),
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
    let frames = log.clone();
    let src = depay.static_pad("src").unwrap();
    src.add_probe(kinds, move |_, info| {
        let more = match &info.data {
            Some(gst::PadProbeData::BufferList(list)) => list.len(),
            _ => 1,
        };
        frames.lock().unwrap().entry(index).or_default().frames += more;
        gst::PadProbeReturn::Ok
    });
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // A loop that has not begun to run cannot be quit.
        crate::process::wait_for("the server's loop", SOON, || self.main_loop.is_running());
        self.main_loop.quit();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
