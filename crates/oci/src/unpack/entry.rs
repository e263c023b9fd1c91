//! One entry of an archive after the other.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Component;

use rustix::fs::{AtFlags, FileType, Mode, Timespec, XattrFlags};
use tar::EntryType;

use super::*;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh.opq";
/// What aufs kept for itself; of no meaning in an image.
const AUFS: &[u8] = b".wh..wh.";

pub(super) struct Unpacker<'a> {
    root: Root,
    allowance: Allowance,
    options: &'a Options,
    entries: u64,
    /// What directories shall look like; given at the end, since filling them changes their times.
    directories: BTreeMap<PathBuf, Meta>,
    buffer: Vec<u8>,
}

impl<'a> Unpacker<'a> {
    pub(super) fn new(root: Root, allowance: Allowance, options: &'a Options) -> Self {
        let buffer = vec![0; content::BUFFER];
        Self { root, allowance, options, entries: 0, directories: BTreeMap::new(), buffer }
    }

    /// Unpacks everything; gives the digest of the plain archive.
    pub(super) fn run(&mut self, source: impl Read) -> Result<Digest, Failure> {
        let plain = inflate(source)?;
        let mut archive = tar::Archive::new(Metered::new(plain, self.allowance.clone()));
        for entry in archive.entries()? {
            let mut entry = entry?;
            self.allowance.expect_content();
            self.entries += 1;
            if self.entries > self.options.limits.entries {
                return Err(Failure::TooManyEntries);
            }
            self.entry(&mut entry)?;
            // Read to its end here, where it counts as content.
            io::copy(&mut entry, &mut io::sink())?;
            self.allowance.expect_headers();
        }
        Ok(archive.into_inner().finish()?)
    }

    /// Dresses the directories, deepest first; gives those that nobody described.
    pub(super) fn finish(mut self) -> Result<Vec<PathBuf>, Failure> {
        let directories = std::mem::take(&mut self.directories);
        for (path, meta) in directories.iter().rev() {
            dress(&self.root, path, meta, self.options.rootless)
                .map_err(|errno| Failure::System(path.clone(), errno))?;
        }
        let root = PathBuf::new();
        let undescribed = self.root.implied.into_iter().chain([root]);
        Ok(undescribed.filter(|path| !directories.contains_key(path)).collect())
    }

    fn entry<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> Result<(), Failure> {
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() {
            return Ok(());
        }
        let raw = content::name(entry)?;
        let path = clean(&raw);
        let named = |why: String| Failure::Entry(path.clone(), why);
        if raw.contains(&0) {
            return Err(named("its name has a zero byte".to_owned()));
        }
        let meta = Meta::read(entry).map_err(named)?;
        let is_directory = kind.is_dir() || (kind.is_file() && raw.ends_with(b"/"));
        match path.file_name() {
            None if is_directory => {
                self.directories.insert(path, meta);
                Ok(())
            }
            None => Err(named("only a directory can be the root".to_owned())),
            Some(name) if name.as_bytes().starts_with(WHITEOUT) => self.whiteout(&path),
            Some(_) if is_directory => self.directory(path, meta),
            Some(_) => self.node(entry, kind, &path, &meta),
        }
    }

    fn directory(&mut self, path: PathBuf, meta: Meta) -> Result<(), Failure> {
        self.make_directory(&path).map_err(|errno| Failure::System(path.clone(), errno))?;
        self.root.implied.remove(&path);
        self.directories.insert(path, meta);
        Ok(())
    }

    fn make_directory(&mut self, path: &Path) -> Result<(), Errno> {
        let place = self.root.place(path)?;
        let covers = self.root.make_directory(&place, path)?;
        if covers { self.make_opaque(&place) } else { Ok(()) }
    }

    /// Everything that is no directory takes the place of what was there.
    fn node<R: Read>(
        &mut self,
        entry: &mut tar::Entry<'_, R>,
        kind: EntryType,
        path: &Path,
        meta: &Meta,
    ) -> Result<(), Failure> {
        let system = |errno| Failure::System(path.to_owned(), errno);
        if kind.is_hard_link() {
            return self.hard_link(entry, path);
        }
        let place = self.root.place(path).map_err(system)?;
        self.clear(&place, path).map_err(system)?;
        match kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                content::write(entry, &place, path, self.options.limits.bytes, &mut self.buffer)?;
            }
            EntryType::Symlink => {
                let to = link_target(entry, path)?;
                rustix::fs::symlinkat(OsStr::from_bytes(&to), &*place.parent, place.name).map_err(system)?;
            }
            EntryType::Fifo => self.special(entry, &place, FileType::Fifo, path)?,
            EntryType::Char | EntryType::Block if self.options.rootless => return Ok(()),
            EntryType::Char => self.special(entry, &place, FileType::CharacterDevice, path)?,
            EntryType::Block => self.special(entry, &place, FileType::BlockDevice, path)?,
            other => return Err(Failure::Entry(path.to_owned(), format!("its type {other:?} is unknown"))),
        }
        let is_symlink = kind == EntryType::Symlink;
        target(&place, is_symlink, self.options.rootless).apply(meta).map_err(system)
    }

    fn special<R: Read>(
        &self,
        entry: &tar::Entry<'_, R>,
        place: &Place<'_>,
        kind: FileType,
        path: &Path,
    ) -> Result<(), Failure> {
        let number = |field: io::Result<Option<u32>>| field.map(Option::unwrap_or_default);
        let header = entry.header();
        let (major, minor) = (number(header.device_major())?, number(header.device_minor())?);
        let device = if kind == FileType::Fifo { 0 } else { rustix::fs::makedev(major, minor) };
        rustix::fs::mknodat(&*place.parent, place.name, kind, Mode::from_raw_mode(0o600), device)
            .map_err(|errno| Failure::System(path.to_owned(), errno))
    }

    /// Both names are inside the root; the target must be in this same layer.
    fn hard_link<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>, path: &Path) -> Result<(), Failure> {
        let to = clean(&link_target(entry, path)?);
        let absent =
            || Failure::Entry(path.to_owned(), format!("it links to `{}`, which is not in the layer", to.display()));
        if to.file_name().is_none() {
            return Err(absent());
        }
        let system = |errno| Failure::System(path.to_owned(), errno);
        let directory = self.root.open_directory(to.parent().unwrap_or(Path::new(""))).map_err(|_| absent())?;
        let source = Place { parent: directory.into(), name: to.file_name().unwrap_or_default() };
        let found = source.stat().map_err(system)?.ok_or_else(absent)?;
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
            Some(found) if is_directory(&found) => self.make_opaque(&place),
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
            return self.make_opaque(&Place { parent: root.into(), name: OsStr::new(".") });
        }
        // Placing the marker makes the directory where it is missing.
        self.root.place(path)?;
        let place = self.root.place(directory)?;
        self.make_opaque(&place)
    }

    fn make_opaque(&self, place: &Place<'_>) -> Result<(), Errno> {
        let key = if self.options.rootless { "user.overlay.opaque" } else { "trusted.overlay.opaque" };
        let path = target(place, false, self.options.rootless).path();
        rustix::fs::lsetxattr(path, key, b"y", XattrFlags::empty())
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

fn target<'a>(place: &'a Place<'_>, is_symlink: bool, rootless: bool) -> Target<'a> {
    use std::os::fd::AsFd as _;
    Target { parent: place.parent.as_fd(), name: place.name.as_bytes(), is_symlink, rootless }
}

fn link_target<R: Read>(entry: &tar::Entry<'_, R>, path: &Path) -> Result<Vec<u8>, Failure> {
    match entry.link_name_bytes() {
        Some(to) if !to.is_empty() && !to.contains(&0) => Ok(to.into_owned()),
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
pub(super) fn dress(root: &Root, path: &Path, meta: &Meta, rootless: bool) -> Result<(), Errno> {
    let directory = match root.open_directory(path) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        opened => opened?,
    };
    target(&Place { parent: directory.into(), name: OsStr::new(".") }, false, rootless).apply(meta)
}

/// What a directory looks like in an unpacked layer; `None` where the layer has none there.
pub(super) fn looks(root: &Root, path: &Path) -> Option<Meta> {
    let directory = root.open_directory(path).ok()?;
    let place = Place { parent: directory.into(), name: OsStr::new(".") };
    let stat = place.stat().ok()??;
    let mtime = Timespec { tv_sec: stat.st_mtime, tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or(0) };
    let xattrs = meta::attributes(&target(&place, false, false).path());
    Some(Meta { uid: stat.st_uid, gid: stat.st_gid, mode: stat.st_mode & 0o7777, xattrs, mtime })
}
