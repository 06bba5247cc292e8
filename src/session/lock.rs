//! Locking that outlives a panic.

use super::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, whether or not a holder has panicked: a task that panics posts an
/// element error, and the others go on.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
