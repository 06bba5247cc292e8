//! What a script says about the client.

use std::time::{Duration, Instant};

use gst::prelude::*;

use crate::script::{Line, Script, expand};
use crate::server::Server;
use crate::support::mini::lock;
use crate::support::player::{Log, PATIENCE, Player};

/// What a hostile script may cost unless it says otherwise: MiB, and time up to the end and for
/// the stop alone. The machine may be slow; what grows without a bound is over it all the same.
const HOSTILE_MEMORY: u64 = 64;
const HOSTILE_TIME: Duration = Duration::from_secs(60);
const HOSTILE_STOP: Duration = Duration::from_secs(5);

/// A step of the RTP time that no frame makes: 10 s at 90 kHz.
const JUMP: u32 = 900_000;

struct Run {
    player: Player,
    server: Server,
    begin: Instant,
    /// Memory in use before anything was received, in KiB.
    memory: u64,
}

pub fn run(script: Script) {
    crate::support::init();
    let server = Server::start(&script);
    let address = server.address.to_string();
    let expand = |text: &str| {
        expand(text, |name| match name {
            "address" => Some(address.clone()),
            "url" => Some(format!("rtsp://{address}/live")),
            name => script.variables.get(name).cloned(),
        })
    };
    let mut player = Player::new(&expand(&script.url));
    for (name, value) in &script.properties {
        player = player.with_str(name, &expand(value));
    }
    // From here on the peak counts (proc_pid_clear_refs(5)).
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let run = Run {
        memory: memory("VmRSS:"),
        begin: Instant::now(),
        player: player.play(),
        server,
    };
    for line in &script.checks {
        run.check(line);
    }
    let stop = run.player.state(gst::State::Null);
    let passed = run.begin.elapsed();
    if script.name.contains("/hostile/") {
        let says = |what: &str| script.checks.iter().any(|line| line.word(0) == what);
        let more = run.memory_used();
        assert!(says("memory") || more <= HOSTILE_MEMORY, "{more} MiB");
        assert!(says("within") || passed <= HOSTILE_TIME, "{passed:?}");
        assert!(stop <= HOSTILE_STOP, "stopped after {stop:?}");
    }
    run.server.finish();
}

/// A field of `/proc/self/status`, in KiB.
fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.expect("a number")
}

impl Run {
    /// At most so far, in MiB.
    fn memory_used(&self) -> u64 {
        memory("VmHWM:").saturating_sub(self.memory) / 1024
    }

    fn check(&self, line: &Line) {
        let place = &line.place;
        let words = line.words.get(1..).unwrap_or_default();
        match line.word(0) {
            "pads" => self.wait(line, |log| {
                let mut pads: Vec<_> = log.pads.iter().map(|(p, _)| p.name().to_string()).collect();
                pads.sort();
                pads.dedup();
                log.no_more_pads > 0 && pads == words
            }),
            "caps" => self.caps(line),
            "packets" => {
                let count: usize = line.word(2).parse().expect("a number");
                self.wait(line, |log| log.packets(line.word(1)).len() >= count);
            }
            "flows" => {
                let before = self.player.log(|log| log.packets(line.word(1)).len());
                self.wait(line, |log| log.packets(line.word(1)).len() >= before + 10);
            }
            "seqs" => {
                let wanted = ranges(words.get(1..).unwrap_or_default());
                self.wait(line, |log| log.packets(line.word(1)).len() >= wanted.len());
                let mut came = self.player.log(|log| {
                    let packets = log.packets(line.word(1));
                    packets.iter().map(|p| p.seq).collect::<Vec<_>>()
                });
                came.truncate(wanted.len());
                assert_eq!(came, wanted, "{place}");
            }
            "steady" => {
                // Every frame is later than the one before, and by no more than that.
                let most = millis(line.word(2));
                let times = self.player.log(|log| {
                    let packets = log.packets(line.word(1));
                    let times = packets.iter().map(|p| (p.rtp_time, p.pts));
                    times.collect::<Vec<_>>()
                });
                for pair in times.windows(2) {
                    let [(rtp, Some(a)), (next, Some(b))] = pair else {
                        panic!("{place}: no time: {pair:?}");
                    };
                    // Where the timestamps jump, time may stand still for one frame.
                    let ticks = next.wrapping_sub(*rtp).cast_signed();
                    let jumps = ticks.unsigned_abs() > JUMP;
                    let stands = a == b && (ticks == 0 || jumps);
                    assert!(a < b || stands, "{place}: {a} before {b}");
                    let step = Duration::from_nanos((*b - *a).nseconds());
                    assert!(step <= most, "{place}: {step:?} from {a} to {b}");
                }
            }
            "together" => self.together(line),
            "quirk" => self.until(line, || self.quirks().iter().any(|q| q == line.word(1))),
            "quirks" => {
                let mut wanted = words.to_vec();
                wanted.sort();
                self.until(line, || self.quirks() == wanted);
            }
            "error" => self.error(line),
            "no" => self.absent(line),
            "warning" => self.wait(line, |log| {
                let warnings = log.of_type(gst::MessageType::Warning);
                warnings.iter().any(|message| match message.view() {
                    gst::MessageView::Warning(warning) => {
                        let text = warning.error().to_string();
                        words.iter().all(|word| text.contains(word.as_str()))
                    }
                    _ => false,
                })
            }),
            "message" => {
                let count = line.number("count", 1) as usize;
                self.player.told(line.word(1), count);
            }
            "eos" => self.wait(line, |log| {
                !log.events(line.word(1), gst::EventType::Eos).is_empty()
            }),
            "stats" => self.stats(line),
            "memory" => {
                let most: u64 = line.word(1).trim_end_matches('M').parse().expect("MiB");
                let more = self.memory_used();
                assert!(more <= most, "{place}: {more} MiB");
            }
            "within" => {
                let passed = self.begin.elapsed();
                assert!(passed <= millis(line.word(1)), "{place}: {passed:?}");
            }
            "connections" => {
                let wanted: usize = line.word(1).parse().expect("a number");
                self.until(line, || lock(&self.server.seen).connections >= wanted);
                assert_eq!(lock(&self.server.seen).connections, wanted, "{place}");
            }
            "reports" => {
                let wanted: usize = line.word(1).parse().expect("a number");
                self.until(line, || lock(&self.server.seen).reports >= wanted);
            }
            "requests" => {
                let wanted: usize = line.word(2).parse().expect("a number");
                let count = || {
                    let seen = lock(&self.server.seen);
                    seen.requests.iter().filter(|m| *m == line.word(1)).count()
                };
                self.until(line, || count() >= wanted);
                assert_eq!(count(), wanted, "{place}");
            }
            "pause" => {
                self.player.state(gst::State::Paused);
            }
            "play" => {
                self.player.state(gst::State::Playing);
            }
            "stop" => {
                let took = self.player.state(gst::State::Null);
                assert!(took <= millis(line.word(1)), "{place}: {took:?}");
            }
            other => panic!("{place}: no check {other}"),
        }
    }

    fn quirks(&self) -> Vec<String> {
        let quirks = self
            .player
            .stats()
            .get::<gst::List>("quirks")
            .expect("quirks");
        let mut quirks: Vec<String> = quirks.iter().filter_map(|q| q.get().ok()).collect();
        quirks.sort();
        quirks
    }

    /// Waits for something that the log shows.
    fn wait(&self, line: &Line, done: impl Fn(&Log) -> bool) {
        self.until(line, || self.player.log(&done));
    }

    /// Waits for anything.
    fn until(&self, line: &Line, done: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done() {
            let failed = lock(&self.server.seen).errors.clone();
            assert!(failed.is_empty(), "{}: server: {failed:#?}", line.place);
            if Instant::now() >= deadline {
                let seen = lock(&self.server.seen).requests.clone();
                panic!(
                    "{}: {:?} not within {PATIENCE:?}\nrequests {seen:?}\nstats {}\n{}",
                    line.place,
                    line.words.join(" "),
                    self.player.stats(),
                    self.player.log(Log::summary)
                );
            }
            // Something else may show it than the log, whose changes wake this.
            let count = self.player.log(Log::count);
            let slice = Duration::from_millis(10);
            self.player.wait_for(slice, |log| log.count() != count);
        }
    }

    /// `together stream_0 9000/90000 stream_1 800/8000 20`: these RTP times, with their clock rates,
    /// are of one moment within so many milliseconds, as the newest packets show.
    fn together(&self, line: &Line) {
        let within = millis(line.word(5));
        // When what has this RTP time is shown, in nanoseconds.
        let shown = |log: &Log, pad: &str, moment: &str| {
            let packet = log.packets(pad).last().copied().cloned()?;
            let (rtp, rate) = moment.split_once('/').expect("an RTP time and a rate");
            let (rtp, rate): (u32, i64) = (rtp.parse().ok()?, rate.parse().ok()?);
            let ticks = i64::from(packet.rtp_time.wrapping_sub(rtp).cast_signed());
            let pts = i64::try_from(packet.pts?.nseconds()).ok()?;
            Some(pts - ticks * 1_000_000_000 / rate)
        };
        self.wait(line, |log| {
            let one = shown(log, line.word(1), line.word(2));
            let other = shown(log, line.word(3), line.word(4));
            let (Some(one), Some(other)) = (one, other) else {
                return false;
            };
            Duration::from_nanos(one.abs_diff(other)) <= within
        });
    }

    fn caps(&self, line: &Line) {
        let shows = |log: &Log| {
            let events = log.events(line.word(1), gst::EventType::Caps);
            let Some(gst::EventView::Caps(caps)) = events.last().map(|event| event.view()) else {
                return false;
            };
            let caps = caps.caps();
            let Some(caps) = caps.structure(0) else {
                return false;
            };
            line.words.iter().skip(2).all(|word| {
                if let Some(name) = word.strip_prefix('-') {
                    return !caps.has_field(name);
                }
                let (name, wanted) = word.split_once('=').unwrap_or((word, ""));
                let value = caps.value(name).ok().and_then(|value| {
                    value.get::<String>().ok().or_else(|| {
                        let value = value.serialize().ok()?;
                        Some(value.to_string())
                    })
                });
                value.as_deref() == Some(wanted)
            })
        };
        self.wait(line, shows);
    }

    /// `error resource NotFound 404 "part of the text"`.
    fn error(&self, line: &Line) {
        self.wait(line, |log| !log.errors().is_empty());
        let errors = self.player.log(Log::errors);
        let error = errors.first().expect("an error");
        let kind = match line.word(1) {
            "resource" => error
                .kind::<gst::ResourceError>()
                .map(|kind| format!("{kind:?}")),
            "stream" => error
                .kind::<gst::StreamError>()
                .map(|kind| format!("{kind:?}")),
            other => panic!("{}: no domain {other}", line.place),
        };
        let wanted = match line.word(2) {
            "*" => kind.as_deref(),
            code => Some(code),
        };
        assert!(
            kind.is_some() && kind.as_deref() == wanted,
            "{}: {error} {kind:?}",
            line.place
        );
        for part in line.words.iter().skip(3) {
            let text = error.to_string();
            assert!(text.contains(part.as_str()), "{}: {text}", line.place);
        }
    }

    fn absent(&self, line: &Line) {
        let place = &line.place;
        match line.word(1) {
            "error" => self.player.has_no_error(),
            "warning" => {
                let warnings = self.player.log(|log| {
                    let warnings = log.of_type(gst::MessageType::Warning);
                    warnings
                        .iter()
                        .map(|w| format!("{w:?}"))
                        .collect::<Vec<_>>()
                });
                assert!(warnings.is_empty(), "{place}: {warnings:?}");
            }
            "duration" => {
                let duration = self.player.src.query_duration::<gst::ClockTime>();
                assert_eq!(duration, None, "{place}");
            }
            "quirk" => {
                let quirks = self.quirks();
                let found = quirks.iter().any(|quirk| quirk == line.word(2));
                assert!(!found, "{place}: {quirks:?}");
            }
            "message" => {
                let name = format!("rtspsrc2-{}", line.word(2));
                let told = self.player.log(|log| log.told(&name).len());
                assert_eq!(told, 0, "{place}");
            }
            "eos" => {
                let eos = |log: &Log| log.events(line.word(2), gst::EventType::Eos).len();
                assert_eq!(self.player.log(eos), 0, "{place}");
            }
            other => panic!("{place}: no check no {other}"),
        }
    }

    /// `stats [stream_N] name=value name>=value`.
    fn stats(&self, line: &Line) {
        let mut words = line.words.iter().skip(1).peekable();
        let stream = words.next_if(|word| word.starts_with("stream_"));
        let conditions: Vec<&String> = words.collect();
        self.until(line, || {
            let stats = match stream {
                None => self.player.stats(),
                Some(name) => {
                    let streams = self.player.stats().get::<gst::List>("streams");
                    let streams = streams.expect("streams");
                    let mut streams = streams
                        .iter()
                        .filter_map(|s| s.get::<gst::Structure>().ok());
                    let found = streams.find(|s| s.get::<&str>("name").ok() == Some(name.as_str()));
                    match found {
                        Some(found) => found,
                        None => return false,
                    }
                }
            };
            conditions.iter().all(|condition| {
                let (name, wanted) = condition.split_once('=').expect("a condition");
                let (name, at_least) = match name.strip_suffix('>') {
                    Some(name) => (name, true),
                    None => (name, false),
                };
                let Ok(value) = stats.value(name) else {
                    return false;
                };
                let number = value.get::<u64>().ok().or_else(|| {
                    let value = value.get::<u32>().ok()?;
                    Some(u64::from(value))
                });
                match number {
                    Some(number) if at_least => number >= wanted.parse::<u64>().expect("a number"),
                    Some(number) => number == wanted.parse::<u64>().expect("a number"),
                    None => value.get::<String>().is_ok_and(|value| value == wanted),
                }
            })
        });
    }
}

/// `1 2 5..8` are 1, 2, 5, 6, 7, 8; they wrap.
fn ranges(words: &[String]) -> Vec<u16> {
    let number = |text: &str| text.parse::<u16>().expect("a number");
    let mut numbers = Vec::new();
    for word in words {
        let (first, last) = word.split_once("..").unwrap_or((word, word));
        let (first, last) = (number(first), number(last));
        let count = last.wrapping_sub(first);
        numbers.extend((0..=count).map(|n| first.wrapping_add(n)));
    }
    numbers
}

fn millis(text: &str) -> Duration {
    Duration::from_millis(text.trim_end_matches("ms").parse().expect("milliseconds"))
}
