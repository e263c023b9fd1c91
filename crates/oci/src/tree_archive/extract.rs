//! From an archive to files.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use tar::EntryType;

use super::locate::{HANDLE, locate, refuse_kernels};
use super::names::clean;
use super::{ErrorKind, Owner, Totals, failed, of_archive};
use crate::store::OwnershipMode;
use crate::unpack::{Member, Members, Meta, Place};
use crate::{Error, unpack};

const BUFFER: usize = 64 << 10;
/// A new file has this name until it is whole.
const UNFINISHED: &str = ".hythe-unfinished-";

/// How to extract.
#[derive(Debug, Clone, Copy)]
pub struct Extract<'a> {
    /// Existing directory, absolute below the root. Its own owner, mode and time stay as they are.
    pub into: &'a Path,
    /// What the archive has at its root gets this name instead of its own.
    pub rename: Option<&'a OsStr>,
    /// Owners of the files.
    pub owner: Owner,
    /// What this process may give to files.
    pub rights: OwnershipMode,
}

/// Extracts an archive over what is there: files and links are replaced, each at once when it is whole; a directory and
/// something else never replace each other. On an error, what was extracted until then stays. Blocking.
///
/// # Errors
/// `NotFound` for the directory, `Invalid` for an archive that is damaged or leads out of its directory, `Conflict` for what
/// is in the way or read-only, `Exhausted`, `Internal`.
pub fn extract(root: impl AsFd, how: Extract<'_>, archive: impl io::Read) -> Result<Totals, Error> {
    let found = locate(root, &how.into.join("."))?;
    refuse_kernels(&found.parent, how.into)?;
    let mut extractor = Extractor {
        how,
        base: found.parent,
        last: None,
        directories: BTreeMap::new(),
        totals: Totals::default(),
        buffer: vec![0; BUFFER],
        made: 0,
        is_whole: None,
    };
    let mut members = Members::new(archive);
    while let Some(member) = members.next().map_err(of_archive)? {
        extractor.member(&member, &mut members)?;
    }
    extractor.finish()
}

struct Extractor<'a> {
    how: Extract<'a>,
    base: Rc<OwnedFd>,
    /// The directory that was opened last: neighbours come one after another.
    last: Option<(PathBuf, Rc<OwnedFd>)>,
    /// What directories shall look like; given at the end, since filling them changes their times.
    directories: BTreeMap<PathBuf, Meta>,
    totals: Totals,
    buffer: Vec<u8>,
    made: u64,
    /// Whether the archive is of a directory, as its first entry says.
    is_whole: Option<bool>,
}

impl Extractor<'_> {
    fn member(&mut self, member: &Member, content: &mut impl io::Read) -> Result<(), Error> {
        let path = self.renamed(clean(&member.name)?);
        let wrong = |why: String| of_archive(unpack::Failure::Entry(path.clone(), why));
        let mut meta = Meta::read(member).map_err(wrong)?;
        self.how.owner.of(&mut meta);
        let kind = member.kind();
        let is_directory = kind.is_dir() || (kind.is_file() && member.name.ends_with(b"/"));
        self.totals.entries += 1;
        match kind {
            _ if path.as_os_str().is_empty() && is_directory => Ok(()),
            _ if path.as_os_str().is_empty() => Err(wrong("only a directory can be the root".to_owned())),
            _ if is_directory => self.directory(path, meta),
            EntryType::Link => self.hard_link(member, &path),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.file(member, content, &path, &meta)
            }
            EntryType::Symlink | EntryType::Fifo => self.node(member, &path, &meta),
            // Left out, see the module.
            EntryType::Char | EntryType::Block => Ok(()),
            other => Err(wrong(format!("its type {} is unknown", other.as_byte()))),
        }
    }

    /// A directory gets a name in front of all; anything else has its first name exchanged.
    fn renamed(&mut self, path: PathBuf) -> PathBuf {
        let Some(name) = self.how.rename else { return path };
        let is_whole = *self.is_whole.get_or_insert(path.as_os_str().is_empty());
        let rest = if is_whole { path.as_path() } else { path.strip_prefix(first(&path)).unwrap_or(&path) };
        if rest.as_os_str().is_empty() { PathBuf::from(name) } else { Path::new(name).join(rest) }
    }

    fn shown(&self, path: &Path) -> PathBuf {
        self.how.into.join(path)
    }

    fn failed<'p>(&self, path: &'p Path) -> impl Fn(Errno) -> Error + use<'p> {
        let shown = self.shown(path);
        move |errno| failed("extract", &shown, errno)
    }

    fn place<'p>(&mut self, path: &'p Path) -> Result<Place<'p>, Error> {
        let name = path.file_name().unwrap_or(OsStr::new("."));
        let parent = path.parent().unwrap_or(Path::new(""));
        if let Some((last, directory)) = &self.last
            && last == parent
        {
            return Ok(Place { parent: Rc::clone(directory), name });
        }
        let directory = Rc::new(self.parents(parent)?);
        self.last = Some((parent.to_owned(), Rc::clone(&directory)));
        Ok(Place { parent: directory, name })
    }

    /// Opens a directory, and makes what is missing of it. No link is followed.
    fn parents(&mut self, path: &Path) -> Result<OwnedFd, Error> {
        match open(&self.base, path) {
            Err(Errno::NOENT) => {}
            opened => return opened.map_err(|errno| self.in_the_way(path, errno)),
        }
        let mut so_far = PathBuf::new();
        for component in path {
            so_far.push(component);
            match rustix::fs::mkdirat(&self.base, &so_far, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(self.in_the_way(&so_far, errno)),
            }
            // Each step is opened without links before the next is made in it.
            open(&self.base, &so_far).map_err(|errno| self.in_the_way(&so_far, errno))?;
        }
        open(&self.base, path).map_err(|errno| self.in_the_way(path, errno))
    }

    fn in_the_way(&self, path: &Path, errno: Errno) -> Error {
        match errno {
            Errno::LOOP | Errno::NOTDIR => self.conflict(path, "is not a directory, as the archive has it"),
            errno => self.failed(path)(errno),
        }
    }

    fn conflict(&self, path: &Path, why: &str) -> Error {
        Error::new(ErrorKind::Conflict, format!("`{}` {why}", self.shown(path).display()))
            .hint("remove it first, or extract elsewhere")
    }

    fn directory(&mut self, path: PathBuf, meta: Meta) -> Result<(), Error> {
        let place = self.place(&path)?;
        match place.stat().map_err(self.failed(&path))? {
            Some(found) if FileType::from_raw_mode(found.st_mode) == FileType::Directory => {}
            Some(_) => return Err(self.conflict(&path, "is not a directory, as the archive has it")),
            None => rustix::fs::mkdirat(&*place.parent, place.name, Mode::from_raw_mode(0o700))
                .map_err(self.failed(&path))?,
        }
        self.directories.insert(path, meta);
        Ok(())
    }

    /// Refuses to put something else in the place of a directory.
    fn free(&self, place: &Place<'_>, path: &Path) -> Result<(), Error> {
        match place.stat().map_err(self.failed(path))? {
            Some(found) if FileType::from_raw_mode(found.st_mode) == FileType::Directory => {
                Err(self.conflict(path, "is a directory, which the archive does not have there"))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn unfinished(&mut self) -> OsString {
        self.made += 1;
        format!("{UNFINISHED}{}-{}", std::process::id(), self.made).into()
    }

    fn file(&mut self, member: &Member, content: &mut impl io::Read, path: &Path, meta: &Meta) -> Result<(), Error> {
        if member.map.is_some() {
            let why = "it has a map of holes, which is not supported".to_owned();
            return Err(of_archive(unpack::Failure::Entry(path.to_owned(), why)));
        }
        let place = self.place(path)?;
        self.free(&place, path)?;
        let name = self.unfinished();
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&*place.parent, &name, flags, Mode::from_raw_mode(0o600));
        let file = File::from(file.map_err(self.failed(path))?);
        let written = self.content(&file, content, member.stored, path).and_then(|()| {
            meta.apply_to(&file, self.how.rights).map_err(self.failed(path))?;
            rustix::fs::renameat(&*place.parent, &name, &*place.parent, place.name).map_err(self.failed(path))
        });
        if written.is_err() {
            // What is said is why it was not written.
            rustix::fs::unlinkat(&*place.parent, &name, AtFlags::empty()).ok();
        }
        self.totals.bytes += member.stored;
        written
    }

    /// Zeros become holes.
    fn content(&mut self, file: &File, content: &mut impl io::Read, size: u64, path: &Path) -> Result<(), Error> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut offset = 0;
        let written = loop {
            let most = buffer.len().min(usize::try_from(size - offset).unwrap_or(usize::MAX));
            if most == 0 {
                break file.set_len(size).map_err(|error| self.failed(path)(errno(&error)));
            }
            let length = match fill(content, &mut buffer[..most]) {
                Ok(length) => length,
                Err(error) => break Err(of_archive(unpack::Failure::Stream(error))),
            };
            let piece = &buffer[..length];
            if piece.iter().any(|byte| *byte != 0)
                && let Err(error) = file.write_all_at(piece, offset)
            {
                break Err(self.failed(path)(errno(&error)));
            }
            offset += length as u64;
        };
        self.buffer = buffer;
        written
    }

    fn node(&mut self, member: &Member, path: &Path, meta: &Meta) -> Result<(), Error> {
        let place = self.place(path)?;
        self.free(&place, path)?;
        let made = Place { parent: Rc::clone(&place.parent), name: &self.unfinished() };
        let is_link = member.kind().is_symlink();
        let outcome = if is_link {
            rustix::fs::symlinkat(OsStr::from_bytes(target(member, path)?), &*made.parent, made.name)
        } else {
            rustix::fs::mknodat(&*made.parent, made.name, FileType::Fifo, Mode::from_raw_mode(0o600), 0)
        };
        let outcome = outcome
            .and_then(|()| meta.apply(&made, is_link, self.how.rights))
            .and_then(|()| rustix::fs::renameat(&*made.parent, made.name, &*place.parent, place.name));
        if outcome.is_err() {
            rustix::fs::unlinkat(&*made.parent, made.name, AtFlags::empty()).ok();
        }
        outcome.map_err(self.failed(path))
    }

    /// To a file that the archive has brought before, or that is there.
    fn hard_link(&mut self, member: &Member, path: &Path) -> Result<(), Error> {
        let to = clean(target(member, path)?)?;
        let to = self.renamed(to);
        let missing = || {
            let why = format!("it links to `{}`, which is not a file here", to.display());
            of_archive(unpack::Failure::Entry(path.to_owned(), why))
        };
        let source = open(&self.base, to.parent().unwrap_or(Path::new(""))).map_err(|_| missing())?;
        let source = Place { parent: Rc::new(source), name: to.file_name().ok_or_else(missing)? };
        let found = source.stat().map_err(self.failed(path))?;
        let is_directory = |mode| FileType::from_raw_mode(mode) == FileType::Directory;
        let found = found.filter(|found| !is_directory(found.st_mode)).ok_or_else(missing)?;
        let place = self.place(path)?;
        self.free(&place, path)?;
        let system = self.failed(path);
        match place.stat().map_err(&system)? {
            Some(there) if (there.st_dev, there.st_ino) == (found.st_dev, found.st_ino) => return Ok(()),
            _ => {}
        }
        let name = self.unfinished();
        rustix::fs::linkat(&*source.parent, source.name, &*place.parent, &name, AtFlags::empty()).map_err(&system)?;
        let renamed = rustix::fs::renameat(&*place.parent, &name, &*place.parent, place.name);
        if renamed.is_err() {
            rustix::fs::unlinkat(&*place.parent, &name, AtFlags::empty()).ok();
        }
        renamed.map_err(&system)
    }

    /// Dresses the directories, deepest first.
    fn finish(self) -> Result<Totals, Error> {
        for (path, meta) in self.directories.iter().rev() {
            let directory = open(&self.base, path).map_err(self.failed(path))?;
            let place = Place { parent: Rc::new(directory), name: OsStr::new(".") };
            meta.apply(&place, false, self.how.rights).map_err(self.failed(path))?;
        }
        Ok(self.totals)
    }
}

fn first(path: &Path) -> PathBuf {
    path.components().take(1).collect()
}

/// A directory below another, reached without any link.
fn open(base: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let straight = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    hythe_host::openat2(base, path, HANDLE, Mode::empty(), straight)
}

fn target<'m>(member: &'m Member, path: &Path) -> Result<&'m [u8], Error> {
    match member.link.as_deref() {
        Some(to) if !to.is_empty() && !to.contains(&0) => Ok(to),
        _ => Err(of_archive(unpack::Failure::Entry(path.to_owned(), "it links to nothing".to_owned()))),
    }
}

fn fill(source: &mut impl io::Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match source.read(&mut buffer[length..])? {
            0 => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends inside a file")),
            more => length += more,
        }
    }
    Ok(length)
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
