//! A small shell with the applets that tests need; everything it does stays in this process.
//!
//! For: `sh -c '…'` with lists, pipes, loops, `if`, redirections, variables, traps and background jobs, and about forty applets.
//! Not for: arithmetic, functions, globs, here-documents: a script that needs those fails with a syntax error and code 2.

mod applets;
mod ast;
mod eval;
mod expand;
mod parse;
mod redirect;
mod stdio;
mod test;
mod text;

use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) use applets::APPLETS;
pub(crate) use stdio::{Input, Sink};

use crate::files::View;
use crate::process::{Mailbox, Run};
use eval::Shell;

/// How a process of an instance is set up.
pub(crate) struct Setup {
    pub(crate) arguments: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) workdir: String,
    pub(crate) user: User,
    pub(crate) hostname: String,
    pub(crate) view: View,
    pub(crate) run: Arc<Run>,
    pub(crate) pid: u32,
    pub(crate) mailbox: Arc<Mailbox>,
    /// Its stdin and stdout are a terminal.
    pub(crate) terminal: bool,
    pub(crate) stdin: Input,
    pub(crate) stdout: Sink,
    pub(crate) stderr: Sink,
}

/// Who a process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) name: String,
    pub(crate) home: String,
}

/// Why a command cannot be executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotExecutable {
    Absent,
    Denied,
}

impl NotExecutable {
    /// The exit code of shells and engines.
    pub(crate) const fn code(self) -> i32 {
        match self {
            Self::Absent => 127,
            Self::Denied => 126,
        }
    }

    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Absent => "no such file or directory",
            Self::Denied => "permission denied",
        }
    }
}

/// Finds the program that a first argument names.
pub(crate) fn look_up(view: &View, workdir: &str, program: &str) -> Result<applets::Program, NotExecutable> {
    applets::look_up(view, workdir, program)
}

/// Runs a process to its end and gives its exit code; death by a signal is 128 + its number.
pub(crate) async fn execute(setup: Setup) -> i32 {
    let run = Arc::clone(&setup.run);
    let mailbox = Arc::clone(&setup.mailbox);
    let pid = setup.pid;
    let arguments = setup.arguments.clone();
    let mut shell = Shell::new(setup);
    let code = tokio::select! {
        biased;
        signal = mailbox.fatal() => 128 + i32::from(signal),
        () = run.ending.cancelled() => 137,
        code = shell.main(&arguments) => mailbox.died_of().map_or(code, |signal| 128 + i32::from(signal)),
    };
    run.leave(pid);
    code & 0xff
}

/// The user that `name|uid[:group|gid]` names in these files; an unknown name is handed back.
pub(crate) fn find_user(view: &View, user: Option<&str>) -> Result<User, String> {
    let (name, group) = user.map_or(("0", None), |user| match user.split_once(':') {
        Some((name, group)) => (name, Some(group)),
        None => (user, None),
    });
    let passwd = records(view, "/etc/passwd");
    let known = passwd
        .iter()
        .find(|record| record.first().is_some_and(|n| n == name) || record.get(2).is_some_and(|n| n == name));
    let mut found = match (known, name.parse::<u32>()) {
        (Some(record), _) => from_record(record),
        (None, Ok(uid)) => User { uid, gid: 0, name: uid.to_string(), home: "/".to_owned() },
        (None, Err(_)) => return Err(name.to_owned()),
    };
    if let Some(group) = group {
        let groups = records(view, "/etc/group");
        let known = groups.iter().find(|record| record.first().is_some_and(|name| name == group));
        let gid = known.and_then(|record| record.get(2)?.parse().ok()).or_else(|| group.parse().ok());
        found.gid = gid.ok_or_else(|| group.to_owned())?;
    }
    Ok(found)
}

fn records(view: &View, path: &str) -> Vec<Vec<String>> {
    let text = String::from_utf8_lossy(&view.read(path).unwrap_or_default()).into_owned();
    text.lines().map(|line| line.split(':').map(str::to_owned).collect()).collect()
}

fn from_record(record: &[String]) -> User {
    let number = |at: usize| record.get(at).and_then(|text| text.parse().ok()).unwrap_or_default();
    let text = |at: usize| record.get(at).cloned().unwrap_or_default();
    User { uid: number(2), gid: number(3), name: text(0), home: text(5) }
}
