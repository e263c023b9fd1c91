//! A directory that is being filled by an archive that may be hostile: nothing outside it is ever reached.
//!
//! Parents are opened with `openat2` inside the root, so that `..` and symbolic links, absolute ones too, end within it; the last
//! component is never followed.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, XattrFlags};
use rustix::io::Errno;

use super::remove::remove_directory;
use crate::store::OwnershipMode;

const HANDLE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// The longest path that the kernel takes; links could build deeper trees than can be removed again.
const DEEPEST: usize = 4096;

/// Of directories that nothing describes, whatever the process's mask.
pub(crate) const UNDESCRIBED: Mode = Mode::from_raw_mode(0o755);

/// The directory and what was learnt about it.
pub(crate) struct Root {
    directory: OwnedFd,
    /// The parent that was opened last: neighbours come one after another.
    last: Option<(PathBuf, Rc<OwnedFd>)>,
    /// Directories that the archive needs and does not describe.
    pub(crate) implied: BTreeSet<PathBuf>,
    rights: OwnershipMode,
}

/// Where an entry goes: an open directory and a name in it.
pub(crate) struct Place<'a> {
    pub(crate) parent: Rc<OwnedFd>,
    pub(crate) name: &'a OsStr,
}

impl Place<'_> {
    pub(crate) fn stat(&self) -> Result<Option<Stat>, Errno> {
        match rustix::fs::statat(&*self.parent, self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(None),
            found => found.map(Some),
        }
    }

    /// Attributes of links and devices have no call that takes a directory: they are named through /proc.
    pub(crate) fn path(&self) -> Vec<u8> {
        let mut path = format!("/proc/self/fd/{}/", self.parent.as_raw_fd()).into_bytes();
        path.extend_from_slice(self.name.as_bytes());
        path
    }
}

impl Root {
    pub(crate) fn open(path: &Path, rights: OwnershipMode) -> Result<Self, Errno> {
        let directory = rustix::fs::openat(CWD, path, HANDLE, Mode::empty())?;
        Ok(Self { directory, last: None, implied: BTreeSet::new(), rights })
    }

    /// The place of a clean, relative path; missing parents are made.
    pub(crate) fn place<'a>(&mut self, path: &'a Path) -> Result<Place<'a>, Errno> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let parent = path.parent().unwrap_or(Path::new(""));
        if let Some((last, directory)) = &self.last
            && last == parent
        {
            return Ok(Place { parent: Rc::clone(directory), name });
        }
        let directory = match self.open_directory(parent) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => self.make_parents(parent)?,
            opened => opened?,
        };
        let directory = Rc::new(directory);
        self.last = Some((parent.to_owned(), Rc::clone(&directory)));
        Ok(Place { parent: directory, name })
    }

    /// An existing directory, found through links but never outside the root.
    pub(crate) fn open_directory(&self, path: &Path) -> Result<OwnedFd, Errno> {
        if path.as_os_str().is_empty() {
            return self.directory.try_clone().map_err(|_| Errno::MFILE);
        }
        let straight = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        match hythe_host::openat2(&self.directory, path, HANDLE, Mode::empty(), straight) {
            Err(Errno::LOOP) => self.open_through_links(path),
            opened => opened,
        }
    }

    fn open_through_links(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        let directory = hythe_host::openat2(&self.directory, path, HANDLE, Mode::empty(), inside)?;
        let real = rustix::fs::readlinkat(CWD, format!("/proc/self/fd/{}", directory.as_raw_fd()), Vec::new())?;
        if real.as_bytes().len() + path.as_os_str().len() > DEEPEST { Err(Errno::NAMETOOLONG) } else { Ok(directory) }
    }

    /// What is in the way of a directory gives way to it, as in every other tool.
    fn make_parents(&mut self, path: &Path) -> Result<OwnedFd, Errno> {
        let mut above = self.open_directory(Path::new(""))?;
        let mut so_far = PathBuf::new();
        for component in path {
            so_far.push(component);
            above = match self.open_directory(&so_far) {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                    let place = Place { parent: Rc::new(above), name: component };
                    self.make_directory(&place, &so_far)?;
                    rustix::fs::chmodat(&*place.parent, component, UNDESCRIBED, AtFlags::empty())?;
                    self.implied.insert(so_far.clone());
                    rustix::fs::openat(&*place.parent, component, HANDLE | OFlags::NOFOLLOW, Mode::empty())?
                }
                opened => opened?,
            };
        }
        Ok(above)
    }

    /// Makes a directory; where a whiteout was in its place, nothing of what is below shows through.
    pub(crate) fn make_directory(&mut self, place: &Place<'_>, path: &Path) -> Result<(), Errno> {
        let mut covers = false;
        if let Some(found) = place.stat()? {
            if is_directory(&found) {
                return Ok(());
            }
            covers = is_whiteout(&found);
            self.remove(place, path, &found)?;
        }
        rustix::fs::mkdirat(&*place.parent, place.name, UNDESCRIBED)?;
        if covers { self.make_opaque(place) } else { Ok(()) }
    }

    /// Nothing of what lower layers have in the directory shows through.
    pub(crate) fn make_opaque(&self, place: &Place<'_>) -> Result<(), Errno> {
        let key = if self.rights.is_root() { "trusted.overlay.opaque" } else { "user.overlay.opaque" };
        rustix::fs::lsetxattr(place.path(), key, b"y", XattrFlags::empty())
    }

    /// Removes what an entry replaces.
    pub(crate) fn remove(&mut self, place: &Place<'_>, path: &Path, found: &Stat) -> Result<(), Errno> {
        if is_directory(found) {
            self.last = None;
            self.implied.retain(|implied| !implied.starts_with(path));
            return remove_directory(&place.parent, place.name);
        }
        if FileType::from_raw_mode(found.st_mode) == FileType::Symlink {
            self.last = None;
        }
        rustix::fs::unlinkat(&*place.parent, place.name, AtFlags::empty())
    }
}

pub(crate) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// The mark by which overlayfs knows that something of a lower layer is gone.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}
