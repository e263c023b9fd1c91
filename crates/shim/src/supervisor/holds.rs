//! Holding everything still for somebody who looks at its files. The hold is a connection, so that it ends with whoever wants it.

use super::clients::Role;
use super::loops::Shim;
use crate::cgroup;
use crate::error::{Doing, Fault, FaultKind};

impl Shim<'_> {
    pub(super) fn hold(&mut self, pid: i32) -> Result<(), Fault> {
        if self.ends.contains_key(&pid) {
            return Err(Fault::new(FaultKind::Conflict, "it has ended"));
        }
        if cgroup::is_frozen(&self.run.cgroups) {
            return Ok(());
        }
        self.held = true;
        cgroup::freeze(&self.run.cgroups, true).doing("hold it still").inspect_err(|_| self.let_go())
    }

    /// Thaws it once nobody holds it any more.
    pub(super) fn let_go(&mut self) {
        let is_wanted = self.clients.iter().any(|client| client.role == Role::Holding);
        if self.held && !is_wanted {
            // Where the kernel does not thaw it now, the next turn tries again.
            self.held = cgroup::freeze(&self.run.cgroups, false).is_err();
        }
    }

    /// Whoever holds it hears that the hold is over; what was only held runs on.
    pub(super) fn break_hold(&mut self) -> Result<(), Fault> {
        for client in self.clients.iter_mut().filter(|client| client.role == Role::Holding) {
            client.done = true;
        }
        if self.held {
            cgroup::freeze(&self.run.cgroups, false).doing("thaw it")?;
            self.held = false;
        }
        Ok(())
    }
}
