//! `rtspsrc2` against servers that behave as the files under `tests/scripts` say: one test for
//! each file, without compiling anything when one is added. docs/quirks.md lists what they show.
//!
//! A test runs in a process of its own, so that what it says about memory is about it alone.

#[path = "../support/mod.rs"]
mod support;

mod check;
mod docs;
mod packets;
mod script;
mod server;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;

/// The only test that is no script.
const DOCS: &str = "docs::quirks_and_scripts_are_listed";
/// Options of the test runner that have a value.
const WITH_VALUE: [&str; 5] = [
    "--format",
    "--test-threads",
    "--skip",
    "--color",
    "--logfile",
];

fn main() -> ExitCode {
    let mut filters = Vec::new();
    let mut flags = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if WITH_VALUE.contains(&argument.as_str()) {
            arguments.next();
        } else if argument.starts_with('-') {
            flags.push(argument);
        } else {
            filters.push(argument);
        }
    }
    let flag = |name: &str| flags.iter().any(|flag| flag == name);
    let mut names: Vec<String> = files().iter().map(|file| name(file)).collect();
    names.push(DOCS.into());
    if flag("--ignored") {
        names.clear();
    }
    if flag("--list") {
        names.iter().for_each(|name| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let exact = flag("--exact");
    names.retain(|name| {
        let matches = |filter: &String| match exact {
            true => name == filter,
            false => name.contains(filter.as_str()),
        };
        filters.is_empty() || filters.iter().any(matches)
    });
    if exact && names.len() == 1 {
        run(&names[0]);
        return ExitCode::SUCCESS;
    }
    run_all(names)
}

fn run(test: &str) {
    if test == DOCS {
        return docs::check(&folder(), &files());
    }
    let file = files().into_iter().find(|file| name(file) == test);
    check::run(script::read(&folder(), &file.expect("a script")));
}

/// Each in a child of this process.
fn run_all(names: Vec<String>) -> ExitCode {
    let this = std::env::current_exe().expect("a path");
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get());
    let (total, names) = (names.len(), Mutex::new(VecDeque::from(names)));
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let Some(name) = support::mini::lock(&names).pop_front() else {
                        return;
                    };
                    let mut child = Command::new(&this);
                    child.args(["--exact", &name]).stdin(Stdio::null());
                    let output = child.output().expect("a child");
                    if output.status.success() {
                        println!("test {name} ... ok");
                    } else {
                        let text = String::from_utf8_lossy(&output.stderr);
                        println!("test {name} ... FAILED\n{text}");
                        support::mini::lock(&failed).push(name);
                    }
                }
            });
        }
    });
    let failed = support::mini::lock(&failed);
    println!(
        "\n{} of {total} passed; failed: {failed:?}",
        total - failed.len()
    );
    ExitCode::from(if failed.is_empty() { 0 } else { 101 })
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts")
}

/// All scripts, in order.
fn files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for part in ["quirks", "hostile", "dialects"] {
        let entries = std::fs::read_dir(folder().join(part)).expect("the folder");
        files.extend(entries.map(|entry| entry.expect("an entry").path()));
    }
    files.retain(|file| file.extension().is_some_and(|kind| kind == "rtsp"));
    files.sort();
    files
}

/// `quirks/longse.rtsp` is `quirks::longse`.
fn name(file: &Path) -> String {
    let relative = file.strip_prefix(folder()).expect("below the folder");
    let parts = relative.with_extension("");
    let parts: Vec<_> = parts.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("::")
}
