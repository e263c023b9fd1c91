//! Files of instances, by the engine's archive calls.

use async_trait::async_trait;
use futures_util::StreamExt;
use http::Method;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hythe_local::archives::{
    MOST_LINKS, PATH_STAT, behind_link, circle, engine_path, from_engine, no_directory, of_header, refuse_kernels,
    refused, to_engine,
};
use hythe_runtime::archives::check_path;
use hythe_runtime::identity::ensure_owned;
use hythe_runtime::{
    ArchiveInput, ArchiveStream, Archives, Error, ErrorKind, FileInfo, FileKind, InstanceRef, OpContext, Result,
};

use crate::client::segment;
use crate::context::Context;
use crate::driver::Docker;
use crate::error::{is_absent, translate};
use crate::translate::Engine;

const LOOK: &str = "archive-look";
const READ: &str = "archive-read";
const WRITE: &str = "archive-write";

#[async_trait]
impl Archives for Docker {
    async fn look(&self, cx: &OpContext, instance: &InstanceRef, path: &str) -> Result<FileInfo> {
        check_path(LOOK, path)?;
        let look = async {
            let id = self.context.whole_id(LOOK, instance).await?;
            Ok(self.context.find(LOOK, &id, path).await?.0)
        };
        cx.with_deadline(LOOK, look).await
    }

    async fn read(&self, cx: &OpContext, instance: &InstanceRef, path: &str) -> Result<ArchiveStream> {
        check_path(READ, path)?;
        cx.with_deadline(READ, self.context.read_archive(instance, path)).await
    }

    async fn write(
        &self,
        cx: &OpContext,
        instance: &InstanceRef,
        directory: &str,
        archive: &ArchiveInput,
    ) -> Result<()> {
        check_path(WRITE, directory)?;
        let archive = archive.take(WRITE)?;
        cx.with_deadline(WRITE, self.context.write_archive(instance, directory, archive)).await
    }
}

fn archive_path(id: &str) -> String {
    format!("/containers/{}/archive", segment(id))
}

fn absent(operation: &'static str, path: &str) -> Error {
    Error::new(ErrorKind::NotFound, operation, format!("`{path}` does not exist"))
}

impl Context {
    /// What is at a path, and the path without a link before the slash at its end: Podman does not follow it.
    async fn find(&self, operation: &'static str, id: &str, path: &str) -> Result<(FileInfo, String)> {
        let mut path = engine_path(path).to_owned();
        for _ in 0..MOST_LINKS {
            let found = self.look_at(operation, id, &path).await?;
            match behind_link(operation, &path, &found)? {
                Some(target) => path = target,
                None => return Ok((found, path)),
            }
        }
        Err(circle(operation, &path))
    }

    async fn look_at(&self, operation: &'static str, id: &str, path: &str) -> Result<FileInfo> {
        refuse_kernels(operation, path)?;
        let head = async |path: &str| self.client.head(&archive_path(id), &[("path", path)]).await;
        let headers = match head(path).await {
            Err(error) if is_absent(&error) => return Err(absent(operation, path)),
            Err(error) => {
                // Its words are in a body, which this call has not: a slash behind a file is the one that can be told.
                let plain = path.trim_end_matches('/');
                let is_file = path.ends_with('/') && head(if plain.is_empty() { "/" } else { plain }).await.is_ok();
                return Err(if is_file { no_directory(operation, path) } else { translate(operation, path, error) });
            }
            Ok(headers) => headers,
        };
        // What Podman reads is root's, whoever owns the files.
        let owners = self.engine != Engine::Podman;
        of_header(operation, headers.get(PATH_STAT).map(HeaderValue::as_bytes), owners)
    }

    async fn read_archive(&self, instance: &InstanceRef, path: &str) -> Result<ArchiveStream> {
        refuse_kernels(READ, path)?;
        let id = self.whole_id(READ, instance).await?;
        let path = match engine_path(path) {
            path if path.ends_with('/') => self.find(READ, &id, path).await?.1,
            path => path.to_owned(),
        };
        let path = path.as_str();
        let (query, body) = ([("path", path)], bollard::body_full(bytes::Bytes::new()));
        let bytes = self.client.stream(Method::GET, &archive_path(&id), &query, &HeaderMap::new(), body).await;
        let bytes =
            bytes.map_err(|error| if is_absent(&error) { absent(READ, path) } else { translate(READ, path, error) })?;
        let subject = path.to_owned();
        let bytes = bytes.map(move |piece| piece.map_err(|error| translate(READ, &subject, error)));
        from_engine(READ, path, bytes.boxed()).await
    }

    async fn write_archive(&self, instance: &InstanceRef, directory: &str, archive: ArchiveStream) -> Result<()> {
        let container = self.container(WRITE, instance).await?;
        ensure_owned(WRITE, instance, &container.config.labels)?;
        let slash = format!("{}/", directory.trim_end_matches('/'));
        let (found, path) = self.find(WRITE, &container.id, &slash).await?;
        if found.kind != FileKind::Directory {
            return Err(no_directory(WRITE, directory));
        }
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/x-tar"))]);
        // Owners are those of the archive, not the instance's user.
        let query = [("path", path.as_str()), ("noOverwriteDirNonDir", "1"), ("copyUIDGID", "0")];
        let (upload, body) = to_engine(WRITE, archive);
        let body = bollard::body_try_stream(body);
        let request = async {
            let answer = self.client.stream(Method::PUT, &archive_path(&container.id), &query, &headers, body).await;
            let mut bytes = answer.map_err(|error| {
                if is_absent(&error) { absent(WRITE, directory) } else { refused(translate(WRITE, directory, error)) }
            })?;
            while let Some(piece) = bytes.next().await {
                piece.map_err(|error| translate(WRITE, directory, error))?;
            }
            Ok(())
        };
        upload.answered(request).await
    }
}
