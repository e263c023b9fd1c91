//! Images from an archive.

use std::path::Path;

use hythe_runtime::{Error, ErrorKind, Image, Images as _, OpContext, ProgressSink, Result};
use hythe_spec::ImageRef;

use crate::client::{About, until_deadline};
use crate::driver::Podman;
use crate::error::{self, of_registry};
use crate::images::{Told, transferred};

impl Podman {
    pub(crate) async fn load_archive(
        &self,
        cx: &OpContext,
        archive: &Path,
        name: Option<&ImageRef>,
        progress: &ProgressSink,
    ) -> Result<Vec<Image>> {
        let path = archive.display().to_string();
        let about = About { operation: "load", subject: &path };
        if name.is_some() {
            check_one_unnamed(cx, about, archive).await?;
        }
        let naming = until_deadline(cx, about, self.image_names.lock()).await?;
        let call: Vec<String> = vec!["load".to_owned(), format!("--input={path}")];
        let told = self.told(cx, about, call.into(), progress, transferred).await?;
        drop(naming);
        if told.code != 0 {
            return Err(no_archive(about, &told));
        }
        let mut images = Vec::new();
        for found in loaded(&told.stdout) {
            images.push(self.get(cx, &found).await?);
        }
        if let Some(name) = name {
            let [id] = unnamed(&told.stdout)[..] else {
                let words = format!("`{path}`: podman found no image without a name");
                return Err(Error::new(ErrorKind::Invalid, about.operation, words));
            };
            let about = About { operation: "load", subject: id };
            self.give_name(cx, about, name).await?;
            images.push(self.get(cx, name).await?);
        }
        if images.is_empty() {
            let error = Error::new(ErrorKind::Invalid, about.operation, format!("`{path}` names no image"));
            return Err(error.hint("give it a name with `--name`"));
        }
        Ok(images)
    }
}

/// `Loaded image: a` for each; older versions say `Loaded image(s): a,b`. Without a name it is the id.
fn words_of_load(stdout: &str) -> impl Iterator<Item = &str> {
    let names = stdout.lines().filter_map(|line| line.strip_prefix("Loaded image")?.split_once(": "));
    names.flat_map(|(_, names)| names.split(',')).map(str::trim)
}

fn loaded(stdout: &str) -> Vec<ImageRef> {
    words_of_load(stdout).filter(|word| !is_id(word)).filter_map(|name| name.parse().ok()).collect()
}

fn unnamed(stdout: &str) -> Vec<&str> {
    words_of_load(stdout).filter(|word| is_id(word)).collect()
}

fn is_id(word: &str) -> bool {
    let digits = word.strip_prefix("sha256:").unwrap_or(word);
    digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Before podman is given anything.
async fn check_one_unnamed(cx: &OpContext, about: About<'_>, archive: &Path) -> Result<()> {
    let archive = archive.to_owned();
    let check = tokio::task::spawn_blocking(move || hythe_oci::check_one_unnamed(&archive));
    let lost =
        |error| Error::new(ErrorKind::Internal, about.operation, "the archive was not read to its end").source(error);
    until_deadline(cx, about, check).await?.map_err(lost)?.map_err(|error| of_registry(about, error))
}

/// What podman cannot read is the archive's fault unless its words say otherwise.
fn no_archive(about: About<'_>, told: &Told) -> Error {
    let known = error::translate(about, told.code, &told.stderr);
    match known.kind() {
        ErrorKind::Unavailable | ErrorKind::Exhausted if error::is_known(&told.stderr) => known,
        _ => {
            let words = format!("`{}` cannot be loaded: {}", about.subject, error::words(&told.stderr));
            Error::new(ErrorKind::Invalid, about.operation, words)
        }
    }
}
