//! Progress as lines, for logs and pipes: each news once, no byte counts in between.

use std::collections::HashMap;

use hythe_api::Progress;

/// What was said last of each thing.
#[derive(Debug, Default)]
pub(super) struct Lines {
    last: HashMap<(Option<String>, String), String>,
}

impl Lines {
    /// The line to print; `None`: nothing new.
    pub(super) fn line(&mut self, progress: &Progress) -> Option<String> {
        let counting = matches!((progress.current, progress.total), (Some(current), Some(total)) if current < total);
        let news = if counting {
            progress.phase.clone()
        } else {
            said(progress)
        };
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

/// The message with its phase, once each.
pub(super) fn said(progress: &Progress) -> String {
    let (phase, message) = (progress.phase.as_str(), progress.message.trim_end());
    if message.is_empty() {
        phase.to_owned()
    } else if message.to_lowercase().starts_with(phase) {
        message.to_owned()
    } else {
        format!("{phase}: {message}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulling(current: u64) -> Progress {
        Progress {
            workload: Some("shop-web".into()),
            phase: "pulling".into(),
            item: "layer".into(),
            message: format!("{current} of 10"),
            current: Some(current),
            total: Some(10),
        }
    }

    #[test]
    fn counting_is_said_once_and_its_end_again() {
        let mut lines = Lines::default();
        let said: Vec<_> = [0, 3, 7, 10, 10]
            .into_iter()
            .filter_map(|current| lines.line(&pulling(current)))
            .collect();
        assert_eq!(
            said,
            [
                "shop-web layer: pulling",
                "shop-web layer: pulling: 10 of 10"
            ]
        );
    }

    #[test]
    fn a_message_that_names_its_phase_is_enough() {
        let progress = Progress {
            message: "starting on podman".into(),
            phase: "starting".into(),
            ..pulling(0)
        };
        assert_eq!(said(&progress), "starting on podman");
    }
}
