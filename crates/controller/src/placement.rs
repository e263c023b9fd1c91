//! Which runtime a component goes to, and why not another. Pure.

use hythe_runtime::{Error, ErrorKind, Plan};
use hythe_spec::RuntimeKind;
use hythe_store::{Placement, Rejection};

use crate::RuntimeStatus;

/// Places a plan on the first runtime, in order of preference, that may be used, answers and can honour all of it.
///
/// `asked` restricts the kinds; `stay` is where the workload is already: it moves only when it cannot stay.
///
/// # Errors
/// `Unavailable` when a runtime that does not answer might do, else `Unsupported`; every runtime and its reasons are named.
pub(crate) fn place(
    plan: &Plan,
    asked: Option<RuntimeKind>,
    stay: Option<&str>,
    runtimes: &[RuntimeStatus],
) -> Result<Placement, Error> {
    let mut order: Vec<&RuntimeStatus> = runtimes.iter().collect();
    order.sort_by_key(|runtime| Some(runtime.name.as_str()) != stay);
    let mut rejected = Vec::new();
    let mut silent = false;
    for runtime in order {
        let reasons = reasons_against(runtime, plan, asked, stay);
        if reasons.is_empty() {
            return Ok(Placement { runtime: runtime.name.clone(), rejected });
        }
        silent |= runtime.error.is_some() && asked.is_none_or(|kind| kind == runtime.kind);
        rejected.push(Rejection { runtime: runtime.name.clone(), reasons });
    }
    Err(refusal(plan, asked, silent, &rejected, runtimes))
}

fn reasons_against(
    runtime: &RuntimeStatus,
    plan: &Plan,
    asked: Option<RuntimeKind>,
    stay: Option<&str>,
) -> Vec<String> {
    if let Some(kind) = asked.filter(|kind| *kind != runtime.kind) {
        return vec![format!("`{kind}` was asked for")];
    }
    let at_home = stay == Some(runtime.name.as_str());
    if let Some(error) = runtime.error.as_ref().filter(|_| !(at_home && runtime.capability.is_some())) {
        return vec![format!("does not answer: {error}")];
    }
    let refusals = runtime.capability.as_ref().map(|capability| capability.refusals(plan)).unwrap_or_default();
    refusals.into_iter().map(|refusal| format!("`{}`: {}", refusal.field, refusal.reason)).collect()
}

fn refusal(
    plan: &Plan,
    asked: Option<RuntimeKind>,
    silent: bool,
    rejected: &[Rejection],
    runtimes: &[RuntimeStatus],
) -> Error {
    let kind = if silent { ErrorKind::Unavailable } else { ErrorKind::Unsupported };
    let relevant = rejected.iter().filter(|rejection| {
        asked
            .is_none_or(|kind| runtimes.iter().any(|runtime| runtime.name == rejection.runtime && runtime.kind == kind))
    });
    let reasons: Vec<String> =
        relevant.map(|rejection| format!("{}: {}", rejection.runtime, rejection.reasons.join("; "))).collect();
    let what = asked.map_or_else(|| "no runtime".to_owned(), |kind| format!("no `{kind}` runtime"));
    let detail = if reasons.is_empty() { "none is configured".to_owned() } else { reasons.join(" | ") };
    let error = Error::new(kind, "place", format!("{what} can run `{}` ({detail})", plan.identity.workload()));
    let elsewhere =
        runtimes.iter().find(|runtime| asked.is_some() && reasons_against(runtime, plan, None, None).is_empty());
    match elsewhere {
        Some(runtime) => error.hint(format!("`{}` can: write `runtime = \"{}\"`", runtime.name, runtime.kind)),
        None if silent => error.hint("`hythe runtimes` shows what was tried"),
        None => error,
    }
}
