//! `read[]` and `write[]`: `path`, `host:container` or `volume://name:container`.

use std::collections::BTreeMap;

use super::super::context::Context;
use crate::file::decode::At;
use crate::file::raw::PermissionsFile;
use crate::mount::{paths, short};
use crate::{Mount, MountSource, ParseError, Paths};

/// Characters that mean something to a shell; no path in a profile needs them.
const REFUSED: &str = "$&;|<>`(){}*?!'\"\\\n\r\0";

/// The mounts of a profile, sorted by target; a `write` wins over a `read` of the same target.
pub(super) fn mounts(table: &PermissionsFile, cx: &mut Context<'_>) -> Vec<Mount> {
    let mut by_target: BTreeMap<String, Mount> = BTreeMap::new();
    for (list, read_only) in [(&table.read, true), (&table.write, false)] {
        for item in list.iter().flat_map(|list| &list.value) {
            let mount = mount(item, read_only, &cx.paths());
            let Some(mount) = cx.findings.check(&item.place, mount) else { continue };
            match by_target.get(&mount.target) {
                Some(other) if other.read_only == read_only && *other != mount => {
                    let message = format!("something else is mounted at `{}` already", mount.target);
                    cx.findings.error(&item.place, message);
                }
                _ => drop(by_target.insert(mount.target.clone(), mount)),
            }
        }
    }
    by_target.into_values().collect()
}

/// What comes after a second colon: an option of some other tool, or a colon in a path.
fn without_options(rest: &str) -> Result<&str, ParseError> {
    match rest.split_once(':') {
        None => Ok(rest),
        Some((_, option)) => Err(ParseError::new(format!("a path in a profile has no options: `{option}`"))
            .hint("`read` mounts read-only, `write` writable; a path with a colon goes into `volumes`")),
    }
}

fn mount(item: &At<String>, read_only: bool, paths: &Paths<'_>) -> Result<Mount, ParseError> {
    let text = item.value.as_str();
    if let Some(wrong) = text.chars().find(|c| REFUSED.contains(*c)) {
        return Err(ParseError::new(format!("a path in a profile cannot contain `{}`", wrong.escape_default())));
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        return resource(scheme, rest, read_only);
    }
    let (host, target) = match text.split_once(':') {
        Some((host, target)) => (paths.resolve(host)?, paths::target(without_options(target)?)?),
        None => (paths.resolve(text)?, paths::target(&paths.resolve(text)?)?),
    };
    Ok(Mount { target, source: MountSource::Bind { path: host, propagation: None, selinux: None }, read_only })
}

fn resource(scheme: &str, rest: &str, read_only: bool) -> Result<Mount, ParseError> {
    match (scheme, rest.split_once(':')) {
        ("volume", Some((name, target))) => {
            let source = MountSource::Volume { name: short::volume_name(name)?, external: false };
            Ok(Mount { target: paths::target(without_options(target)?)?, source, read_only })
        }
        ("volume", None) => Err(ParseError::new("a volume needs a target").hint("write `volume://name:/target`")),
        _ => Err(ParseError::new(format!("resources of the kind `{scheme}` are not supported"))
            .hint("write a path, or `volume://name:/target`")),
    }
}
