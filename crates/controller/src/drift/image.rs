//! The image an instance runs, and what a plan leaves to it.

use hythe_runtime::{Image, ImageConfig, Observed};
use hythe_spec::vocabulary::DriftCause;
use hythe_spec::{ImageRef, Signal};
use serde_json::json;

use super::found::Found;

/// The image's name means another image by now, or the instance was made from another name.
pub(super) fn moved(name: &ImageRef, seen: &Observed, image: Option<&Image>, found: &mut Found) {
    let (Some(image), Some(runs)) = (image, &seen.image_id) else {
        return;
    };
    if image.id == *runs {
        return;
    }
    if is_named(name, &seen.image) {
        found.push("image", json!(image.id), json!(runs), DriftCause::ImageMoved);
    } else {
        found.push("image", json!(name.to_string()), json!(seen.image), DriftCause::Modified);
    }
}

/// Whether the words an engine keeps of an image say this name; where they are an id, that is unknown.
fn is_named(name: &ImageRef, words: &str) -> bool {
    let Ok(other) = words.parse::<ImageRef>() else {
        return true;
    };
    let version = |image: &ImageRef| image.digest.clone().or_else(|| image.tag.clone());
    name.repository() == other.repository() && version(name) == version(&other)
}

/// No directory is the root.
pub(super) fn directory(path: Option<&String>) -> String {
    let path = path.map_or("/", |path| path.trim_end_matches('/'));
    if path.is_empty() { "/".to_owned() } else { path.to_owned() }
}

/// What an instance has from its image, where that is known: of an image that has moved it is not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inherited<'a>(Option<&'a ImageConfig>);

impl<'a> Inherited<'a> {
    pub(super) fn of(seen: &Observed, image: Option<&'a Image>) -> Self {
        Self(image.filter(|image| Some(&image.id) == seen.image_id.as_ref()).and_then(|image| image.config.as_ref()))
    }

    pub(super) const fn config(self) -> Option<&'a ImageConfig> {
        self.0
    }

    pub(super) fn entrypoint(self, asked: Option<&'a Vec<String>>) -> Option<&'a Vec<String>> {
        asked.or(self.0.map(|config| &config.entrypoint))
    }

    /// An entrypoint of the plan drops the image's command.
    pub(super) fn command(self, own_entrypoint: bool, asked: Option<&Vec<String>>) -> Option<Vec<String>> {
        match (asked, own_entrypoint) {
            (Some(asked), _) => Some(asked.clone()),
            (None, true) => Some(Vec::new()),
            (None, false) => self.0.map(|config| config.command.clone()),
        }
    }

    pub(super) fn user(self, asked: Option<&String>) -> Option<Option<String>> {
        asked.map(|asked| Some(asked.clone())).or(self.0.map(|config| config.user.clone()))
    }

    pub(super) fn workdir(self, asked: Option<&String>) -> Option<String> {
        let asked = asked.map(|asked| directory(Some(asked)));
        asked.or(self.0.map(|config| directory(config.workdir.as_ref())))
    }

    pub(super) fn stop_signal(self, asked: Option<Signal>) -> Option<Signal> {
        asked.or(self.0.map(|config| config.stop_signal.unwrap_or(Signal::TERM)))
    }
}
