//! The life of a workload as a pure state machine: observed and desired state in, the next step out.
//!
//! ```text
//!                     asked                     made, started                healthy, or no probe
//!   pending --(pulling)--> starting ------------------------> running (not ready) ---------> running
//!      ^  \ waits for its       |  ^                              |   |                       |  ^ |
//!      |   \ dependencies       |  | after its back-off           |   | ended, unhealthy      |  | | paused
//!      |    \                   |  |                              |   v                       |  | v
//!      |     \   cannot start   |  +-- restarting <---------------|-- (inspected) <-----------+  paused
//!      |      +---------------> v         ^    ended, policy      |        |   ended, or not healthy
//!      | asked again          failed      +-----------------------+        +--> completed | failed
//!      +------------------------+                                          |
//!                                                  what it replaced is     +--> rolled back: stopped, removed, the old
//!   unknown <- engine lost; -> inspected            kept until it is ready        instance runs again
//!
//!   running, another is desired: volumes, networks, image of the next one are had, its dependencies are waited for (ahead);
//!        the current one is started, probed and restarted as ever
//!        |-- all there ------> takes over: the current one is kept as the one to fall back to, the next one is pending
//!        |-- not to be had --> the current one stays (rolled back); tried again after its back-off, or once the dependency moves
//!        +-- another again --> what was never ready goes, what it was to replace is current again
//!
//!   running, a mounted file has changed and `on_config_change` names a signal: it is sent, and the instance stays (reload)
//!        +-- the instance cannot see the file, or gets no signals --> replaced by one like it
//!
//!   from every state:  stop -> stopping -> stopped      undeploy -> removing -> gone      deploy, start, restart -> pending
//! ```
//!
//! [`plan_step`] is asked again and again: it settles what needs no engine in the record, then names the one [`Step`] to take now, or how long to wait.
//! The caller commits the record, takes the step, and gives its outcome to [`apply`], as it gives everything it hears of. Nothing else changes a record.
//!
//! - The record is committed before a step and after it, so that a crash anywhere leads to the same step again; every step may be repeated.
//! - An instance that is gone is made again under its own name: should the engine have been wrong, it finds its own earlier result.
//! - Dependencies are asked about before a replacement begins, never by what it replaces or falls back to.
//! - What others depend on is stopped after them, where both are to stop.
//! - What an explicit request asks for beats every policy: no step ever starts what is desired to be stopped.

mod ahead;
mod apply;
mod follow;
mod health;
mod leave;
mod on_error;
mod on_event;
mod on_exit;
mod on_failure;
mod plan_step;
mod record;
mod refresh;
mod reload;
mod request;
mod steady;
mod step;
#[cfg(test)]
mod tests;

pub(crate) use apply::apply;
pub(crate) use follow::{Follow, is_to_follow};
pub(crate) use on_exit::CRASH_LOOP;
pub(crate) use plan_step::plan_step;
pub(crate) use record::{is_ahead, is_new, is_settled, is_wanted, may_run};
pub(crate) use refresh::is_refreshed;
pub(crate) use request::request_is_answered;
pub(crate) use step::{DependencyGate, Facts, Input, Next, Note, Outcome, Reload, Step};
