//! What a process holds, for tests that run alone in one.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gst::prelude::*;

const MARK: &str = "RTSP2_TEST_ALONE";

/// A child that does not outlive its test.
struct Child(std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `test`, whose full name is `name`, in a process of its own with GStreamer's tracer of leaks.
/// `prefix` is a command such as `ip netns exec name`.
pub fn alone(name: &str, prefix: &[&str], limit: Duration, test: impl FnOnce()) {
    if std::env::var_os(MARK).is_some() {
        return test();
    }
    let this = std::env::current_exe().expect("a test has a file");
    let mut words = prefix.to_vec();
    words.push(this.to_str().expect("a path in UTF-8"));
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .args(["--exact", name, "--nocapture"])
        .env(MARK, "1")
        .env("GST_TRACERS", "leaks")
        // Else the size of the heap depends on which thread freed what.
        .env("MALLOC_ARENA_MAX", "1")
        .stdin(Stdio::null());
    let mut child = Child(command.spawn().expect("the test runs again"));
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.0.try_wait().expect("the child is ours") {
            break status;
        }
        assert!(Instant::now() < deadline, "{name}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success(), "{name} alone: {status}");
}

/// Threads, descriptors (and with them ports), and objects of GStreamer by their type.
#[derive(Debug, Clone, Default)]
pub struct Held {
    pub threads: usize,
    pub files: usize,
    pub objects: BTreeMap<String, usize>,
}

impl Held {
    pub fn now() -> Self {
        let count = |folder| std::fs::read_dir(folder).map_or(0, |entries| entries.count());
        Self {
            threads: count("/proc/self/task"),
            files: count("/proc/self/fd"),
            objects: objects(),
        }
    }

    /// What there is more of now than in `before`; empty if there is nothing.
    fn more_than(&self, before: &Self) -> String {
        let mut more = String::new();
        if self.threads > before.threads {
            let _ = writeln!(more, "threads {} > {}", self.threads, before.threads);
        }
        if self.files > before.files {
            let _ = writeln!(more, "descriptors {} > {}", self.files, before.files);
        }
        for (kind, count) in &self.objects {
            let was = before.objects.get(kind).copied().unwrap_or(0);
            if *count > was {
                let _ = writeln!(more, "{kind} {count} > {was}");
            }
        }
        more
    }

    /// Waits until no more is held than this; what winds down by itself may take its time.
    #[track_caller]
    pub fn comes_back(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        loop {
            let more = Self::now().more_than(self);
            if more.is_empty() {
                return;
            }
            if Instant::now() > deadline {
                panic!("left behind:\n{more}threads: {:?}", names_of_threads());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The live objects that the tracer knows, by type. It is asked to log them: the list that it can
/// give has one reference too few to each (GStreamer 1.22).
fn objects() -> BTreeMap<String, usize> {
    let tracers = gst::active_tracers();
    let tracer = tracers
        .iter()
        .find(|tracer| tracer.type_().name() == "GstLeaksTracer")
        .expect("GST_TRACERS=leaks");
    let category = gst::DebugCategory::get("GST_TRACER").expect("the log of tracers");
    let objects = Arc::new(Mutex::new(BTreeMap::new()));
    gst::log::remove_default_log_function();
    let counted = objects.clone();
    let log = gst::log::add_log_function(move |of, _, _, _, _, _, message| {
        let text = message.get().unwrap_or_default();
        if of.name() == "GST_TRACER" && text.starts_with("object-alive") {
            let kind = text
                .split("type-name=(string)")
                .nth(1)
                .and_then(|rest| rest.split([',', ';']).next())
                .expect("a type");
            let mut counted = counted.lock().expect("a lock");
            *counted.entry(kind.to_owned()).or_insert(0) += 1;
        }
    });
    category.set_threshold(gst::DebugLevel::Trace);
    tracer.emit_by_name::<()>("log-live-objects", &[]);
    category.set_threshold(gst::DebugLevel::None);
    gst::log::remove_log_function(log);
    let objects = std::mem::take(&mut *objects.lock().expect("a lock"));
    assert!(!objects.is_empty(), "the registry at least");
    objects
}

fn names_of_threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("procfs");
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .map(|name| name.trim_end().to_owned())
        .collect()
}

/// Bytes of memory that are this process's own.
pub fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<usize>().ok());
    kilobytes.expect("RssAnon") * 1024
}
