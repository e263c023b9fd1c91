//! Files of images, instances and volumes: flat maps from path to content.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Why a file operation failed, in the words of the C library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileError {
    NotFound,
    IsDirectory,
    NotDirectory,
    Exists,
    ReadOnly,
    Other,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "No such file or directory",
            Self::IsDirectory => "Is a directory",
            Self::NotDirectory => "Not a directory",
            Self::Exists => "File exists",
            Self::ReadOnly => "Read-only file system",
            Self::Other => "Input/output error",
        })
    }
}

impl From<std::io::Error> for FileError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::NotFound,
            std::io::ErrorKind::IsADirectory => Self::IsDirectory,
            std::io::ErrorKind::NotADirectory => Self::NotDirectory,
            std::io::ErrorKind::AlreadyExists => Self::Exists,
            std::io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            _ => Self::Other,
        }
    }
}

type Answer<T> = Result<T, FileError>;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    Directory,
    File { bytes: Vec<u8>, executable: bool },
}

/// A tree of files; its root always exists.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    nodes: BTreeMap<String, Node>,
}

/// A tree with several users.
pub(crate) type SharedTree = Arc<Mutex<Tree>>;

fn lock(tree: &SharedTree) -> MutexGuard<'_, Tree> {
    tree.lock().unwrap_or_else(PoisonError::into_inner)
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl Tree {
    pub(crate) fn get(&self, path: &str) -> Option<Node> {
        if path.is_empty() { Some(Node::Directory) } else { self.nodes.get(path).cloned() }
    }

    /// Puts a node there, with the directories above it.
    pub(crate) fn put(&mut self, path: &str, node: Node) {
        let mut above = parent(path);
        while !above.is_empty() {
            self.nodes.entry(above.to_owned()).or_insert(Node::Directory);
            above = parent(above);
        }
        if !path.is_empty() {
            self.nodes.insert(path.to_owned(), node);
        }
    }

    pub(crate) fn put_file(&mut self, path: &str, bytes: &[u8], executable: bool) {
        self.put(path, Node::File { bytes: bytes.to_vec(), executable });
    }

    fn write(&mut self, path: &str, bytes: &[u8], append: bool) -> Answer<()> {
        match self.get(parent(path)) {
            Some(Node::Directory) => {}
            Some(Node::File { .. }) => return Err(FileError::NotDirectory),
            None => return Err(FileError::NotFound),
        }
        match self.nodes.get_mut(path) {
            Some(Node::Directory) => return Err(FileError::IsDirectory),
            Some(Node::File { bytes: old, .. }) if append => old.extend_from_slice(bytes),
            Some(Node::File { bytes: old, .. }) => *old = bytes.to_vec(),
            None => self.put_file(path, bytes, false),
        }
        Ok(())
    }

    fn remove(&mut self, path: &str) -> Answer<()> {
        let below = format!("{path}/");
        self.nodes.remove(path).ok_or(FileError::NotFound)?;
        self.nodes.retain(|other, _| !other.starts_with(&below));
        Ok(())
    }

    fn names(&self, path: &str) -> Vec<String> {
        let below = format!("{path}/");
        let names = self.nodes.keys().filter_map(|other| other.strip_prefix(&below));
        names.filter(|name| !name.contains('/')).map(str::to_owned).collect()
    }

    /// Whatever is below a path, with that path as root.
    pub(crate) fn below(&self, path: &str) -> Self {
        let below = format!("{path}/");
        let inside =
            |(other, node): (&String, &Node)| other.strip_prefix(&below).map(|rest| (format!("/{rest}"), node.clone()));
        Self { nodes: self.nodes.iter().filter_map(inside).collect() }
    }

    /// Number of bytes in all files.
    pub(crate) fn size(&self) -> u64 {
        let bytes = |node: &Node| match node {
            Node::Directory => 0,
            Node::File { bytes, .. } => bytes.len() as u64,
        };
        self.nodes.values().map(bytes).sum()
    }

    /// Every path and content, for fingerprints.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&String, &Node)> {
        self.nodes.iter()
    }
}

/// Where the files below a mount point are.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Tree(SharedTree),
    Host(PathBuf),
}

/// One mount of an instance.
#[derive(Debug, Clone)]
pub(crate) struct MountPoint {
    pub(crate) target: String,
    pub(crate) place: Place,
    pub(crate) read_only: bool,
}

/// The files that a process sees.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// Longest target first; the last one is the root, target empty.
    mounts: Vec<MountPoint>,
}

impl View {
    pub(crate) fn new(root: SharedTree, read_only: bool, mut mounts: Vec<MountPoint>) -> Self {
        if read_only {
            let shm = Place::Tree(SharedTree::default());
            mounts.push(MountPoint { target: "/dev/shm".to_owned(), place: shm, read_only: false });
        }
        mounts.push(MountPoint { target: String::new(), place: Place::Tree(root), read_only });
        mounts.sort_by_key(|mount| std::cmp::Reverse(mount.target.len()));
        Self { mounts }
    }

    /// The mount a clean absolute path lies in, and the path below it (empty: the mount point itself).
    fn locate<'a>(&self, path: &'a str) -> Option<(&MountPoint, &'a str)> {
        self.mounts.iter().find_map(|mount| {
            let rest = path.strip_prefix(mount.target.as_str())?;
            (rest.is_empty() || rest.starts_with('/')).then_some((mount, rest))
        })
    }

    fn writable<'a>(&self, path: &'a str) -> Answer<(&Place, &'a str)> {
        match self.locate(path) {
            Some((mount, _)) if mount.read_only => Err(FileError::ReadOnly),
            Some((mount, rest)) => Ok((&mount.place, rest)),
            None => Err(FileError::NotFound),
        }
    }

    pub(crate) fn get(&self, path: &str) -> Option<Node> {
        let path = path.trim_end_matches('/');
        let (mount, rest) = self.locate(path)?;
        match &mount.place {
            Place::Tree(tree) => lock(tree).get(rest),
            Place::Host(root) => host_node(&under(root, rest)),
        }
    }

    pub(crate) fn read(&self, path: &str) -> Answer<Vec<u8>> {
        match self.get(path).ok_or(FileError::NotFound)? {
            Node::Directory => Err(FileError::IsDirectory),
            Node::File { bytes, .. } => Ok(bytes),
        }
    }

    pub(crate) fn write(&self, path: &str, bytes: &[u8], append: bool) -> Answer<()> {
        match self.writable(path)? {
            (Place::Tree(tree), rest) => lock(tree).write(rest, bytes, append),
            (Place::Host(root), rest) => host_write(&under(root, rest), bytes, append),
        }
    }

    /// Makes a directory and those above it.
    pub(crate) fn make_directory(&self, path: &str) -> Answer<()> {
        match (self.get(path), self.writable(path)?) {
            (Some(_), _) => Err(FileError::Exists),
            (None, (Place::Tree(tree), rest)) => {
                lock(tree).put(rest, Node::Directory);
                Ok(())
            }
            (None, (Place::Host(root), rest)) => Ok(std::fs::create_dir_all(under(root, rest))?),
        }
    }

    pub(crate) fn remove(&self, path: &str) -> Answer<()> {
        match self.writable(path)? {
            (Place::Tree(tree), rest) => lock(tree).remove(rest),
            (Place::Host(root), rest) => Ok(std::fs::remove_file(under(root, rest))?),
        }
    }

    pub(crate) fn make_executable(&self, path: &str) -> Answer<()> {
        let bytes = self.read(path)?;
        if let (Place::Tree(tree), rest) = self.writable(path)? {
            lock(tree).put_file(rest, &bytes, true);
        }
        Ok(())
    }

    pub(crate) fn names(&self, path: &str) -> Answer<Vec<String>> {
        let path = path.trim_end_matches('/');
        match self.get(path).ok_or(FileError::NotFound)? {
            Node::File { .. } => return Err(FileError::NotDirectory),
            Node::Directory => {}
        }
        match self.locate(path) {
            Some((MountPoint { place: Place::Tree(tree), .. }, rest)) => Ok(lock(tree).names(rest)),
            Some((MountPoint { place: Place::Host(root), .. }, rest)) => {
                let entries = std::fs::read_dir(under(root, rest))?.filter_map(Result::ok);
                let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
                names.sort();
                Ok(names)
            }
            None => Err(FileError::NotFound),
        }
    }
}

fn under(root: &Path, rest: &str) -> PathBuf {
    match rest.trim_start_matches('/') {
        "" => root.to_owned(),
        rest => root.join(rest),
    }
}

fn host_node(path: &Path) -> Option<Node> {
    let meta = std::fs::metadata(path).ok()?;
    if meta.is_dir() {
        return Some(Node::Directory);
    }
    Some(Node::File { bytes: std::fs::read(path).ok()?, executable: false })
}

fn host_write(path: &Path, bytes: &[u8], append: bool) -> Answer<()> {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new().create(true).write(true).append(append).truncate(!append).open(path)?;
    Ok(file.write_all(bytes)?)
}

/// An absolute path without `.`, `..` and doubled slashes; the root is empty.
pub(crate) fn clean(directory: &str, path: &str) -> String {
    let cleaned = if path.starts_with('/') {
        hythe_spec::mount::clean(path)
    } else {
        hythe_spec::mount::clean(&format!("{directory}/{path}"))
    };
    if cleaned == "/" { String::new() } else { cleaned }
}
