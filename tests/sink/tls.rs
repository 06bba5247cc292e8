//! Publishing over TLS.

use gst::prelude::*;
use gst_rtsp_server::prelude::*;

use crate::certificates::{Authority, Identity, self_signed};
use crate::process::{Folder, Server, wait_for};
use crate::publisher::Publisher;
use crate::recorder::Recorder;
use crate::{SOON, h264, have};

fn recorder(identity: &Identity) -> Recorder {
    let pem = identity.certificate.pem() + &identity.key.serialize_pem();
    Recorder::with(
        &["rtph264depay"],
        gst_rtsp::RTSPProfile::AVP,
        move |server| {
            let auth = gst_rtsp_server::RTSPAuth::new();
            let mut token = gst_rtsp_server::RTSPToken::builder()
                .field("media.factory.role", "user")
                .build();
            auth.set_default_token(Some(&mut token));
            let certificate = gio::TlsCertificate::from_pem(&pem).unwrap();
            auth.set_tls_certificate(Some(&certificate));
            server.set_auth(Some(&auth));
        },
    )
}

fn secure(url: &str) -> String {
    url.replacen("rtsp", "rtsps", 1)
}

#[test]
// covers: B-TLS-01
fn a_film_is_published_whole_over_tls() {
    if !have(&["x264enc"]) {
        return;
    }
    let (folder, authority) = (Folder::new(), Authority::new("CA"));
    let ca_file = authority.write(&folder.file(""), "ca");
    let recorder = recorder(&authority.issue(&["127.0.0.1"], |_| ()));
    let settings = format!("tls-ca-file={}", ca_file.display());
    let publisher = Publisher::new(&secure(recorder.url()), &settings, &[&h264(100, true)]).play();
    publisher.wait_eos();
    recorder.wait_film(0, 100);
    let lost = recorder.track(0, |track| {
        let numbers: Vec<u16> = track.packets.iter().map(|packet| packet.seq).collect();
        numbers
            .windows(2)
            .filter(|pair| pair[1] != pair[0].wrapping_add(1))
            .count()
    });
    assert_eq!(lost, 0);
}

#[test]
// covers: C-TLS-02
fn the_application_may_accept_the_server_it_publishes_to() {
    if !have(&["x264enc"]) {
        return;
    }
    let recorder = recorder(&self_signed(&["other"], |_| ()));
    let url = secure(recorder.url());
    let refused = Publisher::new(&url, "", &[&h264(-1, true)]);
    let _ = refused.pipeline.set_state(gst::State::Playing);
    let (error, text) = refused.wait_error();
    assert!(error.matches(gst::ResourceError::NotAuthorized), "{text}");
    assert!(text.contains("fingerprint"), "{text}");
    let publisher = Publisher::new(&url, "", &[&h264(-1, true)]);
    publisher
        .sink
        .connect("accept-certificate", false, |_| Some(true.to_value()));
    let _publisher = publisher.play();
    recorder.wait_frames(0, 20);
}

#[test]
// covers: P-PUB-11
fn a_server_that_restarts_is_published_to_again_over_tls() {
    if !have(&["x264enc"]) {
        return;
    }
    let (folder, authority) = (Folder::new(), Authority::new("CA"));
    let ca_file = authority.write(&folder.file(""), "ca");
    let identity = authority.issue(&["127.0.0.1"], |_| ());
    let (certificate, key) = identity.write(&folder.file(""), "server");
    let mut server = Server::start(&[
        "--tls",
        certificate.to_str().unwrap(),
        key.to_str().unwrap(),
        "--record",
        "rtph264depay name=depay0 ! fakesink",
    ]);
    let settings = format!(
        "tls-ca-file={} reconnect-initial-delay=50000000",
        ca_file.display()
    );
    let publisher = Publisher::new(server.url(), &settings, &[&h264(-1, true)]).play();
    publisher.wait_sent(50);
    server.kill();
    publisher.wait_element_message("rtspsink2-connection-lost");
    server.restart();
    publisher.wait_element_message("rtspsink2-connection-restored");
    let before: u64 = publisher.stream_stats(0).unwrap().get("packets").unwrap();
    wait_for("packets over the new connection", SOON, || {
        let stats = publisher.stream_stats(0);
        stats.is_some_and(|stats| stats.get::<u64>("packets").is_ok_and(|n| n > before + 50))
    });
    assert_eq!(publisher.errors(), Vec::<String>::new());
}
