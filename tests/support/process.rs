//! Real peers in processes of their own.
//!
//! Every child is killed when its guard is dropped, and every wait is bounded.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a server may take until it is ready, on a busy machine.
const START: Duration = Duration::from_secs(30);

/// Looks at `condition` until it holds, at most for `limit`.
pub fn wait_for(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A child that does not outlive the test.
pub struct Process(Child);

impl Process {
    pub fn spawn(command: &mut Command) -> Self {
        let child = command.spawn();
        Self(child.unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id() as i32), signal).expect("the child is there");
    }

    pub fn is_running(&mut self) -> bool {
        self.0.try_wait().expect("the child is ours").is_none()
    }

    /// Waits for the end; a child that takes longer than `limit` fails the test.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        wait_for("the end of a child", limit, || !self.is_running());
        self.0.wait().expect("the child is ours")
    }

    /// Its standard output until it ends; the pipe is read meanwhile.
    pub fn output(&mut self, limit: Duration) -> (ExitStatus, String) {
        let mut stdout = self.0.stdout.take().expect("a piped output");
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut stdout, &mut text).map(|_| text)
        });
        let status = self.wait(limit);
        (status, reader.join().unwrap().unwrap_or_default())
    }

    /// Ends it as a power cut does: nothing is said to its clients.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A gst-rtsp-server: the example `server`.
pub struct Server {
    process: Process,
    url: String,
    prefix: Vec<String>,
    args: Vec<String>,
}

impl Server {
    pub fn start(args: &[&str]) -> Self {
        Self::start_through(&[], args)
    }

    /// Through another command, such as `ip netns exec name`.
    pub fn start_through(prefix: &[&str], args: &[&str]) -> Self {
        let own = |list: &[&str]| list.iter().map(|text| text.to_string()).collect::<Vec<_>>();
        let (prefix, args) = (own(prefix), own(args));
        let (process, url) = spawn_server(&prefix, &args).expect("the server starts");
        Self {
            process,
            url,
            prefix,
            args,
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL with a login in it.
    pub fn url_of(&self, login: &str) -> String {
        self.url.replacen("://", &format!("://{login}@"), 1)
    }

    pub fn kill(&mut self) {
        self.process.kill();
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Starts it again where it was.
    pub fn restart(&mut self) {
        let port = self
            .url
            .rsplit(':')
            .next()
            .and_then(|rest| rest.split('/').next());
        let mut args = self.args.clone();
        args.extend(["--port".into(), port.expect("a port").into()]);
        let deadline = Instant::now() + START;
        loop {
            if let Some((process, url)) = spawn_server(&self.prefix, &args) {
                assert_eq!(url, self.url);
                self.process = process;
                return;
            }
            assert!(Instant::now() < deadline, "the port does not become free");
        }
    }
}

fn spawn_server(prefix: &[String], args: &[String]) -> Option<(Process, String)> {
    let server = example("server");
    let mut words = prefix.iter().map(OsStr::new).chain([server.as_os_str()]);
    let mut command = Command::new(words.next().expect("at least the server"));
    command
        .args(words)
        .args(args)
        // The server ends when this end of the pipe is closed.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut process = Process::spawn(&mut command);
    let stdout = process.0.stdout.take().expect("piped");
    let (sender, line) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = BufReader::new(stdout).read_line(&mut text);
        // Nobody listens any more after a timeout.
        let _ = sender.send(read.map(|_| text));
    });
    let url = line.recv_timeout(START).expect("the server starts in time");
    let url = url.expect("readable output").trim().to_owned();
    url.starts_with("rtsp").then_some((process, url))
}

/// A program under `examples/`. `cargo test` builds them all; `cargo test --test` none.
fn example(name: &str) -> PathBuf {
    static BUILD: Once = Once::new();
    let executable = std::env::current_exe().expect("a test has a file");
    let target = executable.ancestors().nth(2).expect("target/profile/deps");
    let path = target.join("examples").join(name);
    BUILD.call_once(|| {
        if !path.exists() {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut build = Command::new(cargo);
            build.args(["build", "--quiet", "--example", name]);
            build.current_dir(env!("CARGO_MANIFEST_DIR"));
            build
                .arg("--target-dir")
                .arg(target.parent().expect("target"));
            if !cfg!(debug_assertions) {
                build.arg("--release");
            }
            assert!(
                build.status().is_ok_and(|status| status.success()),
                "{build:?}"
            );
        }
    });
    path
}

/// `gst-launch-1.0` with the plugin that this test was built with.
pub fn gst_launch() -> Command {
    gst_tool("gst-launch-1.0")
}

/// A program of GStreamer with the plugin that this test was built with.
pub fn gst_tool(name: &str) -> Command {
    let executable = std::env::current_exe().expect("a test has a file");
    let library = executable.with_file_name("libgstrtsp2.so");
    assert!(library.exists(), "{} is missing", library.display());
    // A folder that holds nothing else is scanned fast.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugins");
    std::fs::create_dir_all(&folder).expect("a folder");
    let link = folder.join("libgstrtsp2.so");
    if std::fs::read_link(&link).ok().as_deref() != Some(&*library) {
        // Another test may be quicker.
        let _ = std::fs::remove_file(&link);
        let _ = std::os::unix::fs::symlink(&library, &link);
    }
    let mut command = Command::new(name);
    command
        .env("GST_PLUGIN_PATH", &folder)
        .env("GST_REGISTRY", folder.with_file_name("registry.bin"))
        // A SIGINT for the terminal's group is not for it.
        .process_group(0)
        .stdin(Stdio::null());
    command
}

/// A folder that goes with its test; readable for other users.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("rtsp2-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
