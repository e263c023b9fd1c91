//! Ending QEMU, and the records at a run's end.

use std::time::{Duration, Instant};

use hythe_shim::files::{Reserve, replace_json};
use hythe_shim::journal::Kind;
use hythe_shim::logs::Stream;
use hythe_shim::protocol::{frame_json, kind};
use hythe_shim::record::{ExitStatus, Phase, State};
use hythe_shim::{Directory, Doing as _, Network as _, Role, ShimError, ShimErrorKind};
use serde_json::Value;

use super::end::status;
use super::machine::{Machine, log_line};
use super::qemu;
use super::qmp::Purpose;
use super::recovery::clear;

/// Time between two stronger ways of ending QEMU.
const STRONGER: Duration = Duration::from_secs(2);

/// It could not be started.
pub(super) fn record_failure(
    directory: &Directory,
    mut state: State,
    reserve: Option<Reserve>,
    fault: &ShimError,
) -> Result<(), ShimError> {
    let code = fault.code.unwrap_or(128);
    state.phase = Phase::Failed;
    state.pid = None;
    state.finished = Some(hythe_host::now());
    state.exit = Some(ExitStatus { code, error: Some(fault.message.clone()), ..ExitStatus::default() });
    put(directory, reserve, &state).doing("record the failure")?;
    clear(directory);
    Ok(())
}

fn put(directory: &Directory, reserve: Option<Reserve>, state: &State) -> std::io::Result<()> {
    match reserve {
        Some(reserve) => reserve.become_json(&directory.state(), state),
        None => replace_json(&directory.state(), state, true),
    }
}

/// What the init's system says of a mount whose target is a file of the image, or leads through one.
const UNFIT_TARGETS: [&str; 2] = ["File exists", "Not a directory"];

/// An error of the guest in its own words.
fn of_guest(message: String) -> ShimError {
    if UNFIT_TARGETS.iter().any(|words| message.contains(words)) {
        return ShimError::new(ShimErrorKind::Invalid, message)
            .hint("the image has a file where a directory is mounted: mount it elsewhere");
    }
    ShimError::new(ShimErrorKind::Internal, message)
}

impl Machine<'_> {
    /// Ends what does not end by itself: first by the monitor, then by a signal.
    pub(super) fn end_overdue(&mut self) {
        if self.end_by.is_none_or(|at| at > Instant::now()) || self.ended.is_some() {
            return;
        }
        self.end_by = Some(Instant::now() + STRONGER);
        if !self.is_running() && self.reported.exit.is_none() {
            self.reported.overdue = true;
        }
        if !self.quit_asked {
            self.quit_asked = true;
            return self.qemu.qmp.ask(Purpose::Quit, "quit", &Value::Null);
        }
        // It is our child and not reaped, so that its number is nobody else's.
        if let Some(pid) = rustix::process::Pid::from_raw(self.qemu.pid) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }

    /// Whatever QEMU wrote before its end.
    pub(super) fn drain(&mut self) -> Result<(), ShimError> {
        while self.open[0] {
            self.pass_on(Stream::Stdout);
        }
        while self.open[1] {
            self.pass_on(Stream::Stderr);
        }
        while self.open[2] {
            self.read_console();
        }
        while self.open[3] {
            self.hear_guest()?;
        }
        while self.open[4] {
            self.hear_qemu()?;
        }
        Ok(())
    }

    pub(super) fn end(&mut self, qemu: &ExitStatus) -> Result<(), ShimError> {
        let end = status(&self.reported, qemu, &qemu::last_log_line(self.directory));
        if self.launch.shim.own_network
            && let Err(fault) = self.network.detach(&self.launch.shim)
        {
            log_line(&fault.message);
        }
        if !self.is_running() {
            let fault = self.not_started(&end);
            record_failure(self.directory, self.state.clone(), self.reserve.take(), &fault)?;
            return Err(fault);
        }
        self.state.phase = Phase::Stopped;
        self.state.pid = None;
        self.state.paused = false;
        self.state.finished = Some(hythe_host::now());
        self.state.exit = Some(end.clone());
        put(self.directory, self.reserve.take(), &self.state).doing("record the end")?;
        clear(self.directory);
        if end.oom {
            self.event(Kind::OutOfMemory);
        }
        let framed = frame_json(kind::END, &end).unwrap_or_default();
        self.event(Kind::Stopped(end));
        self.execs.fail_all(&mut self.clients);
        for client in &mut self.clients {
            if matches!(client.role, Role::Attached { .. } | Role::Waiting) {
                client.send(&framed);
            }
            client.finish();
        }
        Ok(())
    }

    /// Why it did not start.
    fn not_started(&self, end: &ExitStatus) -> ShimError {
        let message = end.error.clone();
        if self.reported.overdue {
            let seconds = self.launch.machine.start_timeout;
            let last = self.console.last_line();
            let message = format!("the guest did not start within {seconds} s; its console ends with: {last}");
            return ShimError::new(ShimErrorKind::Internal, message);
        }
        if let Some(exit) = self.reported.exit {
            let code = Some(exit.code).filter(|code| matches!(code, 126 | 127));
            let message = message.unwrap_or_else(|| format!("the guest ended with code {}", exit.code));
            return match code {
                Some(_) => ShimError { code, ..ShimError::new(ShimErrorKind::Invalid, message) },
                None => of_guest(message),
            };
        }
        let message = message.unwrap_or_else(|| "the guest ended before its main process was started".to_owned());
        of_guest(format!("{message}; its console ends with: {}", self.console.last_line()))
    }
}
