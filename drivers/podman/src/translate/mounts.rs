//! Mounts as podman's arguments.

use hythe_runtime::{Error, ErrorKind, Result};
use hythe_spec::{ByteSize, Mount, MountSource, TmpfsOptions};

/// Where POSIX shared memory is.
pub(super) const SHM: &str = "/dev/shm";
/// How the shared memory that no plan asked for begins; a mount of a plan names its target last.
const OWN_SHM: &str = "type=tmpfs,dst=/dev/shm,";
/// Podman's own size of it.
const SHM_SIZE: ByteSize = ByteSize(65_536_000);

/// Shared memory that stays writable below a root that is not, with the options that podman gives it otherwise.
pub(super) fn writable_shm(size: Option<ByteSize>) -> String {
    let size = size.unwrap_or(SHM_SIZE).0;
    format!("{OWN_SHM}noexec,notmpcopyup,tmpfs-mode=1777,tmpfs-size={size}")
}

/// Whether the command line that made an instance has [`writable_shm`], which is no mount of its plan.
pub(super) fn has_own_shm(words: &[String]) -> bool {
    words.iter().any(|word| word.strip_prefix("--mount=").is_some_and(|mount| mount.starts_with(OWN_SHM)))
}

/// Podman reads a mount as one line of CSV.
pub(super) fn mounted(mount: &Mount) -> String {
    let Mount { target, source, read_only } = mount;
    let mut fields: Vec<String> = match source {
        MountSource::Volume { name, external: _ } => {
            vec!["type=volume".to_owned(), format!("src={name}")]
        }
        MountSource::Bind { path, propagation, selinux } => bind_fields(path, propagation.as_deref(), *selinux),
        MountSource::Tmpfs { size, mode, options } => tmpfs_fields(*size, *mode, options),
    };
    fields.push(format!("dst={target}"));
    if *read_only {
        fields.push("ro".to_owned());
    }
    fields.iter().map(|field| csv(field)).collect::<Vec<_>>().join(",")
}

fn bind_fields(path: &str, propagation: Option<&str>, selinux: Option<char>) -> Vec<String> {
    let relabel = match selinux {
        Some('z') => Some("relabel=shared".to_owned()),
        Some('Z') => Some("relabel=private".to_owned()),
        _ => None,
    };
    let propagation = format!("bind-propagation={}", propagation.unwrap_or("rprivate"));
    ["type=bind".to_owned(), format!("src={path}"), propagation].into_iter().chain(relabel).collect()
}

fn tmpfs_fields(size: Option<ByteSize>, mode: Option<u32>, options: &TmpfsOptions) -> Vec<String> {
    let mut fields = vec!["type=tmpfs".to_owned(), "noexec".to_owned(), "notmpcopyup".to_owned()];
    // Without a mode it has that of the directory that it covers, else 1777.
    fields.extend(mode.map(|mode| format!("tmpfs-mode={mode:04o}")));
    fields.extend(size.map(|size| format!("tmpfs-size={}", size.0)));
    fields.extend(options.percent.map(|percent| format!("tmpfs-size={percent}%")));
    fields
}

/// Podman's `--tmpfs` for a memory file system whose protections are opened: `--mount` knows no word for that.
pub(super) fn opened_tmpfs(mount: &Mount) -> Result<Option<String>> {
    let Mount { target, source: MountSource::Tmpfs { size, mode, options }, read_only } = mount else {
        return Ok(None);
    };
    if !(options.exec || options.suid || options.dev) {
        return Ok(None);
    }
    if target.contains(':') {
        let message = format!("`{target}`: podman cannot open the protections of a tmpfs at a path with a colon");
        return Err(Error::new(ErrorKind::Unsupported, "translate", message));
    }
    let access = if *read_only { "ro" } else { "rw" };
    let size = size.map(|size| format!(",size={}", size.0)).unwrap_or_default();
    let share = options.percent.map(|percent| format!(",size={percent}%")).unwrap_or_default();
    let mode = mode.map(|mode| format!(",mode={mode:04o}")).unwrap_or_default();
    let protections = options.protections().join(",");
    Ok(Some(format!("{target}:{access},{protections}{mode}{size}{share},notmpcopyup")))
}

pub(super) fn csv(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}
