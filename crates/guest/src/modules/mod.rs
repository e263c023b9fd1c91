//! The modules of a kernel that a guest needs, in the order in which they are loaded.

mod file;
mod modinfo;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::{GuestError, Kernel};

pub(crate) use file::read;

/// Modules that are loaded together; the init knows the groups by name.
#[derive(Debug)]
pub(crate) struct Group {
    /// Name of the group.
    pub(crate) name: &'static str,
    /// Modules that must be there, as files or built in.
    needed: &'static [&'static str],
    /// Modules that are loaded where they are there.
    wanted: &'static [&'static str],
}

/// `ext4` computes checksums with `crc32c`, which none of its dependencies name.
pub(crate) const GROUPS: &[Group] = &[
    Group {
        name: "boot",
        needed: &["virtio_pci", "virtio_console", "virtio_blk", "qemu_fw_cfg", "ext4"],
        wanted: &["crc32c_generic", "virtio_rng", "pvpanic_pci", "button", "evdev"],
    },
    Group { name: "network", needed: &["virtio_net"], wanted: &[] },
    Group { name: "virtiofs", needed: &[], wanted: &["virtiofs"] },
    Group { name: "9p", needed: &[], wanted: &["9p", "9pnet_virtio"] },
];

/// Files of a group, dependencies before what needs them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Loaded {
    /// Name of the group.
    pub(crate) group: &'static str,
    /// Name of each module, and its file.
    pub(crate) modules: Vec<(String, PathBuf)>,
}

/// Resolves all groups. A module is in the first group that needs it.
pub(crate) fn resolve(kernel: &Kernel) -> Result<Vec<Loaded>, GuestError> {
    let tree = Tree::read(kernel)?;
    let mut seen = BTreeSet::new();
    let mut groups = Vec::new();
    for group in GROUPS {
        let mut modules = Vec::new();
        for name in group.needed {
            if !tree.has(name) {
                let (release, module) = (kernel.release.clone(), (*name).to_owned());
                return Err(GuestError::NoModule { release, module });
            }
            tree.load(name, &mut seen, &mut modules)?;
        }
        for name in group.wanted.iter().filter(|name| tree.has(name)) {
            tree.load(name, &mut seen, &mut modules)?;
        }
        groups.push(Loaded { group: group.name, modules });
    }
    Ok(groups)
}

/// What a kernel has.
struct Tree {
    files: BTreeMap<String, PathBuf>,
    builtin: BTreeSet<String>,
    release: String,
}

impl Tree {
    fn read(kernel: &Kernel) -> Result<Self, GuestError> {
        let mut files = BTreeMap::new();
        let mut folders = vec![kernel.modules.join("kernel")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => folders.push(path),
                    Ok(_) => files.extend(module_name(&path).map(|name| (name, path.clone()))),
                    Err(_) => {}
                }
            }
        }
        let list = fs::read_to_string(kernel.modules.join("modules.builtin")).unwrap_or_default();
        let builtin: BTreeSet<_> = list.lines().filter_map(|line| module_name(Path::new(line))).collect();
        if files.is_empty() && builtin.is_empty() {
            let path = kernel.modules.display();
            return Err(GuestError::NoKernel(format!("`{path}` has no modules of kernel `{}`", kernel.release)));
        }
        Ok(Self { files, builtin, release: kernel.release.clone() })
    }

    fn has(&self, name: &str) -> bool {
        self.files.contains_key(name) || self.builtin.contains(name)
    }

    /// Adds a module after its dependencies. Built-in ones have no file and nothing to load.
    fn load(
        &self,
        name: &str,
        seen: &mut BTreeSet<String>,
        modules: &mut Vec<(String, PathBuf)>,
    ) -> Result<(), GuestError> {
        if self.builtin.contains(name) || !seen.insert(name.to_owned()) {
            return Ok(());
        }
        let Some(path) = self.files.get(name) else {
            return Err(GuestError::NoModule { release: self.release.clone(), module: name.to_owned() });
        };
        for dependency in modinfo::dependencies(&read(path)?, path)? {
            self.load(&dependency, seen, modules)?;
        }
        modules.push((name.to_owned(), path.clone()));
        Ok(())
    }
}

/// `virtio-rng.ko.xz` is the module `virtio_rng`.
fn module_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let (stem, suffix) = name.split_once(".ko")?;
    ["", ".xz", ".zst", ".gz"].contains(&suffix).then(|| normal(stem))
}

/// The kernel takes `-` and `_` for one.
pub(crate) fn normal(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests;
