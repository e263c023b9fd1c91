//! Runs the podman program, for what its API has no way to do: the only place that starts it for a finished answer.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use hythe_runtime::{Error, ErrorKind, OpContext, Result};
use tempfile::NamedTempFile;
use tokio::process::Command;

use crate::client::About;
use crate::{error, private};

/// Variables of a service manager that podman would act upon in the agent's name.
const NOT_INHERITED: [&str; 5] = ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_USEC"];

/// Where podman's own helpers look for `iptables` and the like, which the `PATH` of a cron job lacks.
const FOR_ROOT: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// A `PATH` with these in it.
fn search_path(own: &OsStr) -> OsString {
    let mut places: Vec<PathBuf> = std::env::split_paths(own).collect();
    for place in FOR_ROOT.map(PathBuf::from) {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    std::env::join_paths(places).unwrap_or_else(|_| own.to_owned())
}

/// The program and its environment.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    path: PathBuf,
    env: BTreeMap<String, String>,
}

/// One call: arguments, and variables only the child sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Invocation {
    pub(crate) args: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    /// Variables of the container that podman reads from a file.
    pub(crate) env_file: BTreeMap<String, String>,
}

impl<const N: usize> From<[&str; N]> for Invocation {
    fn from(args: [&str; N]) -> Self {
        Self { args: args.map(str::to_owned).to_vec(), ..Self::default() }
    }
}

impl From<Vec<String>> for Invocation {
    fn from(args: Vec<String>) -> Self {
        Self { args, ..Self::default() }
    }
}

impl Program {
    pub(crate) fn new(path: PathBuf, env: BTreeMap<String, String>) -> Self {
        Self { path, env }
    }

    /// The same with one variable more.
    pub(crate) fn with_variable(mut self, name: &str, value: String) -> Self {
        self.env.insert(name.to_owned(), value);
        self
    }

    pub(crate) fn path(&self) -> String {
        self.path.display().to_string()
    }

    /// The program with arguments, in a process group of its own so that a terminal's signals to the agent do not reach it.
    pub(crate) fn command(&self, invocation: &Invocation) -> Command {
        self.blocking_command(invocation).into()
    }

    /// The same for a thread that waits for it.
    pub(crate) fn blocking_command(&self, invocation: &Invocation) -> std::process::Command {
        self.set_up(std::process::Command::new(&self.path), invocation)
    }

    /// Whether its environment has this variable.
    pub(crate) fn is_set(&self, variable: &str) -> bool {
        self.env.contains_key(variable) || std::env::var_os(variable).is_some()
    }

    /// The same, by way of a shell, whose script runs it as `"$@"`.
    pub(crate) fn command_in_shell(&self, script: &str, invocation: &Invocation) -> Command {
        let mut command = std::process::Command::new("/bin/sh");
        command.args(["-c", script, "sh"]).arg(&self.path);
        self.set_up(command, invocation).into()
    }

    fn set_up(&self, mut command: std::process::Command, invocation: &Invocation) -> std::process::Command {
        command
            .args(&invocation.args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        // The agent's own directory may be gone, and then podman's helpers end without a word. A program that is named from there needs it.
        if self.path.is_absolute() || self.path.components().count() == 1 {
            command.current_dir("/");
        }
        for name in NOT_INHERITED {
            command.env_remove(name);
        }
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", search_path(&path));
        }
        // Podman 5 else writes a line about it to the error output of every call, that of `podman exec` included.
        command.env("PODMAN_IGNORE_CGROUPSV1_WARNING", "1");
        command.envs(&self.env).envs(&invocation.env);
        command
    }

    /// [`Program::command`] with its file, which must be kept until it has ended.
    pub(crate) fn prepared(&self, about: About<'_>, call: &Invocation) -> Result<(Command, Option<NamedTempFile>)> {
        let file = private::env_file(call).map_err(|cause| no_file(about, cause))?;
        let Some(option) = file.as_ref().map(|file| format!("--env-file={}", file.path().display())) else {
            return Ok((self.command(call), file));
        };
        let mut args = call.args.clone();
        // Right after the verb: what stands behind the instance is the command's.
        args.insert(1, option);
        Ok((self.command(&Invocation { args, env: call.env.clone(), ..Invocation::default() }), file))
    }

    /// Runs a call to its end, also where nobody waits any more or the agent ends; lets go of the guard then.
    pub(crate) async fn run_to_end(
        &self,
        cx: &OpContext,
        about: About<'_>,
        call: Invocation,
        guard: impl Send + 'static,
    ) -> Result<()> {
        let mut command = self.command(&call);
        let (program, operation, subject) = (self.clone(), about.operation, about.subject.to_owned());
        let work = async move {
            let output = command.output().await;
            drop(guard);
            let about = About { operation, subject: &subject };
            let output = output.map_err(|cause| program.not_started(about, cause))?;
            let stderr = String::from_utf8_lossy(&output.stderr);
            match exit_code(about, output.status, &stderr)? {
                0 => Ok(()),
                code => Err(error::translate(about, code, &stderr)),
            }
        };
        cx.run_detached(operation, work).await
    }

    /// The error of a program that could not be executed.
    pub(crate) fn not_started(&self, about: About<'_>, cause: io::Error) -> Error {
        let program = self.path();
        let error = match cause.kind() {
            io::ErrorKind::ArgumentListTooLong => Error::new(
                ErrorKind::Invalid,
                about.operation,
                format!(
                    "`{}`: arguments and environment are larger than the kernel passes to a program",
                    about.subject
                ),
            )
            .hint("one variable may have 128 KiB, all together about 2 MiB; put larger data into a volume"),
            io::ErrorKind::InvalidInput => Error::new(
                ErrorKind::Invalid,
                about.operation,
                format!("`{}`: an argument or variable contains a NUL byte", about.subject),
            ),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => return no_file(about, cause),
            io::ErrorKind::NotFound => {
                Error::new(ErrorKind::Unavailable, about.operation, format!("the program `{program}` does not exist"))
                    .hint("install podman, or name its program in the agent's configuration")
            }
            _ => Error::new(
                ErrorKind::Unavailable,
                about.operation,
                format!("the program `{program}` cannot be run: {cause}"),
            ),
        };
        error.source(cause)
    }
}

/// The error of a file that a call needs.
fn no_file(about: About<'_>, cause: io::Error) -> Error {
    let error = match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::new(
            ErrorKind::Exhausted,
            about.operation,
            format!("`{}`: there is no room for a temporary file", about.subject),
        )
        .hint("free space where the agent keeps temporary files (`XDG_RUNTIME_DIR`, `/run`, `TMPDIR`)"),
        _ => Error::new(
            ErrorKind::Unavailable,
            about.operation,
            format!("`{}`: a temporary file cannot be written: {cause}", about.subject),
        ),
    };
    error.source(cause)
}

/// The exit code; a program that was killed took its answer with it.
pub(crate) fn exit_code(about: About<'_>, status: ExitStatus, stderr: &str) -> Result<i32> {
    status.code().ok_or_else(|| {
        let signal = status.signal().unwrap_or_default();
        let message = format!("`{}`: podman was killed by signal {signal} before it answered", about.subject);
        Error::new(ErrorKind::Unavailable, about.operation, message).with("stderr", stderr.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_podman_starts_finds_the_programs_of_root() {
        for (own, expected) in [
            ("/usr/bin:/bin", "/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"),
            ("/sbin:/bin:/usr/local/sbin:/usr/sbin", "/sbin:/bin:/usr/local/sbin:/usr/sbin"),
        ] {
            assert_eq!(search_path(OsStr::new(own)), expected);
        }
    }
}
