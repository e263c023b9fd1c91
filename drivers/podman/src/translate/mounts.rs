//! Mounts as podman takes them, and as the words of a command line that name them.

use hythe_spec::{ByteSize, Mount, MountSource, TmpfsOptions};

use crate::api_types::{ContainerSpec, MountSpec, VolumeMount};

/// Where POSIX shared memory is.
pub(super) const SHM: &str = "/dev/shm";
/// How the shared memory that no plan asked for begins; a mount of a plan names its target last.
const OWN_SHM: &str = "--mount=type=tmpfs,dst=/dev/shm";
/// Podman's own size of it.
const SHM_SIZE: ByteSize = ByteSize(65_536_000);

impl ContainerSpec {
    /// Adds a mount of the plan.
    pub(super) fn mount(&mut self, mount: &Mount) {
        let Mount { target, source, read_only } = mount;
        let access = read_only.then(|| "ro".to_owned());
        match source {
            MountSource::Volume { name, external: _ } => {
                self.create_command.push(word(&["type=volume", &format!("src={name}"), &format!("dst={target}")]));
                let options = access.into_iter().collect();
                self.volumes.push(VolumeMount { name: name.clone(), dest: target.clone(), options });
            }
            MountSource::Bind { path, propagation, selinux } => {
                self.create_command.push(word(&["type=bind", &format!("src={path}"), &format!("dst={target}")]));
                let propagation = propagation.clone().unwrap_or_else(|| "rprivate".to_owned());
                let options = std::iter::once(propagation).chain(selinux.map(String::from)).chain(access).collect();
                self.mounts.push(spec(target, "bind", path, options));
            }
            MountSource::Tmpfs { size, mode, options } => {
                let options: Vec<String> = tmpfs_options(*size, *mode, options).into_iter().chain(access).collect();
                self.create_command.push(tmpfs_word(target, &options));
                self.mounts.push(spec(target, "tmpfs", "tmpfs", options));
            }
        }
    }

    /// Adds shared memory that stays writable below a root that is not, with the options that podman gives it otherwise.
    pub(super) fn writable_shm(&mut self, size: Option<ByteSize>) {
        let size = size.unwrap_or(SHM_SIZE).0;
        let options = ["noexec", "notmpcopyup", "mode=1777", &format!("size={size}")].map(str::to_owned).into();
        self.create_command.push(OWN_SHM.to_owned());
        self.mounts.push(spec(SHM, "tmpfs", "tmpfs", options));
    }
}

fn spec(target: &str, kind: &'static str, source: &str, options: Vec<String>) -> MountSpec {
    MountSpec { destination: target.to_owned(), kind, source: source.to_owned(), options }
}

/// Without a mode it has that of the directory that it covers, else 1777.
fn tmpfs_options(size: Option<ByteSize>, mode: Option<u32>, options: &TmpfsOptions) -> Vec<String> {
    let protections = match options {
        TmpfsOptions { exec: false, suid: false, dev: false, .. } => vec!["noexec".to_owned()],
        opened => opened.protections().into_iter().map(str::to_owned).collect(),
    };
    let mut all = protections;
    all.push("notmpcopyup".to_owned());
    all.extend(mode.map(|mode| format!("mode={mode:04o}")));
    all.extend(size.map(|size| format!("size={}", size.0)));
    all.extend(options.percent.map(|percent| format!("size={percent}%")));
    all
}

/// As podman's command line has it, where a field with a value is told from the name of an option.
fn tmpfs_word(target: &str, options: &[String]) -> String {
    let named =
        options.iter().map(|option| if option.contains('=') { format!("tmpfs-{option}") } else { option.clone() });
    let fields: Vec<String> =
        std::iter::once("type=tmpfs".to_owned()).chain(named).chain([format!("dst={target}")]).collect();
    word(&fields.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Podman reads a mount as one line of CSV.
fn word(fields: &[&str]) -> String {
    format!("--mount={}", fields.iter().map(|field| csv(field)).collect::<Vec<_>>().join(","))
}

/// Whether the command line that made an instance has shared memory that is no mount of its plan.
pub(super) fn has_own_shm(words: &[String]) -> bool {
    words.iter().any(|word| word.strip_prefix(OWN_SHM).is_some_and(|rest| rest.is_empty() || rest.starts_with(',')))
}

pub(super) fn csv(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}
