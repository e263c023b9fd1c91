//! Joining one more network, or leaving one, while staying in others.

use hythe_runtime::Result;

use super::Networks;
use super::attach::{AttachRequest, Attached};

impl Networks {
    /// Connects an instance that is connected already to what is new in the request, which begins with the networks that it has.
    ///
    /// # Errors
    /// As [`Networks::attach`]; then it is connected as before.
    pub fn join(&self, request: &AttachRequest<'_>) -> Result<Attached> {
        let _turn = self.store.lock_instance(request.instance)?;
        let had: Vec<String> = match self.store.about(request.instance)? {
            Some(about) => about.connections.into_iter().map(|connection| connection.network).collect(),
            None => Vec::new(),
        };
        self.connect(request).inspect_err(|_| {
            let new = request.attachments.iter().filter(|attachment| !had.contains(&attachment.network));
            for attachment in new {
                // What cannot be undone now is found by `gc`.
                let _ = self.part(request.instance, &attachment.network);
            }
        })
    }

    /// Disconnects an instance from one network. Not connected to it: success.
    ///
    /// # Errors
    /// What the kernel or the state directory says; then it can be called again.
    pub fn leave(&self, instance: &str, network: &str) -> Result<()> {
        let _turn = self.store.lock_instance(instance)?;
        self.part(instance, network)
    }

    fn part(&self, instance: &str, network: &str) -> Result<()> {
        let lock = self.store.lock()?;
        let Some(definition) = self.store.definition(network)? else { return Ok(()) };
        let mut members = self.store.members(network)?;
        if let Some(member) = members.of(instance) {
            self.unlink(instance, &definition, member.host)?;
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
