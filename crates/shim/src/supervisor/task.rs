//! The streams of a container that an engine starts: completes its specification, keeps its log, and outlives agent and engine.
//!
//! The container is no child here: the engine's own supervisor connects it to named pipes, which that one holds open at both ends. So a
//! writer neither dies nor loses anything when this process is killed; another one goes on where it was.
//!
//! ```text
//! config.json      the specification, complete
//! stdout, stderr   named pipes, there while the container runs
//! ```

use std::fs::{self, File};
use std::path::Path;

use nix::sys::stat::Mode as FileMode;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change, unmount,
};
use serde_json::{Value, json};

use super::output::Stdio;
use super::prepare::{confine, process};
use super::{Report, report_and_close};
use crate::directory::Directory;
use crate::error::{Doing, ShimError};
use crate::files::replace;
use crate::logs::{Stream, Writer};
use crate::record::{Config, RootMount};
use crate::{devices, mount_points, rootfs};

/// What is read at once.
const PIECE: usize = 64 << 10;
const PIPES: [&str; 2] = ["stdout", "stderr"];

/// From the specification to the last byte of output.
pub(super) fn run(directory: &Directory, config: &Config) -> Result<(), ShimError> {
    let spec = complete(directory, config)?;
    replace(&directory.at("config.json"), &serde_json::to_vec(&spec).doing("write")?, false)
        .doing("write the container's document")?;
    let mut log = Writer::open(&directory.logs(), config.logs).doing("open the log")?;
    let [stdout, stderr] = PIPES.map(|name| pipe(&directory.at(name)));
    let mut stdio = Stdio::default();
    stdio.stdout = Some(stdout?);
    // What has a terminal has one stream.
    stdio.stderr = if config.process.tty { None } else { Some(stderr?) };
    report_and_close(&Report::Done);
    let mut piece = vec![0; PIECE];
    loop {
        let ready: Vec<Stream> = {
            let sources: Vec<_> = stdio.sources().collect();
            if sources.is_empty() {
                break;
            }
            let mut fds: Vec<PollFd<'_>> =
                sources.iter().map(|(_, fd)| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
            match poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).doing("wait"),
            }
            let ready = sources.iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
            ready.map(|((stream, _), _)| *stream).collect()
        };
        for stream in ready {
            if let Some(length) = stdio.read(stream, &mut piece) {
                log.write(stream, &piece[..length]);
            }
        }
    }
    for name in PIPES {
        // Absent is what is wanted.
        let _ = fs::remove_file(directory.at(name));
    }
    Ok(())
}

/// Our end of a named pipe; one that is there goes on.
fn pipe(path: &Path) -> Result<File, ShimError> {
    match nix::unistd::mkfifo(path, FileMode::S_IRUSR | FileMode::S_IWUSR) {
        Ok(()) | Err(nix::Error::EEXIST) => {}
        Err(error) => return Err(error).doing(format_args!("make `{}`", path.display())),
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty());
    opened.map(File::from).doing(format_args!("open `{}`", path.display()))
}

/// The specification with what only the files of the image tell. They are mounted for a moment, where nobody else sees it.
fn complete(directory: &Directory, config: &Config) -> Result<Value, ShimError> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).doing("make a mount namespace")?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM).doing("separate mounts")?;
    let root = directory.at("root");
    fs::create_dir_all(&root).doing(format_args!("make `{}`", root.display()))?;
    config.rootfs.iter().try_for_each(|one| mount_one(one, &root))?;
    let outcome = within(&root, config);
    // Overlayfs must not be mounted twice from the same directories.
    unmount(&root, UnmountFlags::DETACH).doing("unmount the container's files")?;
    outcome
}

fn mount_one(one: &RootMount, root: &Path) -> Result<(), ShimError> {
    let told = || format!("mount the container's files at `{}`", root.display());
    if one.kind == "bind" {
        return mount_bind_recursive(&one.source, root).doing(told());
    }
    let words: Vec<&str> = one.options.iter().map(String::as_str).filter(|word| !["ro", "rw"].contains(word)).collect();
    let data = std::ffi::CString::new(words.join(",")).doing(told())?;
    mount(&one.source, root, &one.kind, MountFlags::empty(), Some(data.as_c_str())).doing(told())
}

fn within(root: &Path, config: &Config) -> Result<Value, ShimError> {
    let opened = rootfs::open_root(root)?;
    let wanted = &config.process;
    let mut spec = config.spec.clone();
    let env = spec["process"]["env"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
    let env = env.collect();
    let capabilities = spec["process"]["capabilities"].take();
    let rlimits = spec["process"]["rlimits"].take();
    let mut described = process(root, wanted, env, &rlimits)?;
    confine(&mut described.document, config);
    // What `executor` does for containers of ours, the engine does here.
    described.document["env"] = json!(described.env);
    described.document["cwd"] = json!(wanted.workdir);
    described.document["capabilities"] = capabilities;
    described.document["noNewPrivileges"] = json!(wanted.no_new_privileges);
    spec["process"] = described.document;
    spec["root"]["path"] = json!("rootfs");
    rootfs::make_directory(&opened, &wanted.workdir)?;
    mount_points::prepare(&opened, &mut spec)?;
    devices::grant(&mut spec, &config.devices, false)?;
    Ok(spec)
}
