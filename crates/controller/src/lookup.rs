//! Finding the instance of a record in its engine.

use hythe_runtime::{Error, ErrorKind, InstanceRef, Observed, OpContext, Runtime, identity};
use hythe_store::InstanceRecord;

/// The instance in the engine, by its id. While only its name is known (the reply to its creation was lost), what bears that name is it only where the
/// labels say so: another agent on the same engine may have a service of the same name.
///
/// # Errors
/// `NotFound`, and what the engine says.
pub(crate) async fn identify(
    runtime: &dyn Runtime,
    cx: &OpContext,
    owner: &str,
    instance: &InstanceRecord,
) -> Result<InstanceRef, Error> {
    match &instance.id {
        Some(id) => Ok(InstanceRef::id(id)),
        None => named(runtime, cx, owner, instance).await.map(|seen| seen.id.into()),
    }
}

/// [`identify`] and a look at it.
pub(crate) async fn inspect(
    runtime: &dyn Runtime,
    cx: &OpContext,
    owner: &str,
    instance: &InstanceRecord,
) -> Result<Observed, Error> {
    match &instance.id {
        Some(id) => runtime.inspect(cx, &InstanceRef::id(id)).await,
        None => named(runtime, cx, owner, instance).await,
    }
}

/// What bears the instance's name and the labels of this very attempt.
pub(crate) async fn named(
    runtime: &dyn Runtime,
    cx: &OpContext,
    owner: &str,
    instance: &InstanceRecord,
) -> Result<Observed, Error> {
    let name = &instance.name;
    let seen = runtime.inspect(cx, &InstanceRef::name(name)).await?;
    let is_it = |found: &hythe_runtime::Identity| found.owner == owner && found.instance_name() == *name;
    if seen.name == *name && seen.identity.as_ref().is_some_and(is_it) {
        return Ok(seen);
    }
    let message = format!("`{name}` was not created by this agent");
    Err(Error::new(ErrorKind::NotFound, "inspect", message))
}

/// The name of an instance is in use: the error with its owner, where the engine reports one.
pub(crate) async fn name_in_use(runtime: &dyn Runtime, cx: &OpContext, owner: &str, name: &str, error: Error) -> Error {
    let Ok(seen) = runtime.inspect(cx, &InstanceRef::name(name)).await else { return error };
    let labels = seen.identity.map(|identity| identity.labels()).unwrap_or_default();
    if labels.get(identity::OWNER).is_some_and(|of| of == owner) {
        return error;
    }
    identity::taken("run", "instance", name, &labels).source(error)
}
