//! Following a log by reading it again and again.
//!
//! Podman 4's own follow loses lines, thousands under load, and its times are whole seconds. Each look reads the log from the
//! beginning and passes over what was given; looks are spaced so that they cost a fifth of the time at most.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use hythe_runtime::{InstanceRef, LogLine, LogStream, MAX_LOG_TAIL, Result};
use tokio::time::Instant;

use super::{OPERATION, Reading};
use crate::context::Context;

const SHORTEST_PAUSE: Duration = Duration::from_millis(150);
/// Pause in lengths of the look before it.
const PAUSE_PER_LOOK: u32 = 4;

/// Lines until the instance has ended, and the last of them.
pub(super) fn polled(context: Context, instance: InstanceRef, reading: Reading) -> LogStream {
    let follower = Follower {
        context,
        instance,
        reading,
        ready: VecDeque::new(),
        held: None,
        pause: Duration::ZERO,
        ended: false,
    };
    stream::unfold(follower, |mut follower| async move { follower.next().await.map(|line| (line, follower)) }).boxed()
}

struct Follower {
    context: Context,
    instance: InstanceRef,
    reading: Reading,
    ready: VecDeque<LogLine>,
    /// The last line of the last look; it may have been seen half-written, and is given once it is there again.
    held: Option<LogLine>,
    pause: Duration,
    ended: bool,
}

impl Follower {
    async fn next(&mut self) -> Option<Result<LogLine>> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                self.reading.skip += 1;
                return Some(Ok(line));
            }
            if self.ended {
                return None;
            }
            tokio::time::sleep(self.pause).await;
            let began = Instant::now();
            if let Err(error) = self.look().await {
                self.ended = true;
                // Removed as soon as it ended.
                return (!error.is_not_found()).then_some(Err(error));
            }
            self.pause = (began.elapsed() * PAUSE_PER_LOOK).max(SHORTEST_PAUSE);
        }
    }

    async fn look(&mut self) -> Result<()> {
        // Asked before reading: what is written after the answer "ended" does not exist.
        let container = self.context.container(OPERATION, &self.instance).await?;
        let lives = matches!(container.state.status.as_str(), "running" | "paused" | "stopping");
        let once = Reading { follow: false, until: None, ..self.reading };
        let mut lines = self.context.lines(&container, once, !lives).await?;
        let mut bytes = 0;
        while let Some(line) = lines.next().await.transpose()? {
            bytes += line.line.len();
            self.ready.push_back(line);
            if bytes > MAX_LOG_TAIL {
                // The next look goes on there.
                self.held = None;
                return Ok(());
            }
        }
        self.ended = !lives;
        if lives {
            let last = self.ready.pop_back();
            if last.is_some() && last == self.held {
                self.ready.extend(last);
            } else {
                self.held = last;
            }
        }
        Ok(())
    }
}
