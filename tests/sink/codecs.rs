//! What a pad is given becomes RTP that gst-rtsp-server's depayloaders take.

use gst::prelude::*;

use crate::have;
use crate::publisher::Publisher;
use crate::recorder::Recorder;

/// Publishes `stream` and waits for frames behind `depayloader`; the caps there
/// hold `expected`.
fn publishes(needed: &[&str], stream: &str, depayloader: &str, expected: &str) {
    if !have(needed) || !have(&[depayloader]) {
        return;
    }
    let recorder = Recorder::new(&[depayloader]);
    let publisher = Publisher::new(recorder.url(), "", &[stream]).play();
    publisher.wait_eos();
    recorder.wait_frames(0, 10);
    recorder.track(0, |track| {
        let caps = track.caps.as_ref().unwrap().to_string();
        assert!(caps.contains(expected), "{caps}");
    });
    assert_eq!(publisher.errors(), Vec::<String>::new());
}

const VIDEO: &str =
    "videotestsrc num-buffers=50 ! video/x-raw,format=I420,width=160,height=120,framerate=50/1";
const AUDIO: &str = "audiotestsrc num-buffers=50 ! audio/x-raw,rate=48000,channels=2";
const TELEPHONE: &str =
    "audiotestsrc num-buffers=50 samplesperbuffer=160 ! audio/x-raw,rate=8000,channels=1";

#[test]
fn h264_by_nal_units_is_published() {
    let stream = format!(
        "{VIDEO} ! x264enc tune=zerolatency speed-preset=ultrafast ! h264parse \
         ! video/x-h264,stream-format=byte-stream,alignment=nal"
    );
    // The parameter sets come after the first packet, in the stream alone.
    publishes(&["x264enc", "h264parse"], &stream, "rtph264depay", "H264");
}

#[test]
fn h265_is_published() {
    let stream = format!("{VIDEO} ! x265enc speed-preset=ultrafast tune=zerolatency");
    publishes(&["x265enc"], &stream, "rtph265depay", "sprop-sps");
}

#[test]
fn vp8_is_published() {
    let stream = format!("{VIDEO} ! vp8enc deadline=1");
    publishes(&["vp8enc"], &stream, "rtpvp8depay", "VP8");
}

#[test]
fn opus_is_published() {
    let stream = format!("{AUDIO} ! opusenc");
    publishes(&["opusenc"], &stream, "rtpopusdepay", "OPUS");
}

#[test]
// covers: P-PUB-04
fn aac_is_published_with_its_configuration() {
    let stream = format!("{AUDIO} ! avenc_aac");
    publishes(&["avenc_aac"], &stream, "rtpmp4gdepay", "config=(string)");
}

#[test]
fn aac_with_adts_headers_gets_a_parser() {
    let stream = format!("{AUDIO} ! avenc_aac ! aacparse ! audio/mpeg,stream-format=adts");
    publishes(
        &["avenc_aac", "aacparse"],
        &stream,
        "rtpmp4gdepay",
        "config=(string)",
    );
}

#[test]
fn pcma_keeps_its_static_payload_type() {
    let stream = format!("{TELEPHONE} ! alawenc");
    publishes(&["alawenc"], &stream, "rtppcmadepay", "payload=(int)8");
}

#[test]
fn mpeg_ts_is_published() {
    let stream = format!(
        "{VIDEO} ! x264enc tune=zerolatency speed-preset=ultrafast ! mpegtsmux alignment=7"
    );
    publishes(&["x264enc", "mpegtsmux"], &stream, "rtpmp2tdepay", "MP2T");
}

#[test]
fn klv_metadata_are_published() {
    if !have(&["rtpklvpay", "rtpklvdepay"]) {
        return;
    }
    let recorder = Recorder::new(&["rtpklvdepay"]);
    let klv = "appsrc name=klv format=time caps=meta/x-klv,parsed=true";
    let publisher = Publisher::new(recorder.url(), "", &[klv]).play();
    let source = publisher.pipeline.by_name("klv").unwrap();
    for number in 0..50u64 {
        // Key, length, value (SMPTE 336M).
        let mut unit = vec![
            0x06, 0x0e, 0x2b, 0x34, 2, 11, 1, 1, 14, 1, 3, 1, 1, 0, 0, 0, 4,
        ];
        unit.extend((number as u32).to_be_bytes());
        let mut buffer = gst::Buffer::from_slice(unit);
        let times = buffer.get_mut().unwrap();
        times.set_pts(gst::ClockTime::from_mseconds(20 * number));
        let _ = source.emit_by_name::<gst::FlowReturn>("push-buffer", &[&buffer]);
    }
    let _ = source.emit_by_name::<gst::FlowReturn>("end-of-stream", &[]);
    publisher.wait_eos();
    recorder.wait_frames(0, 40);
    recorder.track(0, |track| {
        let caps = track.caps.as_ref().unwrap().to_string();
        assert!(caps.contains("SMPTE336M"), "{caps}");
    });
}
