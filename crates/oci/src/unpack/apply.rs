//! One entry of an archive after the other.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Component;

use rustix::fs::{AtFlags, FileType, Mode, Timespec};
use tar::EntryType;

use super::tar_entry::{Member, Members};
use super::*;
use crate::store::Space;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What an entry takes of the disk beside its content, roughly.
const ENTRY_SPACE: u64 = 512;
/// What aufs kept for itself; of no meaning in an image.
const AUFS: &[u8] = b".wh..wh.";

pub(super) struct Unpacker<'a> {
    root: Root,
    options: &'a Options,
    entries: u64,
    /// What directories shall look like; given at the end, since filling them changes their times.
    directories: BTreeMap<PathBuf, Meta>,
    /// Device nodes, which are never made: an image would decide what of the host a program can open.
    devices: BTreeSet<PathBuf>,
    buffer: Vec<u8>,
    space: Space,
    /// Whether files may have holes.
    sparse: bool,
}

impl<'a> Unpacker<'a> {
    pub(super) fn new(root: Root, options: &'a Options, space: Space) -> Self {
        let buffer = vec![0; file_data::BUFFER];
        Self {
            root,
            options,
            entries: 0,
            directories: BTreeMap::new(),
            devices: BTreeSet::new(),
            buffer,
            space,
            sparse: true,
        }
    }

    /// For an archive of files that are copied: a few bytes of it must not become gigabytes of zeros.
    pub(super) fn without_holes(self) -> Self {
        Self { sparse: false, ..self }
    }

    /// Unpacks everything; gives the digest of the plain archive.
    pub(super) fn run(
        &mut self,
        source: impl Read,
        budget: &Budget,
        exceeded: &Rc<Cell<bool>>,
    ) -> Result<Digest, Failure> {
        let limits = &self.options.limits;
        let source = Metered::new(inflate(source)?, limits.bytes, budget.clone(), Rc::clone(exceeded));
        let mut members = Members::new(source);
        while let Some(member) = members.next()? {
            self.entries += 1;
            if self.entries > limits.entries {
                return Err(Failure::TooManyEntries);
            }
            // Whatever an entry is, it takes a place on the disk.
            self.space.take(ENTRY_SPACE).map_err(|_| Failure::System(clean(&member.name), Errno::NOSPC))?;
            if member.map.is_some() && !self.sparse {
                return Err(Failure::Entry(clean(&member.name), "it has holes, which no image archive has".to_owned()));
            }
            self.entry(&member, &mut members)?;
        }
        if let Some(first) = self.devices.first().filter(|_| self.options.rights.is_root()) {
            tracing::warn!(count = self.devices.len(), first = %first.display(), "device nodes of a layer are left out");
        }
        Ok(members.into_inner().finish()?)
    }

    /// Dresses the directories, deepest first; gives those that nobody described.
    pub(super) fn finish(mut self) -> Result<Vec<PathBuf>, Failure> {
        let directories = std::mem::take(&mut self.directories);
        for (path, meta) in directories.iter().rev() {
            apply_metadata(&self.root, path, meta, self.options.rights)
                .map_err(|errno| Failure::System(path.clone(), errno))?;
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
                let room = (self.buffer.as_mut_slice(), &mut self.space);
                let file = file_data::write(member, content, &place, path, limit, room)?;
                return meta.apply_to(&file, self.options.rights).map_err(system);
            }
            EntryType::Symlink => {
                let to = link_target(member, path)?;
                rustix::fs::symlinkat(OsStr::from_bytes(to), &*place.parent, place.name).map_err(system)?;
            }
            EntryType::Fifo => {
                let mode = Mode::from_raw_mode(0o600);
                rustix::fs::mknodat(&*place.parent, place.name, FileType::Fifo, mode, 0).map_err(system)?;
            }
            EntryType::Char | EntryType::Block => {
                self.devices.insert(path.to_owned());
                return Ok(());
            }
            other => return Err(Failure::Entry(path.to_owned(), format!("its type {} is unknown", other.as_byte()))),
        }
        meta.apply(&place, kind.is_symlink(), self.options.rights).map_err(system)
    }

    /// Both names are inside the root; the target must be in this same layer.
    fn hard_link(&mut self, member: &Member, path: &Path) -> Result<(), Failure> {
        let to = clean(link_target(member, path)?);
        let absent =
            || Failure::Entry(path.to_owned(), format!("it links to `{}`, which is not in the layer", to.display()));
        let system = |errno| Failure::System(path.to_owned(), errno);
        if self.devices.contains(&to) {
            self.devices.insert(path.to_owned());
            return Ok(());
        }
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
pub(super) fn apply_metadata(root: &Root, path: &Path, meta: &Meta, rights: OwnershipMode) -> Result<(), Errno> {
    let directory = match root.open_directory(path) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        // An unprivileged user cannot look behind a directory that the archive has closed.
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
    let xattrs = metadata::attributes(&place.path());
    Some(Meta { uid: stat.st_uid, gid: stat.st_gid, mode: stat.st_mode & 0o7777, xattrs, mtime })
}
