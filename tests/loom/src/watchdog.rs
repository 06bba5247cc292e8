//! Permits, and the watchdog that may sleep while there is nothing to watch.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};
use loom::thread::{park, spawn, yield_now};

use crate::all_orders;
use crate::permits::Permits;

#[test]
fn no_permit_is_given_twice() {
    all_orders(3, || {
        let (permits, held) = (Arc::new(Permits::new(1)), Arc::new(AtomicUsize::new(0)));
        let push = |permits: &Permits, held: &AtomicUsize| {
            if let Some(permit) = permits.acquire(1) {
                assert_eq!(held.fetch_add(1, AcqRel), 0);
                permit.push_begins(2);
                held.fetch_sub(1, AcqRel);
            }
        };
        let threads = [(); 2].map(|()| {
            let (permits, held) = (permits.clone(), held.clone());
            spawn(move || push(&permits, &held))
        });
        push(&permits, &held);
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(permits.acquire(1).is_some(), "it came back");
    });
}

/// A push blocks until the watchdog has seen it. Were the watchdog asleep meanwhile, both would wait
/// for ever, and loom would say so.
#[test]
fn the_watchdog_is_awake_while_a_push_is_under_way() {
    all_orders(2, || {
        let permits = Arc::new(Permits::new(1));
        let (seen, done) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let watchdog = spawn({
            let (permits, seen, done) = (permits.clone(), seen.clone(), done.clone());
            move || {
                while !done.load(Acquire) {
                    if permits.is_idle() && !done.load(Acquire) {
                        park();
                    }
                    if permits.is_stuck(10, 5) {
                        seen.store(true, Release);
                    }
                    yield_now();
                }
            }
        });
        if permits.watch() {
            watchdog.thread().unpark();
        }
        let permit = permits.acquire(1).expect("the only one");
        // It outlives its delivery.
        permits.unwatch();
        while !seen.load(Acquire) {
            yield_now();
        }
        drop(permit);
        done.store(true, Release);
        watchdog.thread().unpark();
        watchdog.join().unwrap();
        assert!(permits.is_idle());
    });
}
