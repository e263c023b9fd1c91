//! Podman's service is the agent's own, so it is what fails, and so does the program that starts it: a script before it with a store of its own
//! that, when a file says so, is gone or hangs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::program::{self, Ran};
use crate::wait;

/// The script and the way past it.
pub(super) struct Wrapper {
    root: PathBuf,
    /// What the agent calls.
    pub(super) program: PathBuf,
    /// The same store without faults.
    pub(super) real: PathBuf,
}

const GONE: &str = "gone";
const FROZEN: &str = "frozen";

impl Wrapper {
    /// With the settings of the podman that all trials share, in another place.
    pub(super) fn write(root: &Path, shared: &Path) -> Self {
        let text = fs::read_to_string(shared).unwrap();
        let home = text.split_whitespace().skip_while(|word| *word != "--root").nth(1).unwrap();
        let home = Path::new(home).parent().unwrap();
        let moved = |text: &str| text.replace(&home.display().to_string(), &root.display().to_string());
        for directory in ["store", "run", "tmp", "copies", "networks"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        for name in ["containers.conf", "storage.conf", "registries.conf", "networks/podman.json"] {
            fs::write(root.join(name), moved(&fs::read_to_string(home.join(name)).unwrap())).unwrap();
        }
        let wrapper = Self { root: root.to_owned(), program: root.join("podman"), real: root.join("real-podman") };
        executable(&wrapper.real, &moved(&text));
        executable(&wrapper.program, &faulty(root, &wrapper.real));
        wrapper
    }

    fn flag(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(super) fn vanish(&mut self) {
        fs::write(self.flag(GONE), "").unwrap();
        self.die();
    }

    pub(super) fn appear(&mut self) {
        fs::remove_file(self.flag(GONE)).unwrap();
    }

    /// The agent's service is killed, whatever it is doing.
    pub(super) fn die(&self) {
        self.signal_service(Signal::KILL);
    }

    pub(super) fn freeze(&self) {
        fs::write(self.flag(FROZEN), "").unwrap();
        self.signal_service(Signal::STOP);
    }

    pub(super) fn thaw(&self) {
        fs::remove_file(self.flag(FROZEN)).unwrap();
        self.signal_service(Signal::CONT);
    }

    fn signal_service(&self, signal: Signal) {
        super::signal_those_naming(&format!("{}/store", self.root.display()), "service", signal);
    }

    pub(super) fn lose_store(&mut self, keep_volumes: bool) {
        let kept = self.root.join("kept");
        let volumes = self.root.join("store/volumes");
        if keep_volumes {
            fs::rename(&volumes, &kept).unwrap();
        }
        // Its processes would outlive their store and keep its mounts.
        self.ask(&["rm", "-f", "-a", "-t", "0"]);
        super::forget(&self.root.join("store"));
        for name in ["store", "run", "tmp"] {
            let gone = || fs::remove_dir_all(self.root.join(name)).map_err(|error| error.to_string());
            wait::until("what it kept is removed", gone, Result::is_ok).unwrap();
            fs::create_dir_all(self.root.join(name)).unwrap();
        }
        if keep_volumes {
            fs::rename(kept, volumes).unwrap();
        }
    }

    pub(super) fn clear(&mut self) {
        self.ask(&["rm", "-f", "-a", "-t", "0"]);
        self.ask(&["volume", "rm", "-f", "-a"]);
    }

    fn ask(&self, words: &[&str]) -> Ran {
        Ran::of(program::command(&self.real).args(words))
    }
}

fn faulty(root: &Path, real: &Path) -> String {
    let (root, real) = (root.display(), real.display());
    format!(
        r#"#!/bin/sh
while [ -e {root}/{FROZEN} ]; do sleep 0.1; done
if [ -e {root}/{GONE} ]; then
    echo "Error: cannot open the store: no such device" >&2
    exit 125
fi
exec {real} "$@"
"#
    )
}

fn executable(path: &Path, text: &str) {
    // By another process: a file that is open for writing here cannot be executed, and a child that a trial beside this one starts has it open too.
    Ran::fed(program::command("sh".as_ref()).args(["-c", "cat >\"$0\""]).arg(path), text.as_bytes()).ok();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
