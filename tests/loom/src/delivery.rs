//! A delivery in small: a reader that adds, a task and a thread that take.

use std::collections::VecDeque;
use std::time::Duration;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, Ordering::*};
use loom::sync::{Arc, Notify};
use loom::thread::{JoinHandle, spawn};

use crate::all_orders;
use crate::handover::{Backlog, Handover, Turn};

#[derive(Default)]
struct Items {
    queued: VecDeque<u32>,
    closed: bool,
}

impl Backlog for Items {
    fn is_empty(&self) -> bool {
        self.queued.is_empty()
    }

    fn is_closed(&self) -> bool {
        self.closed
    }
}

struct Delivery {
    queue: Handover<Items>,
    task: Notify,
    /// Loom fails the test if two are in here at once.
    pad: UnsafeCell<()>,
    /// The next push takes long.
    slow: AtomicBool,
    pushed: Notify,
    taken: loom::sync::Mutex<Vec<u32>>,
}

impl Delivery {
    fn new(slow: bool) -> Arc<Self> {
        Arc::new(Self {
            queue: Handover::new(Items::default()),
            task: Notify::new(),
            pad: UnsafeCell::new(()),
            slow: AtomicBool::new(slow),
            pushed: Notify::new(),
            taken: loom::sync::Mutex::new(Vec::new()),
        })
    }

    fn add(&self, item: u32) {
        let add = |items: &mut Items| items.queued.push_back(item);
        self.queue.change(add, || self.task.notify());
    }

    fn close(&self) {
        let close = |items: &mut Items| {
            items.queued.clear();
            items.closed = true;
        };
        self.queue.change(close, || {});
        self.task.notify();
    }

    fn drain(&self) {
        while let Some(item) = self.queue.with(|items| items.queued.pop_front()) {
            self.pad.with_mut(|_| self.taken.lock().unwrap().push(item));
            self.pushed.notify();
        }
    }

    /// The task; it hands over once, to a thread that goes back when there is nothing left.
    fn run(this: &Arc<Self>, keep: bool) {
        let mut threads: Vec<JoinHandle<()>> = Vec::new();
        loop {
            this.task.wait();
            match this.queue.turn() {
                Turn::End => break,
                Turn::Rest => {}
                Turn::Push if this.slow.swap(false, AcqRel) => {
                    if this.queue.to_thread() {
                        let delivery = this.clone();
                        threads.push(spawn(move || {
                            while delivery.queue.wait(Duration::from_secs(1), || keep) {
                                delivery.drain();
                            }
                        }));
                    }
                }
                Turn::Push => this.drain(),
            }
        }
        for thread in threads {
            thread.join().unwrap();
        }
    }

    fn wait_for(&self, count: usize) {
        while self.taken.lock().unwrap().len() < count {
            self.pushed.wait();
        }
    }
}

/// Loom fails the test if somebody waits for ever, as for an item that nobody takes.
fn all_is_pushed_in_order(slow: bool, keep: bool) {
    all_orders(3, move || {
        let delivery = Delivery::new(slow);
        let task = spawn({
            let delivery = delivery.clone();
            move || Delivery::run(&delivery, keep)
        });
        delivery.add(1);
        delivery.add(2);
        delivery.wait_for(2);
        assert_eq!(*delivery.taken.lock().unwrap(), [1, 2]);
        delivery.close();
        task.join().unwrap();
    });
}

#[test]
fn a_task_pushes_all_in_order() {
    all_is_pushed_in_order(false, false);
}

#[test]
fn a_thread_that_stays_pushes_all_in_order() {
    all_is_pushed_in_order(true, true);
}

#[test]
fn a_thread_that_goes_back_to_the_task_leaves_nothing_behind() {
    all_is_pushed_in_order(true, false);
}

/// Closed at any time: nobody is left waiting, nothing is pushed out of order.
fn a_close_ends_both(slow: bool, keep: bool) {
    all_orders(3, move || {
        let delivery = Delivery::new(slow);
        let task = spawn({
            let delivery = delivery.clone();
            move || Delivery::run(&delivery, keep)
        });
        delivery.add(1);
        delivery.add(2);
        delivery.close();
        task.join().unwrap();
        let taken = delivery.taken.lock().unwrap();
        assert!([1, 2].starts_with(&taken), "{taken:?}");
    });
}

#[test]
fn a_close_ends_the_task() {
    a_close_ends_both(false, false);
}

#[test]
fn a_close_ends_task_and_thread() {
    a_close_ends_both(true, true);
}

#[test]
fn a_close_while_the_thread_goes_back_ends_both() {
    a_close_ends_both(true, false);
}

#[test]
fn a_thread_that_cannot_be_started_gives_the_queue_back() {
    all_orders(3, || {
        let delivery = Delivery::new(false);
        let task = spawn({
            let delivery = delivery.clone();
            move || {
                delivery.task.wait();
                if delivery.queue.to_thread() {
                    delivery.queue.take_back();
                }
                // As the task does: it tries again.
                delivery.drain();
                Delivery::run(&delivery, false);
            }
        });
        delivery.add(1);
        delivery.add(2);
        delivery.wait_for(2);
        delivery.close();
        task.join().unwrap();
    });
}
