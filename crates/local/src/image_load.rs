//! Images from an archive.

use std::path::Path;

use hythe_runtime::context::run_blocking;
use hythe_runtime::{Error, ErrorKind, Image, OpContext, Result};
use hythe_spec::ImageRef;

use crate::image::image_of;
use crate::of_store;
use crate::stored_images::StoredImages;

impl StoredImages<'_> {
    /// As `Images::load`.
    ///
    /// # Errors
    /// As there.
    pub async fn load(&self, cx: &OpContext, archive: &Path, name: Option<&ImageRef>) -> Result<Vec<Image>> {
        if let Err(error) = std::fs::File::open(archive) {
            let message = format!("cannot read `{}`: {error}", archive.display());
            return Err(Error::new(ErrorKind::Invalid, "load", message).source(error));
        }
        if name.is_some() {
            let archive = archive.to_owned();
            let check = run_blocking("load", move || hythe_oci::check_one_unnamed(&archive).map_err(of_store("load")));
            cx.with_deadline("load", check).await?;
        }
        let import = self.store.import(archive, None);
        let imported = cx.with_deadline("load", async { import.await.map_err(of_store("load")) }).await;
        let mut stored = imported.map_err(|error| of_archive(archive, error))?;
        if let Some(name) = name {
            // It may have been here before, under another name.
            let one =
                if stored.len() == 1 { stored.first_mut() } else { stored.iter_mut().find(|it| it.names.is_empty()) };
            let Some(image) = one else {
                let words = "the image without a name is here already and has one";
                let error = Error::new(ErrorKind::Conflict, "load", format!("`{}`: {words}", archive.display()));
                return Err(error.hint("give it one more with `hythe images tag`"));
            };
            let (store, unnamed, name) = (self.store.clone(), image.clone(), name.clone());
            *image = run_blocking("load", move || store.first_name(&unnamed, &name).map_err(of_store("load"))).await?;
        }
        if stored.iter().all(|image| image.names.is_empty()) {
            let error = Error::new(ErrorKind::Invalid, "load", format!("`{}` names no image", archive.display()));
            return Err(error.hint("give it a name with `--name`"));
        }
        for image in &stored {
            self.event(&image.id, "load");
        }
        Ok(stored.iter().map(|image| image_of(image, true)).collect())
    }
}

/// What cannot be read is the archive's fault, unless the machine is.
fn of_archive(archive: &Path, error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::Internal | ErrorKind::Invalid => {
            let message = format!("`{}` cannot be loaded: {}", archive.display(), error.message());
            Error::new(ErrorKind::Invalid, "load", message).source(error)
        }
        _ => error,
    }
}
