//! Audio and video, on the reader's clock as they were on the publisher's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use gst::prelude::*;

use crate::publisher::Publisher;
use crate::recorder::Recorder;
use crate::{SOON, h264, have};

/// RTP timestamp to the running time at which the publisher had it.
type Sent = Arc<Mutex<HashMap<u32, gst::ClockTime>>>;

fn note_sent(pad: &gst::Pad, sent: &Sent) {
    let sent = sent.clone();
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
    pad.add_probe(kinds, move |pad, info| {
        let mut sent = sent.lock().unwrap();
        let segment = pad.sticky_event::<gst::event::Segment>(0).unwrap();
        let segment = segment.segment().downcast_ref::<gst::ClockTime>().unwrap();
        let mut note = |buffer: &gst::BufferRef| {
            let mut rtp = [0; 4];
            if buffer.copy_to_slice(4, &mut rtp).is_ok()
                && let Some(at) = segment.to_running_time(buffer.pts())
            {
                sent.insert(u32::from_be_bytes(rtp), at);
            }
        };
        match &info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => note(buffer),
            Some(gst::PadProbeData::BufferList(list)) => list.iter().for_each(note),
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

/// The delays of a stream from publisher to reader, in nanoseconds.
fn delays(recorder: &Recorder, stream: usize, sent: &Sent) -> Vec<i64> {
    let sent = sent.lock().unwrap();
    recorder.track(stream, |track| {
        let packets = track.packets.iter();
        packets
            .filter_map(|packet| {
                let at = sent.get(&packet.rtp)?;
                Some(packet.pts?.nseconds() as i64 - at.nseconds() as i64)
            })
            .collect()
    })
}

fn stay_in_step(transport: &str) {
    if !have(&["x264enc", "opusenc"]) {
        return;
    }
    let recorder = Recorder::new(&["rtph264depay", "rtpopusdepay"]);
    // The sound waits 300 ms in a queue, as sound of a slow encoder does.
    let audio = "audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=1 ! opusenc \
        ! queue min-threshold-time=300000000 max-size-time=2000000000";
    let settings = format!("protocols={transport}");
    let publisher = Publisher::new(recorder.url(), &settings, &[&h264(-1, true), audio]);
    let sent: [Sent; 2] = Default::default();
    let notes = sent.clone();
    publisher
        .sink
        .connect("new-payloader", false, move |values| {
            let payloader = values[1].get::<gst::Element>().unwrap();
            let stream = usize::from(payloader.factory().unwrap().name() != "rtph264pay");
            note_sent(&payloader.static_pad("src").unwrap(), &notes[stream]);
            None
        });
    let _publisher = publisher.play();
    // The reports that synchronise them come within seconds.
    let apart = || {
        let last = |stream: usize| delays(&recorder, stream, &sent[stream]).last().copied();
        Some((last(0)? - last(1)?) as f64 / 1e6)
    };
    let in_step = || apart().is_some_and(|apart| apart.abs() < 40.0);
    crate::process::wait_for("both streams in step", SOON, in_step);
    // And they stay there.
    let enough = recorder.track(0, |track| track.packets.len()) + 100;
    crate::process::wait_for("more packets", SOON, || {
        recorder.track(0, |track| track.packets.len()) >= enough
    });
    let apart = apart().unwrap();
    assert!(apart.abs() < 40.0, "audio and video are {apart} ms apart");
}

#[test]
fn audio_and_video_stay_in_step_over_tcp() {
    stay_in_step("tcp");
}

#[test]
fn audio_and_video_stay_in_step_over_udp() {
    stay_in_step("udp");
}
