//! The plugin as applications load it: the built file, so that `delivery=auto`
//! means what it means for them.

use std::path::PathBuf;

/// Loads the library that cargo built with this test.
pub fn load() {
    gst::init().expect("GStreamer");
    let test = std::env::current_exe().expect("a path");
    let candidates: Vec<PathBuf> = test
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("libgstrtsp2.so"))
        .collect();
    let file = candidates
        .iter()
        .find(|file| file.exists())
        .expect("the built plugin");
    gst::Plugin::load_file(file).expect("a plugin that loads");
}
