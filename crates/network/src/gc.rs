//! Taking back: from one instance, and from all that are dead.

use hythe_runtime::Result;

use super::Networks;
use super::cni::Place;
use super::error::kernel;
use super::host;
use super::netlink::Session;
use super::store::{Definition, Locked};

/// What was taken back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Instances that were disconnected, sorted.
    pub instances: Vec<String>,
    /// Links of ours that belonged to nothing, sorted.
    pub links: Vec<String>,
}

impl Networks {
    /// Disconnects an instance from all networks and frees its addresses. Not connected: success.
    ///
    /// # Errors
    /// What the kernel or the state directory says; then it can be called again.
    pub fn detach(&self, instance: &str) -> Result<()> {
        let _turn = self.store.lock_instance(instance)?;
        self.release(instance)
    }

    /// Detaches whose turn it is already.
    pub(super) fn release(&self, instance: &str) -> Result<()> {
        // Outside the lock, since it takes its time; while it is this instance's turn nobody connects it.
        self.remove_links(instance)?;
        self.step("unlinked");
        let lock = self.store.lock()?;
        let left = self.disconnect(&lock, instance)?;
        drop(lock);
        self.step("forgotten");
        self.tell(left.iter().map(String::as_str))
    }

    /// Takes back what belongs to none of `alive`, which names all instances that are connected or being connected: after a crash, after a restart
    /// of the machine. Also brings back rules that somebody flushed.
    ///
    /// # Errors
    /// What the kernel or the state directory says; then it can be called again.
    pub fn gc(&self, alive: &[&str]) -> Result<Collected> {
        let mut collected = Collected::default();
        for instance in self.known_instances()? {
            if !alive.contains(&instance.as_str()) {
                self.detach(&instance)?;
                collected.instances.push(instance);
            }
        }
        let lock = self.store.lock()?;
        lock.sweep()?;
        collected.links = self.remove_stray_links(&lock)?;
        drop(lock);
        let definitions = self.store.definitions()?;
        self.tell(definitions.iter().map(|definition| definition.name.as_str()))?;
        self.restore()?;
        Ok(collected)
    }

    /// Brings back forwarding and rules that somebody flushed or overruled, as engines do that start later. Most often there is nothing to do.
    ///
    /// # Errors
    /// What the kernel or the state directory says.
    pub fn restore(&self) -> Result<()> {
        if self.store.own_definitions()?.is_empty() {
            return self.store.apply_rules(&self.store.lock()?, host::outside()?);
        }
        self.store.prepare().map(drop)
    }

    fn remove_links(&self, instance: &str) -> Result<()> {
        for definition in self.store.definitions()? {
            if let Some(member) = self.store.members(&definition.name)?.of(instance) {
                self.unlink(instance, &definition, member.host)?;
            }
        }
        Ok(())
    }

    /// Removes a member's link and the rules that it may have.
    pub(super) fn unlink(&self, instance: &str, definition: &Definition, host: u32) -> Result<()> {
        let Some(plugins) = &definition.plugins else { return self.store.disconnect(definition, host) };
        let about = self.store.about(instance)?;
        let namespace = about.as_ref().and_then(|about| about.namespace.as_deref());
        let place = Place { instance, definition, host, namespace, is_known: true, is_complete: false };
        self.store.del_by_plugins(plugins, &place)
    }

    /// Forgets what is unlinked already: what is interrupted between is found again. Gives the networks that were left; that the names are
    /// gone has to be told there, and whoever comes or goes next tells it too.
    fn disconnect(&self, lock: &Locked<'_>, instance: &str) -> Result<Vec<String>> {
        let mut left = Vec::new();
        for definition in self.store.definitions()? {
            let mut members = self.store.members(&definition.name)?;
            if members.of(instance).is_some() {
                members.members.retain(|member| member.instance != instance);
                members.changed += 1;
                lock.put_members(&definition.name, &members)?;
                left.push(definition.name);
            }
        }
        self.step("unlisted");
        lock.remove_instance(instance)?;
        Ok(left)
    }

    fn known_instances(&self) -> Result<Vec<String>> {
        let mut instances = self.store.instances()?;
        for definition in self.store.definitions()? {
            instances.extend(self.store.members(&definition.name)?.members.into_iter().map(|member| member.instance));
        }
        instances.sort();
        instances.dedup();
        Ok(instances)
    }

    fn remove_stray_links(&self, _lock: &Locked<'_>) -> Result<Vec<String>> {
        let scope = self.store.scope();
        let mut known = Vec::new();
        for definition in self.store.definitions()? {
            known.push(scope.bridge(definition.number));
            let members = self.store.members(&definition.name)?.members;
            known.extend(members.iter().map(|member| scope.pair(definition.number, member.host)));
        }
        let remove = || {
            let mut session = Session::route()?;
            let mut stray: Vec<String> = session.links()?.into_iter().map(|link| link.name).collect();
            stray.retain(|name| name.starts_with(&scope.prefix()) && !known.contains(name));
            stray.sort();
            stray.iter().try_for_each(|name| session.delete_link(name))?;
            Ok(stray)
        };
        remove().map_err(|error| kernel("network gc", "links that belong to nothing", error))
    }
}
