//! Making, listing and removing networks.

use hythe_runtime::identity::{OWNER, must_be_of, taken};
use hythe_runtime::{Error, ErrorKind, NetworkInfo, NetworkSpec, Result};

use super::Networks;
use super::error::kernel;
use super::host;
use super::netlink::Session;
use super::store::{Definition, Locked};
use super::subnet::{Subnet, free_subnet};

/// Where the routes of a network namespace lead.
#[derive(Debug, Clone, Default)]
pub struct Routes(Vec<Subnet>);

impl Routes {
    /// Those of the network namespace that this thread is in.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn here() -> Result<Self> {
        let routes = Session::route().and_then(|mut session| session.routes());
        let routes = routes.map_err(|error| kernel("ensure network", "asking for routes", error))?;
        Ok(Self(routes.into_iter().map(|route| route.to).collect()))
    }
}

impl Networks {
    /// Makes a network. One of that name with the same owner label: success; held by anything else: `AlreadyExists`. Two racing calls make one.
    ///
    /// # Errors
    /// `Invalid`: the name. `AlreadyExists`: see above. `Exhausted`: no free subnet. `Unsupported`: what the machine lacks.
    pub fn ensure(&self, spec: &NetworkSpec) -> Result<()> {
        const OPERATION: &str = "ensure network";
        let lock = self.store.lock()?;
        let (definition, is_new) = match self.store.definition(&spec.name)? {
            Some(there) if there.labels.get(OWNER) == spec.labels.get(OWNER) => (there, false),
            Some(there) => return Err(taken(OPERATION, "network", &spec.name, &there.labels)),
            None => (self.define(&lock, spec)?, true),
        };
        drop(lock);
        self.step("defined");
        let made = self.store.prepare().and_then(|outside| {
            self.step("ruled");
            // Plugins make the bridge with the first member.
            if definition.plugins.is_some() { Ok(()) } else { self.store.raise_bridge(&definition, outside) }
        });
        made.map_err(|error| if is_new { self.unmade(&definition, error) } else { error })
    }

    /// The error, after the network that could not be made whole is gone again; unless another caller made it whole meanwhile.
    fn unmade(&self, definition: &Definition, error: Error) -> Error {
        let bridge = self.store.scope().bridge(definition.number);
        let unmake = || {
            let lock = self.store.lock()?;
            let mut session = Session::route().map_err(|error| kernel("ensure network", "netlink", error))?;
            if session.link(&bridge).is_ok_and(|link| link.is_some_and(|link| link.up)) {
                return Ok(());
            }
            // First the record: a bridge that nothing speaks of is found by `gc`.
            lock.remove_definition(&definition.name)?;
            session
                .delete_link(&bridge)
                .map_err(|error| kernel("ensure network", format!("bridge `{bridge}`"), error))?;
            self.store.apply_rules(&lock, host::outside()?)
        };
        match unmake() {
            Ok(()) => error,
            Err(also) => error.with("clean-up", also),
        }
    }

    /// All networks, sorted by name.
    ///
    /// # Errors
    /// The state directory cannot be read.
    pub fn list(&self) -> Result<Vec<NetworkInfo>> {
        Ok(self.store.definitions()?.into_iter().map(described).collect())
    }

    /// Removes a network, whosever it is. Absent: success; in use: `Conflict`.
    ///
    /// # Errors
    /// `Conflict`: somebody is connected. Otherwise what the kernel says.
    pub fn remove(&self, name: &str) -> Result<()> {
        self.remove_where(name, |_| Ok(()))
    }

    /// As [`Networks::remove`], of this owner only.
    ///
    /// # Errors
    /// As there; `Conflict` also where it does not carry the owner's label.
    pub fn remove_of(&self, owner: &str, name: &str) -> Result<()> {
        self.remove_where(name, |there| must_be_of(owner, "remove network", "network", name, &there.labels))
    }

    fn remove_where(&self, name: &str, may_go: impl FnOnce(&Definition) -> Result<()>) -> Result<()> {
        const OPERATION: &str = "remove network";
        let lock = self.store.lock()?;
        let Some(definition) = self.store.definition(name)? else { return Ok(()) };
        may_go(&definition)?;
        let users: Vec<_> = self.store.members(name)?.members.into_iter().map(|member| member.instance).collect();
        if !users.is_empty() {
            let message = format!("network `{name}` is used by `{}`", users.join("`, `"));
            return Err(Error::new(ErrorKind::Conflict, OPERATION, message));
        }
        if let Some(plugins) = &definition.plugins {
            self.store.end_by_plugins(plugins, &definition)?;
        }
        let bridge = self.store.scope().bridge(definition.number);
        let removed = Session::route().and_then(|mut session| session.delete_link(&bridge));
        removed.map_err(|error| kernel(OPERATION, format!("bridge `{bridge}`"), error))?;
        self.step("unbridged");
        lock.remove_definition(name)?;
        self.step("undefined");
        self.store.apply_rules(&lock, host::outside()?)
    }

    /// The same, where networks that are made from now on leave the subnets of those routes alone as long as there are others.
    #[must_use]
    pub fn beside(mut self, routes: Routes) -> Self {
        self.beside = routes;
        self
    }

    fn define(&self, lock: &Locked<'_>, spec: &NetworkSpec) -> Result<Definition> {
        const OPERATION: &str = "ensure network";
        let ours: Vec<u32> = self.store.definitions()?.iter().map(|definition| definition.number).collect();
        let Routes(routes) = Routes::here()?;
        let scope = self.store.scope();
        let better = [&routes[..], &self.beside.0].concat();
        let free = |routes: &[Subnet]| free_subnet(scope.start(), &ours, routes);
        let Some(number) = free(&better).or_else(|| free(&routes)) else {
            let message = format!("no subnet is left for network `{}`", spec.name);
            let hint = "remove networks that nobody uses, or free a part of 10.192.0.0/10";
            return Err(Error::new(ErrorKind::Exhausted, OPERATION, message).hint(hint));
        };
        let definition = Definition {
            name: spec.name.clone(),
            labels: spec.labels.clone(),
            internal: spec.internal,
            number,
            v4: Subnet::v4(number),
            // The plugins would turn on forwarding of IPv6, whatever routes the machine loses by that.
            v6: (self.plugins.is_none() && host::has_v6()).then(|| Subnet::v6(scope.id(), number)),
            plugins: self.plugins.clone(),
        };
        lock.put_definition(&definition)?;
        Ok(definition)
    }
}

fn described(definition: Definition) -> NetworkInfo {
    let mut subnets: Vec<String> = definition.subnets().map(|subnet| subnet.to_string()).collect();
    subnets.sort();
    NetworkInfo { name: definition.name, labels: definition.labels, driver: "bridge".to_owned(), subnets }
}
