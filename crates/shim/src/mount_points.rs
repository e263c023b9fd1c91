//! What mounts meet in the image, told to libcontainer before it mounts. Nothing of the image runs yet.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use hythe_host::openat2;
use rustix::fs::{Mode, OFlags, ResolveFlags, readlinkat};
use rustix::io::Errno;
use serde_json::{Value, json};

use crate::error::{Doing, ShimError, ShimErrorKind};
use crate::rootfs::{make_directory, open_below};

/// Links on the way to a file, as many as the kernel follows.
const LINKS: usize = 40;
/// Of a memory file system that covers nothing.
const OPEN_MODE: u32 = 0o1777;

/// Nodes and links that libcontainer makes in `/dev` whatever is there.
const NODES: [&str; 13] =
    ["console", "core", "fd", "full", "null", "ptmx", "random", "stderr", "stdin", "stdout", "tty", "urandom", "zero"];
/// What to do about a place that an image has for something else.
const ELSEWHERE: &str = "mount it elsewhere, or build the image with another";

pub(crate) fn prepare(root: &File, spec: &mut Value) -> Result<(), ShimError> {
    mask_throttles(spec);
    refuse_closed(spec)?;
    let mut above: Vec<PathBuf> = Vec::new();
    for mount in spec["mounts"].as_array_mut().into_iter().flatten() {
        let Some(target) = mount["destination"].as_str().map(str::to_owned) else { continue };
        let reached = lead(root, &target)?;
        let is_directory =
            mount["type"] != "bind" || mount["source"].as_str().is_some_and(|path| Path::new(path).is_dir());
        // Below another mount nothing of the image is seen.
        if !above.iter().any(|above| reached.starts_with(above)) {
            check_kind(root, &reached, &target, is_directory)?;
        }
        match mount["type"].as_str() {
            Some("tmpfs") => take_looks(root, &target, mount),
            Some("bind") => follow_dangling(root, &target, is_directory)?,
            _ => {}
        }
        above.push(reached);
    }
    Ok(())
}

/// Refuses a directory on what is none, and the other way about.
fn check_kind(root: &File, reached: &Path, target: &str, is_directory: bool) -> Result<(), ShimError> {
    let unfit = |why: &str| Err(ShimError::invalid(format!("`{target}` of the image {why}")).hint(ELSEWHERE));
    match openat2(root, reached, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::IN_ROOT) {
        Ok(found) => {
            let found = File::from(found).metadata().doing(format_args!("look at `{target}` of the image"))?;
            match (found.is_dir(), is_directory) {
                (false, true) => unfit("is a file, and a directory is to be mounted there"),
                (true, false) => unfit("is a directory, and a file is to be mounted there"),
                _ => Ok(()),
            }
        }
        Err(Errno::NOTDIR) => unfit("is below a file, where nothing can be mounted"),
        // What is absent is made; what cannot be is told by who makes it.
        Err(_) => Ok(()),
    }
}

/// Refuses a target below a read-only mount that lacks it: whoever mounts would have to make it there, and would say little of why it cannot.
fn refuse_closed(spec: &Value) -> Result<(), ShimError> {
    let mounts = spec["mounts"].as_array().map_or(&[][..], Vec::as_slice);
    let target = |mount: &Value| mount["destination"].as_str().map(|target| Path::new(target).to_owned());
    for (at, mount) in mounts.iter().enumerate() {
        let Some(inner) = target(mount) else { continue };
        let around = mounts[..at].iter().filter_map(|outer| Some((outer, target(outer)?)));
        let around = around.filter(|(_, outer)| *outer != inner && inner.starts_with(outer));
        let Some((outer, covered)) = around.max_by_key(|(_, outer)| outer.as_os_str().len()) else { continue };
        let closed = outer["options"].as_array().is_some_and(|options| options.contains(&json!("ro")));
        let Ok(rest) = inner.strip_prefix(&covered) else { continue };
        if closed && lacks(outer, rest) {
            let (inner, covered, rest) = (inner.display(), covered.display(), rest.display());
            let hint = Some(format!("make `{rest}` there first, or mount `{covered}` writable"));
            let message = format!("`{inner}` cannot be mounted: `{covered}` is mounted read-only and has no `{rest}`");
            return Err(ShimError { hint, ..ShimError::invalid(message) });
        }
    }
    Ok(())
}

/// Whether a path is absent in what a mount brings.
fn lacks(mount: &Value, path: &Path) -> bool {
    match (mount["type"].as_str(), mount["source"].as_str().map(File::open)) {
        (Some("tmpfs"), _) => true,
        (Some("bind"), Some(Ok(source))) => {
            let found = openat2(&source, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::IN_ROOT);
            found.is_err_and(|error| error == Errno::NOENT)
        }
        _ => false,
    }
}

/// Hides how warm each processor was, by which others' work can be told; there is one directory for each.
fn mask_throttles(spec: &mut Value) {
    let Some(masked) = spec.pointer_mut("/linux/maskedPaths").and_then(Value::as_array_mut) else { return };
    if masked.is_empty() {
        return;
    }
    let processors = std::fs::read_dir("/sys/devices/system/cpu").into_iter().flatten().flatten();
    let throttles = processors.map(|entry| entry.path().join("thermal_throttle")).filter(|path| path.is_dir());
    masked.extend(throttles.map(|path| json!(path)));
}

/// A memory file system looks like the directory that it covers, unless its own mode or owner is given.
fn take_looks(root: &File, target: &str, mount: &mut Value) {
    let Some(options) = mount["options"].as_array_mut() else { return };
    let covered = open_below(root, Path::new(target.trim_start_matches('/'))).map(File::from);
    let covered = covered.ok().and_then(|directory| directory.metadata().ok());
    let had = |name: &str| {
        let is_it = |option: &Value| option.as_str().is_some_and(|option| option.starts_with(name));
        options.iter().any(is_it)
    };
    let mut more = Vec::new();
    if !had("mode=") {
        let mode = covered.as_ref().map_or(OPEN_MODE, |about| about.mode() & 0o7777);
        more.push(json!(format!("mode={mode:o}")));
        // An owner that was given with a mode is all that was wanted.
        if let Some(about) = covered {
            let owners = [("uid=", about.uid()), ("gid=", about.gid())];
            more.extend(
                owners.into_iter().filter(|(name, _)| !had(name)).map(|(name, id)| json!(format!("{name}{id}"))),
            );
        }
    }
    options.extend(more);
}

/// Where a target leads. Refuses one that a link of the image leads to the root, or to the kernel's directories and `/dev`, which are
/// mounted there: what lies over a part of them hides what is masked there, or stands in for it (CVE-2019-16884, CVE-2019-19921).
fn lead(root: &File, target: &str) -> Result<PathBuf, ShimError> {
    let relative = Path::new(target.trim_start_matches('/'));
    let first = Path::new(relative.iter().next().unwrap_or_default());
    // What is below these is their own file system's; they themselves must be what they are called.
    let is_own = ["dev", "proc", "sys"].into_iter().any(|own| first == Path::new(own));
    let (reached, has_links) = match resolve_links(root, if is_own { first } else { relative }) {
        Err(Errno::LOOP) => {
            return Err(
                ShimError::invalid(format!("the links at `{target}` of the image lead in a circle")).hint(ELSEWHERE)
            );
        }
        resolved => resolved.doing(format_args!("look at `{target}` of the image"))?,
    };
    let is_kernels =
        ["dev", "proc", "sys"].into_iter().any(|own| reached.starts_with(own)) && !reached.starts_with("dev/shm");
    if has_links && (is_own || is_kernels || reached.as_os_str().is_empty()) {
        let reached = reached.display();
        let message = format!("`{target}` is a link to `/{reached}` in the image, where nothing can be mounted");
        return Err(ShimError::invalid(message).hint(ELSEWHERE));
    }
    let reached = if is_own { relative.to_owned() } else { reached };
    if let Ok(node) = reached.strip_prefix("dev")
        && NODES.into_iter().any(|name| node == Path::new(name))
    {
        let message = format!("nothing can be mounted at `{target}`: this runtime makes it in every container");
        return Err(
            ShimError::new(ShimErrorKind::Unsupported, message).hint("mount it elsewhere, or choose another runtime")
        );
    }
    Ok(reached)
}

/// Makes what a link at the target leads to, where that is absent.
fn follow_dangling(root: &File, target: &str, is_directory: bool) -> Result<(), ShimError> {
    let relative = Path::new(target.trim_start_matches('/'));
    let found = openat2(root, relative, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::IN_ROOT);
    if found.is_ok() {
        return Ok(());
    }
    let told = || format!("make what the link `{target}` of the image leads to");
    let (path, has_links) = resolve_links(root, relative).doing(told())?;
    if !has_links {
        return Ok(());
    }
    if is_directory {
        return make_directory(root, &path.to_string_lossy());
    }
    make_directory(root, &path.parent().unwrap_or(Path::new("")).to_string_lossy())?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat2(root, &path, flags, Mode::from_raw_mode(0o644), ResolveFlags::IN_ROOT) {
        Ok(_) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error).doing(told()),
    }
}

/// Where a path leads below a root, though its end may be absent, and whether there is a link on the way.
fn resolve_links(root: &File, path: &Path) -> rustix::io::Result<(PathBuf, bool)> {
    let parts = |path: &Path| path.components().map(|part| part.as_os_str().to_owned()).collect::<VecDeque<_>>();
    let (mut left, mut reached, mut links) = (parts(path), PathBuf::new(), 0);
    while let Some(part) = left.pop_front() {
        match Path::new(&part).components().next() {
            Some(Component::Normal(name)) => reached.push(name),
            Some(Component::ParentDir) => {
                reached.pop();
                continue;
            }
            Some(Component::RootDir) => {
                reached.clear();
                continue;
            }
            _ => continue,
        }
        // What was reached has no link in it.
        let Ok(link) = readlinkat(root, &reached, Vec::new()) else { continue };
        links += 1;
        if links > LINKS {
            return Err(Errno::LOOP);
        }
        reached.pop();
        let mut further = parts(Path::new(&OsString::from_vec(link.into_bytes())));
        further.append(&mut left);
        left = further;
    }
    Ok((reached, links > 0))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn root() -> (tempfile::TempDir, File) {
        let directory = tempfile::tempdir().unwrap();
        let file = File::open(directory.path()).unwrap();
        (directory, file)
    }

    fn options(root: &File, options: &Value) -> Value {
        let mut spec = json!({ "mounts": [{ "destination": "/data", "type": "tmpfs", "options": options }] });
        prepare(root, &mut spec).unwrap();
        spec["mounts"][0]["options"].take()
    }

    #[test]
    fn prepare_of_a_target_that_a_link_leads_to_the_kernels_is_invalid() {
        for (link, to, target) in [
            ("data", "/proc", "/data"),
            ("srv", "/sys/fs", "/srv/cgroup"),
            ("run", "proc/self", "/run"),
            ("etc", "/dev", "/etc"),
            ("data", "/dev", "/data/x"),
            ("data", "/", "/data"),
            ("data", "data", "/data"),
            ("dev", "tmp", "/dev/shm"),
        ] {
            let (directory, root) = root();
            symlink(to, directory.path().join(link)).unwrap();
            for kind in ["bind", "tmpfs"] {
                let mut spec =
                    json!({ "mounts": [{ "destination": target, "type": kind, "source": "/tmp", "options": [] }] });
                let fault = prepare(&root, &mut spec).unwrap_err();
                assert!(fault.message.contains(target), "{target}: {}", fault.message);
            }
        }
        let (_directory, root) = root();
        let mut spec =
            json!({ "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc", "options": [] }] });
        prepare(&root, &mut spec).unwrap();
    }

    fn refusal(root: &File, target: &str, kind: &str, source: &str) -> Option<String> {
        let mount = json!({ "destination": target, "type": kind, "source": source, "options": [] });
        prepare(root, &mut json!({ "mounts": [mount] })).err().map(|fault| fault.message)
    }

    #[test]
    fn prepare_of_a_target_of_another_kind_is_invalid_with_its_reason() {
        let (directory, root) = root();
        fs::create_dir(directory.path().join("tmp")).unwrap();
        fs::write(directory.path().join("file"), "").unwrap();
        symlink("/file", directory.path().join("link")).unwrap();
        for (target, kind, source, reason) in [
            ("/file", "bind", "/", "is a file"),
            ("/file", "tmpfs", "tmpfs", "is a file"),
            ("/link", "bind", "/", "is a file"),
            ("/file/x", "tmpfs", "tmpfs", "is below a file"),
            ("/tmp", "bind", "/dev/null", "is a directory"),
            ("/dev/null", "bind", "/dev/zero", "this runtime makes it"),
        ] {
            let told = refusal(&root, target, kind, source).unwrap();
            assert!(told.contains(target) && told.contains(reason), "{told}");
        }
        for (target, kind, source) in [
            ("/file", "bind", "/dev/null"),
            ("/tmp", "bind", "/"),
            ("/tmp/a/b", "tmpfs", "tmpfs"),
            ("/dev/x", "bind", "/dev/null"),
        ] {
            assert_eq!(refusal(&root, target, kind, source), None, "{target}");
        }
        let covered = json!({ "mounts": [
            { "destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": [] },
            { "destination": "/tmp/file", "type": "bind", "source": "/dev/null", "options": [] },
        ] });
        fs::create_dir(directory.path().join("tmp/file")).unwrap();
        prepare(&root, &mut covered.clone()).unwrap();
    }

    #[test]
    fn link_to_shared_memory_may_be_mounted_on() {
        let (directory, root) = root();
        fs::create_dir(directory.path().join("run")).unwrap();
        symlink("/dev/shm", directory.path().join("run/shm")).unwrap();
        assert_eq!(refusal(&root, "/run/shm", "tmpfs", "tmpfs"), None);
    }

    #[test]
    fn prepare_of_a_target_below_a_read_only_mount_that_lacks_it_is_invalid() {
        let (_directory, root) = root();
        let host = tempfile::tempdir().unwrap();
        fs::create_dir(host.path().join("there")).unwrap();
        let bind = |target: &str, options: Value| json!({ "destination": target, "type": "bind", "source": host.path(), "options": options });
        let mut tmpfs = bind("/t", json!(["ro", "mode=700"]));
        tmpfs["type"] = json!("tmpfs");
        for (outer, inner, refused) in [
            (
                bind("/m", json!(["rbind", "ro"])),
                "/m/absent/deep",
                Some("`/m` is mounted read-only and has no `absent/deep`"),
            ),
            (bind("/m", json!(["rbind", "ro"])), "/m/there", None),
            (bind("/m", json!(["rbind"])), "/m/absent", None),
            (bind("/m", json!(["rbind", "ro"])), "/more", None),
            (tmpfs, "/t/below", Some("`/t` is mounted read-only and has no `below`")),
        ] {
            let mut spec = json!({ "mounts": [outer, bind(inner, json!(["rbind"]))] });
            let message = prepare(&root, &mut spec).err().map(|fault| fault.message);
            assert_eq!(message.is_some(), refused.is_some(), "{inner}: {message:?}");
            assert!(message.unwrap_or_default().contains(refused.unwrap_or_default()), "{inner}");
        }
    }

    #[test]
    fn tmpfs_over_directory_takes_its_mode_and_owner_unless_given() {
        let (directory, root) = root();
        assert_eq!(options(&root, &json!(["size=1"])), json!(["size=1", "mode=1777"]));
        let data = directory.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::set_permissions(&data, fs::Permissions::from_mode(0o750)).unwrap();
        let (uid, gid) = (data.metadata().unwrap().uid(), data.metadata().unwrap().gid());
        let owners = [format!("uid={uid}"), format!("gid={gid}")];
        assert_eq!(options(&root, &json!([])), json!(["mode=750", owners[0], owners[1]]));
        assert_eq!(options(&root, &json!(["uid=7"])), json!(["uid=7", "mode=750", owners[1]]));
        assert_eq!(options(&root, &json!(["mode=700"])), json!(["mode=700"]));
    }

    #[test]
    fn bind_onto_dangling_link_makes_its_target_inside_the_root() {
        let (directory, root) = root();
        let at = |path: &str| directory.path().join(path);
        fs::create_dir_all(at("etc")).unwrap();
        symlink("/usr/share/zone", at("etc/localtime")).unwrap();
        symlink("../../../../run/up", at("etc/up")).unwrap();
        symlink("up2", at("etc/up3")).unwrap();
        symlink("/etc/loop", at("etc/loop")).unwrap();
        follow_dangling(&root, "/etc/localtime", false).unwrap();
        assert!(at("usr/share/zone").is_file());
        follow_dangling(&root, "/etc/up/deep", true).unwrap();
        assert!(at("run/up/deep").is_dir(), "a link never escapes the root");
        follow_dangling(&root, "/etc/up3", false).unwrap();
        assert!(at("etc/up2").is_file());
        follow_dangling(&root, "/absent/file", false).unwrap();
        assert!(!at("absent").exists(), "without a link it is left to who mounts");
        assert!(follow_dangling(&root, "/etc/loop", false).is_err());
    }
}
