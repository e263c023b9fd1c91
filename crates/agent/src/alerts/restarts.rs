//! Counting restarts from events, each once.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hythe_store::{ExitCause, NewEvent};
use jiff::Timestamp;

/// Workloads that are remembered; beyond that the one longest without a restart is forgotten.
const WORKLOADS: usize = 4096;

/// What is known of one workload.
#[derive(Debug, Default)]
struct History {
    /// When it was restarted, oldest first.
    times: VecDeque<Timestamp>,
    /// The instance whose process ended with no request and no reported restart.
    ended: Option<String>,
    /// Somebody asked for what ends or starts next.
    asked: bool,
}

/// Restarts by workload.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    workloads: BTreeMap<String, History>,
}

impl Restarts {
    /// Whether the event is a restart of its workload: the agent says so (`restarting`), or an instance that ended (`exited`) is started again and
    /// nobody asked for it. At most `keep` times are remembered for each.
    pub(super) fn take(&mut self, workload: &str, event: &NewEvent, keep: usize) -> bool {
        let instance = || event.details["instance"].as_str().unwrap_or_default().to_owned();
        let is_known = self.workloads.contains_key(workload);
        if event.kind.as_str() == "removed"
            || (!is_known && !matches!(event.kind.as_str(), "restarting" | "exited" | "requested"))
        {
            self.workloads.remove(workload);
            return false;
        }
        self.make_room(workload);
        let history = self.workloads.entry(workload.to_owned()).or_default();
        let restarted = match event.kind.as_str() {
            "requested" | "deployed" => {
                (history.asked, history.ended) = (true, None);
                false
            }
            "exited" => {
                history.ended = (!history.asked).then(instance);
                false
            }
            "restarting" => {
                (history.asked, history.ended) = (false, None);
                // What ended by a signal that a user had sent was asked for.
                event.details["cause"] != ExitCause::Requested.as_str()
            }
            "started" => {
                let again = history.ended.take() == Some(instance());
                history.asked = false;
                again
            }
            _ => false,
        };
        if restarted {
            history.times.push_back(event.time);
            if history.times.len() > keep.max(1) {
                history.times.pop_front();
            }
        }
        restarted
    }

    /// Restarts of a workload in the time before `now`.
    pub(super) fn within(&self, workload: &str, window: Duration, now: Timestamp) -> usize {
        let young = |time: &&Timestamp| Duration::try_from(now.duration_since(**time)).unwrap_or_default() <= window;
        self.workloads.get(workload).map_or(0, |history| history.times.iter().filter(young).count())
    }

    fn make_room(&mut self, workload: &str) {
        if self.workloads.len() < WORKLOADS || self.workloads.contains_key(workload) {
            return;
        }
        let oldest = self.workloads.iter().min_by_key(|(_, history)| history.times.back().copied());
        if let Some(name) = oldest.map(|(name, _)| name.clone()) {
            self.workloads.remove(&name);
        }
    }
}
