//! Leaving one network while staying in others.

use hythe_runtime::Result;

use super::Networks;

impl Networks {
    /// Disconnects an instance from one network. Not connected to it: success.
    ///
    /// # Errors
    /// What the kernel or the state directory says; then it can be called again.
    pub fn leave(&self, instance: &str, network: &str) -> Result<()> {
        let _turn = self.store.lock_instance(instance)?;
        let lock = self.store.lock()?;
        let Some(definition) = self.store.definition(network)? else { return Ok(()) };
        let mut members = self.store.members(network)?;
        if let Some(member) = members.of(instance) {
            self.store.disconnect(&definition, member.host)?;
            members.members.retain(|member| member.instance != instance);
            members.changed += 1;
            lock.put_members(network, &members)?;
        }
        if let Some(mut about) = self.store.about(instance)? {
            about.connections.retain(|connection| connection.network != network);
            lock.put_about(instance, &about)?;
            self.write_hosts(&lock, instance, false)?;
        }
        drop(lock);
        self.tell([network].into_iter())
    }
}
