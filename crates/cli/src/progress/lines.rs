//! Progress as lines, for logs and pipes: each news once, no byte counts in between.

use std::collections::HashMap;

use hythe_api::{Progress, ProgressPhase};

use crate::format;

/// What was said last of each thing.
#[derive(Debug, Default)]
pub(super) struct Lines {
    last: HashMap<(Option<String>, String), String>,
}

impl Lines {
    /// The line to print; `None`: nothing new.
    pub(super) fn line(&mut self, progress: &Progress) -> Option<String> {
        let counting = matches!((progress.current, progress.total), (Some(current), Some(total)) if current < total);
        let news = if counting { progress.phase.to_string() } else { said(progress) };
        let key = (progress.workload.clone(), progress.item.clone());
        if self.last.get(&key) == Some(&news) {
            return None;
        }
        let subject: Vec<&str> = progress
            .workload
            .as_deref()
            .into_iter()
            .chain([progress.item.as_str()])
            .filter(|part| !part.is_empty())
            .collect();
        let line = match subject.as_slice() {
            [] => news.clone(),
            parts => format!("{}: {news}", parts.join(" ")),
        };
        self.last.insert(key, news);
        Some(line)
    }
}

/// The message, which says what is done; the phase where there is none, and where it is bad news.
/// On one line: what follows it, such as the last log lines of a failure, is in the error at the end.
pub(super) fn said(progress: &Progress) -> String {
    let (phase, message) = (&progress.phase, format::first_line(&progress.message));
    match (phase.known(), message) {
        (_, "") => phase.to_string(),
        (Some(ProgressPhase::Failed), _) => format!("{phase}: {message}"),
        (_, _) => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use hythe_api::OpenEnum;

    use super::*;

    fn pulling(current: u64) -> Progress {
        Progress {
            workload: Some("shop-web".into()),
            phase: ProgressPhase::Pulling.into(),
            item: "layer".into(),
            message: format!("{current} of 10"),
            current: Some(current),
            total: Some(10),
        }
    }

    #[test]
    fn counting_is_said_once_and_its_end_again() {
        let mut lines = Lines::default();
        let said: Vec<_> = [0, 3, 7, 10, 10].into_iter().filter_map(|current| lines.line(&pulling(current))).collect();
        assert_eq!(said, ["shop-web layer: pulling", "shop-web layer: 10 of 10"]);
    }

    #[test]
    fn the_phase_is_said_where_there_is_no_message_or_no_success() {
        let shown = |phase: &str, message: &str| {
            said(&Progress { phase: OpenEnum::read(phase), message: message.into(), ..pulling(0) })
        };
        assert_eq!(shown("starting", "starting on podman"), "starting on podman");
        assert_eq!(shown("removed", ""), "removed");
        assert_eq!(shown("failed", "exit code 1\nits last log lines:\n  x"), "failed: exit code 1");
    }
}
