//! The ONVIF back channel to gst-rtsp-server's ONVIF server: what it hears is what was said.

use std::path::PathBuf;
use std::time::Instant;

use gst::prelude::*;

use crate::process::{Server, wait_for};
use crate::{SOON, have, init};

/// Samples a second of what the server hears.
const RATE: usize = 8000;

/// A server that writes what it hears, as 16-bit samples, to a file.
struct Listening {
    server: Server,
    heard: PathBuf,
}

impl Listening {
    fn start(name: &str, takes: &str, decoder: &str) -> Self {
        let file = format!("rtsp2-backchannel-{name}-{}", std::process::id());
        let heard = std::env::temp_dir().join(file);
        let backchannel = format!(
            "capsfilter name=depay_backchannel caps=\"application/x-rtp,media=audio,{takes}\" \
             ! {decoder} ! audioconvert ! audioresample \
             ! audio/x-raw,format=S16LE,rate={RATE},channels=1 \
             ! filesink async=false sync=false buffer-mode=unbuffered location={}",
            heard.display()
        );
        let server = Server::start(&["--audio", "none", "--backchannel", &backchannel]);
        Self { server, heard }
    }

    fn samples(&self) -> Vec<i16> {
        let bytes = std::fs::read(&self.heard).unwrap_or_default();
        let pairs = bytes.chunks_exact(2);
        pairs
            .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
            .collect()
    }

    /// Waits for a second of the tone of `frequency` Hz.
    fn hears(&self, frequency: usize) {
        wait_for("a second of sound", SOON, || {
            self.samples().len() >= 2 * RATE
        });
        // Encoders need a moment.
        let samples = &self.samples()[RATE..2 * RATE];
        let loudest = samples.iter().map(|s| s.unsigned_abs()).max().unwrap_or(0);
        assert!(loudest > 5000, "too quiet: {loudest}");
        let crossings = samples
            .windows(2)
            .filter(|w| (w[0] < 0) != (w[1] < 0))
            .count();
        let expected = 2 * frequency;
        assert!(
            crossings.abs_diff(expected) < expected / 10,
            "{crossings} crossings instead of {expected}"
        );
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.heard);
    }
}

/// Plays the server's picture and says `voice` to it.
fn say(listening: &Listening, settings: &str, voice: &str) -> gst::Pipeline {
    init();
    let line = format!(
        "rtspsrc2 name=camera location={} backchannel=onvif {settings} ! fakesink sync=false \
         {voice} ! camera.backchannel_0",
        listening.server.url()
    );
    let pipeline = gst::parse::launch(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
    let pipeline: gst::Pipeline = pipeline.downcast().expect("a pipeline");
    pipeline
        .set_state(gst::State::Playing)
        .expect("a state change");
    pipeline
}

fn has_no_error(pipeline: &gst::Pipeline) {
    let bus = pipeline.bus().expect("a bus");
    let kinds = [gst::MessageType::Error, gst::MessageType::Warning];
    if let Some(message) = bus.pop_filtered(&kinds) {
        panic!("{message:?}");
    }
}

const TONE: &str = "audiotestsrc is-live=true wave=sine freq=440 volume=0.8 \
    ! audio/x-raw,rate=44100,channels=2";

fn speaks(name: &str, takes: &str, decoder: &str, settings: &str) {
    let listening = Listening::start(name, takes, decoder);
    let pipeline = say(&listening, settings, TONE);
    listening.hears(440);
    has_no_error(&pipeline);
    pipeline.set_state(gst::State::Null).unwrap();
}

const PCMU: &str = "payload=0,clock-rate=8000,encoding-name=PCMU";

// covers: C-ONVIF-03, C-ONVIF-05
#[test]
fn raw_audio_becomes_what_the_server_takes() {
    if !have(&["mulawenc", "x264enc"]) {
        return;
    }
    speaks("pcmu", PCMU, "rtppcmudepay ! mulawdec", "");
}

#[test]
fn over_udp_as_well() {
    if !have(&["mulawenc", "x264enc"]) {
        return;
    }
    speaks("udp", PCMU, "rtppcmudepay ! mulawdec", "protocols=udp");
}

#[test]
fn as_pcma_and_g726_and_aac_too() {
    if !have(&[
        "alawenc",
        "avenc_g726",
        "avdec_g726",
        "avenc_aac",
        "avdec_aac",
    ]) {
        return;
    }
    let pcma = "payload=8,clock-rate=8000,encoding-name=PCMA";
    speaks("pcma", pcma, "rtppcmadepay ! alawdec", "");
    let g726 = "payload=97,clock-rate=8000,encoding-name=G726-32";
    speaks("g726", g726, "rtpg726depay ! avdec_g726", "");
    let aac = "payload=98,clock-rate=16000,encoding-name=MPEG4-GENERIC,encoding-params=(string)1,\
        streamtype=(string)5,profile-level-id=(string)1,mode=(string)AAC-hbr,config=(string)1408,\
        sizelength=(string)13,indexlength=(string)3,indexdeltalength=(string)3";
    speaks("aac", aac, "rtpmp4gdepay ! aacparse ! avdec_aac", "");
}

#[test]
fn rtp_goes_as_it_is_and_encoded_audio_is_payloaded() {
    if !have(&["mulawenc", "x264enc"]) {
        return;
    }
    let encoded = format!("{TONE} ! audioconvert ! audioresample ! mulawenc");
    for (name, voice) in [
        ("encoded", encoded.clone()),
        ("rtp", format!("{encoded} ! rtppcmupay")),
    ] {
        let listening = Listening::start(name, PCMU, "rtppcmudepay ! mulawdec");
        let pipeline = say(&listening, "", &voice);
        listening.hears(440);
        has_no_error(&pipeline);
        pipeline.set_state(gst::State::Null).unwrap();
    }
}

#[test]
fn a_file_is_said_at_its_speed() {
    if !have(&["mulawenc", "x264enc"]) {
        return;
    }
    let listening = Listening::start("file", PCMU, "rtppcmudepay ! mulawdec");
    let begin = Instant::now();
    // Not live: it gives what it has as fast as it is taken.
    let pipeline = say(
        &listening,
        "",
        &TONE.replace("is-live=true", "is-live=false"),
    );
    listening.hears(440);
    assert!(begin.elapsed().as_millis() > 1500, "{:?}", begin.elapsed());
    has_no_error(&pipeline);
    pipeline.set_state(gst::State::Null).unwrap();
}

#[test]
fn one_may_fall_silent_pause_and_go_on() {
    if !have(&["mulawenc", "x264enc"]) {
        return;
    }
    let listening = Listening::start("pause", PCMU, "rtppcmudepay ! mulawdec");
    let voice = format!("{TONE} ! valve name=mouth");
    let pipeline = say(&listening, "", &voice);
    listening.hears(440);
    let mouth = pipeline.by_name("mouth").unwrap();
    mouth.set_property("drop", true);
    pipeline.set_state(gst::State::Paused).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    mouth.set_property("drop", false);
    let before = listening.samples().len();
    wait_for("more sound", SOON, || {
        listening.samples().len() >= before + RATE
    });
    has_no_error(&pipeline);
    pipeline.set_state(gst::State::Null).unwrap();
    // And with the same pipeline again.
    let before = listening.samples().len();
    std::fs::remove_file(&listening.heard).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    wait_for("sound again", SOON, || {
        (RATE..before).contains(&listening.samples().len()) || listening.samples().len() >= RATE
    });
    pipeline.set_state(gst::State::Null).unwrap();
}

// covers: C-ONVIF-02
#[test]
fn a_server_without_back_channel_is_played_all_the_same() {
    if !have(&["x264enc"]) {
        return;
    }
    let server = Server::start(&["--audio", "none"]);
    let line = format!(
        "rtspsrc2 name=camera location={} backchannel=onvif ! fakesink name=sink sync=false \
         {TONE} ! camera.backchannel_0",
        server.url()
    );
    init();
    let pipeline = gst::parse::launch(&line).unwrap();
    let sink = pipeline
        .downcast_ref::<gst::Bin>()
        .unwrap()
        .by_name("sink")
        .unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    wait_for("media", SOON, || {
        let stats: gst::Structure = sink.property("stats");
        stats.get::<u64>("rendered").unwrap_or(0) > 10
    });
    let bus = pipeline.bus().unwrap();
    let warning = bus.timed_pop_filtered(
        gst::ClockTime::from_seconds(20),
        &[gst::MessageType::Warning, gst::MessageType::Error],
    );
    let warning = warning.expect("a warning");
    assert_eq!(warning.type_(), gst::MessageType::Warning, "{warning:?}");
    pipeline.set_state(gst::State::Null).unwrap();
}
