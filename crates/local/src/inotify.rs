//! Changes of directories, by inotify(7).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use tokio::io::unix::AsyncFd;

/// A descriptor with the reactor.
///
/// # Errors
/// There is no reactor, or it is full.
pub fn registered<T: AsFd + AsRawFd>(owner: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: what is registered owns its descriptor, always gives the same, and is closed only when dropped, after it was taken out again.
    #[expect(unsafe_code, reason = "a type can give any number as its descriptor; those here give their own")]
    let registered = unsafe { AsyncFd::register(owner) };
    registered.map_err(Into::into)
}

/// A watch on some directories.
#[derive(Debug)]
pub struct Inotify(AsyncFd<OwnedFd>);

impl Inotify {
    /// Of these directories, from now on.
    ///
    /// # Errors
    /// A directory cannot be watched.
    pub fn of(directories: &[&Path], changes: WatchFlags) -> io::Result<Self> {
        let watcher = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        for directory in directories {
            inotify::add_watch(&watcher, *directory, changes)?;
        }
        Ok(Self(registered(watcher)?))
    }

    /// Waits until something has changed since the last time.
    ///
    /// # Errors
    /// The watch is of no more use.
    pub async fn changed(&self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            let drained = ready.try_io(|watcher| {
                let mut space = [MaybeUninit::uninit(); 4096];
                let mut reader = Reader::new(watcher.get_ref(), &mut space);
                let mut some = false;
                loop {
                    match reader.next() {
                        Ok(_) => some = true,
                        Err(rustix::io::Errno::AGAIN) if some => return Ok(()),
                        Err(error) => return Err(error.into()),
                    }
                }
            });
            if let Ok(outcome) = drained {
                return outcome;
            }
        }
    }
}
