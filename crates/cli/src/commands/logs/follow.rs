//! Lines of a workload as they come, over its restarts and replacements.

use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};
use hythe_api::{Desired, Instance, LogLine, LogQuery, SecretsQuery, Workload, WorkloadState};
use hythe_client::{Client, ClientError, Items};
use jiff::{SignedDuration, Timestamp};

/// Time between two checks of a workload that has ended.
const LOOK: Duration = Duration::from_millis(300);
/// Agent and engine report slightly different times for the start of one run.
const SAME: SignedDuration = SignedDuration::from_secs(2);
/// What runs so many looks after its lines have ended is another run, whatever its times say.
const SURELY: u32 = 10;

/// What comes of a workload that is followed.
#[derive(Debug)]
pub(super) enum Came {
    Line(LogLine),
    /// The lines after this are of another run, and of which.
    Again(String),
}

struct Follow {
    client: Client,
    name: String,
    query: LogQuery,
    lines: Option<Items<LogLine>>,
    run: Option<Instance>,
    last: Option<Timestamp>,
}

/// Goes on until the workload ends for good, or is stopped.
pub(super) fn follow(
    client: Client,
    workload: &Workload,
    query: LogQuery,
    lines: Items<LogLine>,
) -> BoxStream<'static, Result<Came, ClientError>> {
    let (name, run) = (workload.name.clone(), workload.instance.clone());
    let start = Follow { client, name, query, lines: Some(lines), run, last: None };
    stream::unfold(start, |mut follow| async move { follow.next().await.map(|came| (came, follow)) }).boxed()
}

impl Follow {
    async fn next(&mut self) -> Option<Result<Came, ClientError>> {
        if let Some(lines) = &mut self.lines {
            match lines.next().await {
                Some(Ok(line)) => {
                    self.last = line.time.or(self.last);
                    return Some(Ok(Came::Line(line)));
                }
                Some(Err(error)) => {
                    self.lines = None;
                    self.query.follow = false;
                    return Some(Err(error));
                }
                None => self.lines = None,
            }
        }
        if !self.query.follow || self.query.until.is_some_and(|until| until <= hythe_host::now()) {
            return None;
        }
        match self.run_again().await {
            Ok(Some(words)) => Some(Ok(Came::Again(words))),
            Ok(None) => None,
            Err(error) => {
                self.query.follow = false;
                Some(Err(error))
            }
        }
    }

    /// Waits for the next run and opens its lines; `None`: there will be none.
    async fn run_again(&mut self) -> Result<Option<String>, ClientError> {
        for look in 0.. {
            tokio::time::sleep(LOOK).await;
            let workload = match self.client.workload(&self.name, &SecretsQuery::default()).await {
                Ok(detail) => detail.workload,
                Err(error) if error.is_not_found() => return Ok(None),
                Err(error) => return Err(error),
            };
            let over =
                matches!(workload.state, WorkloadState::Completed | WorkloadState::Failed | WorkloadState::Stopped);
            if over || workload.desired != Desired::Running {
                return Ok(None);
            }
            let Some(instance) = workload.instance.filter(|_| workload.state == WorkloadState::Running) else {
                continue;
            };
            let replaced = self.run.as_ref().is_none_or(|run| run.id != instance.id);
            if !replaced && look < SURELY && self.run.as_ref().is_some_and(|run| is_same(run, &instance)) {
                continue;
            }
            let nanosecond = SignedDuration::from_nanos(1);
            let since = if replaced { None } else { self.last.map(|last| last + nanosecond).or(instance.started) };
            let query = LogQuery { tail: None, since, ..self.query.clone() };
            self.lines = Some(self.client.logs(&self.name, &query).await?);
            let words = match replaced {
                true => format!("`{}` goes on as `{}`", self.name, instance.name),
                false => format!("`{}` was started again", self.name),
            };
            self.run = Some(instance);
            return Ok(Some(words));
        }
        Ok(None)
    }
}

fn is_same(run: &Instance, now: &Instance) -> bool {
    match (run.started, now.started) {
        (Some(before), Some(after)) => after.duration_since(before).abs() < SAME,
        _ => true,
    }
}
