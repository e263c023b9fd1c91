//! A container's changes as one more layer.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use hythe_spec::ImageRef;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, Timespec};
use rustix::io::Errno;
use serde_json::{Value, json};
use tar::EntryType;

use crate::archive::LayerWriter;
use crate::digest::Digest;
use crate::error::Local as _;
use crate::store::{BlobWriter, Lock, Store, Stored};
use crate::unpack::{Meta, attribute, attributes, is_whiteout};
use crate::{Error, Kind};

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: [&str; 2] = ["trusted.overlay.opaque", "user.overlay.opaque"];
/// Files that are not whole without the layers below.
const PARTIAL: [&str; 4] =
    ["trusted.overlay.redirect", "user.overlay.redirect", "trusted.overlay.metacopy", "user.overlay.metacopy"];

/// A layer in the store that belongs to no image yet; it is kept from `gc` as long as this lives.
#[derive(Debug)]
pub struct Copied {
    digest: Digest,
    size: u64,
    _using: Lock,
}

impl Copied {
    /// Digest of the layer, `sha256:…`, as stored and unpacked.
    pub fn digest(&self) -> &str {
        self.digest.as_str()
    }

    /// Puts the layer on top of an image, with more labels: into its configuration and into its manifest, all but the new configuration's
    /// digest. Both are changed as they are, so that nothing is lost of what other tools wrote there.
    pub fn on_top(
        &self,
        config: &mut Value,
        manifest: &mut Value,
        media_type: &str,
        labels: &BTreeMap<String, String>,
    ) {
        let (layer, size) = (&self.digest, self.size);
        let now = hythe_host::now().to_string();
        config["created"] = json!(now);
        push(&mut config["rootfs"]["diff_ids"], json!(layer.as_str()));
        push(&mut config["history"], json!({"created": now, "created_by": "hythe commit"}));
        for (key, value) in labels {
            config["config"]["Labels"][key] = json!(value);
        }
        let media_type = if media_type == DOCKER_MANIFEST { DOCKER_LAYER } else { LAYER };
        push(&mut manifest["layers"], json!({"mediaType": media_type, "digest": layer.as_str(), "size": size}));
    }
}

impl Store {
    /// Copies an overlayfs upper directory into the store, as one layer, uncompressed: its changes keep owners, modes, times, attributes and hard links;
    /// sockets are left out. Where somebody writes to it meanwhile, what vanishes is left out, and files are as they were at different times. Blocking.
    ///
    /// # Errors
    /// `Invalid` for an upper directory that is not whole by itself (mounted with `redirect_dir` or `metacopy`) or has files no image can hold;
    /// `Exhausted`, `Internal`.
    pub fn copy_changes(&self, upper: &Path) -> Result<Copied, Error> {
        let _using = self.using()?;
        let mut layer = Changes::of(upper, self.new_blob()?)?;
        layer.write()?;
        let writer = layer.writer.finish().local("write", upper)?;
        let (digest, size) = writer.finish(None)?;
        Ok(Copied { digest, size, _using })
    }

    /// Makes an image of `base` and one more layer, with more labels, under a name. Blocking.
    ///
    /// # Errors
    /// `NotFound` when the base is not in the store; `Invalid`, `Exhausted`, `Internal`.
    pub fn commit(
        &self,
        base: &Stored,
        layer: &Copied,
        name: &ImageRef,
        labels: &BTreeMap<String, String>,
    ) -> Result<Stored, Error> {
        let image = self.with_layer(base, layer, labels)?;
        self.layers(&image)?;
        self.name(&image, Some(name.to_string()))?;
        self.get(name)
    }

    fn with_layer(&self, base: &Stored, layer: &Copied, labels: &BTreeMap<String, String>) -> Result<Stored, Error> {
        let (mut config, mut manifest) = (self.document(&base.id)?, self.document(&base.digest)?);
        layer.on_top(&mut config, &mut manifest, &base.media_type, labels);
        self.put_image(&config, manifest, &base.media_type)
    }

    /// Stores an image whose manifest has all but its configuration; as yet without a name.
    pub(crate) fn put_image(&self, config: &Value, mut manifest: Value, media_type: &str) -> Result<Stored, Error> {
        let config = config.to_string();
        let id = self.put_blob(config.as_bytes())?;
        manifest["config"]["digest"] = json!(id.as_str());
        manifest["config"]["size"] = json!(config.len());
        let digest = self.put_blob(manifest.to_string().as_bytes())?;
        self.load_manifest(&digest, media_type)
    }

    pub(crate) fn document(&self, digest: &str) -> Result<Value, Error> {
        let bytes = self.read_blob(&Digest::parse(digest)?)?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Error::new(Kind::Invalid, format!("`{digest}` cannot be read: {error}")))
    }
}

fn push(list: &mut Value, item: Value) {
    match list {
        Value::Array(items) => items.push(item),
        other => *other = json!([item]),
    }
}

/// An upper directory on its way into an archive. Directories are opened one at a time, never through a link.
struct Changes {
    root: OwnedFd,
    about: PathBuf,
    writer: LayerWriter<BlobWriter>,
    /// Where files of several names were first written.
    links: HashMap<(u64, u64), PathBuf>,
}

/// One name in an open directory.
struct Item<'a> {
    directory: &'a OwnedFd,
    name: &'a OsStr,
    path: PathBuf,
    stat: Stat,
}

impl Item<'_> {
    fn attributes_path(&self) -> Vec<u8> {
        [format!("/proc/self/fd/{}/", self.directory.as_raw_fd()).as_bytes(), self.name.as_bytes()].concat()
    }

    fn meta(&self) -> Meta {
        let mtime =
            Timespec { tv_sec: self.stat.st_mtime, tv_nsec: i64::try_from(self.stat.st_mtime_nsec).unwrap_or(0) };
        let xattrs = attributes(&self.attributes_path());
        Meta { uid: self.stat.st_uid, gid: self.stat.st_gid, mode: self.stat.st_mode & 0o7777, xattrs, mtime }
    }

    fn has_any(&self, keys: &[&str]) -> bool {
        let path = self.attributes_path();
        keys.iter().any(|key| attribute(&path, key.as_bytes()).is_some())
    }
}

impl Changes {
    fn of(upper: &Path, blob: BlobWriter) -> Result<Self, Error> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, upper, flags, Mode::empty()).local("open", upper)?;
        Ok(Self { root, about: upper.to_owned(), writer: LayerWriter::new(blob), links: HashMap::new() })
    }

    fn write(&mut self) -> Result<(), Error> {
        let mut directories = vec![PathBuf::new()];
        while let Some(path) = directories.pop() {
            let about = self.about.join(&path);
            let directory = match self.open(&path) {
                Err(Errno::NOENT) if !path.as_os_str().is_empty() => continue,
                opened => opened.local("open", &about)?,
            };
            if path.as_os_str().is_empty() && Self::is_opaque_root(&directory) {
                self.marker(Path::new(".wh..wh..opq")).local("write", &about)?;
            }
            for name in names(&directory).local("read", &about)?.iter().rev() {
                let path = path.join(name);
                let stat = match rustix::fs::statat(&directory, name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW) {
                    Err(Errno::NOENT) => continue,
                    stat => stat.local("look at", &self.about.join(&path))?,
                };
                let item = Item { directory: &directory, name, path, stat };
                self.check(&item)?;
                if self.item(&item).local("write", &self.about.join(&item.path))? {
                    directories.push(item.path);
                }
            }
        }
        Ok(())
    }

    fn open(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let straight = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        hythe_host::openat2(&self.root, path, flags, Mode::empty(), straight)
    }

    fn is_opaque_root(directory: &OwnedFd) -> bool {
        let path = format!("/proc/self/fd/{}/.", directory.as_raw_fd());
        OPAQUE.iter().any(|key| attribute(path.as_bytes(), key.as_bytes()).is_some())
    }

    fn check(&self, item: &Item<'_>) -> Result<(), Error> {
        let path = self.about.join(&item.path);
        if item.has_any(&PARTIAL) {
            let message = format!("`{}` is not whole without the layers below", path.display());
            return Err(Error::new(Kind::Invalid, message).hint("mount overlayfs with `redirect_dir=off,metacopy=off`"));
        }
        if item.name.as_bytes().starts_with(WHITEOUT) {
            let message = format!("`{}` cannot be part of an image: its name is that of a whiteout", path.display());
            return Err(Error::new(Kind::Invalid, message));
        }
        Ok(())
    }

    /// Writes one entry; says whether it is a directory to go into.
    fn item(&mut self, item: &Item<'_>) -> io::Result<bool> {
        let (path, meta) = (item.path.as_path(), item.meta());
        match FileType::from_raw_mode(item.stat.st_mode) {
            FileType::Directory => {
                self.writer.directory(path, &meta)?;
                if item.has_any(&OPAQUE) {
                    self.marker(&path.join(".wh..wh..opq"))?;
                }
                return Ok(true);
            }
            _ if is_whiteout(&item.stat) => {
                let hidden = OsString::from_vec([WHITEOUT, item.name.as_bytes()].concat());
                self.marker(&path.with_file_name(hidden))?;
            }
            _ if item.stat.st_nlink > 1 && self.is_link(item) => {
                let to = self.links[&inode(&item.stat)].clone();
                self.writer.link(path, &Meta { xattrs: Vec::new(), ..meta }, EntryType::Link, &to)?;
            }
            FileType::RegularFile => self.file(item, &meta)?,
            FileType::Symlink => {
                let to = match rustix::fs::readlinkat(item.directory, item.name, Vec::new()) {
                    Err(Errno::NOENT) => return Ok(false),
                    to => to?,
                };
                self.writer.link(path, &meta, EntryType::Symlink, Path::new(OsStr::from_bytes(to.as_bytes())))?;
            }
            FileType::Fifo => self.writer.empty(path, &meta, EntryType::Fifo)?,
            FileType::CharacterDevice => self.writer.device(path, &meta, EntryType::Char, item.stat.st_rdev)?,
            FileType::BlockDevice => self.writer.device(path, &meta, EntryType::Block, item.stat.st_rdev)?,
            FileType::Socket | FileType::Unknown => {}
        }
        Ok(false)
    }

    /// Whether another name of this file was written already; else this one is it.
    fn is_link(&mut self, item: &Item<'_>) -> bool {
        let first = self.links.entry(inode(&item.stat)).or_insert_with(|| item.path.clone());
        *first != item.path
    }

    fn file(&mut self, item: &Item<'_>, meta: &Meta) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(item.directory, item.name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(()),
            opened => File::from(opened?),
        };
        let size = file.metadata()?.len();
        // One that becomes shorter meanwhile is filled up.
        self.writer.file(&item.path, meta, size, file.chain(io::repeat(0)))
    }

    fn marker(&mut self, path: &Path) -> io::Result<()> {
        let mtime = Timespec { tv_sec: 0, tv_nsec: 0 };
        let meta = Meta { uid: 0, gid: 0, mode: 0o600, xattrs: Vec::new(), mtime };
        self.writer.file(path, &meta, 0, io::empty())
    }
}

fn inode(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// Sorted, so that the same directory gives the same layer.
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
