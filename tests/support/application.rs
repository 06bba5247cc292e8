//! An application in C (`tests/session/handlers.c`), compiled for the test.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/session/handlers.c");

pub struct Application(Child);

impl Application {
    /// Runs this pipeline. The C compiler is the one that Rust links with.
    pub fn run(pipeline: &str) -> Self {
        let name = format!("rtsp2-handlers-{}", std::process::id());
        let program = std::env::temp_dir().join(name);
        let flags = Command::new("pkg-config")
            .args([
                "--cflags",
                "--libs",
                "gstreamer-rtsp-1.0",
                "gstreamer-sdp-1.0",
            ])
            .output()
            .expect("pkg-config");
        let flags = String::from_utf8(flags.stdout).expect("flags");
        let compiled = Command::new("cc")
            .arg("-o")
            .arg(&program)
            .arg(SOURCE)
            .args(flags.split_whitespace())
            .status()
            .expect("a C compiler");
        assert!(compiled.success());
        let child = Command::new(&program)
            .arg(plugin())
            .arg(pipeline)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let child = child.expect("the application");
        // It is there as long as it runs.
        let _ = std::fs::remove_file(&program);
        Self(child)
    }

    /// The next line that it prints.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        let output = self.0.stdout.as_mut().expect("its output");
        // Whoever prints nothing has ended, at the latest when the server has.
        BufReader::new(output).read_line(&mut line).expect("a line");
        line
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn plugin() -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let folders = test.ancestors().skip(1).take(2);
    let mut files = folders.map(|folder| folder.join("libgstrtsp2.so"));
    files.find(|file| file.exists()).expect("the built plugin")
}
