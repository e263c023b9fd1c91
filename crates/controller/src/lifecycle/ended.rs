//! The main process of the current instance ended: why, and what follows.

use std::time::Duration;

use hythe_runtime::{ErrorKind, Observed};
use hythe_store::{
    Cause, Desired, DesiredRecord, ExitRecord, Failure, HealthState, InstanceRecord, Life, ObservedRecord, Phase,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::decide::is_wanted;
use super::failed::{concerned, fail};
use super::{Facts, Note};
use crate::policy::{self, Next};

/// Failures in a row that make a crash loop.
pub(crate) const CRASH_LOOP: u32 = 3;
/// An engine tells a process's end about as early before its own as this.
const ENGINE_LEEWAY: SignedDuration = SignedDuration::from_secs(5);
/// What lives so much longer than a signal did not die of it.
const OUTLIVED: SignedDuration = SignedDuration::from_secs(60);
/// Signals that processes bring on themselves: QUIT, ILL, TRAP, ABRT, BUS, FPE, SEGV, PIPE, SYS.
const OWN_FAULT: [u8; 9] = [3, 4, 5, 6, 7, 8, 11, 13, 31];

/// The record of an end as the engine tells it.
pub(crate) fn exit_record(seen: &Observed) -> Option<ExitRecord> {
    let exit = seen.exit.clone()?;
    Some(ExitRecord {
        code: exit.code,
        signal: exit.signal.map(|signal| signal.0),
        oom: exit.oom,
        error: exit.error,
        at: seen.finished,
        cause: Cause::Exited,
    })
}

/// The cause of death in words.
pub(crate) fn describe(exit: &ExitRecord) -> String {
    let signal = exit.signal.map(|signal| hythe_spec::Signal(signal).to_string());
    match (exit.cause, signal, &exit.error) {
        (Cause::OutOfMemory, ..) => "was killed for want of memory".to_owned(),
        (Cause::HostRebooted, ..) => "ended when the host was rebooted".to_owned(),
        (Cause::EngineGone, ..) => format!("ended with {} while its engine did not answer", exit.code),
        (Cause::Outside, Some(signal), Some(error)) => format!("was killed by {signal} from outside: {error}"),
        (Cause::Outside, Some(signal), None) => format!("was killed by {signal} from outside"),
        (Cause::Outside, None, _) => format!("was stopped from outside and ended with exit code {}", exit.code),
        (_, Some(signal), Some(error)) => format!("was killed by {signal}: {error}"),
        (_, Some(signal), None) => format!("was killed by {signal}"),
        (_, None, Some(error)) => format!("ended with {}: {error}", exit.code),
        (_, None, None) => format!("ended with exit code {}", exit.code),
    }
}

/// Why it ended, where the agent did not stop it.
fn cause(exit: &ExitRecord, current: &InstanceRecord, lost: Option<Timestamp>, boot: &str) -> Cause {
    let rebooted = current.boot.as_deref().is_some_and(|known| known != boot);
    let with_engine = |lost: Timestamp| {
        exit.at.is_none_or(|at| at.duration_since(lost) > -ENGINE_LEEWAY) && (exit.signal.is_some() || exit.code != 0)
    };
    match exit.signal {
        _ if rebooted => Cause::HostRebooted,
        _ if exit.oom => Cause::OutOfMemory,
        _ if lost.is_some_and(with_engine) => Cause::EngineGone,
        _ if current.signalled.is_some_and(|sent| exit.at.is_none_or(|at| at.duration_since(sent) < OUTLIVED)) => {
            Cause::Outside
        }
        Some(signal) if OWN_FAULT.contains(&signal) => Cause::Signal,
        Some(_) => Cause::Outside,
        None => Cause::Exited,
    }
}

/// Draws the conclusion from an end that the engine confirms.
pub(super) fn ended(
    desired: &DesiredRecord,
    observed: &mut ObservedRecord,
    seen: &Observed,
    lines: Vec<String>,
    facts: &Facts<'_>,
    notes: &mut Vec<Note>,
) {
    let Some(current) = &mut observed.current else { return };
    current.life = if current.life == Life::Completed { Life::Completed } else { Life::Exited };
    current.pid = None;
    let mut exit = exit_record(seen).unwrap_or_default();
    let concluded = exit.at.is_some() && observed.exit.as_ref().and_then(|known| known.at) == exit.at;
    let wanted = observed.current.as_ref().is_some_and(|current| is_wanted(current, desired, observed));
    if concluded || !wanted || desired.desired != Desired::Running {
        return;
    }
    let Some(current) = &mut observed.current else { return };
    exit.cause = cause(&exit, current, observed.lost.take(), facts.boot);
    current.signalled = None;
    let at = exit.at.unwrap_or(facts.now);
    let ran =
        current.started.map_or(Duration::ZERO, |started| at.duration_since(started).try_into().unwrap_or_default());
    let failures = if ran >= policy::STABLE { 1 } else { observed.failures.saturating_add(1) };
    let next = policy::after_exit(current.recipe.component.restart, exit.code, failures);
    observed.failures = failures;
    observed.health = HealthState::None;
    observed.exit = Some(exit.clone());
    conclude(desired, observed, next, &exit, lines, facts, notes);
}

fn conclude(
    desired: &DesiredRecord,
    observed: &mut ObservedRecord,
    next: Next,
    exit: &ExitRecord,
    lines: Vec<String>,
    facts: &Facts<'_>,
    notes: &mut Vec<Note>,
) {
    let words = describe(exit);
    let proven = observed.current.as_ref().is_some_and(|current| current.proven);
    let failure = Failure {
        generation: concerned(desired, observed),
        kind: ErrorKind::Conflict.as_str().to_owned(),
        message: quote(&format!("`{}` {words}", desired.name), &lines),
        hint: None,
        lines: lines.clone(),
    };
    if !proven && observed.previous.is_some() {
        return fail(desired, observed, failure, notes);
    }
    let details = json!({ "exit": exit, "cause": exit.cause, "logs": lines, "failures": observed.failures });
    match next {
        Next::Complete => {
            observed.phase = Phase::Completed;
            observed.message = Some(words.clone());
            if let Some(current) = &mut observed.current {
                current.life = Life::Completed;
                current.proven = true;
            }
            notes.push(Note::new("completed", words, details).at(exit.at));
        }
        Next::Fail if !proven => fail(desired, observed, failure, notes),
        Next::Fail => {
            observed.phase = Phase::Failed;
            observed.message = Some(words.clone());
            observed.failure = Some(failure);
            notes.push(Note::new("failed", words, details).at(exit.at));
        }
        Next::Restart(wait) => {
            let looping = if observed.failures >= CRASH_LOOP {
                format!(", crash loop: {} failures in a row", observed.failures)
            } else {
                String::new()
            };
            let message = format!("{words}{looping}, next start in {} s", wait.as_secs());
            observed.phase = Phase::Restarting;
            observed.message = Some(message.clone());
            observed.next_try = Some(facts.now + wait);
            observed.failure = Some(failure);
            notes.push(Note::new("restarting", message, details).at(exit.at));
        }
    }
}

/// Log lines quoted with an error; the event has more.
const QUOTED: usize = 10;

/// The message with the last log lines below it.
pub(super) fn quote(message: &str, lines: &[String]) -> String {
    if lines.is_empty() {
        return message.to_owned();
    }
    let last = &lines[lines.len().saturating_sub(QUOTED)..];
    format!("{message}\nits last log lines:\n  {}", last.join("\n  "))
}
