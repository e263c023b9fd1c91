//! Named places between the steps of the controller, where a test may end the process. Not for: anything outside tests.

use std::sync::Arc;

use crate::Controller;

/// Told of every place that is passed; where it answers true, the process is about to end and nothing more may be done.
pub type CrashHook = Option<Arc<dyn Fn(&str) -> bool + Send + Sync>>;

/// Steps that have a place before the effect, after it, and after its result was stored.
const STEPS: [&str; 9] =
    ["run", "start", "stop", "remove", "pull", "make-volumes", "make-networks", "remove-belongings", "forget"];
const MOMENTS: [&str; 3] = ["intended", "acted", "stored"];

impl Controller {
    /// Names of every place.
    pub fn crash_points() -> Vec<String> {
        let of_step = |step| MOMENTS.map(move |moment| format!("{step}.{moment}"));
        ["accept.stored".to_owned()].into_iter().chain(STEPS.into_iter().flat_map(of_step)).collect()
    }

    /// A place is passed; does not return where the process is about to end.
    pub(crate) async fn pass(&self, point: &str) {
        if self.settings.crash.as_ref().is_some_and(|crash| crash(point)) {
            std::future::pending::<()>().await;
        }
    }
}
