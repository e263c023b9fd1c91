//! Podman's API refuses a working directory that the image lacks; dockerd makes it. Here it is made for Podman too.

use bytes::Bytes;
use bollard::query_parameters::UploadToContainerOptions;
use http::Method;
use hythe_runtime::{Error, ErrorKind, Plan, Result};

use crate::client::segment;
use crate::core::Core;
use crate::error::{is_absent, translate};
use crate::translate::Engine;

impl Core {
    /// Makes the plan's working directory in a container that has not been started.
    pub(crate) async fn make_workdir(&self, operation: &'static str, id: &str, plan: &Plan) -> Result<()> {
        let Some(workdir) = plan.workdir.as_deref().filter(|_| self.engine == Engine::Podman) else { return Ok(()) };
        let mut missing = Vec::new();
        for path in std::path::Path::new(workdir).ancestors().filter(|path| path.parent().is_some()) {
            let path = path.to_string_lossy();
            if self.has_path(operation, id, &path).await? {
                break;
            }
            missing.push(path.trim_start_matches('/').to_owned());
        }
        if missing.is_empty() {
            return Ok(());
        }
        missing.reverse();
        let archive = directories(&missing)
            .map_err(|error| Error::new(ErrorKind::Internal, operation, "the working directory cannot be packed").source(error))?;
        let options = UploadToContainerOptions { path: "/".to_owned(), ..UploadToContainerOptions::default() };
        let sent = self.client.docker().upload_to_container(id, Some(options), bollard::body_full(Bytes::from(archive))).await;
        sent.map_err(|error| translate(operation, workdir, error))
    }

    async fn has_path(&self, operation: &'static str, id: &str, path: &str) -> Result<bool> {
        let address = format!("/containers/{}/archive", segment(id));
        match self.client.act(Method::HEAD, &address, &[("path", path)]).await {
            Ok(_) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(translate(operation, path, error)),
        }
    }
}

fn directories(paths: &[String]) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for path in paths {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o755);
        header.set_size(0);
        archive.append_data(&mut header, format!("{path}/"), std::io::empty())?;
    }
    archive.into_inner()
}
