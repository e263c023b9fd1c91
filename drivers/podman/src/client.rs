//! Runs the podman program: the only place that starts it for a finished answer.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use hythe_runtime::{Error, ErrorKind, OpContext, Result};
use serde::de::DeserializeOwned;
use tokio::process::Command;

use crate::error;
use crate::private::PrivateFiles;

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
pub(crate) struct Client {
    program: PathBuf,
    env: BTreeMap<String, String>,
}

/// One call: arguments, and variables only the child sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Invocation {
    pub(crate) args: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    /// Variables of the container that podman reads from a file.
    pub(crate) env_file: BTreeMap<String, String>,
    /// Labels that podman reads from a file.
    pub(crate) label_file: BTreeMap<String, String>,
}

impl Invocation {
    /// What is read from files, by the option that names the file.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&'static str, &BTreeMap<String, String>)> {
        let files = [("--env-file", &self.env_file), ("--label-file", &self.label_file)];
        files.into_iter().filter(|(_, pairs)| !pairs.is_empty())
    }
}

/// What a call was about, for errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) operation: &'static str,
    /// The instance, image, network or volume.
    pub(crate) subject: &'a str,
}

/// A child that ended by itself.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
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

impl Client {
    pub(crate) fn new(program: PathBuf, env: BTreeMap<String, String>) -> Self {
        Self { program, env }
    }

    pub(crate) fn program(&self) -> String {
        self.program.display().to_string()
    }

    /// The program with arguments, in a process group of its own so that a terminal's signals to the agent do not reach it.
    pub(crate) fn command(&self, invocation: &Invocation) -> Command {
        self.set_up(Command::new(&self.program), invocation)
    }

    /// The same, by way of a shell, whose script runs it as `"$@"`.
    pub(crate) fn command_in_shell(&self, script: &str, invocation: &Invocation) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script, "sh"]).arg(&self.program);
        self.set_up(command, invocation)
    }

    fn set_up(&self, mut command: Command, invocation: &Invocation) -> Command {
        command
            .args(&invocation.args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        // The agent's own directory may be gone, and then podman's helpers end without a word. A program that is named from there needs it.
        if self.program.is_absolute() || self.program.components().count() == 1 {
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

    /// [`Client::command`] with its files, which must be kept until it has ended.
    pub(crate) fn prepared(&self, about: About<'_>, call: &Invocation) -> Result<(Command, PrivateFiles)> {
        let (files, options) = PrivateFiles::write(call).map_err(|cause| no_file(about, cause))?;
        if options.is_empty() {
            return Ok((self.command(call), files));
        }
        let mut args = call.args.clone();
        // Right after the verb: what stands behind the image is the container's.
        args.splice(1..1, options);
        Ok((self.command(&Invocation { args, env: call.env.clone(), ..Invocation::default() }), files))
    }

    /// Runs a call that changes nothing; it is killed when nobody waits any more.
    pub(crate) async fn read(
        &self,
        cx: &OpContext,
        about: About<'_>,
        invocation: impl Into<Invocation>,
    ) -> Result<Finished> {
        let mut command = self.command(&invocation.into());
        command.kill_on_drop(true);
        let ended = until_deadline(cx, about, command.output()).await?;
        self.finished(about, ended)
    }

    /// Runs a call that changes something; it goes on to its end even when nobody waits any more.
    pub(crate) async fn act(
        &self,
        cx: &OpContext,
        about: About<'_>,
        invocation: impl Into<Invocation>,
    ) -> Result<Finished> {
        self.act_holding(cx, about, invocation, ()).await
    }

    /// [`Client::act`] that lets go of a guard when the call has ended, whoever still waits.
    pub(crate) async fn act_holding(
        &self,
        cx: &OpContext,
        about: About<'_>,
        invocation: impl Into<Invocation>,
        guard: impl Send + 'static,
    ) -> Result<Finished> {
        let (mut command, files) = self.prepared(about, &invocation.into())?;
        let task = tokio::spawn(async move {
            let output = command.output().await;
            drop((guard, files));
            output
        });
        let ended = until_deadline(cx, about, task).await?;
        self.finished(about, ended.unwrap_or_else(|lost| Err(io::Error::other(lost))))
    }

    /// [`Client::read`] of a JSON document.
    pub(crate) async fn document<T: DeserializeOwned>(
        &self,
        cx: &OpContext,
        about: About<'_>,
        invocation: impl Into<Invocation>,
    ) -> Result<T> {
        let finished = self.read(cx, about, invocation).await?.success(about)?;
        json(about, &finished.stdout)
    }

    /// As [`Client::document`] for a list.
    pub(crate) async fn listing<T: DeserializeOwned>(
        &self,
        cx: &OpContext,
        about: About<'_>,
        invocation: impl Into<Invocation>,
    ) -> Result<T> {
        self.document(cx, about, invocation).await.map_err(Error::of_listing)
    }

    fn finished(&self, about: About<'_>, ended: io::Result<std::process::Output>) -> Result<Finished> {
        let output = ended.map_err(|cause| self.not_started(about, cause))?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let code = exit_code(about, output.status, &stderr)?;
        Ok(Finished { code, stdout: output.stdout, stderr })
    }

    /// The error of a program that could not be executed.
    pub(crate) fn not_started(&self, about: About<'_>, cause: io::Error) -> Error {
        let program = self.program();
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

impl Finished {
    /// Itself if it ended well, else the translated error.
    pub(crate) fn success(self, about: About<'_>) -> Result<Self> {
        if self.code == 0 { Ok(self) } else { Err(error::translate(about, self.code, &self.stderr)) }
    }

    /// The translated error of a call that ended badly.
    pub(crate) fn error(&self, about: About<'_>) -> Error {
        error::translate(about, self.code, &self.stderr)
    }

    /// First line of its output.
    pub(crate) fn first_line(&self) -> String {
        String::from_utf8_lossy(&self.stdout).lines().next().unwrap_or_default().trim().to_owned()
    }
}

/// The exit code; a program that was killed took its answer with it.
pub(crate) fn exit_code(about: About<'_>, status: ExitStatus, stderr: &str) -> Result<i32> {
    status.code().ok_or_else(|| {
        let signal = status.signal().unwrap_or_default();
        let message = format!("`{}`: podman was killed by signal {signal} before it answered", about.subject);
        Error::new(ErrorKind::Unavailable, about.operation, message).with("stderr", stderr.trim())
    })
}

/// Reads what podman printed.
pub(crate) fn json<T: DeserializeOwned>(about: About<'_>, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|cause| {
        let message = format!("`{}`: podman's answer cannot be read: {cause}", about.subject);
        Error::new(ErrorKind::Internal, about.operation, message).source(cause)
    })
}

/// Waits for the work until the deadline, unless the caller withdraws.
pub(crate) async fn until_deadline<F: Future>(cx: &OpContext, about: About<'_>, work: F) -> Result<F::Output> {
    cx.with_deadline(about.operation, async { Ok(work.await) }).await
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
