//! What holds the preroll until the server is ready to record.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

/// Closed until all SETUPs are done; it is shared by the streams of one start.
#[derive(Default)]
pub(super) struct Gate {
    open: AtomicBool,
    waiting: Mutex<()>,
    changed: Condvar,
}

impl Gate {
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    pub fn open(&self) {
        self.open.store(true, Ordering::Release);
        self.wake();
    }

    /// Makes those who wait look at their reason to leave.
    pub fn wake(&self) {
        // Taken, so that nobody is between looking and waiting.
        drop(self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Waits until the gate is open; false if `leave` came true before.
    pub fn wait(&self, leave: &AtomicBool) -> bool {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let still = |_: &mut ()| !self.is_open() && !leave.load(Ordering::Acquire);
        drop(
            self.changed
                .wait_while(waiting, still)
                .unwrap_or_else(PoisonError::into_inner),
        );
        self.is_open()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_wait_ends_when_the_gate_opens_or_the_waiter_is_called_off() {
        let gate = Arc::new(Gate::default());
        let leave = Arc::new(AtomicBool::new(false));
        let waiter = |gate: &Arc<Gate>, leave: &Arc<AtomicBool>| {
            let (gate, leave) = (gate.clone(), leave.clone());
            std::thread::spawn(move || gate.wait(&leave))
        };
        let called_off = waiter(&gate, &leave);
        leave.store(true, Ordering::Release);
        gate.wake();
        assert!(!called_off.join().unwrap());
        leave.store(false, Ordering::Release);
        let let_in = waiter(&gate, &leave);
        gate.open();
        assert!(let_in.join().unwrap());
        assert!(gate.wait(&AtomicBool::new(true)), "open is open");
    }
}
