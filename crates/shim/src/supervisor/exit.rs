//! The records at a run's turns.

use std::io;

use nix::sys::wait::waitpid;

use super::event_loop::Shim;
use super::payload::Payload;
use super::recovery;
use crate::directory::Directory;
use crate::error::{Doing, ShimError};
use crate::files::{Reserve, replace_json};
use crate::journal::{Kind, append};
use crate::logs::Stream;
use crate::protocol::{frame_json, kind};
use crate::record::{ExitStatus, Phase, State};

/// The main process was executed.
pub(super) fn record_start<P: Payload>(shim: &mut Shim<'_, P>) -> Result<(), ShimError> {
    shim.state.phase = Phase::Running;
    shim.state.started = Some(hythe_host::now());
    // A host that stops before this is on the disk finds `starting` there, and knows the container dead all the same.
    replace_json(&shim.directory.state(), &shim.state, false).doing("record the start")?;
    shim.event(Kind::Started);
    Ok(())
}

/// It could not be started.
pub(super) fn record_failure(
    directory: &Directory,
    mut state: State,
    reserve: Option<Reserve>,
    fault: &ShimError,
) -> Result<(), ShimError> {
    state.phase = Phase::Failed;
    state.pid = None;
    state.finished = Some(hythe_host::now());
    state.exit = Some(ExitStatus {
        code: fault.code.unwrap_or(128),
        error: Some(fault.message.clone()),
        ..ExitStatus::default()
    });
    put(directory, reserve, &state).doing("record the failure")?;
    recovery::clear(directory);
    Ok(())
}

fn put(directory: &Directory, reserve: Option<Reserve>, state: &State) -> io::Result<()> {
    match reserve {
        Some(reserve) => reserve.become_json(&directory.state(), state),
        None => replace_json(&directory.state(), state, true),
    }
}

impl<P: Payload> Shim<'_, P> {
    /// Tells an event; one that cannot be written is lost, the record is not.
    pub(crate) fn event(&self, kind: Kind) {
        if let Err(error) = append(&self.config.journal, &self.config.id, &self.config.metadata, kind) {
            eprint_line(&format!("cannot record an event: {error}"));
        }
    }

    /// Undoes a start that failed after the creator was begun.
    pub(super) fn give_up(&mut self, pid: Option<i32>, fault: &ShimError) {
        if let Some(pid) = pid.filter(|pid| *pid > 0) {
            // It may have ended by itself.
            let _ = crate::executor::signal(pid, nix::libc::SIGKILL);
        }
        self.payload.kill();
        self.clean();
        if let Err(error) = record_failure(self.directory, self.state.clone(), self.reserve.take(), fault) {
            eprint_line(&error.message);
        }
    }

    /// The main process has ended.
    pub(super) fn end(&mut self, mut end: ExitStatus, piece: &mut [u8]) -> Result<(), ShimError> {
        // All who could write have died with it; what they wrote is in the pipes.
        for stream in [Stream::Stdout, Stream::Stderr] {
            while self.pass_on(stream, piece) {}
        }
        let killed = self.payload.was_oom_killed();
        end.oom = killed && end.code == 137;
        self.clean();
        self.state.phase = Phase::Stopped;
        self.state.pid = None;
        self.state.finished = Some(hythe_host::now());
        self.state.exit = Some(end.clone());
        put(self.directory, self.reserve.take(), &self.state).doing("record the end")?;
        recovery::clear(self.directory);
        if killed {
            self.event(Kind::OutOfMemory);
        }
        let framed = frame_json(kind::END, &end).unwrap_or_default();
        self.event(Kind::Stopped(end));
        self.flush_and_close(&framed);
        Ok(())
    }

    fn clean(&mut self) {
        end_children();
        if let Err(error) = self.payload.remove() {
            eprint_line(&format!("cannot remove a cgroup: {error}"));
        }
        if let Err(fault) = self.network.detach(self.config) {
            eprint_line(&fault.message);
        }
    }

    fn flush_and_close(&mut self, end: &[u8]) {
        use super::attach::Role;
        for client in &mut self.clients {
            if matches!(client.role, Role::Attached { .. } | Role::Waiting) {
                client.send(end);
            }
            client.finish();
        }
    }
}

/// Kills and reaps every child: one that was about to make a process would bring the control groups back.
fn end_children() {
    let path = format!("/proc/self/task/{}/children", std::process::id());
    loop {
        for child in std::fs::read_to_string(&path).unwrap_or_default().split_whitespace() {
            if let Ok(child) = child.parse() {
                // It may have ended by itself.
                let _ = crate::executor::signal(child, nix::libc::SIGKILL);
            }
        }
        // Children may have had children, which are ours then.
        if waitpid(None, None).is_err() {
            return;
        }
    }
}

/// To the shim's own log.
pub(super) fn eprint_line(text: &str) {
    use std::io::Write as _;
    // There is nobody else to tell.
    let _ = writeln!(io::stderr(), "{text}");
}
