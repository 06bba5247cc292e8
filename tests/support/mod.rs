//! What the tests with scripted and real peers share; each of them uses a part of it.
#![allow(dead_code)]

pub mod application;
pub mod mini;
pub mod player;
pub mod plugin;
pub mod script;
pub mod wire;

use std::sync::Once;

pub fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(plugin::load);
}
