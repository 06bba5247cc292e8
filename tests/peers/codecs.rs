//! Caps that depayloaders and decoders take, codec by codec.

use gst::prelude::*;

use crate::local::LocalServer;
use crate::player::Player;
use crate::{SOON, have, video};

/// Plays one stream through `chain` and counts what comes out of its end.
fn decodes(launch: String, elements: &[&str], chain: &str) {
    if !have(elements) {
        return;
    }
    let server = LocalServer::avp(launch);
    let player = Player::launch(&format!(
        "rtspsrc2 name=src location={} ! {chain} ! identity name=end ! fakesink sync=false",
        server.url()
    ));
    let end = player.pipeline.by_name("end").unwrap();
    let (frames, seen) = std::sync::mpsc::channel();
    let probe = move |_: &gst::Pad, _: &mut gst::PadProbeInfo| {
        // The test may be over.
        let _ = frames.send(());
        gst::PadProbeReturn::Ok
    };
    let pad = end.static_pad("src").unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, probe);
    let player = player.play();
    let count = std::cell::Cell::new(0);
    player.wait("25 decoded frames", SOON, |_| {
        count.set(count.get() + seen.try_iter().count());
        count.get() >= 25
    });
}

fn audio(rate: u32, encoder_and_pay: &str) -> String {
    format!(
        "audiotestsrc is-live=true ! audio/x-raw,rate={rate},channels=1 ! {encoder_and_pay} name=pay0"
    )
}

#[test]
fn h264_decodes() {
    let chain = "rtph264depay ! h264parse ! avdec_h264";
    decodes(video("pay0"), &["x264enc", "avdec_h264"], chain);
}

#[test]
fn h265_decodes() {
    let launch = "videotestsrc is-live=true \
         ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 \
         ! x265enc tune=zerolatency speed-preset=ultrafast key-int-max=25 bitrate=300 \
         ! h265parse ! rtph265pay name=pay0 pt=96 config-interval=-1";
    let chain = "rtph265depay ! h265parse ! avdec_h265";
    decodes(launch.to_owned(), &["x265enc", "avdec_h265"], chain);
}

#[test]
fn aac_decodes() {
    let launch = audio(48_000, "avenc_aac ! aacparse ! rtpmp4gpay pt=97");
    let chain = "rtpmp4gdepay ! aacparse ! avdec_aac";
    decodes(launch, &["avenc_aac", "avdec_aac"], chain);
}

#[test]
fn opus_decodes() {
    let launch = audio(48_000, "opusenc ! rtpopuspay pt=97");
    decodes(launch, &["opusenc", "opusdec"], "rtpopusdepay ! opusdec");
}

#[test]
fn pcmu_of_the_static_payload_type_decodes() {
    let launch = audio(8_000, "mulawenc ! rtppcmupay pt=0");
    decodes(launch, &["mulawenc", "mulawdec"], "rtppcmudepay ! mulawdec");
}

#[test]
fn any_pad_autoplugs_through_decodebin() {
    let launch = audio(8_000, "alawenc ! rtppcmapay pt=8");
    decodes(launch, &["alawenc"], "decodebin ! audioconvert");
}
