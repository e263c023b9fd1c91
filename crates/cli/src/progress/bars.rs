//! Progress drawn in place: one line for each workload, one bar for each part that counts bytes.

use std::collections::HashMap;
use std::time::Duration;

use hythe_api::{Progress, ProgressPhase};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

use super::lines::said;
use crate::escape::{Allow, escape};

/// Templates with and without colours.
type Look = (&'static str, &'static str);
const WORKLOAD: Look = ("{spinner:.cyan} {prefix:.bold} {wide_msg}", "{spinner} {prefix} {wide_msg}");
const ITEM: Look = ("  {prefix:14!} {wide_msg:.dim}", "  {prefix:14!} {wide_msg}");
const COUNTING: Look = (
    "  {prefix:14!} {bar:24.cyan} {bytes:>10} / {total_bytes:10} {wide_msg:.dim}",
    "  {prefix:14!} {bar:24} {bytes:>10} / {total_bytes:10} {wide_msg}",
);
const TICK: Duration = Duration::from_millis(100);

/// Everything that is drawn.
#[derive(Debug)]
pub(super) struct Bars {
    all: MultiProgress,
    color: bool,
    workloads: HashMap<String, ProgressBar>,
    items: HashMap<(String, String), ProgressBar>,
}

impl Bars {
    pub(super) fn new(color: bool) -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        Self { all, color, workloads: HashMap::new(), items: HashMap::new() }
    }

    pub(super) fn show(&mut self, progress: &Progress) {
        let workload = progress.workload.clone().unwrap_or_default();
        if progress.item.is_empty() {
            self.show_workload(workload, progress);
        } else {
            self.show_item(workload, progress);
        }
    }

    /// The last word of each workload stays; its parts go.
    pub(super) fn finish(self) {
        for bar in self.items.values() {
            bar.finish_and_clear();
        }
        for bar in self.workloads.values() {
            bar.finish();
        }
    }

    fn show_workload(&mut self, workload: String, progress: &Progress) {
        let (all, color) = (&self.all, self.color);
        let bar = self.workloads.entry(workload).or_insert_with_key(|name| {
            let bar = all
                .add(ProgressBar::new_spinner())
                .with_prefix(escape(name, Allow::Nothing))
                .with_finish(ProgressFinish::AndLeave);
            bar.set_style(style(color, WORKLOAD));
            bar.enable_steady_tick(TICK);
            bar
        });
        bar.set_message(escape(&said(progress), Allow::Nothing));
        if matches!(
            progress.phase.known(),
            Some(ProgressPhase::Failed | ProgressPhase::Running | ProgressPhase::Healthy)
        ) {
            bar.disable_steady_tick();
        }
    }

    fn show_item(&mut self, workload: String, progress: &Progress) {
        let (all, color) = (&self.all, self.color);
        let bar = self.items.entry((workload, progress.item.clone())).or_insert_with(|| {
            let bar = all.add(ProgressBar::new(0)).with_prefix(escape(&progress.item, Allow::Nothing));
            bar.set_style(style(color, if progress.total.is_some() { COUNTING } else { ITEM }));
            bar
        });
        bar.set_message(escape(&said(progress), Allow::Nothing));
        if let Some(total) = progress.total {
            bar.set_style(style(color, COUNTING));
            bar.set_length(total);
            bar.set_position(progress.current.unwrap_or(0));
        }
    }
}

fn style(color: bool, (colored, plain): Look) -> ProgressStyle {
    // The templates are constants, and the test below holds them to the library's syntax.
    ProgressStyle::with_template(if color { colored } else { plain })
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_templates() {
        for (colored, plain) in [WORKLOAD, ITEM, COUNTING] {
            assert!(ProgressStyle::with_template(colored).is_ok(), "{colored}");
            assert!(ProgressStyle::with_template(plain).is_ok(), "{plain}");
        }
    }
}
