//! epoll with a timer.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// The clock's token.
pub(super) const TICK: u64 = 0;
const EVENTS: usize = 64;

/// What a descriptor is watched for; nothing at all: it is not watched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Interest {
    pub(super) read: bool,
    pub(super) write: bool,
}

impl Interest {
    pub(super) const READ: Self = Self { read: true, write: false };

    fn flags(self) -> EventFlags {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, self.read);
        flags.set(EventFlags::OUT, self.write);
        flags
    }

    fn is_none(self) -> bool {
        self == Self::default()
    }
}

#[derive(Debug)]
pub(super) struct Poller {
    epoll: OwnedFd,
    timer: OwnedFd,
    /// Seconds between two ticks.
    period: i64,
    ticking: bool,
}

impl Poller {
    /// A poller whose timer, once on, ticks every `period` seconds.
    pub(super) fn new(period: i64) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &timer, EventData::new_u64(TICK), EventFlags::IN)?;
        Ok(Self { epoll, timer, period, ticking: false })
    }

    /// What is ready; with `wait` at least one thing.
    pub(super) fn ready(&self, wait: bool) -> io::Result<Vec<(u64, EventFlags)>> {
        let mut events = Vec::with_capacity(EVENTS);
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let timeout = if wait { None } else { Some(&now) };
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), timeout) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(events.iter().map(|event| (event.data.u64(), event.flags)).collect())
    }

    pub(super) fn watch(&self, source: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, source, EventData::new_u64(token), interest.flags())?)
    }

    /// Changes what is watched for. A descriptor watched for nothing is let go: the kernel would tell of its end over and over.
    pub(super) fn change(&self, source: impl AsFd, token: u64, from: Interest, to: Interest) -> io::Result<()> {
        match (from.is_none(), to.is_none()) {
            _ if from == to => Ok(()),
            (true, _) => self.watch(source, token, to),
            (_, true) => self.forget(source),
            _ => Ok(epoll::modify(&self.epoll, source, EventData::new_u64(token), to.flags())?),
        }
    }

    pub(super) fn forget(&self, source: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, source)?)
    }

    pub(super) fn tick_on(&mut self) -> io::Result<()> {
        if self.ticking {
            return Ok(());
        }
        self.ticking = true;
        self.set(self.period)
    }

    pub(super) fn tick_off(&mut self) -> io::Result<()> {
        self.ticking = false;
        self.set(0)
    }

    pub(super) fn tick_seen(&self) {
        // Nothing to read: it was read before.
        let _ = rustix::io::read(&self.timer, &mut [0; 8]);
    }

    fn set(&self, seconds: i64) -> io::Result<()> {
        let period = Timespec { tv_sec: seconds, tv_nsec: 0 };
        let timer = Itimerspec { it_interval: period, it_value: period };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &timer)?;
        Ok(())
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
