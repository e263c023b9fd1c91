//! An empty volume takes what the image has where it is mounted.
//!
//! Others may have the volume mounted, and change it meanwhile. So nothing is ever written through a name in it: all is copied into a directory that only
//! root can enter, and what is whole goes over by a rename, which follows no link and replaces nothing.
//!
//! ```text
//! data           the volume's files
//! data.lock      a lock of who copies
//! data.begun     there while it is not done; who finds it does it over
//! data.copying   the copy
//! ```

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, fchown, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, RenameFlags, SeekFrom, flock, open, renameat_with, seek};
use rustix::io::Errno;

use crate::error::{Doing, ShimError};
use crate::record::CopyUp;
use crate::rootfs::open_below;

/// Gives an empty volume what the image has where it will be mounted, with owner and rights. One that was begun is finished.
pub(crate) fn copy_up(root: &File, wanted: &CopyUp) -> Result<(), ShimError> {
    let volume = &wanted.volume;
    let told = || format!("give volume `{}` what the image has at `{}`", volume.display(), wanted.target);
    let marker = volume.with_extension("begun");
    let lock = File::create(volume.with_extension("lock")).doing(told())?;
    flock(&lock, FlockOperation::LockExclusive).doing(told())?;
    let empty = fs::read_dir(volume).doing(told())?.next().is_none();
    if !empty && !marker.exists() {
        return Ok(());
    }
    let Ok(source) = open_below(root, Path::new(wanted.target.trim_start_matches('/'))) else { return Ok(()) };
    fs::write(&marker, "").doing(told())?;
    fill(volume, source).doing(told())?;
    fs::remove_file(&marker).doing(told())
}

fn fill(volume: &Path, source: OwnedFd) -> io::Result<()> {
    let copy = volume.with_extension("copying");
    discard(&copy)?;
    fs::DirBuilder::new().mode(0o700).create(&copy)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = File::from(open(volume, flags, Mode::empty())?);
    copy_tree(&PathBuf::from(format!("/proc/self/fd/{}", source.as_raw_fd())), &copy)?;
    for entry in fs::read_dir(&copy)? {
        let name = entry?.file_name();
        match renameat_with(CWD, copy.join(&name), &target, &name, RenameFlags::NOREPLACE) {
            // Somebody else's, or of a copy that was not finished.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    discard(&copy)?;
    let about = File::from(source).metadata()?;
    fchown(&target, Some(about.uid()), Some(about.gid()))?;
    target.set_permissions(fs::Permissions::from_mode(about.mode() & 0o7777))
}

fn discard(copy: &Path) -> io::Result<()> {
    match fs::remove_dir_all(copy) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// Copies directories, files and links into an empty directory that nobody else reaches.
fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let about = fs::symlink_metadata(&source)?;
        let kind = about.file_type();
        if kind.is_symlink() {
            symlink(fs::read_link(&source)?, &target)?;
            lchown(&target, Some(about.uid()), Some(about.gid()))?;
            continue;
        }
        if kind.is_dir() {
            fs::create_dir(&target)?;
            copy_tree(&source, &target)?;
        } else if kind.is_file() {
            copy_file(&source, &target)?;
        } else {
            continue;
        }
        lchown(&target, Some(about.uid()), Some(about.gid()))?;
        fs::set_permissions(&target, fs::Permissions::from_mode(about.mode() & 0o7777))?;
    }
    Ok(())
}

/// Copies a file with its holes: one that has nothing in it may be larger than the disk.
fn copy_file(source: &Path, target: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut source = File::from(open(source, flags, Mode::empty())?);
    let mut target = File::options().write(true).create_new(true).open(target)?;
    let size = source.metadata()?.len();
    target.set_len(size)?;
    let mut at = 0;
    while at < size {
        let data = match seek(&source, SeekFrom::Data(at)) {
            Ok(data) => data,
            // Nothing but a hole is left.
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = seek(&source, SeekFrom::Hole(data))?;
        seek(&source, SeekFrom::Start(data))?;
        seek(&target, SeekFrom::Start(data))?;
        if io::copy(&mut (&mut source).take(end - data), &mut target)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        at = end;
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    struct Case {
        directory: tempfile::TempDir,
        root: File,
        wanted: CopyUp,
    }

    /// An image with `sub/file` and `plain` at `/srv`, an empty volume, and a victim beside it.
    fn case() -> Case {
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().join(path);
        for path in ["image/srv/sub", "volume/data", "victim"] {
            fs::create_dir_all(at(path)).unwrap();
        }
        fs::write(at("image/srv/sub/file"), "of the image").unwrap();
        fs::write(at("image/srv/plain"), "of the image").unwrap();
        fs::write(at("victim/plain"), "of the host").unwrap();
        fs::set_permissions(at("image/srv"), fs::Permissions::from_mode(0o750)).unwrap();
        let root = File::open(at("image")).unwrap();
        let wanted = CopyUp { volume: at("volume/data"), target: "/srv".to_owned() };
        Case { directory, root, wanted }
    }

    #[test]
    fn copy_up_of_begun_volume_with_links_writes_nothing_beyond_it() {
        let case = case();
        let at = |path: &str| case.directory.path().join(path);
        // As another component that shares the volume would, between the start of the copy and its end.
        symlink(at("victim"), at("volume/data/sub")).unwrap();
        symlink(at("victim/plain"), at("volume/data/plain")).unwrap();
        fs::write(at("volume/data.begun"), "").unwrap();
        copy_up(&case.root, &case.wanted).unwrap();
        assert!(!at("victim/file").exists());
        assert_eq!(fs::read_to_string(at("victim/plain")).unwrap(), "of the host");
    }

    #[test]
    fn copy_up_of_a_file_with_holes_takes_no_more_room_than_its_data() {
        let case = case();
        let at = |path: &str| case.directory.path().join(path);
        // Larger than any disk that this is tried on.
        let size = 1 << 42;
        let holes = File::create(at("image/srv/holes")).unwrap();
        for (offset, bytes) in [(1 << 30, "one"), (size - 5, "other")] {
            std::os::unix::fs::FileExt::write_all_at(&holes, bytes.as_bytes(), offset).unwrap();
        }
        File::create(at("image/srv/nothing")).unwrap().set_len(size).unwrap();
        copy_up(&case.root, &case.wanted).unwrap();
        let copied = File::open(at("volume/data/holes")).unwrap();
        let about = copied.metadata().unwrap();
        assert!(about.len() == size && about.blocks() * 512 < 1 << 20, "{} blocks", about.blocks());
        for (offset, bytes) in [(1 << 30, "one"), (size - 5, "other")] {
            let mut read = vec![0; bytes.len()];
            std::os::unix::fs::FileExt::read_exact_at(&copied, &mut read, offset).unwrap();
            assert_eq!(read, bytes.as_bytes());
        }
        let nothing = fs::metadata(at("volume/data/nothing")).unwrap();
        assert_eq!((nothing.len(), nothing.blocks()), (size, 0));
    }

    #[test]
    fn copy_up_of_empty_volume_copies_all_with_mode() {
        let case = case();
        let at = |path: &str| case.directory.path().join(path);
        // What a copy that was killed has left.
        fs::create_dir_all(at("volume/data.copying/half")).unwrap();
        copy_up(&case.root, &case.wanted).unwrap();
        assert_eq!(fs::read_to_string(at("volume/data/sub/file")).unwrap(), "of the image");
        assert_eq!(fs::metadata(at("volume/data")).unwrap().mode() & 0o7777, 0o750);
        assert!(!at("volume/data/half").exists() && !at("volume/data.copying").exists());
        assert!(!at("volume/data.begun").exists());
        fs::write(at("image/srv/later"), "").unwrap();
        copy_up(&case.root, &case.wanted).unwrap();
        assert!(!at("volume/data/later").exists(), "it is not empty any more");
    }
}
