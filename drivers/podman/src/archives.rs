//! Files of instances: those of volumes on this host as they are, all others by podman's archive calls. What these read is
//! root's, whoever owns the files; what they write has the owners of the archive.

use std::fs::File;

use async_trait::async_trait;
use futures_util::StreamExt;
use http::{HeaderValue, Method};
use http_body_util::{Either, StreamBody};
use hyper::body::Frame;
use hythe_local::archives::{
    MOST_LINKS, PATH_STAT, behind_link, circle, engine_path, from_engine, look_below, no_directory, of_header,
    read_below, refuse_kernels, refused, to_engine, write_below,
};
use hythe_oci::OwnershipMode;
use hythe_runtime::Runtime;
use hythe_runtime::archives::{check_path, from_thread, to_thread};
use hythe_runtime::context::run_blocking;
use hythe_runtime::{
    ArchiveInput, ArchiveStream, Archives, Error, ErrorKind, FileInfo, FileKind, InstanceRef, OpContext, Result,
};

use crate::client::{About, empty, segment};
use crate::driver::Podman;

const LOOK: &str = "archive-look";
const READ: &str = "archive-read";
const WRITE: &str = "archive-write";

fn archive_path(instance: &InstanceRef) -> String {
    format!("/containers/{}/archive", segment(instance.as_str()))
}

fn absent(operation: &'static str, path: &str, error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::new(ErrorKind::NotFound, operation, format!("`{path}` does not exist")),
        _ => error,
    }
}

/// A volume of an instance on this host.
struct OfVolume {
    root: File,
    /// Absolute path in the volume.
    path: String,
    read_only: bool,
}

impl Podman {
    /// The volume that an instance has at a path, where its files are on this host and this process may read them.
    async fn of_volume(
        &self,
        cx: &OpContext,
        operation: &'static str,
        instance: &InstanceRef,
        path: &str,
    ) -> Result<Option<OfVolume>> {
        let Some(local) = self.local.as_ref().filter(|_| !Runtime::info(self).rootless) else { return Ok(None) };
        let observed = self.observed(self.container(cx, operation, instance).await?).await;
        let clean = hythe_spec::mount::clean(path);
        let below = |target: &str| clean.strip_prefix(target).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let mounts = observed.mounts.iter().filter(|mount| below(&mount.target).is_some());
        let Some(mount) = mounts.max_by_key(|mount| mount.target.len()).filter(|mount| mount.kind == "volume") else {
            return Ok(None);
        };
        // One of another volume driver is elsewhere.
        let Ok(root) = File::open(local.volumes.join(&mount.source).join("_data")) else { return Ok(None) };
        let slash = if path.ends_with('/') || path.ends_with("/.") { "/" } else { "" };
        let path = format!("/{}{slash}", below(&mount.target).unwrap_or_default().trim_start_matches('/'));
        Ok(Some(OfVolume { root, path, read_only: mount.read_only }))
    }

    /// What is at a path, and the path without a link before the slash at its end: podman does not follow it.
    async fn find(
        &self,
        cx: &OpContext,
        operation: &'static str,
        instance: &InstanceRef,
        path: &str,
    ) -> Result<(FileInfo, String)> {
        let mut path = engine_path(path).to_owned();
        for _ in 0..MOST_LINKS {
            let found = self.look_at(cx, operation, instance, &path).await?;
            match behind_link(operation, &path, &found)? {
                Some(target) => path = target,
                None => return Ok((found, path)),
            }
        }
        Err(circle(operation, &path))
    }

    async fn look_at(
        &self,
        cx: &OpContext,
        operation: &'static str,
        instance: &InstanceRef,
        path: &str,
    ) -> Result<FileInfo> {
        refuse_kernels(operation, path)?;
        if let Some(OfVolume { root, path, .. }) = self.of_volume(cx, operation, instance, path).await? {
            return run_blocking(operation, move || look_below(operation, &root, &path)).await;
        }
        let whole = self.whole(cx, operation, instance).await?;
        let about = About { operation, subject: path };
        let (at, query) = (archive_path(&whole), [("path", path)]);
        let headers = cx
            .with_deadline(operation, self.client.head(about, &at, &query))
            .await
            .map_err(|error| absent(operation, path, error))?;
        of_header(operation, headers.get(PATH_STAT).map(HeaderValue::as_bytes), false)
    }
}

#[async_trait]
impl Archives for Podman {
    async fn look(&self, cx: &OpContext, instance: &InstanceRef, path: &str) -> Result<FileInfo> {
        check_path(LOOK, path)?;
        Ok(self.find(cx, LOOK, instance, path).await?.0)
    }

    async fn read(&self, cx: &OpContext, instance: &InstanceRef, path: &str) -> Result<ArchiveStream> {
        check_path(READ, path)?;
        refuse_kernels(READ, path)?;
        let path = match engine_path(path) {
            path if path.ends_with('/') => self.find(cx, READ, instance, path).await?.1,
            path => path.to_owned(),
        };
        if let Some(OfVolume { root, path, .. }) = self.of_volume(cx, READ, instance, &path).await? {
            return from_thread(READ, move |out| read_below(READ, &root, &path, out)).await;
        }
        let whole = self.whole(cx, READ, instance).await?;
        let about = About { operation: READ, subject: &path };
        let query = [("path", path.as_str())];
        let read = async {
            let bytes = self.client.stream(about, Method::GET, &archive_path(&whole), &query, empty()).await;
            from_engine(READ, &path, bytes.map_err(|error| absent(READ, &path, error))?).await
        };
        cx.with_deadline(READ, read).await
    }

    async fn write(
        &self,
        cx: &OpContext,
        instance: &InstanceRef,
        directory: &str,
        archive: &ArchiveInput,
    ) -> Result<()> {
        check_path(WRITE, directory)?;
        let own = self.own(cx, WRITE, instance).await?;
        // Podman would make it.
        let (found, path) = self.find(cx, WRITE, &own, &format!("{}/", directory.trim_end_matches('/'))).await?;
        if found.kind != FileKind::Directory {
            return Err(no_directory(WRITE, directory));
        }
        if let Some(OfVolume { root, path, read_only }) = self.of_volume(cx, WRITE, &own, &path).await? {
            if read_only {
                return Err(Error::new(ErrorKind::Conflict, WRITE, format!("`{directory}` is on a read-only mount")));
            }
            let write = to_thread(WRITE, archive.take(WRITE)?, move |archive| {
                write_below(WRITE, &root, &path, OwnershipMode::Root, archive)
            });
            return cx.with_deadline(WRITE, write).await;
        }
        let about = About { operation: WRITE, subject: directory };
        // Owners are those of the archive, not the instance's user.
        let query = [("path", path.as_str()), ("noOverwriteDirNonDir", "true"), ("copyUIDGID", "false")];
        let (upload, body) = to_engine(WRITE, archive.take(WRITE)?);
        let body = Either::Right(StreamBody::new(body.map(|piece| piece.map(Frame::data)).boxed() as _));
        let request = async {
            let bytes = self.client.stream(about, Method::PUT, &archive_path(&own), &query, body).await;
            let mut bytes = bytes.map_err(|error| refused(absent(WRITE, directory, error)))?;
            while let Some(piece) = bytes.next().await {
                piece?;
            }
            Ok(())
        };
        cx.with_deadline(WRITE, upload.answered(request)).await
    }
}
