//! After a replacement: the old instance goes, or comes back with the reason told.

use std::time::Duration;

use futures_util::StreamExt;
use hythe_runtime::{Error, LogOptions};
use hythe_store::{HealthState, InstanceRecord, Phase};
use serde_json::json;

use super::Worker;
use super::instance::reference;

/// Log lines quoted when a workload fails.
const QUOTED_LINES: u64 = 10;

impl Worker {
    /// The current instance is good; the old one is no longer needed.
    pub(crate) async fn retire_previous(&mut self) -> Result<(), Error> {
        self.update(Vec::new(), |observed| {
            if let Some(current) = &mut observed.current {
                current.proven = true;
            }
        })?;
        let Some(previous) = self.observed().previous else { return Ok(()) };
        self.phase("removing", "removing the instance it replaced");
        self.discard(&previous).await?;
        self.update(Vec::new(), |observed| {
            observed.previous = None;
            observed.gave_up = None;
        })
    }

    /// An attempt failed for good: back to the old instance where there is one.
    pub(crate) async fn fail(&mut self, error: Error) {
        let logs = self.last_lines().await;
        let error = quote(error, &logs);
        self.unproven = false;
        let rolled_back = match self.observed().previous {
            Some(previous) => Some(self.roll_back(previous, &error).await),
            None => None,
        };
        match rolled_back {
            Some(Ok(())) => {}
            Some(Err(second)) => {
                self.failed(&format!("{}; rolling back failed too: {}", error.message(), second.message()), &logs)
            }
            None => self.failed(error.message(), &logs),
        }
        self.phase("failed", error.message());
        self.answer(Err(error));
    }

    pub(super) fn failed(&self, reason: &str, logs: &[String]) {
        let unhealthy = self.observed().health == HealthState::Unhealthy;
        let event = self.event("failed", reason, json!({ "logs": logs, "exit": self.observed().exit }));
        self.note(vec![event], |observed| {
            observed.message = Some(reason.to_owned());
            observed.next_try = None;
            if !unhealthy {
                observed.phase = Phase::Failed;
            }
        });
    }

    pub(super) async fn roll_back(&mut self, previous: InstanceRecord, error: &Error) -> Result<(), Error> {
        self.stop_probing();
        let generation = self.desired().generation;
        self.phase("removing", format!("rolling back to generation {}", previous.generation));
        if let Some(current) = self.observed().current {
            self.discard(&current).await?;
        }
        let runtime = self.runtime(&previous.runtime)?;
        runtime.start(&self.context(), &reference(&previous)).await?;
        let message =
            format!("generation {generation} failed, rolled back to {}: {}", previous.generation, error.message());
        let event = self.event("rolled-back", message.clone(), json!({ "generation": previous.generation }));
        self.update(vec![event], |observed| {
            observed.current = observed.previous.take();
            observed.gave_up = Some(generation);
            observed.phase = Phase::Running;
            observed.message = Some(message);
            observed.next_try = None;
        })?;
        self.refresh().await;
        Ok(())
    }

    pub(super) async fn last_lines(&self) -> Vec<String> {
        let Some(current) = self.observed().current else {
            return Vec::new();
        };
        let Ok(runtime) = self.runtime(&current.runtime) else {
            return Vec::new();
        };
        let Some(logs) = runtime.logs() else {
            return Vec::new();
        };
        let options = LogOptions { tail: Some(QUOTED_LINES), ..LogOptions::default() };
        let context = self.context().within(Duration::from_secs(5));
        let Ok(stream) = logs.logs(&context, &reference(&current), &options).await else {
            return Vec::new();
        };
        stream
            .filter_map(|line| std::future::ready(line.ok()))
            .map(|line| String::from_utf8_lossy(&line.line).into_owned())
            .collect()
            .await
    }
}

fn quote(error: Error, logs: &[String]) -> Error {
    if logs.is_empty() {
        return error;
    }
    let text = format!("{}\nits last log lines:\n  {}", error.message(), logs.join("\n  "));
    let quoted = Error::new(error.kind(), error.operation(), text);
    match error.next_step() {
        Some(hint) => quoted.hint(hint.to_owned()),
        None => quoted,
    }
}
