//! Taking back: from one instance, and from all that are dead.

use hythe_runtime::Result;

use super::Networks;
use super::error::kernel;
use super::machine;
use super::netlink::Session;
use super::store::Locked;

/// What was taken back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reclaimed {
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
        let lock = self.store.lock()?;
        self.disconnect(&lock, instance)
    }

    /// Takes back what belongs to none of `alive`, which names all instances that are connected or being connected: after a crash, after a restart
    /// of the machine. Also brings back rules that somebody flushed.
    ///
    /// # Errors
    /// What the kernel or the state directory says; then it can be called again.
    pub fn reclaim(&self, alive: &[&str]) -> Result<Reclaimed> {
        let lock = self.store.lock()?;
        lock.sweep()?;
        let mut reclaimed = Reclaimed::default();
        for instance in self.known_instances()? {
            if !alive.contains(&instance.as_str()) {
                self.disconnect(&lock, &instance)?;
                reclaimed.instances.push(instance);
            }
        }
        reclaimed.links = self.remove_stray_links(&lock)?;
        let definitions = self.store.definitions()?;
        self.tell(&lock, definitions.iter().map(|definition| definition.name.as_str()), None)?;
        drop(lock);
        if definitions.is_empty() {
            self.store.apply_rules(&self.store.lock()?, machine::outside()?)?;
        } else {
            self.store.prepare()?;
        }
        Ok(reclaimed)
    }

    /// First the links, then the record of them: what is interrupted between is found again.
    fn disconnect(&self, lock: &Locked<'_>, instance: &str) -> Result<()> {
        let mut left = Vec::new();
        for definition in self.store.definitions()? {
            let mut members = self.store.members(&definition.name)?;
            let Some(member) = members.of(instance) else { continue };
            self.store.disconnect(&definition, member.host)?;
            members.members.retain(|member| member.instance != instance);
            lock.put_members(&definition.name, &members)?;
            left.push(definition.name);
        }
        // Killed before this, it is not told that the names are gone; the next who comes or goes tells it, or `reclaim`.
        self.tell(lock, left.iter().map(String::as_str), None)?;
        lock.remove_instance(instance)
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
        let realm = self.store.realm();
        let mut known = Vec::new();
        for definition in self.store.definitions()? {
            known.push(realm.bridge(definition.number));
            let members = self.store.members(&definition.name)?.members;
            known.extend(members.iter().map(|member| realm.pair(definition.number, member.host)));
        }
        let remove = || {
            let mut session = Session::route()?;
            let mut stray: Vec<String> = session.links()?.into_iter().map(|link| link.name).collect();
            stray.retain(|name| name.starts_with(&realm.prefix()) && !known.contains(name));
            stray.sort();
            stray.iter().try_for_each(|name| session.delete_link(name))?;
            Ok(stray)
        };
        remove().map_err(|error| kernel("reclaim", "links that belong to nothing", error))
    }
}
