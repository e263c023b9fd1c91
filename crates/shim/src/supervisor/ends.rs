//! The records at a run's turns.

use std::io;

use jiff::Timestamp;
use nix::sys::wait::waitpid;

use super::loops::Shim;
use super::settle;
use crate::cgroup;
use crate::directory::Directory;
use crate::error::{Doing, Fault};
use crate::files::{Reserve, replace_json};
use crate::journal::{Kind, append};
use crate::logs::Stream;
use crate::protocol::{frame_json, kind};
use crate::record::{End, Phase, Run};

/// The main process was executed.
pub(super) fn record_start(shim: &mut Shim<'_>) -> Result<(), Fault> {
    shim.run.phase = Phase::Running;
    shim.run.started = Some(Timestamp::now());
    // A machine that stops before this is on the disk finds `starting` there, and knows the container dead all the same.
    replace_json(&shim.directory.run(), &shim.run, false).doing("record the start")?;
    shim.event(Kind::Started);
    Ok(())
}

/// It could not be started.
pub(super) fn record_fault(
    directory: &Directory,
    mut run: Run,
    reserve: Option<Reserve>,
    fault: &Fault,
) -> Result<(), Fault> {
    run.phase = Phase::Failed;
    run.pid = None;
    run.finished = Some(Timestamp::now());
    run.end = Some(End { code: fault.code.unwrap_or(128), error: Some(fault.message.clone()), ..End::default() });
    put(directory, reserve, &run).doing("record the failure")?;
    settle::clear(directory);
    Ok(())
}

fn put(directory: &Directory, reserve: Option<Reserve>, run: &Run) -> io::Result<()> {
    match reserve {
        Some(reserve) => reserve.become_json(&directory.run(), run),
        None => replace_json(&directory.run(), run, true),
    }
}

impl Shim<'_> {
    /// Tells an event; one that cannot be written is lost, the record is not.
    pub(crate) fn event(&self, kind: Kind) {
        if let Err(error) = append(&self.launch.journal, &self.launch.id, &self.launch.about, kind) {
            eprint_line(&format!("cannot tell an event: {error}"));
        }
    }

    /// Undoes a start that failed after the creator was begun.
    pub(super) fn give_up(&mut self, pid: Option<i32>, fault: &Fault) {
        if let Some(pid) = pid.filter(|pid| *pid > 0) {
            // It may have ended by itself.
            let _ = crate::executor::signal(pid, nix::libc::SIGKILL);
        }
        for one in cgroup::processes(&settle::groups(&self.launch)).unwrap_or_default() {
            let _ = crate::executor::signal(one, nix::libc::SIGKILL);
        }
        self.clean();
        if let Err(error) = record_fault(self.directory, self.run.clone(), self.reserve.take(), fault) {
            eprint_line(&error.message);
        }
    }

    /// The main process has ended.
    pub(super) fn end(&mut self, mut end: End, piece: &mut [u8]) -> Result<(), Fault> {
        // All who could write have died with it; what they wrote is in the pipes.
        for stream in [Stream::Stdout, Stream::Stderr] {
            while self.pass_on(stream, piece) {}
        }
        let killed = cgroup::killed_for_memory(&self.run.cgroups) > 0;
        end.oom = killed && end.code == 137;
        self.clean();
        self.run.phase = Phase::Ended;
        self.run.pid = None;
        self.run.finished = Some(Timestamp::now());
        self.run.end = Some(end.clone());
        put(self.directory, self.reserve.take(), &self.run).doing("record the end")?;
        settle::clear(self.directory);
        if killed {
            self.event(Kind::OutOfMemory);
        }
        let framed = frame_json(kind::END, &end).unwrap_or_default();
        self.event(Kind::Stopped(end));
        self.say_goodbye(&framed);
        Ok(())
    }

    fn clean(&mut self) {
        end_children();
        if let Err(error) = cgroup::remove(&settle::groups(&self.launch)) {
            eprint_line(&format!("cannot remove a control group: {error}"));
        }
        if let Err(fault) = self.network.detach(&self.launch) {
            eprint_line(&fault.message);
        }
    }

    fn say_goodbye(&mut self, end: &[u8]) {
        use super::clients::Role;
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
