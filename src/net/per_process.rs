//! Process-wide state that a forked child does not inherit.

use std::sync::{Arc, Mutex, PoisonError};

/// A value made on first use, and made anew in a forked child (Python's
/// `multiprocessing`): there the threads that the old value relied on are gone.
#[derive(Debug)]
pub struct PerProcess<T> {
    slot: Mutex<Option<(u32, Arc<T>)>>,
    make: fn() -> T,
}

impl<T> PerProcess<T> {
    /// A slot whose value comes from `make`.
    pub const fn new(make: fn() -> T) -> Self {
        Self {
            slot: Mutex::new(None),
            make,
        }
    }

    /// The value of this process.
    pub fn get(&self) -> Arc<T> {
        self.get_for(std::process::id())
    }

    fn get_for(&self, pid: u32) -> Arc<T> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((owner, value)) = &*slot
            && *owner == pid
        {
            return value.clone();
        }
        let value = Arc::new((self.make)());
        // The parent's value is never dropped: its drop could wait for threads that this process
        // does not have.
        std::mem::forget(slot.replace((pid, value.clone())));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_per_process() {
        static SLOT: PerProcess<Vec<u8>> = PerProcess::new(Vec::new);
        let first = SLOT.get_for(1);
        assert!(Arc::ptr_eq(&first, &SLOT.get_for(1)));
        let child = SLOT.get_for(2);
        assert!(!Arc::ptr_eq(&first, &child));
        assert!(Arc::ptr_eq(&child, &SLOT.get_for(2)));
    }
}
