//! The files of an image in the making, sorted, and nothing about them that differs from machine to machine.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::Timespec;
use tar::EntryType;

use crate::archive::LayerWriter;
use crate::error::Local as _;
use crate::unpack::Meta;
use crate::{Error, Kind};

const EXECUTABLE: u32 = 0o755;
const PLAIN: u32 = 0o644;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    File { from: PathBuf, mode: u32 },
    Link(PathBuf),
    Directory,
}

/// By path in the image, without the leading slash.
#[derive(Debug, Default)]
pub(super) struct Files {
    nodes: BTreeMap<PathBuf, Node>,
    /// Where each file was put first, by its real path here.
    placed: BTreeMap<PathBuf, PathBuf>,
}

impl Files {
    /// Puts a file at an absolute path. The same file at a second place becomes a link to the first.
    pub(super) fn file(&mut self, from: &Path, there: &Path, executable: bool) -> Result<(), Error> {
        let real = from.canonicalize().local("find", from)?;
        let there = inside(there)?;
        let node = match self.placed.get(&real) {
            Some(first) if *first != there => Node::Link(Path::new("/").join(first)),
            _ => {
                let mode = if executable { EXECUTABLE } else { mode(&real)? };
                Node::File { from: real.clone(), mode }
            }
        };
        if matches!(node, Node::File { .. }) {
            self.placed.insert(real, there.clone());
        }
        self.put(there, node)
    }

    /// A given file, or a directory with all that is in it.
    pub(super) fn add(&mut self, from: &Path, there: &Path) -> Result<(), Error> {
        let metadata = match std::fs::metadata(from) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::new(Kind::NotFound, format!("there is no file `{}`", from.display())));
            }
            found => found.local("look at", from)?,
        };
        if !metadata.is_dir() {
            return self.given(from, inside(there)?);
        }
        let mut directories = vec![(from.to_owned(), inside(there)?)];
        while let Some((from, there)) = directories.pop() {
            if !there.as_os_str().is_empty() {
                self.put(there.clone(), Node::Directory)?;
            }
            for entry in std::fs::read_dir(&from).local("read", &from)? {
                let entry = entry.local("read", &from)?;
                let (path, there) = (entry.path(), there.join(entry.file_name()));
                let kind = entry.file_type().local("look at", &path)?;
                if kind.is_symlink() {
                    let to = std::fs::read_link(&path).local("read", &path)?;
                    self.put(there, Node::Link(to))?;
                } else if kind.is_dir() {
                    directories.push((path, there));
                } else {
                    self.given(&path, there)?;
                }
            }
        }
        Ok(())
    }

    fn given(&mut self, from: &Path, there: PathBuf) -> Result<(), Error> {
        if !std::fs::metadata(from).local("look at", from)?.is_file() {
            return Err(Error::new(Kind::Invalid, format!("`{}` is neither a file nor a directory", from.display())));
        }
        let real = from.canonicalize().local("find", from)?;
        let mode = mode(&real)?;
        self.put(there, Node::File { from: real, mode })
    }

    fn put(&mut self, there: PathBuf, node: Node) -> Result<(), Error> {
        let taken = |path: &Path, by: &Node| match by {
            Node::File { from, .. } => {
                format!("`/{}` in the image would be two things; one is `{}`", path.display(), from.display())
            }
            Node::Link(_) | Node::Directory => format!("`/{}` in the image would be two things", path.display()),
        };
        let parents = there.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty());
        for parent in parents {
            let found = self.nodes.entry(parent.to_owned()).or_insert(Node::Directory);
            if *found != Node::Directory {
                return Err(Error::new(Kind::Invalid, taken(parent, found)));
            }
        }
        match self.nodes.insert(there.clone(), node.clone()) {
            Some(other) if other != node => Err(Error::new(Kind::Invalid, taken(&there, &other))),
            _ => Ok(()),
        }
    }

    pub(super) fn write<W: Write>(&self, writer: W) -> Result<W, Error> {
        let mut layer = LayerWriter::new(writer);
        for (path, node) in &self.nodes {
            match node {
                Node::Directory => layer.directory(path, &looks(EXECUTABLE)).local("pack", path)?,
                Node::Link(to) => layer.link(path, &looks(0o777), EntryType::Symlink, to).local("pack", path)?,
                Node::File { from, mode } => {
                    let file = File::open(from).local("open", from)?;
                    let size = file.metadata().local("look at", from)?.len();
                    layer.file(path, &looks(*mode), size, file).local("pack", from)?;
                }
            }
        }
        layer.finish().local("pack", Path::new("layer"))
    }
}

/// Whether it may be executed is all that is taken over.
fn mode(path: &Path) -> Result<u32, Error> {
    let mode = std::fs::metadata(path).local("look at", path)?.permissions().mode();
    Ok(if mode & 0o111 == 0 { PLAIN } else { EXECUTABLE })
}

fn looks(mode: u32) -> Meta {
    Meta { uid: 0, gid: 0, mode, xattrs: Vec::new(), mtime: Timespec { tv_sec: 0, tv_nsec: 0 } }
}

/// An absolute path, made plain and relative to the root of the image.
fn inside(path: &Path) -> Result<PathBuf, Error> {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => {
                plain.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    let is_whiteout = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with(".wh.");
    if !path.is_absolute() || plain.iter().any(is_whiteout) {
        let message = format!("`{}` is no place in an image", path.display());
        return Err(Error::new(Kind::Invalid, message).hint("write an absolute path, such as `/etc/app.conf`"));
    }
    Ok(plain)
}
