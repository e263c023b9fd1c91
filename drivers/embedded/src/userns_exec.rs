//! Tasks in an unprivileged user's namespaces, which a program with threads cannot enter: this program runs once more, as `hythe shim userns-exec`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hythe_network::{AttachRequest, Networks, Routes};
use hythe_oci::{Layer, Options, OwnershipMode, Store, Stored};
use hythe_runtime::{Attachment, Error, ErrorKind, NetworkSpec, Result};
use hythe_shim::files::read_json;
use hythe_shim::record::Config;
use hythe_shim::rootfs::{copy_in, make_directory, within};
use hythe_shim::{Directory, namespace};
use hythe_spec::{ExtraHost, ImageRef};
use serde::{Deserialize, Serialize};

use crate::archives::{Access, Framed, Target};
use crate::context::Context;
use crate::error::{IoContext, from_shim, of_store};
use crate::idmap::rights;

const OPERATION: &str = "userns-exec";
/// The verb of `hythe shim` that runs a task, before the place of the user namespace.
pub(crate) const USERNS_EXEC: &str = "userns-exec";

/// A change of networks.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Change {
    Ensure(NetworkSpec),
    Remove(String),
    /// Where it is of this owner.
    RemoveOf {
        owner: String,
        name: String,
    },
    Detach(String),
    /// Whoever is not among these is gone.
    Reclaim(Vec<String>),
    Join(Join),
    Leave {
        instance: String,
        network: String,
    },
}

/// See [`AttachRequest`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Join {
    pub(crate) instance: String,
    pub(crate) namespace: PathBuf,
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) hostname: String,
    pub(crate) extra_hosts: Vec<ExtraHost>,
}

/// A change of an instance's files while it does not run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Files {
    MakeDirectory(String),
    /// From the machine, to a path inside.
    Copy(Vec<(PathBuf, String)>),
}

/// An upper directory that becomes the highest layer of an image.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Commit {
    pub(crate) upper: PathBuf,
    /// Manifest of the image below it.
    pub(crate) base: String,
    pub(crate) image: ImageRef,
    pub(crate) labels: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, Deserialize)]
enum UsernsTask {
    /// Finds out whether layers can be stacked below this directory.
    Stack(PathBuf),
    /// Finds out whether there can be bridge networks.
    Bridge,
    /// Changes the networks of this directory.
    Networks(PathBuf, Change),
    /// Changes the files of the instance of this directory.
    Files(PathBuf, Files),
    /// Makes an image of changed files in the image store of this directory.
    Commit(PathBuf, Commit),
    /// Unpacks layers of the image store of this directory.
    Unpack(PathBuf, Vec<Layer>),
    /// Reads or writes files of an instance: the archive stands behind the task, or takes the place of the outcome, which goes to stderr.
    Archive(Target, Access),
    /// Removes this directory and all below it.
    Remove(PathBuf),
    /// Finds out whether there is anybody to send.
    Nothing,
}

/// An error on its way between two processes.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
}

impl Told {
    fn of(error: &Error) -> Self {
        Self { kind: error.kind(), message: error.message().to_owned(), hint: error.next_step().map(str::to_owned) }
    }

    fn back(self, operation: &'static str) -> Error {
        let error = Error::new(self.kind, operation, self.message);
        match self.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

impl Change {
    fn make(&self, networks: &Networks) -> Result<()> {
        match self {
            Self::Ensure(spec) => networks.ensure(spec),
            Self::Remove(name) => networks.remove(name),
            Self::RemoveOf { owner, name } => networks.remove_of(owner, name),
            Self::Detach(instance) => networks.detach(instance),
            Self::Reclaim(alive) => networks.gc(&alive.iter().map(String::as_str).collect::<Vec<_>>()).map(drop),
            Self::Join(join) => networks.join(&join.request()).map(drop),
            Self::Leave { instance, network } => networks.leave(instance, network),
        }
    }
}

impl Files {
    fn make(&self, directory: &Directory) -> Result<()> {
        let config: Config = read_json(&directory.config()).context(OPERATION, "read the instance")?;
        let change = |root: &File| match self {
            Self::MakeDirectory(path) => {
                make_directory(root, path).map_err(|fault| std::io::Error::other(fault.message))
            }
            Self::Copy(copies) => copies.iter().try_for_each(|(from, to)| copy_in(root, from, to)),
        };
        within(directory, &config, change).map_err(|fault| from_shim(OPERATION, &fault))
    }
}

impl Commit {
    fn make(&self, operation: &'static str, store: &Store) -> Result<Stored> {
        let base = store.find(&self.base).map_err(of_store(operation))?;
        let layer = store.copy_changes(&self.upper).map_err(of_store(operation))?;
        store.commit(&base, &layer, &self.image, &self.labels).map_err(of_store(operation))
    }
}

fn open(store: &Path, rights: OwnershipMode) -> Result<Store> {
    Store::open_with(store, Options { rights, ..Options::default() }).map_err(of_store(OPERATION))
}

impl Join {
    fn request(&self) -> AttachRequest<'_> {
        AttachRequest {
            instance: &self.instance,
            namespace: &self.namespace,
            attachments: &self.attachments,
            hostname: &self.hostname,
            extra_hosts: &self.extra_hosts,
        }
    }
}

impl Context {
    /// Changes the networks, wherever they are.
    pub(crate) fn change_networks(&self, operation: &'static str, change: Change) -> Result<()> {
        let networks = self.networks(operation)?;
        match &self.host.user_namespace {
            None => change.make(networks),
            Some(place) => send(&self.shim, place, operation, &UsernsTask::Networks(self.networks_directory(), change)),
        }
    }

    /// Makes an image of what an instance changed. For an unprivileged user, files are of others and can be read by nobody outside.
    pub(crate) fn commit(&self, operation: &'static str, commit: Commit) -> Result<Stored> {
        let Some(place) = &self.host.user_namespace else { return commit.make(operation, &self.store) };
        let image = commit.image.clone();
        send(&self.shim, place, operation, &UsernsTask::Commit(self.store.root().to_owned(), commit))?;
        self.store.get(&image).map_err(of_store(operation))
    }

    /// Changes files of an instance that does not run.
    pub(crate) fn change_files(&self, operation: &'static str, directory: &Directory, files: Files) -> Result<()> {
        match &self.host.user_namespace {
            None => files.make(directory),
            Some(place) => send(&self.shim, place, operation, &UsernsTask::Files(directory.path().to_owned(), files)),
        }
    }
}

/// Unpacks what is not unpacked yet of these layers.
pub(crate) fn unpack(program: &Path, place: &Path, store: &Path, layers: &[Layer]) -> Result<()> {
    send(program, place, OPERATION, &UsernsTask::Unpack(store.to_owned(), layers.to_vec()))
}

/// Removes a directory and all below it.
pub(crate) fn remove(program: &Path, place: &Path, tree: &Path) -> Result<()> {
    send(program, place, OPERATION, &UsernsTask::Remove(tree.to_owned()))
}

/// Whether there can be a user namespace.
pub(crate) fn nothing(program: &Path, place: &Path) -> Result<()> {
    send(program, place, OPERATION, &UsernsTask::Nothing)
}

/// Whether layers can be stacked below a directory, in a user namespace.
pub(crate) fn stack(program: &Path, place: &Path, root: &Path) -> Result<()> {
    send(program, place, OPERATION, &UsernsTask::Stack(root.to_owned()))
}

/// Whether there can be bridge networks in a user namespace.
pub(crate) fn bridge(program: &Path, place: &Path) -> Result<()> {
    send(program, place, OPERATION, &UsernsTask::Bridge)
}

fn send(program: &Path, place: &Path, operation: &'static str, task: &UsernsTask) -> Result<()> {
    let what = || format!("start `{}` in the user namespace", program.display());
    let mut child = Command::new(program)
        .args(["shim", USERNS_EXEC])
        .arg(place)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context(operation, what())?;
    let mut words = serde_json::to_vec(task).context(operation, what())?;
    words.push(b'\n');
    if let Some(mut stdin) = child.stdin.take() {
        // One that has died already is told of below.
        let _ = stdin.write_all(&words);
    }
    let output = child.wait_with_output().context(operation, what())?;
    let said: std::result::Result<std::result::Result<(), Told>, _> = serde_json::from_slice(&output.stdout);
    match said {
        Ok(outcome) => outcome.map_err(|told| told.back(operation)),
        Err(_) => {
            let last = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            let message = format!("the process in the user namespace died without a message: {last}");
            Err(Error::new(ErrorKind::Unavailable, operation, message))
        }
    }
}

/// Reads or writes files of an instance, in the user namespace. Blocking.
pub(crate) fn archive(
    context: &Context,
    place: &Path,
    operation: &'static str,
    (target, access): (Target, Access),
    mut archive: impl Read + Send,
    mut out: impl Write,
) -> Result<()> {
    let what = || format!("start `{}` in the user namespace", context.shim.display());
    let mut child = Command::new(&*context.shim)
        .args(["shim", USERNS_EXEC])
        .arg(place)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context(operation, what())?;
    let mut words = serde_json::to_vec(&UsernsTask::Archive(target, access)).context(operation, what())?;
    words.push(b'\n');
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let copied = std::thread::scope(|scope| {
        // What it lacks in the end, it says itself.
        scope.spawn(move || {
            let Some(mut stdin) = stdin else { return };
            if stdin.write_all(&words).is_ok() {
                let _ = Framed::<()>::copy(&mut archive, &mut stdin);
            }
        });
        let copied = stdout.map(|mut stdout| std::io::copy(&mut stdout, &mut out)).transpose();
        if copied.is_err() {
            // Nobody reads it any more.
            let _ = child.kill();
        }
        copied
    });
    let output = child.wait_with_output().context(operation, what())?;
    let said: std::result::Result<std::result::Result<(), Told>, _> = serde_json::from_slice(&output.stderr);
    match said {
        Ok(outcome) => outcome.map_err(|told| told.back(operation))?,
        Err(_) => {
            let last = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            let message = format!("the process in the user namespace died without a message: {last}");
            return Err(Error::new(ErrorKind::Unavailable, operation, message));
        }
    }
    copied.and_then(|_| out.flush()).context(operation, "pass the archive on")
}

/// Runs the task that stdin describes; gives the exit code. The process must have one thread.
pub(crate) fn run(place: &Path) -> i32 {
    let mut stdin = BufReader::new(std::io::stdin());
    let mut words = Vec::new();
    let read = stdin.read_until(b'\n', &mut words).context(OPERATION, "read the task");
    let task = read.and_then(|_| serde_json::from_slice(&words).context(OPERATION, "parse the task"));
    let is_archive = matches!(task, Ok(UsernsTask::Archive(..)));
    let outcome = task.and_then(|task| perform(place, task, stdin));
    let outcome = serde_json::to_vec(&outcome.map_err(|error| Told::of(&error))).unwrap_or_default();
    let written =
        if is_archive { std::io::stderr().write_all(&outcome) } else { std::io::stdout().write_all(&outcome) };
    i32::from(written.is_err())
}

fn perform(place: &Path, task: UsernsTask, archive: impl Read + Send) -> Result<()> {
    // What leads out goes by the machine's routes.
    let routes = matches!(task, UsernsTask::Networks(..)).then(Routes::here).transpose()?.unwrap_or_default();
    let joined = namespace::join(place).map_err(|fault| from_shim(OPERATION, &fault))?;
    let rights = || rights(place).context(OPERATION, "read which ids there are");
    joined.enter_network().map_err(|fault| from_shim(OPERATION, &fault))?;
    match task {
        UsernsTask::Stack(root) => crate::connect::stacks(&root, true),
        UsernsTask::Bridge => hythe_network::supported(),
        UsernsTask::Networks(directory, change) => change.make(&Networks::open(&directory)?.beside(routes)),
        UsernsTask::Files(directory, files) => files.make(&Directory::new(directory)),
        UsernsTask::Archive(target, access) => {
            access.of(OPERATION, &target, rights()?, Framed::new(archive), std::io::stdout())
        }
        UsernsTask::Commit(store, commit) => commit.make(OPERATION, &open(&store, rights()?)?).map(drop),
        UsernsTask::Unpack(store, layers) => {
            open(&store, rights()?)?.unpacked(&layers).map(drop).map_err(of_store(OPERATION))
        }
        UsernsTask::Remove(tree) => {
            hythe_oci::remove_tree(&tree).context(OPERATION, format_args!("remove `{}`", tree.display()))
        }
        UsernsTask::Nothing => Ok(()),
    }
}
