//! A value that many wait for. They are woken in the order in which they began to wait, so that what follows is the same whenever it is simulated again;
//! Tokio's own wakes them in one that it rolls dice for. Otherwise as `tokio::sync::watch`.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::Notify;

/// Nobody can change the value any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody changes it any more")]
pub struct Closed;

#[derive(Debug)]
struct Shared<T> {
    value: RwLock<T>,
    changes: AtomicU64,
    closed: AtomicBool,
    moved: Notify,
}

impl<T> Shared<T> {
    fn read(&self) -> RwLockReadGuard<'_, T> {
        self.value.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// The value, and how often it was changed until then.
    fn seen(&self) -> (RwLockReadGuard<'_, T>, u64) {
        let value = self.read();
        let changes = self.changes();
        (value, changes)
    }
}

/// Whoever changes the value.
pub struct Sender<T>(Arc<Shared<T>>);

/// Whoever waits for it to change.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

/// Both ends of a new one.
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let sender = Sender::new(value);
    let receiver = sender.subscribe();
    (sender, receiver)
}

impl<T> Sender<T> {
    /// One that has this value.
    pub fn new(value: T) -> Self {
        Self(Arc::new(Shared {
            value: RwLock::new(value),
            changes: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            moved: Notify::new(),
        }))
    }

    /// The value, which stays as it is for as long as this is held.
    pub fn borrow(&self) -> RwLockReadGuard<'_, T> {
        self.0.read()
    }

    /// One that waits for the next change.
    pub fn subscribe(&self) -> Receiver<T> {
        Receiver { shared: self.0.clone(), seen: self.0.changes() }
    }

    /// Changes the value and wakes everybody.
    pub fn send_modify(&self, change: impl FnOnce(&mut T)) {
        {
            let mut value = self.0.value.write().unwrap_or_else(PoisonError::into_inner);
            change(&mut value);
            self.0.changes.fetch_add(1, Ordering::SeqCst);
        }
        self.0.moved.notify_waiters();
    }

    /// Puts another value in its place; gives the one before.
    pub fn send_replace(&self, value: T) -> T {
        let mut before = value;
        self.send_modify(|value| std::mem::swap(value, &mut before));
        before
    }
}

impl<T: Default> Default for Sender<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::SeqCst);
        self.0.moved.notify_waiters();
    }
}

impl<T: fmt::Debug> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&self.0.value).finish()
    }
}

impl<T> Receiver<T> {
    /// The value, which stays as it is for as long as this is held.
    pub fn borrow(&self) -> RwLockReadGuard<'_, T> {
        self.shared.read()
    }

    /// The same, after which it counts as seen.
    pub fn borrow_and_update(&mut self) -> RwLockReadGuard<'_, T> {
        let (value, changes) = self.shared.seen();
        self.seen = changes;
        value
    }

    /// What has changed until now counts as seen.
    pub fn mark_unchanged(&mut self) {
        self.seen = self.shared.changes();
    }

    /// Waits until it was changed since it was seen last; then it counts as seen.
    ///
    /// # Errors
    /// Nobody changes it any more.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        loop {
            let moved = self.shared.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            let changes = self.shared.changes();
            if changes != self.seen {
                self.seen = changes;
                return Ok(());
            }
            if self.shared.closed.load(Ordering::SeqCst) {
                return Err(Closed);
            }
            moved.await;
        }
    }

    /// Waits until the value is so, as it may be already; then it counts as seen.
    ///
    /// # Errors
    /// Nobody changes it any more.
    pub async fn wait_for(&mut self, mut is: impl FnMut(&T) -> bool) -> Result<RwLockReadGuard<'_, T>, Closed> {
        loop {
            let fits = {
                let (value, changes) = self.shared.seen();
                self.seen = changes;
                is(&value)
            };
            if fits {
                return Ok(self.shared.read());
            }
            self.changed().await?;
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), seen: self.seen }
    }
}

impl<T: fmt::Debug> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("value", &self.shared.value).field("seen", &self.seen).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn they_are_woken_in_the_order_in_which_they_began_to_wait() {
        let (sender, woken) = (Sender::new(0), Arc::new(Mutex::new(Vec::new())));
        let waiting: Vec<_> = (0..20)
            .map(|number| {
                let (mut receiver, woken) = (sender.subscribe(), woken.clone());
                tokio::spawn(async move {
                    receiver.wait_for(|value| *value == 1).await.map(drop)?;
                    woken.lock().unwrap_or_else(PoisonError::into_inner).push(number);
                    Ok::<(), Closed>(())
                })
            })
            .collect();
        tokio::task::yield_now().await;
        assert_eq!(sender.send_replace(1), 0);
        for one in waiting {
            assert!(matches!(one.await, Ok(Ok(()))));
        }
        assert_eq!(*woken.lock().unwrap_or_else(PoisonError::into_inner), (0..20).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_change_is_seen_once_and_the_end_is_reported() {
        let (sender, mut receiver) = channel(1);
        sender.send_modify(|value| *value += 1);
        assert_eq!((receiver.changed().await, *receiver.borrow()), (Ok(()), 2));
        sender.send_modify(|value| *value += 1);
        receiver.mark_unchanged();
        drop(sender);
        assert_eq!(receiver.changed().await, Err(Closed));
        assert!(receiver.wait_for(|value| *value == 3).await.is_ok());
    }
}
