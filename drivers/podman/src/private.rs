//! Values that must not stand in podman's arguments, which every user of the host reads in `/proc`.
//!
//! Most travel in the environment of the child. What podman or its helpers would act upon goes through a file that only
//! this user can read, and that is gone when the call has ended.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hythe_runtime::{Error, ErrorKind, Result};
use tempfile::NamedTempFile;

use crate::program::Invocation;

const PREFIX: &str = "hythe-podman-";
/// A file of that age is of an agent that was killed while podman read it.
const STALE: Duration = Duration::from_secs(600);
/// Podman reads such files line by line, and no line beyond 64 KiB.
const LONGEST_LINE: usize = 60 * 1024;

/// Names that podman, its helpers or their language runtimes act upon: their values stay out of podman's own environment.
const RESERVED: [&str; 52] = [
    "ALL_PROXY",
    "BASH_ENV",
    "CONTAINER",
    "DOCKER_CERT_PATH",
    "DOCKER_CONFIG",
    "DOCKER_HOST",
    "DOCKER_TLS_VERIFY",
    "ENV",
    "FTP_PROXY",
    "GETCONF_DIR",
    "GOCOVERDIR",
    "GODEBUG",
    "GOGC",
    "GOMAXPROCS",
    "GOMEMLIMIT",
    "GORACE",
    "GOTRACEBACK",
    "HOME",
    "HOSTALIASES",
    "HOSTNAME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "IFS",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LANG",
    "LANGUAGE",
    "LOCALDOMAIN",
    "LOCPATH",
    "LOGNAME",
    "MAINPID",
    "NLSPATH",
    "NO_PROXY",
    "OLDPWD",
    "PATH",
    "PS4",
    "PWD",
    "REGISTRY_AUTH_FILE",
    "RES_OPTIONS",
    "SHELL",
    "SHELLOPTS",
    "SHLVL",
    "SSH_AUTH_SOCK",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TEMP",
    "TERM",
    "TMP",
    "TMPDIR",
    "TZ",
    "TZDIR",
    "USER",
];

/// The same for whole families of names.
const RESERVED_PREFIXES: [&str; 29] = [
    "AARDVARK_",
    "BASH_FUNC_",
    "BUILDAH_",
    "CNI_",
    "CONTAINERS_",
    "CONTAINER_",
    "CRUN_",
    "DBUS_",
    "FUSE",
    "GCONV_",
    "GLIBC_",
    "LC_",
    "LD_",
    "LIBPOD_",
    "LISTEN_",
    "MALLOC_",
    "NETAVARK_",
    "NOTIFY_",
    "OCI_",
    "OPENSSL_",
    "PODMAN",
    "RUNC_",
    "RUST_",
    "STORAGE_",
    "SUDO_",
    "SYSTEMD_",
    "XDG_",
    "XTABLES_",
    "_",
];

/// Whether a variable may not be set beside podman: it would change podman, or podman would read its name otherwise.
pub(crate) fn is_reserved(key: &str) -> bool {
    let plain = key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    let upper = key.to_ascii_uppercase();
    !plain || RESERVED.contains(&upper.as_str()) || RESERVED_PREFIXES.iter().any(|prefix| upper.starts_with(prefix))
}

/// Passes variables to the container, no value of them in an argument.
///
/// # Errors
/// `Unsupported` for a value that neither of podman's ways carries unchanged.
pub(crate) fn pass_env(env: &BTreeMap<String, String>, operation: &'static str, call: &mut Invocation) -> Result<()> {
    for (key, value) in env {
        if value.is_empty() {
            // Podman takes an empty variable of its own for an absent one.
            call.args.push(format!("--env={key}="));
        } else if !is_reserved(key) {
            call.args.push(format!("--env={key}"));
            call.env.insert(key.clone(), value.clone());
        } else if is_one_line(key, value) {
            call.env_file.insert(key.clone(), value.clone());
        } else {
            return Err(no_way(operation, key));
        }
    }
    Ok(())
}

fn no_way(operation: &'static str, key: &str) -> Error {
    let words = format!("podman cannot be given `{key}` with a value of more than one line, or of more than 60 KiB");
    Error::new(ErrorKind::Unsupported, operation, words)
        .hint("podman itself acts on that name; give the variable another name, or put the value into a file")
}

/// Names that are reserved for a container's variables, and change nothing of a build: languages, terminals, time zones, and
/// proxies, which podman uses itself to fetch the base image.
const HARMLESS_IN_BUILDS: [&str; 12] = [
    "ALL_PROXY",
    "ENV",
    "FTP_PROXY",
    "HOSTNAME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LANG",
    "LANGUAGE",
    "NO_PROXY",
    "SHELL",
    "TERM",
    "TZ",
];

/// Passes build arguments in podman's own environment, the one place where it reads them and other users cannot.
///
/// # Errors
/// `Unsupported` for a name that podman itself would act upon.
pub(crate) fn pass_build_args(
    build_args: &BTreeMap<String, String>,
    operation: &'static str,
    call: &mut Invocation,
) -> Result<()> {
    for (key, value) in build_args {
        let upper = key.to_ascii_uppercase();
        let is_harmless = HARMLESS_IN_BUILDS.contains(&upper.as_str()) || upper.starts_with("LC_");
        if value.is_empty() {
            // Podman takes an empty variable of its own for an absent one.
            call.args.push(format!("--build-arg={key}="));
        } else if is_reserved(key) && !is_harmless {
            let words = format!("podman cannot be given the build argument `{key}`: podman itself acts on that name");
            return Err(Error::new(ErrorKind::Unsupported, operation, words)
                .hint("give the argument another name, and set the variable from it in the Dockerfile (`ENV`)"));
        } else {
            call.args.push(format!("--build-arg={key}"));
            call.env.insert(key.clone(), value.clone());
        }
    }
    Ok(())
}

/// Whether podman's reader of such files gives it back as it is.
fn is_one_line(key: &str, value: &str) -> bool {
    !key.starts_with(['#', ' ', '\t'])
        && !key.contains(['\n', '\r'])
        && !value.contains('\n')
        && !value.ends_with('\r')
        && key.len() + value.len() < LONGEST_LINE
}

/// The file with what the call has for one; it is gone with the value.
pub(crate) fn env_file(call: &Invocation) -> io::Result<Option<NamedTempFile>> {
    if call.env_file.is_empty() {
        return Ok(None);
    }
    let mut file = tempfile::Builder::new().prefix(PREFIX).tempfile_in(directory())?;
    let lines: String = call.env_file.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    file.write_all(lines.as_bytes())?;
    Ok(Some(file))
}

/// In memory where the host has such a place for this user.
pub(crate) fn directory() -> PathBuf {
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_dir());
    let root = || Path::new("/run").to_path_buf();
    let is_root = rustix::process::geteuid().is_root();
    own.or_else(|| is_root.then(root)).filter(|path| path.is_dir()).unwrap_or_else(std::env::temp_dir)
}

/// Removes what calls left that never came to their end.
pub(crate) fn sweep() {
    let Ok(entries) = std::fs::read_dir(directory()) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        let written = entry.metadata().and_then(|meta| meta.modified());
        let age = written.ok().and_then(|written| written.elapsed().ok());
        if age.is_some_and(|age| age > STALE)
            && let Err(cause) = std::fs::remove_file(entry.path())
        {
            tracing::warn!(path = %entry.path().display(), %cause, "a file of an interrupted call cannot be removed");
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn reserved_are_the_names_podman_acts_upon() {
        let reserved = ["HOME", "PATH", "LD_PRELOAD", "CONTAINERS_CONF", "XDG_RUNTIME_DIR", "GODEBUG", "_X", "A B"];
        assert!(reserved.into_iter().chain(["http_proxy", "TMPDIR", "FOO*", "lang"]).all(is_reserved));
        let plain = ["DATABASE_URL", "GOOGLE_API_KEY", "lower_key", "LOG_LEVEL", "HOST_KEY", "SSL_KEY", "a.b-c"];
        assert!(!plain.into_iter().any(is_reserved), "{:?}", plain.map(is_reserved));
    }

    #[test]
    fn pass_env_puts_no_value_into_an_argument() {
        let pairs = env(&[("GOOGLE_API_KEY", "v1"), ("key", "v1\nv1"), ("PATH", "v1"), ("EMPTY", ""), ("A*", "v1")]);
        let mut call = Invocation::default();
        pass_env(&pairs, "run", &mut call).unwrap();
        assert!(!format!("{:?}", call.args).contains("v1"), "{:?}", call.args);
        assert_eq!(call.env.keys().collect::<Vec<_>>(), ["GOOGLE_API_KEY", "key"]);
        assert_eq!(call.env_file.keys().collect::<Vec<_>>(), ["A*", "PATH"]);
    }

    #[test]
    fn pass_env_of_a_reserved_name_with_several_lines_is_unsupported() {
        for value in ["a\nb", "a\r", &"x".repeat(LONGEST_LINE)] {
            let error = pass_env(&env(&[("LD_PRELOAD", value)]), "run", &mut Invocation::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.message().contains("`LD_PRELOAD`"), "{error}");
        }
    }

    #[test]
    fn pass_build_args_puts_no_value_into_an_argument() {
        let pairs = env(&[("TOKEN", "v1"), ("TZ", "v1"), ("https_proxy", "v1"), ("LC_ALL", "v1\nv1"), ("EMPTY", "")]);
        let mut call = Invocation::default();
        pass_build_args(&pairs, "build", &mut call).unwrap();
        assert!(!call.args.iter().any(|arg| arg.contains("v1")), "{}", call.args.join(" "));
        assert_eq!(call.env.keys().collect::<Vec<_>>(), ["LC_ALL", "TOKEN", "TZ", "https_proxy"]);
    }

    #[test]
    fn pass_build_args_of_a_name_podman_acts_upon_is_unsupported() {
        for key in ["PATH", "HOME", "LD_PRELOAD", "CONTAINERS_CONF", "A*"] {
            let error = pass_build_args(&env(&[(key, "v")]), "build", &mut Invocation::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.message().contains(&format!("`{key}`")), "{error}");
        }
    }

    #[test]
    fn env_file_is_read_by_nobody_else_and_goes_away() {
        let call = Invocation { env_file: env(&[("PATH", "v1")]), ..Default::default() };
        let file = env_file(&call).unwrap().unwrap();
        let path = file.path().to_owned();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "PATH=v1\n");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        drop(file);
        assert!(!path.exists());
        assert!(env_file(&Invocation::default()).unwrap().is_none());
    }
}
