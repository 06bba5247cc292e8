//! Names to addresses, on threads of their own.
//!
//! `getaddrinfo` blocks, for half a minute when a name server is dead, so it
//! runs on at most `THREADS` threads that do nothing else. A thousand
//! cameras behind one name are one lookup.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::per_process::PerProcess;
use crate::rtsp::limits;

/// Lookups that run at the same time.
const THREADS: usize = 4;
/// How long an answer is used again. The system gives no TTL.
const CACHE: Duration = Duration::from_secs(30);

static SHARED: PerProcess<Resolver> = PerProcess::new(|| Resolver::new(system_lookup));

/// The addresses of `host`, in the order in which the system prefers them
/// (RFC 6724), each with `port`. IP addresses, also in brackets, need no lookup.
pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let bare = host
        .strip_prefix('[')
        .and_then(|h| h.strip_suffix(']'))
        .unwrap_or(host);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let mut addresses = SHARED.get().addresses(bare).await?.to_vec();
    for address in &mut addresses {
        address.set_port(port);
    }
    Ok(addresses)
}

fn system_lookup(host: &str) -> io::Result<Vec<SocketAddr>> {
    Ok((host, 0).to_socket_addrs()?.collect())
}

type Lookup = fn(&str) -> io::Result<Vec<SocketAddr>>;
/// An answer as all who wait for it get it (`io::Error` cannot be cloned).
type Answer = Result<Arc<[SocketAddr]>, (io::ErrorKind, Arc<str>)>;

struct Resolver {
    lookup: Lookup,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    names: HashMap<Arc<str>, Entry>,
    queue: VecDeque<Arc<str>>,
    threads: usize,
}

enum Entry {
    Pending(Vec<oneshot::Sender<Answer>>),
    Known {
        at: Instant,
        addresses: Arc<[SocketAddr]>,
    },
}

impl Resolver {
    fn new(lookup: Lookup) -> Self {
        Self {
            lookup,
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn addresses(self: &Arc<Self>, host: &str) -> io::Result<Arc<[SocketAddr]>> {
        let name: Arc<str> = host.to_ascii_lowercase().into();
        let answer = {
            let mut state = self.lock();
            match state.names.get_mut(&name) {
                Some(Entry::Known { at, addresses }) if at.elapsed() < CACHE => {
                    return Ok(addresses.clone());
                }
                Some(Entry::Pending(waiting)) => {
                    let (tell, answer) = oneshot::channel();
                    waiting.retain(|w| !w.is_closed());
                    waiting.push(tell);
                    answer
                }
                _ => {
                    state.make_room()?;
                    let (tell, answer) = oneshot::channel();
                    state.names.insert(name.clone(), Entry::Pending(vec![tell]));
                    state.queue.push_back(name);
                    self.start_thread(&mut state)?;
                    answer
                }
            }
        };
        match answer.await {
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err((kind, text))) => Err(io::Error::new(kind, text.to_string())),
            Err(_) => Err(io::Error::other("the lookup was given up")),
        }
    }

    /// One more thread if the pool allows it. Threads end when the queue is empty.
    fn start_thread(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        if state.threads >= THREADS {
            return Ok(());
        }
        let resolver = self.clone();
        let spawned = std::thread::Builder::new()
            .name("rtsp2-dns".to_owned())
            .spawn(move || resolver.work());
        match spawned {
            Ok(_) => state.threads = state.threads.saturating_add(1),
            Err(_) if state.threads > 0 => {}
            Err(error) => {
                // Nobody would ever answer.
                while let Some(name) = state.queue.pop_front() {
                    state.names.remove(&name);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn work(&self) {
        loop {
            let name = {
                let mut state = self.lock();
                let Some(name) = state.queue.pop_front() else {
                    state.threads = state.threads.saturating_sub(1);
                    return;
                };
                // A dead name server takes half a minute for each name.
                if state.is_given_up(&name) {
                    state.names.remove(&name);
                    continue;
                }
                name
            };
            let answer: Answer = match (self.lookup)(&name) {
                Ok(addresses) if addresses.is_empty() => {
                    Err((io::ErrorKind::NotFound, "the name has no address".into()))
                }
                Ok(mut addresses) => {
                    addresses.truncate(limits::DNS_ADDRESSES);
                    Ok(addresses.into())
                }
                Err(error) => Err((error.kind(), error.to_string().into())),
            };
            let mut state = self.lock();
            let entry = match &answer {
                Ok(addresses) => state.names.insert(
                    name,
                    Entry::Known {
                        at: Instant::now(),
                        addresses: addresses.clone(),
                    },
                ),
                // Failures are not kept: a name server that is back is used at once.
                Err(_) => state.names.remove(&name),
            };
            drop(state);
            if let Some(Entry::Pending(waiting)) = entry {
                for tell in waiting {
                    // One who no longer waits has dropped the other end.
                    let _ = tell.send(answer.clone());
                }
            }
        }
    }
}

impl State {
    /// Nobody waits for this name any more.
    fn is_given_up(&self, name: &str) -> bool {
        match self.names.get(name) {
            Some(Entry::Pending(waiting)) => waiting.iter().all(oneshot::Sender::is_closed),
            _ => false,
        }
    }

    fn make_room(&mut self) -> io::Result<()> {
        if self.names.len() < limits::DNS_NAMES {
            return Ok(());
        }
        self.names
            .retain(|_, e| !matches!(e, Entry::Known { at, .. } if at.elapsed() >= CACHE));
        if self.names.len() < limits::DNS_NAMES {
            return Ok(());
        }
        self.names
            .retain(|_, entry| matches!(entry, Entry::Pending(_)));
        if self.names.len() < limits::DNS_NAMES {
            return Ok(());
        }
        Err(io::Error::other("too many names are being looked up"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Barrier, mpsc};

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap()
            .block_on(async {
                tokio::time::timeout(Duration::from_secs(10), future)
                    .await
                    .unwrap()
            })
    }

    fn loopback(_: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(vec!["127.0.0.1:0".parse().unwrap()])
    }

    #[test]
    fn literals_need_no_lookup() {
        block_on(async {
            for (host, expected) in [
                ("192.0.2.7", "192.0.2.7:554"),
                ("::1", "[::1]:554"),
                ("[fd00::2]", "[fd00::2]:554"),
            ] {
                let expected: Vec<SocketAddr> = vec![expected.parse().unwrap()];
                assert_eq!(resolve(host, 554).await.unwrap(), expected, "{host}");
            }
        });
    }

    #[test]
    fn names_are_looked_up_by_the_system() {
        let addresses = block_on(resolve("localhost", 8554)).unwrap();
        assert!(
            addresses
                .iter()
                .all(|a| a.ip().is_loopback() && a.port() == 8554)
        );
        assert!(!addresses.is_empty());
    }

    #[test]
    fn one_lookup_for_all_who_ask_and_then_from_the_cache() {
        static LOOKUPS: AtomicUsize = AtomicUsize::new(0);
        static GATE: Mutex<()> = Mutex::new(());
        fn counted(_: &str) -> io::Result<Vec<SocketAddr>> {
            LOOKUPS.fetch_add(1, Ordering::SeqCst);
            drop(GATE.lock());
            loopback("")
        }
        let resolver = Arc::new(Resolver::new(counted));
        block_on(async {
            let tasks: Vec<_> = {
                let _closed = GATE.lock().unwrap();
                let tasks = (0..20)
                    .map(|i| {
                        let resolver = resolver.clone();
                        let name = if i % 2 == 0 {
                            "cam.example"
                        } else {
                            "CAM.example"
                        };
                        tokio::spawn(async move { resolver.addresses(name).await })
                    })
                    .collect();
                while LOOKUPS.load(Ordering::SeqCst) == 0 {
                    std::thread::yield_now();
                }
                tasks
            };
            for task in tasks {
                assert_eq!(task.await.unwrap().unwrap().len(), 1);
            }
            resolver.addresses("cam.example").await.unwrap();
        });
        assert_eq!(LOOKUPS.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn failures_reach_all_who_ask_and_are_not_kept() {
        static LOOKUPS: AtomicUsize = AtomicUsize::new(0);
        fn first_fails(_: &str) -> io::Result<Vec<SocketAddr>> {
            match LOOKUPS.fetch_add(1, Ordering::SeqCst) {
                0 => Err(io::Error::new(io::ErrorKind::NotFound, "no such name")),
                1 => Ok(Vec::new()),
                _ => loopback(""),
            }
        }
        let resolver = Arc::new(Resolver::new(first_fails));
        block_on(async {
            let error = resolver.addresses("a").await.unwrap_err();
            assert_eq!(
                (error.kind(), error.to_string()),
                (io::ErrorKind::NotFound, "no such name".into())
            );
            assert!(
                resolver.addresses("a").await.is_err(),
                "a name without an address is an error"
            );
            resolver.addresses("a").await.unwrap();
        });
    }

    #[test]
    fn at_most_four_lookups_run_at_once() {
        static RUNNING: AtomicUsize = AtomicUsize::new(0);
        static MOST: AtomicUsize = AtomicUsize::new(0);
        static BARRIER: Barrier = Barrier::new(THREADS);
        fn counted(_: &str) -> io::Result<Vec<SocketAddr>> {
            let running = RUNNING.fetch_add(1, Ordering::SeqCst) + 1;
            MOST.fetch_max(running, Ordering::SeqCst);
            // Only a full pool gets past this.
            BARRIER.wait();
            RUNNING.fetch_sub(1, Ordering::SeqCst);
            loopback("")
        }
        let resolver = Arc::new(Resolver::new(counted));
        block_on(async {
            let tasks: Vec<_> = (0..3 * THREADS)
                .map(|i| {
                    let resolver = resolver.clone();
                    tokio::spawn(async move { resolver.addresses(&format!("host{i}")).await })
                })
                .collect();
            for task in tasks {
                task.await.unwrap().unwrap();
            }
        });
        assert_eq!(MOST.load(Ordering::SeqCst), THREADS);
    }

    #[test]
    fn the_cache_is_bounded() {
        fn many(_: &str) -> io::Result<Vec<SocketAddr>> {
            Ok(vec![
                "127.0.0.1:0".parse().unwrap();
                limits::DNS_ADDRESSES + 1
            ])
        }
        let resolver = Arc::new(Resolver::new(many));
        block_on(async {
            for i in 0..=limits::DNS_NAMES {
                let addresses = resolver.addresses(&format!("host{i}")).await.unwrap();
                assert_eq!(addresses.len(), limits::DNS_ADDRESSES);
                assert!(resolver.lock().names.len() <= limits::DNS_NAMES);
            }
        });
    }

    #[test]
    fn a_name_that_nobody_waits_for_is_not_looked_up() {
        static ASKED: Mutex<Vec<String>> = Mutex::new(Vec::new());
        static GATE: Mutex<()> = Mutex::new(());
        fn gated(name: &str) -> io::Result<Vec<SocketAddr>> {
            ASKED.lock().unwrap().push(name.to_owned());
            drop(GATE.lock());
            loopback("")
        }
        let resolver = Arc::new(Resolver::new(gated));
        block_on(async {
            let waiting: Vec<_> = {
                let _closed = GATE.lock().unwrap();
                let ask = |name: String| {
                    let resolver = resolver.clone();
                    tokio::spawn(async move { resolver.addresses(&name).await })
                };
                let waiting: Vec<_> = (0..THREADS).map(|i| ask(format!("host{i}"))).collect();
                while ASKED.lock().unwrap().len() < THREADS {
                    std::thread::yield_now();
                }
                let given_up = ask("given-up".into());
                while !resolver.lock().names.contains_key("given-up") {
                    std::thread::yield_now();
                }
                given_up.abort();
                while !given_up.is_finished() {
                    std::thread::yield_now();
                }
                waiting
            };
            for task in waiting {
                task.await.unwrap().unwrap();
            }
            // The queue is worked off before a thread ends.
            resolver.addresses("last").await.unwrap();
            while resolver.lock().threads > 0 {
                std::thread::yield_now();
            }
        });
        let asked = ASKED.lock().unwrap();
        assert!(asked.iter().any(|name| name == "last"));
        assert!(!asked.iter().any(|name| name == "given-up"), "{asked:?}");
        assert!(!resolver.lock().names.contains_key("given-up"));
    }

    #[test]
    fn one_who_gives_up_disturbs_nobody() {
        static GO: Mutex<Option<mpsc::Receiver<()>>> = Mutex::new(None);
        fn gated(_: &str) -> io::Result<Vec<SocketAddr>> {
            if let Some(go) = GO.lock().unwrap().take() {
                go.recv().unwrap();
            }
            loopback("")
        }
        let (open, go) = mpsc::channel();
        *GO.lock().unwrap() = Some(go);
        let resolver = Arc::new(Resolver::new(gated));
        block_on(async {
            let given_up = tokio::time::timeout(Duration::ZERO, resolver.addresses("a")).await;
            assert!(given_up.is_err());
            let second = tokio::spawn({
                let resolver = resolver.clone();
                async move { resolver.addresses("a").await }
            });
            open.send(()).unwrap();
            second.await.unwrap().unwrap();
        });
    }
}
