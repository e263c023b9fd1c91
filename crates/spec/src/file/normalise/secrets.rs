//! `secrets` of a component, and the `[secrets]` that say where values come from.

use super::context::Context;
use crate::file::decode::At;
use crate::file::findings::Place;
use crate::file::raw::{ComponentFile, SecretSourceTable, SecretTable, ServiceFile};
use crate::file::shapes::{Or, Scalar};
use crate::mount::tmpfs::parse_mode;
use crate::{ParseError, Secret, SecretFrom, SecretSource, secret};

/// The secrets of a component, sorted by target; each one's place is known under its normalised path.
pub(super) fn secrets(path: &str, raw: &ComponentFile, cx: &mut Context<'_>) -> Vec<Secret> {
    let mut secrets: Vec<(Secret, Place)> = Vec::new();
    for item in raw.secrets.iter().flat_map(|list| &list.value) {
        let secret = match &item.value {
            Or::First(name) => Secret::named(name),
            Or::Second(table) if table.source.is_none() => continue,
            Or::Second(table) => long(table),
        };
        let secret = cx.findings.check(&item.place, secret);
        secrets.extend(secret.map(|secret| (secret, item.place.clone())));
    }
    secrets.sort_by(|(one, _), (two, _)| one.cmp(two));
    for (at, (_, place)) in secrets.iter().enumerate() {
        cx.places.put(format!("{path}.secrets[{at}]"), place);
    }
    secrets.into_iter().map(|(secret, _)| secret).collect()
}

fn long(table: &SecretTable) -> Result<Secret, ParseError> {
    let name = table.source.as_ref().map(|at| at.value.clone()).unwrap_or_default();
    let mut secret = Secret::named(&name)?;
    if let Some(target) = &table.target {
        secret.target = match target.value.as_str() {
            path if path.starts_with('/') => path.to_owned(),
            name => {
                secret::check_name(name).map_err(|error| {
                    error.hint("a bare name appears in `/run/secrets`; any other target is an absolute path")
                })?;
                format!("{}/{name}", secret::DIRECTORY)
            }
        };
    }
    if let Some(mode) = &table.mode {
        secret.mode = parse_mode(&mode.value)?;
    }
    secret.uid = table.uid.as_ref().map(id).transpose()?;
    secret.gid = table.gid.as_ref().map(id).transpose()?;
    Ok(secret)
}

fn id(at: &At<Scalar>) -> Result<u32, ParseError> {
    let text = at.value.text();
    let id = text.parse().ok().filter(|id| *id <= i32::MAX as u32);
    id.ok_or_else(|| ParseError::new(format!("`{text}` is not a user's or group's number")))
}

/// What `[secrets]` names; the components' secrets of those names are then the service's own.
pub(super) fn sources(file: &ServiceFile, service: &mut crate::Service, cx: &mut Context<'_>) -> Vec<SecretSource> {
    let mut sources = Vec::new();
    for (key, how) in file.secrets.iter().flat_map(|map| &map.value.0) {
        if cx.findings.check(&key.place, secret::check_name(&key.value)).is_none() {
            continue;
        }
        let name = format!("{}.{}", service.name, key.value);
        let used = service.components.iter_mut().flat_map(|component| &mut component.secrets);
        let used: Vec<&mut Secret> = used.filter(|secret| secret.source == key.value).collect();
        if used.is_empty() {
            cx.findings.warn(&key.place, format!("no component uses the secret `{}`", key.value));
        }
        used.into_iter().for_each(|secret| secret.source.clone_from(&name));
        sources.extend(from(how, cx).map(|from| SecretSource { name, from }));
    }
    sources
}

fn from(how: &At<SecretSourceTable>, cx: &mut Context<'_>) -> Option<SecretFrom> {
    match (&how.value.file, &how.value.environment) {
        (Some(file), None) => cx.resolve(file).map(SecretFrom::File),
        (None, Some(name)) => Some(SecretFrom::Environment(name.value.clone())),
        _ => {
            let finding = cx.findings.error(&how.place, "a secret has either `file` or `environment`");
            finding.hint("leave it out of `[secrets]` where `hythe secret set` gives its value");
            None
        }
    }
}
