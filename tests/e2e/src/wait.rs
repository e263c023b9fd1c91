//! Waiting for what somebody else does, with a limit and a reason.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Nothing new for so long: what is waited for does not come. The whole wait may take longer on a busy host.
pub(crate) const SILENCE: Duration = Duration::from_secs(60);
/// Even where something new comes again and again.
const LONGEST: Duration = Duration::from_secs(600);
/// The first pause between two looks; each is longer than the one before, up to the last.
const PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_millis(200);

/// How long nothing new was seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Silence {
    began: Instant,
    news: Instant,
}

impl Silence {
    pub(crate) fn begin() -> Self {
        Self { began: Instant::now(), news: Instant::now() }
    }

    /// Something new was seen.
    pub(crate) fn broken(&mut self) {
        self.news = Instant::now();
    }

    pub(crate) fn is_too_long(&self) -> bool {
        self.news.elapsed() > SILENCE || self.began.elapsed() > LONGEST
    }
}

/// Looks again and again until `good` holds; the last look is in the failure, which comes when the looks stay the same for long.
#[track_caller]
pub(crate) fn until<T: Debug>(what: &str, mut look: impl FnMut() -> T, mut good: impl FnMut(&T) -> bool) -> T {
    let mut silence = Silence::begin();
    let mut pause = PAUSE;
    let mut before = String::new();
    loop {
        let seen = look();
        if good(&seen) {
            return seen;
        }
        let now = format!("{seen:?}");
        if now != before {
            silence.broken();
            before = now;
        }
        assert!(!silence.is_too_long(), "waited {:?} for: {what}\nseen last: {seen:#?}", silence.began.elapsed());
        std::thread::sleep(pause);
        pause = LAST_PAUSE.min(pause * 3 / 2);
    }
}

/// `good` holds now and goes on holding for a while.
#[track_caller]
pub(crate) fn stays<T: Debug>(what: &str, how_long: Duration, mut look: impl FnMut() -> T, good: impl Fn(&T) -> bool) {
    let end = Instant::now() + how_long;
    while Instant::now() < end {
        let seen = look();
        assert!(good(&seen), "did not stay: {what}\nseen: {seen:#?}");
        std::thread::sleep(LAST_PAUSE);
    }
}
