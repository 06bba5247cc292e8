//! A gst-rtsp-server in this process, whose elements a test can reach.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use gst::prelude::*;
use gst_rtsp_server::prelude::*;

pub struct LocalServer {
    url: String,
    main_loop: glib::MainLoop,
    thread: Option<std::thread::JoinHandle<()>>,
    media: Arc<Mutex<Option<gst::Bin>>>,
}

impl LocalServer {
    /// `configure` sees the bin of the media before it runs.
    pub fn start(
        launch: String,
        profiles: gst_rtsp::RTSPProfile,
        configure: impl Fn(&gst::Bin) + Send + Sync + 'static,
    ) -> Self {
        super::init();
        let (sender, ready) = mpsc::channel();
        let media = Arc::<Mutex<Option<gst::Bin>>>::default();
        let configured = media.clone();
        let thread = std::thread::spawn(move || {
            let context = glib::MainContext::new();
            let main_loop = glib::MainLoop::new(Some(&context), false);
            let server = gst_rtsp_server::RTSPServer::new();
            server.set_address("127.0.0.1");
            server.set_service("0");
            let factory = gst_rtsp_server::RTSPMediaFactory::new();
            factory.set_launch(&format!("( {launch} )"));
            factory.set_shared(true);
            factory.set_profiles(profiles);
            factory.connect_media_configure(move |_, media| {
                let bin = media.element().downcast::<gst::Bin>().unwrap();
                configure(&bin);
                *configured.lock().unwrap() = Some(bin);
            });
            server.mount_points().unwrap().add_factory("/test", factory);
            let _source = server.attach(Some(&context)).unwrap();
            let url = format!("rtsp://127.0.0.1:{}/test", server.bound_port());
            sender.send((url, main_loop.clone())).unwrap();
            main_loop.run();
        });
        let (url, main_loop) = ready.recv_timeout(Duration::from_secs(20)).unwrap();
        Self {
            url,
            main_loop,
            thread: Some(thread),
            media,
        }
    }

    pub fn avp(launch: String) -> Self {
        Self::start(launch, gst_rtsp::RTSPProfile::AVP, |_| {})
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// An element of the media that a client has asked for.
    pub fn element(&self, name: &str) -> gst::Element {
        let media = self.media.lock().unwrap();
        let bin = media.as_ref().expect("a client has described the media");
        bin.by_name(name).expect("an element of that name")
    }
}

impl Drop for LocalServer {
    fn drop(&mut self) {
        // A loop that has not begun to run cannot be quit.
        super::process::wait_for("the server's loop", super::SOON, || {
            self.main_loop.is_running()
        });
        self.main_loop.quit();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
