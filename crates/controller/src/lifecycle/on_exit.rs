//! The main process of the current instance ended: why, and what follows.

use std::time::Duration;

use hythe_runtime::{ErrorKind, Observed};
use hythe_spec::vocabulary::{EventKind, ExitCause};
use hythe_spec::{Component, Millis, Signal};
use hythe_store::{
    Desired, DesiredRecord, ExitRecord, Failure, HealthState, InstanceRecord, Life, ObservedRecord, Phase,
    Prerequisites, SentSignal,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::on_failure::{concerned, on_failure};
use super::record::{is_replaced, is_wanted};
use super::step::{Facts, Note};
use crate::policy::{self, Next};

/// Failures in a row that make a crash loop.
pub(crate) const CRASH_LOOP: u32 = 3;
/// An engine may report the exit of a process this long before its own.
const ENGINE_LEEWAY: SignedDuration = SignedDuration::from_secs(5);
/// What lives so much longer than a signal did not die of it.
const OUTLIVED: SignedDuration = SignedDuration::from_secs(60);
const KILL: Signal = Signal(9);
/// Signals that processes bring on themselves: QUIT, ILL, TRAP, ABRT, BUS, FPE, SEGV, PIPE, SYS.
const OWN_FAULT: [u8; 9] = [3, 4, 5, 6, 7, 8, 11, 13, 31];

/// The record of an exit as the engine reports it.
pub(crate) fn exit_record(seen: &Observed) -> Option<ExitRecord> {
    let exit = seen.exit.clone()?;
    Some(ExitRecord {
        code: exit.code,
        signal: exit.signal.map(|signal| signal.0),
        oom: exit.is_oom(),
        error: exit.error,
        at: seen.finished,
        cause: exit.cause,
    })
}

/// The exit as text.
pub(crate) fn describe(exit: &ExitRecord) -> String {
    let signal = exit.signal.map(|signal| Signal(signal).to_string());
    let code = exit.code.map_or_else(|| "an unknown exit code".to_owned(), |code| format!("exit code {code}"));
    let words = match (exit.cause, signal) {
        (ExitCause::Requested, Some(signal)) => return format!("was killed by {signal}, which it was sent on request"),
        (ExitCause::OutOfMemory, _) => return "was OOM-killed".to_owned(),
        (ExitCause::HostRebooted, _) => return "ended when the host was rebooted".to_owned(),
        (ExitCause::EngineGone, _) => return format!("ended with {code} while its engine did not answer"),
        (ExitCause::Outside, None) => return format!("was stopped from outside and ended with {code}"),
        (ExitCause::Killed, None) => "did not end in time and was switched off".to_owned(),
        (ExitCause::GuestPanic, _) => "ended with a panic of its guest's kernel".to_owned(),
        (ExitCause::Evicted, _) => "was evicted from its node".to_owned(),
        (ExitCause::NodeLost, _) => "was lost with its node".to_owned(),
        (ExitCause::Outside, Some(signal)) => format!("was killed by {signal} from outside"),
        (_, Some(signal)) => format!("was killed by {signal}"),
        (_, None) => format!("ended with {code}"),
    };
    match &exit.error {
        Some(error) => format!("{words}: {error}"),
        None => words,
    }
}

/// The same for an instance that was asked to end: whether its time was over.
pub(super) fn describe_stop(exit: &ExitRecord, desired: &DesiredRecord, current: &InstanceRecord) -> String {
    let Component { stop_signal, stop_grace, .. } = &current.spec.component;
    let killed = exit.signal == Some(KILL.0) && *stop_signal != Some(KILL);
    let grace = desired.grace.map_or(*stop_grace, Millis);
    let words = describe(exit);
    if killed && !exit.oom {
        format!("{words}, since it had not ended within its stop grace of {grace}")
    } else {
        words
    }
}

/// Why it ended, where the agent did not stop it.
fn cause(exit: &ExitRecord, current: &InstanceRecord, lost: Option<Timestamp>, boot: &str) -> ExitCause {
    let rebooted = current.boot.as_deref().is_some_and(|known| known != boot);
    let with_engine = |lost: Timestamp| {
        exit.at.is_none_or(|at| at.duration_since(lost) > -ENGINE_LEEWAY)
            && (exit.signal.is_some() || exit.code != Some(0))
    };
    let requested = |sent: SentSignal| {
        exit.signal == Some(sent.signal) && exit.at.is_none_or(|at| at.duration_since(sent.at) < OUTLIVED)
    };
    match exit.signal {
        _ if rebooted => ExitCause::HostRebooted,
        _ if exit.oom => ExitCause::OutOfMemory,
        _ if lost.is_some_and(with_engine) => ExitCause::EngineGone,
        _ if current.sent.is_some_and(requested) => ExitCause::Requested,
        _ if current.signalled.is_some_and(|sent| exit.at.is_none_or(|at| at.duration_since(sent) < OUTLIVED)) => {
            ExitCause::Outside
        }
        Some(signal) if OWN_FAULT.contains(&signal) => ExitCause::Signal,
        Some(_) => ExitCause::Outside,
        None => exit.cause,
    }
}

/// Draws the conclusion from an end that the engine confirms.
pub(super) fn on_exit(
    desired: &DesiredRecord,
    observed: &mut ObservedRecord,
    seen: &Observed,
    lines: Vec<String>,
    facts: &Facts<'_>,
    notes: &mut Vec<Note>,
) {
    let Some(current) = &mut observed.current else { return };
    current.life = if current.life == Life::Succeeded { Life::Succeeded } else { Life::Exited };
    current.pid = None;
    let mut exit = exit_record(seen).unwrap_or_default();
    let concluded = exit.at.is_some() && observed.exit.as_ref().and_then(|known| known.at) == exit.at;
    let wanted = is_replaced(desired, observed)
        || observed.current.as_ref().is_some_and(|current| is_wanted(current, desired, observed));
    if concluded || !wanted || desired.desired != Desired::Running {
        return;
    }
    let restarts = desired.restart > observed.restarted;
    if restarts || observed.restart_requested.is_some() {
        // It has ended before it was stopped in order to be started again: there is nothing left to stop.
        if restarts {
            observed.restarted = desired.restart;
            observed.restart_requested = Some(String::new());
        }
        if let Some(current) = &mut observed.current {
            current.life = Life::Exited;
        }
        return on_stopped(desired, observed, Some(seen), facts, notes);
    }
    let Some(current) = &mut observed.current else { return };
    exit.cause = cause(&exit, current, observed.lost.take(), facts.boot);
    current.signalled = None;
    current.sent = None;
    let at = exit.at.unwrap_or(facts.now);
    let ran =
        current.started.map_or(Duration::ZERO, |started| at.duration_since(started).try_into().unwrap_or_default());
    let failures = if ran >= policy::STABLE { 1 } else { observed.failures.saturating_add(1) };
    let next = policy::after_exit(current.spec.component.restart, exit.code, failures);
    observed.failures = failures;
    observed.health = HealthState::None;
    observed.exit = Some(exit.clone());
    conclude(desired, observed, next, &exit, lines, facts, notes);
}

/// The agent has stopped the current instance, or it has ended just before.
pub(super) fn on_stopped(
    desired: &DesiredRecord,
    observed: &mut ObservedRecord,
    seen: Option<&Observed>,
    facts: &Facts<'_>,
    notes: &mut Vec<Note>,
) {
    let Some(current) = &mut observed.current else { return };
    current.life = if current.life == Life::Succeeded { Life::Succeeded } else { Life::Exited };
    current.pid = None;
    current.signalled = None;
    current.sent = None;
    observed.health = HealthState::None;
    let requested = observed.restart_requested.take();
    let unhealthy = requested.as_ref().filter(|reason| !reason.is_empty());
    let cause = if unhealthy.is_some() { ExitCause::Unhealthy } else { ExitCause::Stopped };
    let exit = seen.and_then(exit_record).map(|exit| hythe_store::ExitRecord { cause, ..exit });
    if let Some(exit) = &exit {
        observed.exit = Some(exit.clone());
    }
    match (desired.desired, unhealthy) {
        (Desired::Stopped, _) => {
            let message = exit.as_ref().map(|exit| describe_stop(exit, desired, current));
            let words = message.clone().unwrap_or_else(|| "stopped".to_owned());
            let at = exit.as_ref().and_then(|exit| exit.at);
            notes.push(Note::new(EventKind::Stopped, words, json!({ "exit": exit, "cause": cause })).at(at));
            observed.message = message;
            observed.failures = 0;
        }
        (Desired::Running, Some(reason)) => {
            observed.failures = observed.failures.saturating_add(1);
            let wait = policy::delay(observed.failures);
            let message = format!("was not healthy ({reason}), next start in {} s", wait.as_secs());
            notes.push(Note::new(EventKind::Restarting, message.clone(), json!({ "exit": exit, "cause": cause })));
            observed.phase = Phase::Restarting;
            observed.message = Some(message);
            observed.next_try = Some(facts.now + wait);
        }
        (Desired::Running, None) if requested.is_some() => {
            // What another takes over from, or what was rolled back to, is started again whatever the other waits for.
            let goes_on = is_replaced(desired, observed) || observed.rolled_back_from == Some(desired.generation);
            observed.phase = if goes_on { Phase::Starting } else { Phase::Pending };
            observed.prerequisites = Prerequisites::Nothing;
        }
        (Desired::Running | Desired::Removed, _) => {}
    }
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
    let ready_once = observed.current.as_ref().is_some_and(|current| current.ready_once);
    let failure = Failure {
        generation: concerned(desired, observed),
        kind: ErrorKind::Conflict.as_str().to_owned(),
        message: quote(&format!("`{}` {words}", desired.name), &lines),
        hint: None,
        lines: lines.clone(),
    };
    if !ready_once && observed.previous.is_some() {
        return on_failure(desired, observed, failure, notes);
    }
    let details = json!({ "exit": exit, "cause": exit.cause, "logs": lines, "failures": observed.failures });
    match next {
        Next::Complete => {
            observed.phase = Phase::Completed;
            observed.message = Some(words.clone());
            if let Some(current) = &mut observed.current {
                current.life = Life::Succeeded;
                current.ready_once = true;
            }
            notes.push(Note::new(EventKind::Completed, words, details).at(exit.at));
        }
        Next::Fail if !ready_once => on_failure(desired, observed, failure, notes),
        Next::Fail => {
            observed.phase = Phase::Failed;
            observed.message = Some(words.clone());
            observed.failure = Some(failure);
            notes.push(Note::new(EventKind::Failed, words, details).at(exit.at));
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
            notes.push(Note::new(EventKind::Restarting, message, details).at(exit.at));
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
