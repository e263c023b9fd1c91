//! Files of instances as archives. The engine's trees have directories and regular files only.

use std::io::{self, Read};
use std::path::{Component, Path};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use hythe_runtime::archives::check_path;
use hythe_runtime::{
    ArchiveInput, ArchiveStream, Archives, Error, ErrorKind, FileInfo, FileKind, InstanceRef, OpContext, Result,
};
use tar::{Builder, EntryType, Header};

use crate::Memory;
use crate::files::{FileError, Node, View, clean};
use crate::mounts::view_of;

const LOOK: &str = "archive-look";
const READ: &str = "archive-read";
const WRITE: &str = "archive-write";

#[async_trait]
impl Archives for Memory {
    async fn look(&self, cx: &OpContext, instance: &InstanceRef, path: &str) -> Result<FileInfo> {
        check_path(LOOK, path)?;
        let act = async {
            let (size, mode, kind) = match find(&view(self, LOOK, instance)?, LOOK, path)? {
                Node::Directory => (0, 0o755, FileKind::Directory),
                Node::File { bytes, executable } => (bytes.len() as u64, mode_of(executable), FileKind::File),
            };
            Ok(FileInfo { kind, size, mode, target: None, owners: true })
        };
        self.engine.answer(cx, LOOK, act).await
    }

    async fn read(&self, cx: &OpContext, instance: &InstanceRef, path: &str) -> Result<ArchiveStream> {
        check_path(READ, path)?;
        let act = async {
            let archive = read(&view(self, READ, instance)?, path)?;
            let pieces: Vec<Result<Bytes>> =
                archive.chunks(64 << 10).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
            Ok(stream::iter(pieces).boxed())
        };
        self.engine.answer(cx, READ, act).await
    }

    async fn write(
        &self,
        cx: &OpContext,
        instance: &InstanceRef,
        directory: &str,
        archive: &ArchiveInput,
    ) -> Result<()> {
        check_path(WRITE, directory)?;
        let pieces = archive.take(WRITE)?;
        let act = async {
            crate::lifecycle::ensure_owned(&self.engine, WRITE, instance)?;
            let archive: Vec<Bytes> = pieces.try_collect().await?;
            write(&view(self, WRITE, instance)?, directory, &archive.concat())
        };
        self.engine.answer(cx, WRITE, act).await
    }
}

const fn mode_of(executable: bool) -> u32 {
    if executable { 0o755 } else { 0o644 }
}

fn view(memory: &Memory, operation: &'static str, instance: &InstanceRef) -> Result<View> {
    let mut world = memory.engine.world();
    let id = world.find(operation, instance)?.id.clone();
    view_of(&mut world, operation, &id)
}

fn find(view: &View, operation: &'static str, path: &str) -> Result<Node> {
    let cleaned = clean("", path);
    if ["/proc", "/sys"].iter().any(|of| cleaned == *of || cleaned.starts_with(&format!("{of}/"))) {
        let message = format!("`{path}` is the kernel's and not a file of the instance");
        return Err(Error::new(ErrorKind::Invalid, operation, message));
    }
    let absent = || Error::new(ErrorKind::NotFound, operation, format!("`{path}` does not exist"));
    match view.get(&cleaned).ok_or_else(absent)? {
        Node::File { .. } if path.ends_with('/') => {
            Err(Error::new(ErrorKind::Invalid, operation, format!("`{path}` is not a directory")))
        }
        node => Ok(node),
    }
}

fn read(view: &View, path: &str) -> Result<Vec<u8>> {
    let (node, path) = (find(view, READ, path)?, clean("", path));
    let mut archive = Builder::new(Vec::new());
    let name = match node {
        Node::Directory => ".".to_owned(),
        Node::File { .. } => format!("./{}", path.rsplit('/').next().unwrap_or_default()),
    };
    append(&mut archive, view, &path, &name)
        .and_then(|()| archive.into_inner())
        .map_err(|error| Error::new(ErrorKind::Internal, READ, "the archive cannot be written").source(error))
}

fn append(archive: &mut Builder<Vec<u8>>, view: &View, path: &str, name: &str) -> io::Result<()> {
    let mut header = Header::new_gnu();
    match view.get(path) {
        None => Ok(()),
        Some(Node::File { bytes, executable }) => {
            header.set_mode(mode_of(executable));
            header.set_size(bytes.len() as u64);
            archive.append_data(&mut header, name, bytes.as_slice())
        }
        Some(Node::Directory) => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(0o755);
            header.set_size(0);
            archive.append_data(&mut header, format!("{name}/"), io::empty())?;
            let names = view.names(path).unwrap_or_default();
            names
                .iter()
                .try_for_each(|child| append(archive, view, &format!("{path}/{child}"), &format!("{name}/{child}")))
        }
    }
}

fn write(view: &View, directory: &str, archive: &[u8]) -> Result<()> {
    if find(view, WRITE, &format!("{directory}/"))? != Node::Directory {
        return Err(Error::new(ErrorKind::Invalid, WRITE, format!("`{directory}` is not a directory")));
    }
    let base = clean("", directory);
    let damaged = |error: io::Error| {
        Error::new(ErrorKind::Invalid, WRITE, format!("the archive cannot be read: {error}")).source(error)
    };
    for entry in tar::Archive::new(archive).entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let name = entry.path().map_err(damaged)?.into_owned();
        let Some(path) = below(&base, &name) else {
            let message = format!("the archive has an entry `{}` that escapes its directory", name.display());
            return Err(Error::new(ErrorKind::Invalid, WRITE, message));
        };
        let kind = entry.header().entry_type();
        let in_the_way = |what: &str| {
            Error::new(ErrorKind::Conflict, WRITE, format!("`{path}` is {what}, which the archive does not have there"))
        };
        match (view.get(&path), kind) {
            (Some(Node::Directory), EntryType::Directory) => {}
            (Some(Node::File { .. }), EntryType::Directory) => return Err(in_the_way("a file")),
            (Some(Node::Directory), _) => return Err(in_the_way("a directory")),
            (None, EntryType::Directory) => view.make_directory(&path).map_err(|error| refused(&path, error))?,
            (_, EntryType::Regular) => {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).map_err(damaged)?;
                let above = path.rsplit_once('/').map_or("", |(above, _)| above);
                if view.get(above).is_none() {
                    view.make_directory(above).map_err(|error| refused(&path, error))?;
                }
                view.write(&path, &bytes, false).map_err(|error| refused(&path, error))?;
                if entry.header().mode().map_err(damaged)? & 0o111 != 0 {
                    view.make_executable(&path).map_err(|error| refused(&path, error))?;
                }
            }
            (_, _) => {
                let message = format!("`{path}`: the in-process runtime has directories and regular files only");
                return Err(Error::new(ErrorKind::Unsupported, WRITE, message));
            }
        }
    }
    Ok(())
}

/// `None` for a name that leads out.
fn below(base: &str, name: &Path) -> Option<String> {
    let mut path = base.to_owned();
    for component in name.components() {
        match component {
            Component::Normal(part) => {
                path.push('/');
                path.push_str(&part.to_string_lossy());
            }
            Component::ParentDir => return None,
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    Some(path)
}

fn refused(path: &str, error: FileError) -> Error {
    let kind = match error {
        FileError::NotFound => ErrorKind::NotFound,
        FileError::Other => ErrorKind::Internal,
        FileError::IsDirectory | FileError::NotDirectory | FileError::Exists | FileError::ReadOnly => {
            ErrorKind::Conflict
        }
    };
    Error::new(kind, WRITE, format!("`{path}`: {error}"))
}
