//! How a virtual machine ended, from what the guest, QEMU's monitor and the kernel said. Pure.

use hythe_guest::protocol;
use hythe_runtime::Exit;
use hythe_shim::record::{ExitStatus, Lost};
use hythe_spec::Signal;
use hythe_spec::vocabulary::ExitCause;

const KILL: i32 = 9;

/// What was said until QEMU was gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reported {
    /// The guest's own words on its main process.
    pub(super) exit: Option<protocol::Exit>,
    /// The guest could not be set up.
    pub(super) error: Option<String>,
    /// QEMU told of a panic of the guest's kernel.
    pub(super) panicked: bool,
    /// Why QEMU shut down, in its words.
    pub(super) shutdown: Option<String>,
    /// Somebody asked for a KILL here.
    pub(super) kill_asked: bool,
    /// It did not start in time.
    pub(super) overdue: bool,
}

/// The exit that is recorded. `qemu`: how its process ended; `words`: the last it said.
pub(super) fn status(reported: &Reported, qemu: &ExitStatus, words: &str) -> ExitStatus {
    if let Some(exit) = reported.exit {
        return ExitStatus {
            code: exit.code,
            signal: exit.signal,
            oom: exit.oom_kills > 0 && exit.signal == Some(KILL),
            error: reported.error.clone(),
            lost: None,
        };
    }
    if reported.kill_asked {
        return ExitStatus { code: 128 + KILL, signal: Some(KILL), ..ExitStatus::default() };
    }
    let (lost, error) = match reported.shutdown.as_deref() {
        _ if reported.panicked => (Lost::GuestPanic, "the guest's kernel panicked".to_owned()),
        Some("guest-panic") => (Lost::GuestPanic, "the guest's kernel panicked".to_owned()),
        Some("guest-reset") => (Lost::GuestReset, "the guest was reset".to_owned()),
        Some("guest-shutdown") => (Lost::GuestShutdown, "the guest powered off without an exit".to_owned()),
        Some(reason) => (Lost::EngineKilled, format!("QEMU was ended from outside ({reason})")),
        None => match qemu.signal {
            Some(signal @ (2 | 9 | 15)) => (Lost::EngineKilled, format!("QEMU was killed by signal {signal}")),
            Some(signal) => (Lost::EngineDied, with("QEMU died of signal", &signal.to_string(), words)),
            None => (Lost::EngineDied, with("QEMU ended with code", &qemu.code.to_string(), words)),
        },
    };
    ExitStatus { code: 128 + KILL, signal: None, oom: false, error: Some(error), lost: Some(lost) }
}

fn with(what: &str, number: &str, words: &str) -> String {
    if words.is_empty() { format!("{what} {number}") } else { format!("{what} {number}: {words}") }
}

/// How it ended, as the seam says it. What a virtual machine has no exit code for has none.
pub(crate) fn exit(end: &ExitStatus) -> Exit {
    let signal = end.signal.and_then(|number| u8::try_from(number).ok()).map(Signal);
    let cause = match (end.lost, signal) {
        (Some(Lost::GuestPanic), _) => ExitCause::GuestPanic,
        (Some(Lost::EngineKilled), _) => ExitCause::Outside,
        (Some(Lost::EngineDied), _) => ExitCause::EngineGone,
        (Some(Lost::GuestReset | Lost::GuestShutdown), _) => ExitCause::Unknown,
        (None, _) if end.oom => ExitCause::OutOfMemory,
        (None, Some(_)) => ExitCause::Signal,
        (None, None) if end.error.is_some() && matches!(end.code, 125..=127) => ExitCause::NeverStarted,
        (None, None) => ExitCause::Exited,
    };
    Exit { cause, code: end.lost.is_none().then_some(end.code), signal, error: end.error.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(reported: Reported, qemu: ExitStatus) -> (ExitCause, Option<i32>, Option<u8>) {
        let exit = exit(&status(&reported, &qemu, "last line"));
        (exit.cause, exit.code, exit.signal.map(|signal| signal.0))
    }

    fn guest(code: i32, signal: Option<i32>, oom_kills: u64) -> Reported {
        Reported { exit: Some(protocol::Exit { code, signal, oom_kills }), ..Reported::default() }
    }

    fn shutdown(reason: &str) -> Reported {
        Reported { shutdown: Some(reason.to_owned()), ..Reported::default() }
    }

    #[test]
    fn the_guest_reports_exits_signals_and_oom_kills() {
        let quiet = ExitStatus::default;
        assert_eq!(ended(guest(7, None, 0), quiet()), (ExitCause::Exited, Some(7), None));
        assert_eq!(ended(guest(137, Some(9), 0), quiet()), (ExitCause::Signal, Some(137), Some(9)));
        assert_eq!(ended(guest(137, Some(9), 1), quiet()), (ExitCause::OutOfMemory, Some(137), Some(9)));
        let absent = Reported { error: Some("no such program".to_owned()), ..guest(127, None, 0) };
        assert_eq!(ended(absent, quiet()), (ExitCause::NeverStarted, Some(127), None));
    }

    #[test]
    fn a_machine_that_ends_without_an_exit_of_its_process_has_no_code() {
        let quiet = ExitStatus::default;
        let panicked = Reported { panicked: true, ..shutdown("guest-panic") };
        assert_eq!(ended(panicked, quiet()), (ExitCause::GuestPanic, None, None));
        assert_eq!(ended(shutdown("guest-reset"), quiet()), (ExitCause::Unknown, None, None));
        assert_eq!(ended(shutdown("host-qmp-quit"), quiet()), (ExitCause::Outside, None, None));
        let killed = ExitStatus { code: 137, signal: Some(9), ..ExitStatus::default() };
        assert_eq!(ended(Reported::default(), killed.clone()), (ExitCause::Outside, None, None));
        let asked = Reported { kill_asked: true, ..Reported::default() };
        assert_eq!(ended(asked, killed), (ExitCause::Signal, Some(137), Some(9)));
        let crashed = ExitStatus { code: 139, signal: Some(11), ..ExitStatus::default() };
        assert_eq!(ended(Reported::default(), crashed), (ExitCause::EngineGone, None, None));
    }
}
