//! Freezing a container for somebody who reads its files. The connection is the lease: the container is thawed when it ends.

use super::attach::Role;
use super::event_loop::Shim;
use super::payload::Payload;
use crate::error::{Doing, ShimError, ShimErrorKind};

impl<P: Payload> Shim<'_, P> {
    pub(super) fn freeze(&mut self, pid: i32) -> Result<(), ShimError> {
        if self.exits.contains_key(&pid) {
            return Err(ShimError::new(ShimErrorKind::Conflict, "it has ended"));
        }
        if self.payload.is_frozen() {
            return Ok(());
        }
        // Whoever inspects it meanwhile does not take it for paused.
        std::fs::write(self.directory.frozen(), "").doing("record that it is frozen")?;
        self.frozen = true;
        self.payload.freeze(true).doing("freeze it").inspect_err(|_| self.thaw_when_released())
    }

    /// Thaws it once no connection wants it frozen.
    pub(super) fn thaw_when_released(&mut self) {
        let is_wanted = self.clients.iter().any(|client| client.role == Role::Freezing);
        if self.frozen && !is_wanted {
            // Where the kernel does not thaw it now, the next round of the loop tries again.
            let _later = self.thaw();
        }
    }

    /// Ends the connections that want it frozen; a container that was not paused besides runs on.
    pub(super) fn release_freeze(&mut self) -> Result<(), ShimError> {
        for client in self.clients.iter_mut().filter(|client| client.role == Role::Freezing) {
            client.done = true;
        }
        if self.frozen { self.thaw() } else { Ok(()) }
    }

    fn thaw(&mut self) -> Result<(), ShimError> {
        self.payload.freeze(false).doing("thaw it")?;
        self.frozen = false;
        // Of one that is not frozen it says nothing.
        let _ = std::fs::remove_file(self.directory.frozen());
        Ok(())
    }
}
