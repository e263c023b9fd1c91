//! The one switch for everything that equals root on the host: what `hythe_spec::root_equivalent` finds is refused without it.

use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

use hythe_runtime::{Error, ErrorKind};
use hythe_spec::Service;
use hythe_spec::root_equivalent::{Host, grants};

/// Largest seccomp profile that is looked into; a larger one is taken for one that allows by default.
const MAX_PROFILE: u64 = 1 << 20;

/// # Errors
/// `Unsupported`, with everything that the first such component asks for and why it equals root.
pub(crate) fn refuse(service: &Service, own: &[String]) -> Result<(), Error> {
    let host = Host { own, resolve: &resolved, devices: &devices, allows_by_default: &allows_by_default };
    for component in &service.components {
        let found = grants(component, &host);
        if component.permissions.privileged {
            let text = format!("`{}` asks to be privileged, which this agent does not allow", component.name);
            return Err(unsupported(text));
        }
        if !found.is_empty() {
            let each: Vec<String> = found.iter().map(|one| format!("`{}`: {}", one.field, one.reason)).collect();
            let what =
                format!("`{}` asks for what equals root on the host, which this agent does not allow", component.name);
            return Err(unsupported(format!("{what}: {}", each.join("; "))));
        }
    }
    Ok(())
}

fn unsupported(text: String) -> Error {
    Error::new(ErrorKind::Unsupported, "deploy", text)
        .hint("remove it, or set `allow_privileged = true` in the agent's configuration")
}

/// A link must not lead around the table.
fn resolved(path: &str) -> String {
    std::fs::canonicalize(path).map_or_else(|_| path.to_owned(), |path| path.display().to_string())
}

/// Devices in a directory that is looked through; one with more may hold anything.
const MAX_DEVICES: usize = 64;

fn devices(path: &str) -> Option<Vec<String>> {
    let mut found = Vec::new();
    let mut directories = vec![PathBuf::from(path)];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).ok()? {
            let entry = entry.ok()?;
            // Links are granted by no runtime.
            let kind = entry.file_type().ok()?;
            if kind.is_dir() {
                directories.push(entry.path());
            } else if kind.is_char_device() || kind.is_block_device() {
                found.push(entry.path().display().to_string());
            }
            if found.len() + directories.len() > MAX_DEVICES {
                return None;
            }
        }
    }
    Some(found)
}

fn allows_by_default(path: &str) -> bool {
    let small = std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() <= MAX_PROFILE);
    let text = if small { std::fs::read(path).unwrap_or_default() } else { Vec::new() };
    let action = serde_json::from_slice::<serde_json::Value>(&text).ok();
    let action = action.as_ref().and_then(|profile| profile.get("defaultAction")?.as_str());
    !matches!(
        action,
        Some("SCMP_ACT_ERRNO" | "SCMP_ACT_KILL" | "SCMP_ACT_KILL_PROCESS" | "SCMP_ACT_KILL_THREAD" | "SCMP_ACT_TRAP")
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use hythe_spec::{Component, Mount, MountSource, Seccomp};

    fn asking(change: impl FnOnce(&mut Component)) -> Service {
        let mut component = Component::new("web", "busybox:1".parse().unwrap());
        change(&mut component);
        Service {
            name: "shop".to_owned(),
            node: None,
            labels: std::collections::BTreeMap::default(),
            active: true,
            drift: hythe_spec::Drift::Report,
            components: vec![component],
        }
    }

    fn mounting(path: &std::path::Path) -> Service {
        let source = MountSource::Bind { path: path.display().to_string(), propagation: None, selinux: None };
        asking(|web| web.mounts = vec![Mount { target: "/x".to_owned(), source, read_only: false }])
    }

    #[test]
    fn what_equals_root_is_refused_with_its_reason() {
        refuse(&asking(|_| {}), &[]).unwrap();
        let error = refuse(&asking(|web| web.permissions.capabilities.push("SYS_MODULE".to_owned())), &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(
            error.to_string().contains("`permissions.cap_add (SYS_MODULE)`: loads code into the kernel"),
            "{error}"
        );
        let error = refuse(&asking(|web| web.permissions.privileged = true), &[]).unwrap_err();
        assert!(error.to_string().contains("`web` asks to be privileged"), "{error}");
    }

    #[test]
    fn link_to_a_guarded_path_is_followed() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("/etc", &link).unwrap();
        refuse(&mounting(directory.path()), &[]).unwrap();
        refuse(&mounting(&link), &[]).unwrap_err();
        refuse(&mounting(directory.path()), &[directory.path().join("state").display().to_string()]).unwrap_err();
    }

    #[test]
    fn devices_of_a_directory_are_those_that_a_runtime_grants() {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/zero", directory.path().join("zero")).unwrap();
        assert_eq!(devices(&directory.path().display().to_string()), Some(Vec::new()));
        assert_eq!(devices("/dev/null"), None);
        assert!(devices("/dev").is_none_or(|found| found.contains(&"/dev/null".to_owned())));
    }

    #[test]
    fn filter_that_allows_by_default_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let profile = |action: &str| {
            let path = directory.path().join(action);
            std::fs::write(&path, format!(r#"{{ "defaultAction": "{action}" }}"#)).unwrap();
            asking(|web| web.permissions.seccomp = Seccomp::File(path.display().to_string()))
        };
        refuse(&profile("SCMP_ACT_ERRNO"), &[]).unwrap();
        refuse(&profile("SCMP_ACT_ALLOW"), &[]).unwrap_err();
        refuse(&profile("SCMP_ACT_LOG"), &[]).unwrap_err();
    }
}
