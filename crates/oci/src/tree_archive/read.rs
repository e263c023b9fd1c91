//! From files to an archive.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, Stat, Timespec};
use rustix::io::Errno;
use tar::EntryType;

use super::locate::{is_kernels, locate, read_link, refuse_kernels, stat};
use super::names::written;
use super::{ErrorKind, Owner, Totals, failed};
use crate::Error;
use crate::archive::LayerWriter;
use crate::unpack::{Meta, Place, attributes};

const OPEN: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// What to read.
#[derive(Debug, Clone, Copy)]
pub struct Read<'a> {
    /// Absolute path below the root; a symbolic link at its end is read itself, unless a slash is behind it.
    pub path: &'a Path,
    /// Names in the archive.
    pub named: Named<'a>,
    /// Owners in the archive.
    pub owner: Owner,
}

/// How names in an archive begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named<'a> {
    /// A directory is `./`, anything else has its own name.
    Relative,
    /// What was read has this name, and what is below it is below that.
    As(&'a OsStr),
}

/// Writes files to an archive. What vanishes meanwhile is left out; a file that grows or shrinks has the size it had first. Blocking.
///
/// # Errors
/// `NotFound`, `Invalid` for what the kernel shows as files, `Internal`; what `out` says is `Internal`.
pub fn read(root: impl AsFd, what: Read<'_>, out: impl Write) -> Result<Totals, Error> {
    let found = locate(&root, what.path)?;
    let first = stat(&found.parent, &found.name).map_err(|errno| failed("read", what.path, errno))?;
    let is_directory = FileType::from_raw_mode(first.st_mode) == FileType::Directory;
    let name = match what.named {
        Named::As(name) => PathBuf::from(name),
        Named::Relative if is_directory => PathBuf::new(),
        Named::Relative => PathBuf::from(&found.name),
    };
    let mut reader = Reader { what, writer: LayerWriter::new(out), links: HashMap::new(), totals: Totals::default() };
    if is_directory {
        let base = open_directory(&found.parent, Path::new(&found.name));
        let base = base.map_err(|errno| failed("open", what.path, errno))?;
        refuse_kernels(&base, what.path)?;
        reader.tree(base, &name)?;
    } else {
        reader.item(&Item { parent: &found.parent, name: &found.name, path: name, stat: first })?;
    }
    let Reader { writer, totals, .. } = reader;
    writer.finish().and_then(|mut out| out.flush()).map_err(|error| not_written(&error))?;
    Ok(totals)
}

fn not_written(error: &io::Error) -> Error {
    Error::new(ErrorKind::Internal, format!("the archive cannot be written: {error}"))
}

/// A directory below another, reached without any link.
fn open_directory(base: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let straight = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    hythe_host::openat2(base, path, flags, Mode::empty(), straight)
}

/// One name in an open directory, and its path in the archive.
struct Item<'a> {
    parent: &'a Rc<OwnedFd>,
    name: &'a OsStr,
    path: PathBuf,
    stat: Stat,
}

struct Reader<'a, W: Write> {
    what: Read<'a>,
    writer: LayerWriter<W>,
    /// Where files of several names were first written.
    links: HashMap<(u64, u64), PathBuf>,
    totals: Totals,
}

impl<W: Write> Reader<'_, W> {
    /// A directory and all below it; parents before what is in them.
    fn tree(&mut self, base: OwnedFd, name: &Path) -> Result<(), Error> {
        let base = Rc::new(base);
        let stat = stat(&base, OsStr::new(".")).map_err(|errno| failed("read", self.what.path, errno))?;
        let device = stat.st_dev;
        self.item(&Item { parent: &base, name: OsStr::new("."), path: name.to_owned(), stat })?;
        let mut directories = vec![PathBuf::new()];
        while let Some(below) = directories.pop() {
            self.directory(&base, &below, name, device, &mut directories)?;
        }
        Ok(())
    }

    fn directory(
        &mut self,
        base: &Rc<OwnedFd>,
        below: &Path,
        name: &Path,
        device: u64,
        directories: &mut Vec<PathBuf>,
    ) -> Result<(), Error> {
        let about = self.what.path.join(below);
        let directory = match open_directory(base, below) {
            // Gone, or something else by now.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if !below.as_os_str().is_empty() => return Ok(()),
            opened => Rc::new(opened.map_err(|errno| failed("open", &about, errno))?),
        };
        for entry in names(&directory).map_err(|errno| failed("read", &about, errno))?.iter().rev() {
            let path = below.join(entry);
            let stat = match stat(&directory, entry) {
                Err(Errno::NOENT) => continue,
                found => found.map_err(|errno| failed("look at", &about.join(entry), errno))?,
            };
            let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            let is_mount = is_directory && stat.st_dev != device;
            self.item(&Item { parent: &directory, name: entry, path: name.join(&path), stat })?;
            let is_closed = is_mount && open_directory(&directory, Path::new(entry)).is_ok_and(is_kernels);
            if is_directory && !is_closed {
                directories.push(path);
            }
        }
        Ok(())
    }

    fn item(&mut self, item: &Item<'_>) -> Result<(), Error> {
        let about = || self.what.path.join(&item.path);
        let outcome = match FileType::from_raw_mode(item.stat.st_mode) {
            FileType::Socket | FileType::CharacterDevice | FileType::BlockDevice | FileType::Unknown => return Ok(()),
            FileType::RegularFile => self.file(item),
            kind => self.other(item, kind),
        };
        outcome.map_err(|error| match Errno::from_io_error(&error) {
            Some(errno) => failed("read", &about(), errno),
            None => not_written(&error),
        })
    }

    fn meta(&self, item: &Item<'_>) -> Meta {
        let stat = &item.stat;
        let mtime = Timespec { tv_sec: stat.st_mtime, tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or(0) };
        let place = Place { parent: Rc::clone(item.parent), name: item.name };
        let xattrs = attributes(&place.path());
        let mut meta = Meta { uid: stat.st_uid, gid: stat.st_gid, mode: stat.st_mode & 0o7777, xattrs, mtime };
        self.what.owner.of(&mut meta);
        meta
    }

    fn other(&mut self, item: &Item<'_>, kind: FileType) -> io::Result<()> {
        let (name, meta) = (written(&item.path), self.meta(item));
        match kind {
            FileType::Directory => self.writer.directory(&name, &meta)?,
            FileType::Symlink => {
                let target = match read_link(item.parent, item.name) {
                    Err(Errno::NOENT | Errno::INVAL) => return Ok(()),
                    target => target?,
                };
                self.writer.link(&name, &meta, EntryType::Symlink, &target)?;
            }
            _ => self.writer.empty(&name, &meta, EntryType::Fifo)?,
        }
        self.totals.entries += 1;
        Ok(())
    }

    fn file(&mut self, item: &Item<'_>) -> io::Result<()> {
        let (name, meta) = (written(&item.path), self.meta(item));
        if item.stat.st_nlink > 1 {
            let inode = (item.stat.st_dev, item.stat.st_ino);
            if let Some(first) = self.links.get(&inode) {
                let meta = Meta { xattrs: Vec::new(), ..meta };
                self.totals.entries += 1;
                return self.writer.link(&name, &meta, EntryType::Link, &written(first));
            }
            self.links.insert(inode, item.path.clone());
        }
        let file = match rustix::fs::openat(item.parent, item.name, OPEN, Mode::empty()) {
            // Gone, or a link by now.
            Err(Errno::NOENT | Errno::LOOP) => return Ok(()),
            opened => File::from(opened?),
        };
        let about = file.metadata()?;
        if !about.is_file() {
            return Ok(());
        }
        // One that becomes shorter meanwhile is filled up.
        self.writer.file(&name, &meta, about.len(), file.chain(io::repeat(0)))?;
        self.totals.entries += 1;
        self.totals.bytes += about.len();
        Ok(())
    }
}

/// Sorted, so that the same directory gives the same archive.
fn names(directory: &OwnedFd) -> Result<Vec<OsString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    names.sort();
    Ok(names)
}
