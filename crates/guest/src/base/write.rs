//! A tree becomes an ext4 file system: first its metadata, then the contents in the order of the archives.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use mkext4::build::ImageWriter;
use mkext4::{FsBuilder, InodeCount, InodeHandle, Meta, Options, ROOT, SpecialKind};

use super::tree::{Attributes, Id, Kind, TOP, Tree};
use super::{archive, bad, uuid};
use crate::error::at;
use crate::volume::{BLOCK, EPOCH, Sparse};
use crate::{GuestError, Layer};

/// Bytes of a disk for each inode, as mke2fs has it.
const BYTES_PER_INODE: u64 = 16 << 10;
/// Inodes beside those of the image, on a disk that has few.
const SPARE: u64 = 4096;

/// Files by layer and entry.
type Contents = BTreeMap<(usize, u64), InodeHandle>;

/// Writes the disk to `file`, which becomes `path`.
pub(super) fn disk(
    file: File,
    path: &Path,
    tree: &Tree,
    layers: &[Layer],
    (digest, size): (&str, u64),
) -> Result<(), GuestError> {
    let too_small = |error: mkext4::Error| match error {
        mkext4::Error::Io(source) => at(path)(source),
        other => GuestError::TooSmall { size, why: other.to_string() },
    };
    let mut options = Options::new(size, uuid(digest), EPOCH);
    options.reserved_percent = 0;
    options.label = Some("root".to_owned());
    let inodes = (size / BYTES_PER_INODE).max(tree.len() as u64 + SPARE);
    options.inodes = InodeCount::Exact(u32::try_from(inodes).unwrap_or(u32::MAX));
    if size < 8 * BLOCK {
        return Err(GuestError::TooSmall { size, why: "nothing fits on it".to_owned() });
    }
    let mut builder = FsBuilder::new(options).map_err(too_small)?;
    let contents = declare(&mut builder, tree)?;
    let layout = builder.seal().map_err(too_small)?;
    let mut sink = Sparse::over(file, size).map_err(at(path))?;
    let mut writer = layout.writer(&mut sink).map_err(too_small)?;
    fill(&mut writer, layers, &contents)?;
    writer.finish().map(drop).map_err(too_small)
}

/// Declares everything. Files come last, in the order in which the archives have them: so their data is written in
/// ascending order.
fn declare(builder: &mut FsBuilder, tree: &Tree) -> Result<Contents, GuestError> {
    let mut files = BTreeMap::new();
    let mut handles: BTreeMap<Id, InodeHandle> = BTreeMap::new();
    if let Some(attributes) = &tree.node(TOP).attributes {
        builder.set_meta(ROOT, attributes.meta).map_err(named("/"))?;
        set_xattrs(builder, ROOT, attributes).map_err(named("/"))?;
    }
    let mut work = vec![(TOP, ROOT, String::new())];
    while let Some((id, handle, path)) = work.pop() {
        for (name, child) in tree.names(id).into_iter().flatten() {
            let node = tree.node(*child);
            let path = format!("{path}/{name}");
            if let Kind::File { size, content } = &node.kind {
                files.entry((*content, *child)).or_insert_with(|| (*size, Vec::new())).1.push((handle, name, path));
                continue;
            }
            if let Some(existing) = handles.get(child) {
                builder.hardlink(handle, name, *existing).map_err(named(&path))?;
                continue;
            }
            let made = declare_node(builder, handle, name, node).map_err(named(&path))?;
            if matches!(node.kind, Kind::Directory { .. }) {
                work.push((*child, made, path));
            } else {
                handles.insert(*child, made);
            }
        }
    }
    let mut contents = Contents::new();
    for ((content, id), (size, names)) in files {
        let attributes = tree.node(id).attributes.as_ref();
        let mut made = None;
        for (parent, name, path) in names {
            let handle = match made {
                Some(handle) => builder.hardlink(parent, name, handle).map(|()| handle),
                None => builder.file(parent, name, meta(attributes, 0o644), size),
            };
            made = Some(handle.map_err(named(&path))?);
        }
        let Some(handle) = made else { continue };
        if let Some(attributes) = attributes {
            set_xattrs(builder, handle, attributes).map_err(named("a file"))?;
        }
        contents.insert(content, handle);
    }
    Ok(contents)
}

fn declare_node(
    builder: &mut FsBuilder,
    parent: InodeHandle,
    name: &str,
    node: &super::tree::Node,
) -> mkext4::Result<InodeHandle> {
    let attributes = node.attributes.as_ref();
    let handle = match &node.kind {
        Kind::Directory { .. } => builder.mkdir(parent, name, meta(attributes, 0o755))?,
        Kind::Symlink { to } => builder.symlink(parent, name, to, meta(attributes, 0o777))?,
        Kind::Device { is_block, major, minor } => {
            let (major, minor) = (*major, *minor);
            let kind = if *is_block { SpecialKind::Block { major, minor } } else { SpecialKind::Char { major, minor } };
            builder.mknod(parent, name, meta(attributes, 0o600), kind)?
        }
        Kind::Fifo | Kind::File { .. } | Kind::Whiteout => {
            builder.mknod(parent, name, meta(attributes, 0o600), SpecialKind::Fifo)?
        }
    };
    if let Some(attributes) = attributes {
        set_xattrs(builder, handle, attributes)?;
    }
    Ok(handle)
}

fn meta(attributes: Option<&Attributes>, mode: u16) -> Meta {
    attributes.map_or(Meta::new(mode, 0, 0, (EPOCH, 0)), |attributes| attributes.meta)
}

fn set_xattrs(builder: &mut FsBuilder, handle: InodeHandle, attributes: &Attributes) -> mkext4::Result<()> {
    attributes.xattrs.iter().try_for_each(|(name, value)| builder.set_xattr(handle, name, value))
}

fn named(path: &str) -> impl Fn(mkext4::Error) -> GuestError {
    move |error| GuestError::Invalid(format!("`{path}` of the image cannot be on a disk: {error}"))
}

/// Reads the archives again, for what is still there of their files.
fn fill(writer: &mut ImageWriter<'_, &mut Sparse>, layers: &[Layer], contents: &Contents) -> Result<(), GuestError> {
    for (number, layer) in layers.iter().enumerate() {
        let source = layer.open().map_err(|error| bad(layer, error.to_string()))?;
        let mut written = 0;
        archive::walk(source, |index, _, mut content| {
            let Some(handle) = contents.get(&(number, index)) else { return Ok(()) };
            written += 1;
            writer.fill(*handle, &mut content).map_err(|error| format!("its files cannot be written: {error}"))
        })
        .map_err(|why| bad(layer, why))?;
        let expected = contents.range((number, 0)..(number + 1, 0)).count();
        if written != expected {
            return Err(bad(layer, "it changed while it was read"));
        }
    }
    Ok(())
}
