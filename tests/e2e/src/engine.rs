//! An engine as its own program shows it: the witness that is not ours.

use std::process::Command;

use crate::program::{self, Ran};

/// How the engine of a runtime is asked behind the agent's back.
#[derive(Debug, Clone)]
pub(crate) enum Engine {
    /// Nobody can: it lives in the agent.
    Memory,
    /// A program and the words that every call begins with.
    Program(Vec<String>),
}

/// Kinds of objects that carry labels, with the words that list and remove them.
const KINDS: [(&[&str], &[&str]); 3] = [
    (&["ps", "-a", "-q", "--no-trunc"], &["rm", "-f"]),
    (&["network", "ls", "-q"], &["network", "rm"]),
    (&["volume", "ls", "-q"], &["volume", "rm", "-f"]),
];

impl Engine {
    /// Runs its program; the output.
    #[track_caller]
    pub(crate) fn run(&self, words: &[&str]) -> String {
        Ran::of(&mut self.command(words)).ok().out
    }

    /// The same where it may fail, as a cleaner's does.
    pub(crate) fn attempt(&self, words: &[&str]) -> Ran {
        Ran::of(&mut self.command(words))
    }

    fn command(&self, words: &[&str]) -> Command {
        let Self::Program(before) = self else { panic!("the in-process engine has no program") };
        let mut command = program::command(before[0].as_ref());
        command.args(&before[1..]).args(words);
        command
    }

    /// Ids of the instances with this label, running or not; none where nobody can be asked.
    pub(crate) fn instances(&self, label: &str) -> Vec<String> {
        self.list(KINDS[0].0, label)
    }

    /// Ids of the running instances with this label.
    pub(crate) fn running(&self, label: &str) -> Vec<String> {
        self.list(&["ps", "-q", "--no-trunc"], label)
    }

    pub(crate) fn networks(&self, label: &str) -> Vec<String> {
        self.list(KINDS[1].0, label)
    }

    pub(crate) fn volumes(&self, label: &str) -> Vec<String> {
        self.list(KINDS[2].0, label)
    }

    fn list(&self, words: &[&str], label: &str) -> Vec<String> {
        if matches!(self, Self::Memory) {
            return Vec::new();
        }
        let filter = format!("label={label}");
        let listed = self.run(&[words, &["--filter", &filter]].concat());
        listed.lines().map(str::to_owned).collect()
    }

    /// Removes everything with this label by force; what that was.
    pub(crate) fn sweep(&self, label: &str) -> Vec<String> {
        let mut found = Vec::new();
        for (list, remove) in KINDS {
            for name in self.list(list, label) {
                // What cannot be removed is told as found.
                Ran::of(&mut self.command(&[remove, &[&name]].concat()));
                found.push(format!("{} {name}", list[0]));
            }
        }
        found
    }
}
