//! Logs of instances.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use hythe_runtime::{InstanceRef, LogLine, LogOptions, LogStream, LogTail, Logs, OpContext, Result, watched};
use tokio_util::sync::CancellationToken;

use crate::Memory;
use crate::console::Console;

#[async_trait]
impl Logs for Memory {
    async fn logs(&self, cx: &OpContext, instance: &InstanceRef, options: &LogOptions) -> Result<LogStream> {
        self.engine.answer(cx, "logs", async { open(self, cx, instance, options) }).await
    }
}

fn open(memory: &Memory, cx: &OpContext, instance: &InstanceRef, options: &LogOptions) -> Result<LogStream> {
    let world = memory.engine.world();
    let instance = world.find("logs", instance)?;
    let console = Arc::clone(&instance.console);
    let run = instance.run.as_ref().map(|run| run.ended.clone()).filter(|_| options.follow);
    drop(world);
    match run {
        None => {
            let lines = last(console.snapshot(), options);
            Ok(stream::iter(lines.into_iter().map(Ok)).boxed())
        }
        Some(ended) => Ok(follow(console, ended, cx.cancel.clone(), options)),
    }
}

fn last(lines: Vec<LogLine>, options: &LogOptions) -> Vec<LogLine> {
    let lines = lines.into_iter().filter(|line| in_time(line, options));
    let Some(wanted) = options.tail else { return lines.collect() };
    let mut tail = LogTail::new(wanted);
    for line in lines {
        tail.push(line);
    }
    tail.into_lines().into()
}

fn in_time(line: &LogLine, options: &LogOptions) -> bool {
    line.time.is_none_or(|time| {
        options.since.is_none_or(|since| time >= since) && options.until.is_none_or(|until| time < until)
    })
}

struct Follower {
    console: Arc<Console>,
    growth: watched::Receiver<u64>,
    ended: CancellationToken,
    cancel: CancellationToken,
    options: LogOptions,
    /// Lines taken from the console.
    taken: usize,
    ready: std::collections::VecDeque<LogLine>,
}

fn follow(
    console: Arc<Console>,
    ended: CancellationToken,
    cancel: CancellationToken,
    options: &LogOptions,
) -> LogStream {
    let growth = console.growth();
    let lines = console.lines_from(0);
    let taken = lines.len();
    let ready = last(lines, options).into();
    let follower = Follower { console, growth, ended, cancel, options: options.clone(), taken, ready };
    stream::unfold(follower, next).boxed()
}

async fn next(mut follower: Follower) -> Option<(Result<LogLine>, Follower)> {
    loop {
        if let Some(line) = follower.ready.pop_front() {
            return Some((Ok(line), follower));
        }
        follower.growth.mark_unchanged();
        let ended = follower.ended.is_cancelled();
        let lines = follower.console.lines_from(follower.taken);
        follower.taken += lines.len();
        follower.ready.extend(lines.into_iter().filter(|line| in_time(line, &follower.options)));
        if !follower.ready.is_empty() {
            continue;
        }
        if ended || follower.cancel.is_cancelled() {
            return None;
        }
        tokio::select! {
            biased;
            _ = follower.growth.changed() => {}
            () = follower.ended.cancelled() => {}
            () = follower.cancel.cancelled() => {}
            () = until(&follower.options) => return None,
        }
    }
}

async fn until(options: &LogOptions) {
    let left = options.until.map(|at| at.duration_since(jiff::Timestamp::now()));
    match left {
        Some(left) => tokio::time::sleep(left.try_into().unwrap_or_default()).await,
        None => std::future::pending().await,
    }
}
