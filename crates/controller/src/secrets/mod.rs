//! Secrets on their way into instances: digests at a deploy, files in memory before a start, nothing after the removal.
//!
//! An instance's secrets are files in a directory of its own, on a file system in memory that only the agent's user may enter;
//! runtimes mount them read-only. What an instance was given stays as it is until another one replaces it, or until the host
//! was rebooted: then the current values are written again before it starts.

pub(crate) mod files;

use std::collections::BTreeMap;
use std::fs;
use std::sync::PoisonError;

use hythe_runtime::{Error, ErrorKind, PlanSecret};
use hythe_spec::service::workload_name;
use hythe_spec::{Component, Secret, Service};
use hythe_store::{InstanceRecord, SecretRecord};

use crate::Controller;
use crate::action::DeployOptions;
use crate::model::WorkloadState;
pub use files::SecretFiles;
use files::no_memory;

/// A secret and the workloads that are described with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretUse {
    /// The secret.
    pub record: SecretRecord,
    /// Names of workloads.
    pub workloads: Vec<String>,
}

impl Controller {
    fn secret_files(&self) -> Result<&SecretFiles, Error> {
        let none = || Error::new(ErrorKind::Unsupported, "secrets", "this agent keeps no secrets");
        self.settings.secrets.as_deref().ok_or_else(none)
    }

    /// The service with the digests of its secrets' values and of the files it mounts: another value is another
    /// service.
    pub(crate) fn with_digests(&self, service: &Service, options: &DeployOptions) -> Result<Service, Error> {
        let mut service = service.clone();
        let touched =
            |component: &&mut Component| options.component.as_ref().is_none_or(|name| *name == component.name);
        for secret in service.components.iter_mut().filter(touched).flat_map(|component| &mut component.secrets) {
            secret.digest = self.digest(secret, options)?;
        }
        let name = service.name.clone();
        for component in service.components.iter_mut().filter(touched) {
            component.file_digests = self.file_digests(&name, component);
        }
        Ok(service)
    }

    /// Without the agent's key nobody can try contents against them. What cannot be read now is what it was when it last could be.
    fn file_digests(&self, service: &str, component: &Component) -> BTreeMap<String, String> {
        let Some(files) = self.settings.secrets.as_deref() else { return BTreeMap::new() };
        let known = self.registry.get(&workload_name(service, &component.name));
        let mut digests = known.map(|known| known.read().desired.spec.component.file_digests).unwrap_or_default();
        digests.retain(|path, _| crate::files::paths(component).any(|mounted| mounted == path));
        digests.extend(crate::files::read(component).into_iter().map(|(path, content)| {
            let digest = files.store.digest(&path, &content);
            (path, digest)
        }));
        digests
    }

    fn digest(&self, secret: &Secret, options: &DeployOptions) -> Result<Option<String>, Error> {
        let files = self.secret_files()?;
        if files.root.is_none() {
            return Err(no_memory());
        }
        let changes_owner = secret.uid.is_some() || secret.gid.is_some();
        if changes_owner && !rustix::process::geteuid().is_root() {
            let words =
                format!("the secret `{}` cannot be given to another user by an agent that is not root", secret.source);
            return Err(Error::new(ErrorKind::Unsupported, "deploy", words)
                .hint("leave `uid` and `gid` out; `mode` says who may read it"));
        }
        match files.value(&secret.source, ErrorKind::NotFound) {
            Ok(value) => Ok(Some(files.store.digest(&secret.source, &value))),
            Err(error) if error.is_not_found() && options.unset_secrets.contains(&secret.source) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Where an attempt's secrets are.
    pub(crate) fn plan_secrets(&self, component: &Component, instance: &str) -> Vec<PlanSecret> {
        let directory = self.settings.secrets.as_ref().and_then(|files| files.directory(instance)).unwrap_or_default();
        let secrets = component.secrets.iter().enumerate();
        secrets
            .map(|(at, secret)| PlanSecret {
                target: secret.target.clone(),
                path: directory.join(at.to_string()).display().to_string(),
            })
            .collect()
    }

    /// Sees to it that the instance's secrets are there, with the values of now where it is made.
    pub(crate) fn provide_secrets(&self, instance: &InstanceRecord, made: bool) -> Result<(), Error> {
        let secrets = &instance.spec.component.secrets;
        if secrets.is_empty() {
            return Ok(());
        }
        self.secret_files()?.provide(&instance.name, secrets, made)
    }

    /// Takes away what an instance that is gone was given.
    pub(crate) fn drop_secrets(&self, instance: &str) {
        if let Some(files) = &self.settings.secrets {
            files.drop_of(instance);
        }
    }

    /// Takes away what instances were given that nobody knows any more, as after a crash.
    pub(crate) fn sweep_secrets(&self) {
        let Some(root) = self.settings.secrets.as_ref().and_then(|files| files.root.as_ref()) else { return };
        let Ok(entries) = fs::read_dir(root) else { return };
        let states = self.workloads();
        let known = |name: &str| {
            let observed = states.iter().map(|state| &state.observed);
            observed.flat_map(|it| it.current.iter().chain(&it.previous)).any(|instance| instance.name == name)
        };
        for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
            if !known(&name) {
                self.drop_secrets(&name);
            }
        }
        if let Some(files) = &self.settings.secrets {
            let _changing = files.changing.lock().unwrap_or_else(PoisonError::into_inner);
            files.drop_empty();
        }
    }

    fn users_of(&self, name: &str) -> Vec<String> {
        let uses = |state: &WorkloadState| state.desired.spec.component.secrets.iter().any(|it| it.source == name);
        self.workloads().into_iter().filter(|state| uses(state)).map(|state| state.desired.name).collect()
    }

    /// All secrets, without their values.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn secrets(&self) -> Result<Vec<SecretUse>, Error> {
        let records = self.secret_files()?.store.list().map_err(crate::store_error)?;
        Ok(records.into_iter().map(|record| SecretUse { workloads: self.users_of(&record.name), record }).collect())
    }

    /// One secret with its value.
    ///
    /// # Errors
    /// `NotFound` where it is not set, `Invalid` for what is no name.
    pub fn secret(&self, name: &str) -> Result<(SecretUse, Vec<u8>), Error> {
        named(name)?;
        let files = self.secret_files()?;
        let value = files.value(name, ErrorKind::NotFound)?;
        let record = files.store.record(name).map_err(crate::store_error)?;
        let record = record.ok_or_else(|| Error::new(ErrorKind::NotFound, "secrets", format!("no secret `{name}`")))?;
        Ok((SecretUse { workloads: self.users_of(name), record }, value))
    }

    /// Sets a value; whether it is another one than before. Instances get it when they are deployed again.
    ///
    /// # Errors
    /// `Invalid` for what is no name or too large, or when it cannot be written.
    pub fn set_secret(&self, name: &str, value: &[u8]) -> Result<bool, Error> {
        named(name)?;
        if value.len() > hythe_store::LARGEST_SECRET {
            let words = format!(
                "the secret `{name}` has {} bytes, at most {} are kept",
                value.len(),
                hythe_store::LARGEST_SECRET
            );
            return Err(Error::new(ErrorKind::Invalid, "secrets", words).hint("put larger data into a volume"));
        }
        self.secret_files()?.store.set(name, value).map_err(crate::store_error)
    }

    /// Takes a secret away.
    ///
    /// # Errors
    /// `NotFound` where it is not set, `Conflict` where workloads are described with it.
    pub fn remove_secret(&self, name: &str) -> Result<(), Error> {
        named(name)?;
        let _accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner);
        let users = self.users_of(name);
        if !users.is_empty() {
            let words = format!("the secret `{name}` is used by {}", users.join(", "));
            return Err(
                Error::new(ErrorKind::Conflict, "secrets", words).hint("undeploy them, or deploy them without it")
            );
        }
        match self.secret_files()?.store.remove(name).map_err(crate::store_error)? {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::NotFound, "secrets", format!("no secret `{name}`"))
                .hint("`hythe secret list` shows those that are set")),
        }
    }
}

fn named(name: &str) -> Result<(), Error> {
    hythe_spec::secret::check_name(name).map_err(|error| {
        let invalid = Error::new(ErrorKind::Invalid, "secrets", error.message);
        match error.hint {
            Some(hint) => invalid.hint(hint),
            None => invalid,
        }
    })
}
