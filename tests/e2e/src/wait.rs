//! Waiting for what somebody else does, with a limit and a reason.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Long enough for a slow machine; a trial that waits so long has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);

/// Looks again and again until `good` holds; the last look is in the failure.
#[track_caller]
pub(crate) fn until<T: Debug>(what: &str, mut look: impl FnMut() -> T, mut good: impl FnMut(&T) -> bool) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        let seen = look();
        if good(&seen) {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited {} s for: {what}\nseen last: {seen:#?}", LIMIT.as_secs());
        std::thread::sleep(PAUSE);
    }
}

/// `good` holds now and goes on holding for a while.
#[track_caller]
pub(crate) fn stays<T: Debug>(what: &str, how_long: Duration, mut look: impl FnMut() -> T, good: impl Fn(&T) -> bool) {
    let end = Instant::now() + how_long;
    while Instant::now() < end {
        let seen = look();
        assert!(good(&seen), "did not stay: {what}\nseen: {seen:#?}");
        std::thread::sleep(PAUSE);
    }
}
