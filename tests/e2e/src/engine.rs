//! An engine as its own program shows it: the witness that is not ours.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use crate::containerd::Namespace;
use crate::embedded::Root;
use crate::program::{self, Ran};

/// How the engine of a runtime is asked behind the agent's back.
#[derive(Debug, Clone)]
pub(crate) enum Engine {
    /// Nobody can: it lives in the agent.
    Memory,
    /// A program and the words that every call begins with.
    Program(Vec<String>),
    /// There is no program: its files and the kernel are looked at, and a hand does what the words of a program would.
    Embedded(Arc<Root>),
    /// Its program says what there is; some words of an engine's program it does not have.
    Containerd(Arc<Namespace>),
}

/// One instance as the engine's own program lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) running: bool,
    /// What its label says.
    pub(crate) generation: u64,
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
        self.tries(words).ok().out
    }

    /// Runs its program, however that ends.
    pub(crate) fn tries(&self, words: &[&str]) -> Ran {
        match self {
            Self::Embedded(root) => Ran::without_a_process(words, root.act(words)),
            Self::Containerd(namespace) => Ran::without_a_process(words, namespace.act(words)),
            Self::Memory | Self::Program(_) => Ran::of(&mut self.command(words)),
        }
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let Self::Program(before) = self else { panic!("there is no program") };
        let mut command = program::command(before[0].as_ref());
        command.args(&before[1..]).args(words);
        command
    }

    /// Ids of the instances with this label, running or not; none where nobody can be asked.
    pub(crate) fn instances(&self, label: &str) -> Vec<String> {
        match self {
            Self::Embedded(_) | Self::Containerd(_) => self.rows(label).into_iter().map(|row| row.id).collect(),
            Self::Memory | Self::Program(_) => self.list(KINDS[0].0, label),
        }
    }

    /// The instances with this label, with the generation on their labels.
    pub(crate) fn rows(&self, label: &str) -> Vec<Row> {
        let words = match self {
            Self::Memory => return Vec::new(),
            Self::Embedded(root) => return root.instances(label),
            Self::Containerd(namespace) => return namespace.instances(label),
            Self::Program(words) => words,
        };
        let generation = match words.len() {
            1 => r#"{{index .Labels "hythe.generation"}}"#,
            _ => r#"{{.Label "hythe.generation"}}"#,
        };
        let format = format!("{{{{.ID}}}}\t{{{{.Status}}}}\t{generation}");
        let filter = format!("label={label}");
        let listed = self.run(&["ps", "-a", "--no-trunc", "--filter", &filter, "--format", &format]);
        listed.lines().map(row).collect()
    }

    /// Ids of the running instances with this label.
    pub(crate) fn running(&self, label: &str) -> Vec<String> {
        match self {
            Self::Embedded(_) | Self::Containerd(_) => {
                self.rows(label).into_iter().filter(|row| row.running).map(|row| row.id).collect()
            }
            Self::Memory | Self::Program(_) => self.list(&["ps", "-q", "--no-trunc"], label),
        }
    }

    pub(crate) fn networks(&self, label: &str) -> Vec<String> {
        match self {
            Self::Embedded(root) => root.networks(label),
            Self::Containerd(namespace) => namespace.networks(label),
            Self::Memory | Self::Program(_) => self.list(KINDS[1].0, label),
        }
    }

    pub(crate) fn volumes(&self, label: &str) -> Vec<String> {
        match self {
            Self::Embedded(root) => root.volumes(label),
            Self::Containerd(namespace) => namespace.volumes(label),
            Self::Memory | Self::Program(_) => self.list(KINDS[2].0, label),
        }
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
        let lists = [Self::instances, Self::networks, Self::volumes];
        for ((list, remove), names) in KINDS.into_iter().zip(lists) {
            for name in names(self, label) {
                // What cannot be removed is told as found.
                self.tries(&[remove, &[&name]].concat());
                found.push(format!("{} {name}", list[0]));
            }
        }
        found
    }

    /// Where the embedded runtime keeps all it knows.
    #[track_caller]
    pub(crate) fn root(&self) -> PathBuf {
        let Self::Embedded(root) = self else { panic!("there is no root of ours") };
        root.path()
    }

    /// Kills the supervisor of a running instance, without asking anybody.
    #[track_caller]
    pub(crate) fn kill_supervisor(&self, id: &str) {
        let pid = match self {
            Self::Embedded(root) => root.supervisor(id),
            Self::Containerd(namespace) => namespace.supervisor(id),
            Self::Memory | Self::Program(_) => panic!("nobody of ours supervises there"),
        };
        let pid = pid.unwrap_or_else(|| panic!("`{id}` has no supervisor"));
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    /// Whether limits and images of what is there can be changed with its program.
    pub(crate) fn changes_what_is_there(&self) -> bool {
        matches!(self, Self::Program(_))
    }

    /// What is left on the machine of a runtime that has nothing any more, where it can be told from what others leave.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        match self {
            Self::Embedded(root) => root.leftovers(),
            Self::Containerd(namespace) => namespace.leftovers(),
            Self::Memory | Self::Program(_) => Vec::new(),
        }
    }
}

fn row(line: &str) -> Row {
    let cells: Vec<&str> = line.split('\t').collect();
    let [id, status, generation] = cells.as_slice() else { panic!("`{line}` has not three cells") };
    let generation = generation.parse().unwrap_or_default();
    Row { id: (*id).to_owned(), running: status.starts_with("Up"), generation }
}
