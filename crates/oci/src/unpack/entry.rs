//! One entry of an archive after the other.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Component;

use rustix::fs::{AtFlags, FileType, Mode, Timespec};
use tar::EntryType;

use super::member::{Member, Members};
use super::*;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What aufs kept for itself; of no meaning in an image.
const AUFS: &[u8] = b".wh..wh.";

pub(super) struct Unpacker<'a> {
    root: Root,
    options: &'a Options,
    entries: u64,
    /// What directories shall look like; given at the end, since filling them changes their times.
    directories: BTreeMap<PathBuf, Meta>,
    buffer: Vec<u8>,
}

impl<'a> Unpacker<'a> {
    pub(super) fn new(root: Root, options: &'a Options) -> Self {
        let buffer = vec![0; content::BUFFER];
        Self { root, options, entries: 0, directories: BTreeMap::new(), buffer }
    }

    /// Unpacks everything; gives the digest of the plain archive.
    pub(super) fn run(&mut self, source: impl Read, exceeded: &Rc<Cell<bool>>) -> Result<Digest, Failure> {
        let limits = &self.options.limits;
        let mut members = Members::new(Metered::new(inflate(source)?, limits.bytes, Rc::clone(exceeded)));
        while let Some(member) = members.next()? {
            self.entries += 1;
            if self.entries > limits.entries {
                return Err(Failure::TooManyEntries);
            }
            self.entry(&member, &mut members)?;
        }
        Ok(members.into_inner().finish()?)
    }

    /// Dresses the directories, deepest first; gives those that nobody described.
    pub(super) fn finish(mut self) -> Result<Vec<PathBuf>, Failure> {
        let directories = std::mem::take(&mut self.directories);
        for (path, meta) in directories.iter().rev() {
            dress(&self.root, path, meta, self.options.rights).map_err(|errno| Failure::System(path.clone(), errno))?;
        }
        let root = PathBuf::new();
        let undescribed = self.root.implied.into_iter().chain([root]);
        Ok(undescribed.filter(|path| !directories.contains_key(path)).collect())
    }

    fn entry<R: Read>(&mut self, member: &Member, content: &mut Members<R>) -> Result<(), Failure> {
        let path = clean(&member.name);
        let named = |why: String| Failure::Entry(path.clone(), why);
        if member.name.contains(&0) {
            return Err(named("its name has a zero byte".to_owned()));
        }
        let meta = Meta::read(member).map_err(named)?;
        let kind = member.kind();
        // Archives older than directories as a type say it by the name.
        let is_directory = kind.is_dir() || (kind.is_file() && member.name.ends_with(b"/"));
        match path.file_name() {
            None if is_directory => {
                self.directories.insert(path, meta);
                Ok(())
            }
            None => Err(named("only a directory can be the root".to_owned())),
            Some(name) if name.as_bytes().starts_with(WHITEOUT) => self.whiteout(&path),
            Some(_) if is_directory => self.directory(path, meta),
            Some(_) if kind.is_hard_link() => self.hard_link(member, &path),
            Some(_) => self.node(member, content, &path, &meta),
        }
    }

    fn directory(&mut self, path: PathBuf, meta: Meta) -> Result<(), Failure> {
        let made = self.root.place(&path).and_then(|place| self.root.make_directory(&place, &path));
        made.map_err(|errno| Failure::System(path.clone(), errno))?;
        self.root.implied.remove(&path);
        self.directories.insert(path, meta);
        Ok(())
    }

    /// Everything that is no directory takes the place of what was there.
    fn node<R: Read>(
        &mut self,
        member: &Member,
        content: &mut Members<R>,
        path: &Path,
        meta: &Meta,
    ) -> Result<(), Failure> {
        let system = |errno| Failure::System(path.to_owned(), errno);
        let place = self.root.place(path).map_err(system)?;
        self.clear(&place, path).map_err(system)?;
        let kind = member.kind();
        match kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let limit = self.options.limits.bytes;
                let file = content::write(member, content, &place, path, limit, &mut self.buffer)?;
                return meta.apply_to(&file, self.options.rights).map_err(system);
            }
            EntryType::Symlink => {
                let to = link_target(member, path)?;
                rustix::fs::symlinkat(OsStr::from_bytes(to), &*place.parent, place.name).map_err(system)?;
            }
            EntryType::Fifo => special(member, &place, FileType::Fifo, path)?,
            EntryType::Char | EntryType::Block if !self.options.rights.is_root() => return Ok(()),
            EntryType::Char => special(member, &place, FileType::CharacterDevice, path)?,
            EntryType::Block => special(member, &place, FileType::BlockDevice, path)?,
            other => return Err(Failure::Entry(path.to_owned(), format!("its type {other:?} is unknown"))),
        }
        meta.apply(&place, kind.is_symlink(), self.options.rights).map_err(system)
    }

    /// Both names are inside the root; the target must be in this same layer.
    fn hard_link(&mut self, member: &Member, path: &Path) -> Result<(), Failure> {
        let to = clean(link_target(member, path)?);
        let absent =
            || Failure::Entry(path.to_owned(), format!("it links to `{}`, which is not in the layer", to.display()));
        let system = |errno| Failure::System(path.to_owned(), errno);
        let name = to.file_name().ok_or_else(absent)?;
        let directory = self.root.open_directory(to.parent().unwrap_or(Path::new(""))).map_err(|_| absent())?;
        let source = Place { parent: directory.into(), name };
        let found = source.stat().map_err(system)?.filter(|found| !is_directory(found)).ok_or_else(absent)?;
        let place = self.root.place(path).map_err(system)?;
        let existing = place.stat().map_err(system)?;
        if existing.is_some_and(|existing| existing.st_ino == found.st_ino) {
            return Ok(());
        }
        self.clear(&place, path).map_err(system)?;
        rustix::fs::linkat(&*source.parent, source.name, &*place.parent, place.name, AtFlags::empty()).map_err(system)
    }

    /// `.wh.name` hides `name` of the layers below; what this layer itself has stays.
    fn whiteout(&mut self, path: &Path) -> Result<(), Failure> {
        let file_name = path.file_name().unwrap_or_default().as_bytes();
        let system = |errno| Failure::System(path.to_owned(), errno);
        if file_name == OPAQUE {
            return self.opaque(path).map_err(system);
        }
        if file_name.starts_with(AUFS) {
            return Ok(());
        }
        let hidden = OsStr::from_bytes(&file_name[WHITEOUT.len()..]);
        if matches!(hidden.as_bytes(), b"" | b"." | b"..") {
            return Err(Failure::Entry(path.to_owned(), "it is an invalid whiteout".to_owned()));
        }
        self.hide(&path.with_file_name(hidden)).map_err(system)
    }

    fn hide(&mut self, path: &Path) -> Result<(), Errno> {
        let place = self.root.place(path)?;
        match place.stat()? {
            Some(found) if is_directory(&found) => self.root.make_opaque(&place),
            Some(_) => Ok(()),
            None => {
                let (kind, mode) = (FileType::CharacterDevice, Mode::empty());
                rustix::fs::mknodat(&*place.parent, place.name, kind, mode, 0)
            }
        }
    }

    /// Nothing of the directory shows through from below.
    fn opaque(&mut self, path: &Path) -> Result<(), Errno> {
        let directory = path.parent().unwrap_or(Path::new(""));
        if directory.as_os_str().is_empty() {
            let root = self.root.open_directory(directory)?;
            return self.root.make_opaque(&Place { parent: root.into(), name: OsStr::new(".") });
        }
        // Placing the marker makes the directory where it is missing.
        self.root.place(path)?;
        let place = self.root.place(directory)?;
        self.root.make_opaque(&place)
    }

    fn clear(&mut self, place: &Place<'_>, path: &Path) -> Result<(), Errno> {
        let Some(found) = place.stat()? else {
            return Ok(());
        };
        if is_directory(&found) {
            self.directories.retain(|directory, _| !directory.starts_with(path));
        }
        self.root.remove(place, path, &found)
    }
}

fn special(member: &Member, place: &Place<'_>, kind: FileType, path: &Path) -> Result<(), Failure> {
    let device = match kind {
        FileType::Fifo => 0,
        _ => {
            let number = |field: io::Result<Option<u32>>| field.map(Option::unwrap_or_default);
            rustix::fs::makedev(number(member.header.device_major())?, number(member.header.device_minor())?)
        }
    };
    rustix::fs::mknodat(&*place.parent, place.name, kind, Mode::from_raw_mode(0o600), device)
        .map_err(|errno| Failure::System(path.to_owned(), errno))
}

fn link_target<'m>(member: &'m Member, path: &Path) -> Result<&'m [u8], Failure> {
    match member.link.as_deref() {
        Some(to) if !to.is_empty() && !to.contains(&0) => Ok(to),
        _ => Err(Failure::Entry(path.to_owned(), "it links to nothing".to_owned())),
    }
}

/// Relative, without `.` and `..`: one that would leave the root stays at it.
pub(super) fn clean(raw: &[u8]) -> PathBuf {
    let mut path = PathBuf::new();
    for component in Path::new(OsStr::from_bytes(raw)).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => {
                path.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    path
}

/// Gives a directory its looks; one that has become something else meanwhile keeps what it has.
pub(super) fn dress(root: &Root, path: &Path, meta: &Meta, rights: Rights) -> Result<(), Errno> {
    let directory = match root.open_directory(path) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        // An ordinary user cannot look behind a directory that the archive has closed.
        Err(Errno::ACCESS) if !rights.keeps_owners() => return Ok(()),
        opened => opened?,
    };
    meta.apply(&Place { parent: directory.into(), name: OsStr::new(".") }, false, rights)
}

/// What a directory looks like in an unpacked layer; `None` where the layer has none there.
pub(super) fn looks(root: &Root, path: &Path) -> Option<Meta> {
    let directory = root.open_directory(path).ok()?;
    let place = Place { parent: directory.into(), name: OsStr::new(".") };
    let stat = place.stat().ok()??;
    let mtime = Timespec { tv_sec: stat.st_mtime, tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or(0) };
    let xattrs = meta::attributes(&place.path());
    Some(Meta { uid: stat.st_uid, gid: stat.st_gid, mode: stat.st_mode & 0o7777, xattrs, mtime })
}
