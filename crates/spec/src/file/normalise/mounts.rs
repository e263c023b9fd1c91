//! `volumes` and `tmpfs`.

use super::context::{Context, strings};
use crate::file::decode::At;
use crate::file::findings::Place;
use crate::file::raw::{ComponentFile, MountTable};
use crate::file::shapes::Or;
use crate::mount::long::Long;
use crate::mount::tmpfs::Reading;
use crate::{Mount, ParseError};

/// The mounts of a component, sorted by target; each one's place is known under its normalised path.
pub(super) fn mounts(path: &str, raw: &ComponentFile, cx: &mut Context<'_>) -> Vec<Mount> {
    let mut mounts: Vec<(Mount, Place)> = Vec::new();
    for item in raw.volumes.iter().flat_map(|list| &list.value) {
        mounts.extend(volume(item, cx).map(|mount| (mount, item.place.clone())));
    }
    for item in strings(raw.tmpfs.as_ref()) {
        let mount = cx.findings.check(&item.place, Mount::parse_tmpfs(&item.value));
        mounts.extend(mount.map(|mount| (mount, item.place)));
    }
    mounts.sort_by(|(one, _), (two, _)| one.cmp(two));
    for (at, (_, place)) in mounts.iter().enumerate() {
        cx.places.put(format!("{path}.mounts[{at}]"), place);
    }
    mounts.into_iter().map(|(mount, _)| mount).collect()
}

fn volume(item: &At<Or<String, MountTable>>, cx: &mut Context<'_>) -> Option<Mount> {
    let mount = match &item.value {
        Or::First(text) if text.starts_with("type=") => Mount::parse_long(text, &cx.paths()),
        Or::First(text) => Mount::parse_short(text, &cx.paths()),
        Or::Second(table) => {
            table.target.as_ref()?;
            long(table).and_then(|long| long.build(&cx.paths()))
        }
    };
    cx.findings.check(&item.place, mount)
}

fn long(table: &MountTable) -> Result<Long, ParseError> {
    let text = |at: &Option<At<String>>| at.as_ref().map(|at| at.value.clone());
    let flag = |at: &Option<At<bool>>| at.as_ref().is_some_and(|at| at.value);
    let source = text(&table.source);
    let is_path = source.as_ref().is_some_and(|source| source.starts_with(['/', '.', '~']));
    Ok(Long {
        kind: text(&table.r#type).or_else(|| is_path.then(|| "bind".to_owned())),
        source,
        target: text(&table.target),
        read_only: flag(&table.read_only),
        propagation: text(&table.propagation),
        selinux: table.selinux.as_ref().map(|at| selinux(&at.value)).transpose()?,
        external: flag(&table.external),
        memory: memory(table)?,
    })
}

fn memory(table: &MountTable) -> Result<Reading, ParseError> {
    let mut reading = Reading::default();
    if let Some(mode) = &table.mode {
        reading.take(&format!("mode={}", mode.value))?;
    }
    for (name, at) in [("size", &table.size), ("uid", &table.uid), ("gid", &table.gid), ("nr_inodes", &table.nr_inodes)]
    {
        if let Some(at) = at {
            reading.take(&format!("{name}={}", at.value.text()))?;
        }
    }
    for (name, at) in [("exec", &table.exec), ("suid", &table.suid), ("dev", &table.dev)] {
        if let Some(at) = at {
            reading.take(&format!("{}{name}", if at.value { "" } else { "no" }))?;
        }
    }
    Ok(reading)
}

fn selinux(text: &str) -> Result<char, ParseError> {
    match text {
        "z" => Ok('z'),
        "Z" => Ok('Z'),
        _ => Err(ParseError::new(format!("`{text}` is not a relabelling")).hint("`z` is shared, `Z` private")),
    }
}
