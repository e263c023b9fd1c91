//! A small disk of its own, made and unmade by a trial.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::program::{self, Ran};

/// A mounted tmpfs; unmounted when dropped.
pub(crate) struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Puts a disk of so many MiB at a directory, with what the directory held.
    pub(crate) fn below(path: &Path, mebibytes: u32) -> Self {
        let aside = path.with_extension("aside");
        std::fs::rename(path, &aside).unwrap();
        std::fs::create_dir(path).unwrap();
        mount(path, mebibytes).ok();
        let disk = Self { path: path.to_owned() };
        Ran::of(program::command("cp".as_ref()).arg("-a").arg(format!("{}/.", aside.display())).arg(path)).ok();
        disk
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }

    /// Leaves so many MiB.
    pub(crate) fn fill_but(&self, mebibytes: u64) {
        self.fill();
        let file = File::options().write(true).open(self.filler()).unwrap();
        file.set_len(file.metadata().unwrap().len() - (mebibytes << 20)).unwrap();
    }

    /// Leaves no byte.
    pub(crate) fn fill(&self) {
        let mut file = File::create(self.filler()).unwrap();
        let mut size = 1 << 20;
        while size > 0 {
            match file.write_all(&vec![7; size]) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => size /= 2,
                Err(error) => panic!("cannot be filled: {error}"),
            }
        }
    }

    pub(crate) fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // After a failure it may still be full. An agent that uses it keeps it until it ends.
        let _ = std::fs::remove_file(self.filler());
        Ran::of(program::command("umount".as_ref()).arg("-l").arg(&self.path));
    }
}

fn mount(path: &Path, mebibytes: u32) -> Ran {
    let size = format!("size={mebibytes}m,mode=0700");
    Ran::of(program::command("mount".as_ref()).args(["-t", "tmpfs", "-o", &size, "hythe-e2e"]).arg(path))
}

/// Why this process cannot make one; `None`: it can.
pub(crate) fn unmountable() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("no small disk: only root can mount one".to_owned());
    }
    let directory = tempfile::tempdir().unwrap();
    let mounted = mount(directory.path(), 1);
    if mounted.code == Some(0) {
        Ran::of(program::command("umount".as_ref()).arg(directory.path())).ok();
        return None;
    }
    Some(format!("no small disk: {}", mounted.err.trim()))
}
