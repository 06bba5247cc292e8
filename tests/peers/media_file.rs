//! Decodes a recorded file as a player does.

use std::path::Path;
use std::sync::{Arc, Mutex};

use gst::prelude::*;

use super::player::Player;

/// A decoded track.
#[derive(Debug, Clone, Default)]
pub struct Track {
    /// `video/x-raw` or `audio/x-raw`.
    pub kind: String,
    pub frames: usize,
    /// Running times of the first and the last frame.
    pub first: gst::ClockTime,
    pub last: gst::ClockTime,
}

/// The tracks of a file, video first. An error of any decoder fails the test.
pub fn decode(path: &Path) -> Vec<Track> {
    super::init();
    let size = path.metadata().map_or(0, |file| file.len());
    assert!(size > 0, "{} is empty", path.display());
    let description = format!("filesrc location={} ! decodebin name=src", path.display());
    let pipeline = gst::parse::launch(&description).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let decodebin = pipeline.by_name("src").unwrap();
    let tracks = Arc::<Mutex<Vec<Arc<Mutex<Track>>>>>::default();
    let (added, target) = (tracks.clone(), pipeline.downgrade());
    decodebin.connect_pad_added(move |_, pad| {
        // A track without a single frame has no caps.
        let caps = pad.current_caps();
        let kind = caps.and_then(|caps| Some(caps.structure(0)?.name().to_string()));
        let track = Arc::new(Mutex::new(Track {
            kind: kind.unwrap_or_default(),
            ..Default::default()
        }));
        added.lock().unwrap().push(track.clone());
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            let segment = pad.sticky_event::<gst::event::Segment>(0).unwrap();
            let segment = segment.segment().downcast_ref::<gst::ClockTime>().unwrap();
            let pts = info.buffer().and_then(|buffer| buffer.pts());
            if let Some(at) = segment.to_running_time(pts) {
                let mut track = track.lock().unwrap();
                if track.frames == 0 {
                    track.first = at;
                }
                track.last = at;
                track.frames += 1;
            }
            gst::PadProbeReturn::Ok
        });
        let sink = gst::ElementFactory::make("fakesink").build().unwrap();
        target.upgrade().unwrap().add(&sink).unwrap();
        pad.link(&sink.static_pad("sink").unwrap()).unwrap();
        sink.sync_state_with_parent().unwrap();
    });
    let player = Player::of(pipeline, decodebin).play();
    player.wait("the end of the file", super::SOON, Player::has_ended);
    let mut tracks: Vec<Track> = tracks
        .lock()
        .unwrap()
        .iter()
        .map(|track| track.lock().unwrap().clone())
        .collect();
    tracks.sort_by(|a, b| b.kind.cmp(&a.kind));
    tracks
}
