//! The parent's end of a child process: lines out, lines in, every wait bounded.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const ANSWER: Duration = Duration::from_secs(60);

pub type Error = Box<dyn std::error::Error>;

/// This program again, in another role. Killed when dropped.
pub struct Role {
    child: Child,
    lines: Receiver<String>,
}

/// `word key=value key=value …`
pub struct Answer(HashMap<String, String>);

impl Answer {
    pub fn get<T: std::str::FromStr>(&self, key: &str) -> Result<T, Error> {
        let value = self
            .0
            .get(key)
            .ok_or_else(|| format!("no {key} in the answer"))?;
        value
            .parse()
            .map_err(|_| format!("{key}={value} is not what it should be").into())
    }
}

impl Role {
    pub fn start(role: &str, args: &[String]) -> Result<Self, Error> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(role)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("stdout is piped")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, lines })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn line(&self) -> Result<String, Error> {
        self.lines.recv_timeout(ANSWER).map_err(|e| match e {
            RecvTimeoutError::Timeout => format!("no answer within {ANSWER:?}").into(),
            RecvTimeoutError::Disconnected => "the process ended".into(),
        })
    }

    pub fn ask(&mut self, command: &str) -> Result<Answer, Error> {
        let stdin = self.child.stdin.as_mut().ok_or("stdin is piped")?;
        writeln!(stdin, "{command}")?;
        let line = self.line().map_err(|e| format!("{command}: {e}"))?;
        let pairs = line.split_whitespace().filter_map(|w| w.split_once('='));
        Ok(Answer(
            pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        ))
    }

    /// Stops the process where it is, as a hung server.
    pub fn freeze(&self) -> Result<(), Error> {
        Ok(kill(
            Pid::from_raw(i32::try_from(self.child.id())?),
            Signal::SIGSTOP,
        )?)
    }

    pub fn end(&mut self) {
        // It has ended already if this fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        self.end();
    }
}
