//! An RTSP server with live H.264 video and audio test streams, to play against; or one that
//! records what is published to it.
//!
//! Prints the URL when it is ready and serves until its standard input closes:
//!
//! ```sh
//! cargo run --example server -- --port 8554 --auth digest user:secret
//! ```

use std::io::{Read, Write};

use gio::prelude::TlsCertificateExt;
use gst::glib;
use gst_rtsp::{RTSPAuthMethod, RTSPLowerTrans, RTSPProfile};
use gst_rtsp_server::prelude::*;
use gst_rtsp_server::{
    RTSP_PERM_MEDIA_FACTORY_ACCESS, RTSP_PERM_MEDIA_FACTORY_CONSTRUCT,
    RTSP_TOKEN_MEDIA_FACTORY_ROLE,
};

type Error = Box<dyn std::error::Error>;

const HELP: &str = "\
usage: server [--address ADDRESS] [--port PORT] [--mount PATH] [--auth basic|digest USER:PASSWORD]
              [--tls CERTIFICATE KEY] [--client-ca CERTIFICATE]
              [--protocols tcp,udp,mcast] [--profiles avp,avpf,savp,savpf] [--multicast] [--multicast-iface NAME]
              [--size WIDTHxHEIGHT] [--fps N] [--bitrate KBIT] [--video h264|none]
              [--audio auto|aac|opus|pcmu|none] [--launch PIPELINE] [--record PIPELINE]
              [--backchannel PIPELINE]
  --port 0         any free port (default); the URL on standard output names it
  --tls            RTSP over TLS; PEM files
  --client-ca      clients show a certificate of this issuer
  --multicast      multicast only, the same as --protocols mcast
  --profiles       the strongest is described; savp and savpf are SRTP
  --launch         payloaders named pay0, pay1, … instead of the test streams
  --record         nothing is served: what clients ANNOUNCE goes to depayloaders (or decodebins)
                   named depay0, depay1, …
  --backchannel    ONVIF back channel: RTP comes out of the element named depay_backchannel, a
                   capsfilter that says what is taken";

struct Options {
    address: String,
    port: u16,
    mount: String,
    auth: Option<(RTSPAuthMethod, String, String)>,
    tls: Option<(String, String)>,
    client_ca: Option<String>,
    protocols: RTSPLowerTrans,
    profiles: RTSPProfile,
    multicast_iface: Option<String>,
    width: u32,
    height: u32,
    fps: u32,
    bitrate: u32,
    video: String,
    audio: String,
    launch: Option<String>,
    record: Option<String>,
    backchannel: Option<String>,
}

fn main() -> Result<(), Error> {
    let Some(options) = options()? else {
        println!("{HELP}");
        return Ok(());
    };
    gst::init()?;
    let server = match options.backchannel {
        Some(_) => gst_rtsp_server::RTSPOnvifServer::new().upcast(),
        None => gst_rtsp_server::RTSPServer::new(),
    };
    server.set_address(&options.address);
    server.set_service(&options.port.to_string());

    let factory = match &options.backchannel {
        Some(backchannel) => {
            let factory = gst_rtsp_server::RTSPOnvifMediaFactory::new();
            factory.set_backchannel_launch(Some(&format!("( {backchannel} )")));
            factory.set_media_gtype(gst_rtsp_server::RTSPOnvifMedia::static_type());
            factory.upcast()
        }
        None => gst_rtsp_server::RTSPMediaFactory::new(),
    };
    if let Some(record) = &options.record {
        factory.set_launch(&format!("( {record} )"));
        factory.set_transport_mode(gst_rtsp_server::RTSPTransportMode::RECORD);
    } else {
        factory.set_launch(&match &options.launch {
            Some(launch) => launch.clone(),
            None => launch(&options)?,
        });
        factory.set_shared(options.backchannel.is_none());
    }
    factory.set_protocols(options.protocols);
    factory.set_profiles(options.profiles);
    if options.protocols.contains(RTSPLowerTrans::UDP_MCAST) {
        factory.set_address_pool(Some(&multicast_pool()?));
        factory.set_multicast_iface(options.multicast_iface.as_deref());
    }
    if options.auth.is_some() || options.tls.is_some() {
        server.set_auth(Some(&authentication(&options)?));
        let role = gst::Structure::builder("user")
            .field(RTSP_PERM_MEDIA_FACTORY_ACCESS.as_str(), true)
            .field(RTSP_PERM_MEDIA_FACTORY_CONSTRUCT.as_str(), true)
            .build();
        factory.add_role_from_structure(&role);
    }
    server
        .mount_points()
        .ok_or("a server has mount points")?
        .add_factory(&options.mount, factory);

    let main_loop = glib::MainLoop::new(None, false);
    let _source = server.attach(None)?;
    let host = match options.address.as_str() {
        "0.0.0.0" => "127.0.0.1".to_owned(),
        "::" => "[::1]".to_owned(),
        address if address.contains(':') => format!("[{address}]"),
        address => address.to_owned(),
    };
    let scheme = if options.tls.is_some() {
        "rtsps"
    } else {
        "rtsp"
    };
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{scheme}://{host}:{}{}",
        server.bound_port(),
        options.mount
    )?;
    out.flush()?;

    // Sessions whose client has vanished end after their timeout.
    let pool = server.session_pool().ok_or("a server has a session pool")?;
    glib::timeout_add_seconds(2, move || {
        pool.cleanup();
        glib::ControlFlow::Continue
    });
    let quit = main_loop.clone();
    std::thread::spawn(move || {
        // Whatever ends the input ends the server.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        quit.quit();
    });
    main_loop.run();
    Ok(())
}

fn options() -> Result<Option<Options>, Error> {
    let mut options = Options {
        address: "127.0.0.1".to_owned(),
        port: 0,
        mount: "/test".to_owned(),
        auth: None,
        tls: None,
        client_ca: None,
        protocols: RTSPLowerTrans::TCP | RTSPLowerTrans::UDP,
        profiles: RTSPProfile::AVP,
        multicast_iface: None,
        width: 1280,
        height: 720,
        fps: 25,
        bitrate: 2000,
        video: "h264".to_owned(),
        audio: "auto".to_owned(),
        launch: None,
        record: None,
        backchannel: None,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--address" => options.address = value()?,
            "--port" => options.port = value()?.parse()?,
            "--mount" => options.mount = format!("/{}", value()?.trim_start_matches('/')),
            "--protocols" => options.protocols = protocols(&value()?)?,
            "--profiles" => options.profiles = profiles(&value()?)?,
            "--multicast" => options.protocols = RTSPLowerTrans::UDP_MCAST,
            "--multicast-iface" => options.multicast_iface = Some(value()?),
            "--fps" => options.fps = value()?.parse()?,
            "--bitrate" => options.bitrate = value()?.parse()?,
            "--video" => options.video = value()?,
            "--audio" => options.audio = value()?,
            "--launch" => options.launch = Some(value()?),
            "--record" => options.record = Some(value()?),
            "--backchannel" => options.backchannel = Some(value()?),
            "--size" => {
                let size = value()?;
                let (width, height) = size.split_once('x').ok_or("--size WIDTHxHEIGHT")?;
                (options.width, options.height) = (width.parse()?, height.parse()?);
            }
            "--tls" => options.tls = Some((value()?, value()?)),
            "--client-ca" => options.client_ca = Some(value()?),
            "--auth" => {
                let method = match value()?.as_str() {
                    "basic" => RTSPAuthMethod::Basic,
                    "digest" => RTSPAuthMethod::Digest,
                    other => return Err(format!("--auth basic or digest, not {other}").into()),
                };
                let login = value()?;
                let (user, password) =
                    login.split_once(':').ok_or("--auth METHOD USER:PASSWORD")?;
                options.auth = Some((method, user.to_owned(), password.to_owned()));
            }
            _ => return Ok(None),
        }
    }
    Ok(Some(options))
}

fn protocols(list: &str) -> Result<RTSPLowerTrans, Error> {
    list.split(',')
        .try_fold(RTSPLowerTrans::empty(), |flags, name| {
            Ok(flags
                | match name {
                    "tcp" => RTSPLowerTrans::TCP,
                    "udp" => RTSPLowerTrans::UDP,
                    "mcast" => RTSPLowerTrans::UDP_MCAST,
                    other => return Err(format!("unknown protocol: {other}").into()),
                })
        })
}

fn profiles(list: &str) -> Result<RTSPProfile, Error> {
    list.split(',')
        .try_fold(RTSPProfile::empty(), |flags, name| {
            Ok(flags
                | match name {
                    "avp" => RTSPProfile::AVP,
                    "avpf" => RTSPProfile::AVPF,
                    "savp" => RTSPProfile::SAVP,
                    "savpf" => RTSPProfile::SAVPF,
                    other => return Err(format!("unknown profile: {other}").into()),
                })
        })
}

/// The first of these elements that is installed.
fn first_of(names: &[&str]) -> Result<String, Error> {
    let found = names
        .iter()
        .find(|name| gst::ElementFactory::find(name).is_some());
    Ok((*found.ok_or_else(|| format!("none of {} is installed", names.join(", ")))?).to_owned())
}

fn launch(options: &Options) -> Result<String, Error> {
    let Options {
        width,
        height,
        fps,
        bitrate,
        ..
    } = options;
    let mut parts = Vec::new();
    if options.video == "h264" {
        let overlay = match first_of(&["timeoverlay"]) {
            Ok(_) => "! timeoverlay halignment=left valignment=bottom font-desc=\"Sans, 36\" ",
            Err(_) => "",
        };
        let encoder = match first_of(&["x264enc", "openh264enc"])?.as_str() {
            "x264enc" => format!(
                "x264enc tune=zerolatency speed-preset=ultrafast key-int-max={} bitrate={bitrate}",
                2 * fps
            ),
            _ => format!(
                "openh264enc gop-size={} bitrate={}",
                2 * fps,
                bitrate * 1000
            ),
        };
        parts.push(format!(
            "videotestsrc is-live=true pattern=smpte horizontal-speed=2 \
             ! video/x-raw,format=I420,width={width},height={height},framerate={fps}/1 {overlay}! {encoder} \
             ! video/x-h264,profile=constrained-baseline ! h264parse ! rtph264pay pt=96 config-interval=-1"
        ));
    }
    let encoder = match options.audio.as_str() {
        "none" => None,
        "auto" => Some(first_of(&[
            "avenc_aac",
            "voaacenc",
            "fdkaacenc",
            "opusenc",
            "mulawenc",
        ])?),
        "aac" => Some(first_of(&["avenc_aac", "voaacenc", "fdkaacenc"])?),
        "opus" => Some("opusenc".to_owned()),
        "pcmu" => Some("mulawenc".to_owned()),
        other => return Err(format!("unknown audio: {other}").into()),
    };
    if let Some(encoder) = encoder {
        let (rate, payloader) = match encoder.as_str() {
            "mulawenc" => (8_000, "rtppcmupay max-ptime=20000000"),
            "opusenc" => (48_000, "rtpopuspay"),
            _ => (48_000, "aacparse ! rtpmp4gpay"),
        };
        parts.push(format!(
            "audiotestsrc is-live=true wave=ticks volume=0.3 \
             ! audio/x-raw,rate={rate},channels=1 ! audioconvert ! {encoder} ! {payloader} pt={}",
            if encoder == "mulawenc" { 0 } else { 97 }
        ));
    }
    if parts.is_empty() {
        return Err("neither video nor audio to serve".into());
    }
    let named = parts
        .iter()
        .enumerate()
        .map(|(i, part)| format!("{part} name=pay{i}"));
    Ok(format!("( {} )", named.collect::<Vec<_>>().join("  ")))
}

/// Group and ports come from the process id, so that servers of one machine do not meet.
fn multicast_pool() -> Result<gst_rtsp_server::RTSPAddressPool, Error> {
    let id = std::process::id();
    let port = (20_000 + id * 16 % 20_000) as u16;
    let group = format!("239.255.{}.{}", 1 + (id >> 8) % 250, 1 + id % 250);
    let pool = gst_rtsp_server::RTSPAddressPool::new();
    pool.add_range(&group, &group, port, port + 15, 1)?;
    Ok(pool)
}

fn authentication(options: &Options) -> Result<gst_rtsp_server::RTSPAuth, Error> {
    let auth = gst_rtsp_server::RTSPAuth::new();
    let mut token = gst_rtsp_server::RTSPToken::builder()
        .field(RTSP_TOKEN_MEDIA_FACTORY_ROLE.as_str(), "user")
        .build();
    match &options.auth {
        Some((method, user, password)) => {
            auth.set_supported_methods(*method);
            if *method == RTSPAuthMethod::Basic {
                let basic = gst_rtsp_server::RTSPAuth::make_basic(user, password);
                auth.add_basic(&basic, &token);
            } else {
                auth.add_digest(user, password, &token);
            }
        }
        None => auth.set_default_token(Some(&mut token)),
    }
    if let Some((certificate, key)) = &options.tls {
        let certificate = gio::TlsCertificate::from_files(certificate, key)?;
        auth.set_tls_certificate(Some(&certificate));
    }
    if let Some(file) = &options.client_ca {
        let issuer = std::fs::read_to_string(file)?;
        auth.set_tls_authentication_mode(gio::TlsAuthenticationMode::Required);
        RTSPAuthExt::connect_accept_certificate(&auth, move |_, _, certificate, _| {
            let issuer = gio::TlsCertificate::from_pem(&issuer);
            issuer.is_ok_and(|issuer| {
                let none = None::<&gio::NetworkAddress>;
                certificate.verify(none, Some(&issuer)).is_empty()
            })
        });
    }
    Ok(auth)
}
