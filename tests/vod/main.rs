//! `rtspsrc2` plays files behind gst-rtsp-server, as a player does: each frame of the picture carries
//! its number.

#[path = "../support/plugin.rs"]
mod plugin;
#[path = "../support/process.rs"]
#[allow(dead_code)]
mod process;

mod file;
mod pausing;
mod player;
mod queries;
mod seeking;
mod trick_modes;

use std::sync::Once;
use std::time::Duration;

/// What may take a while on a busy machine, but not for ever.
const SOON: Duration = Duration::from_secs(30);

fn init() {
    static INIT: Once = Once::new();
    INIT.call_once(plugin::load);
}

/// Whether all these elements are installed; says so if they are not.
fn have(elements: &[&str]) -> bool {
    init();
    let missing: Vec<_> = elements
        .iter()
        .filter(|name| gst::ElementFactory::find(name).is_none())
        .collect();
    if !missing.is_empty() {
        eprintln!("skipped: {missing:?} not installed");
    }
    missing.is_empty()
}
