//! Doing something inside another network namespace.

use std::io;
use std::os::fd::BorrowedFd;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Runs the work in a thread of its own, which dies with the namespace it has gone into.
pub(super) fn within<T: Send>(namespace: BorrowedFd<'_>, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?;
            work()
        });
        inside.join().unwrap_or_else(|_| Err(io::Error::other("the thread inside the namespace died")))
    })
}
