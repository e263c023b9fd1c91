//! Images from an archive as `docker save` writes it (Docker Image Specification v1.2, "Combined Image JSON + Filesystem Changeset Format").

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use hythe_runtime::{Error, ErrorKind, ImageConfig, ImageHealth, Result};
use hythe_spec::ImageRef;
use serde::Deserialize;

use crate::catalogue::Content;
use crate::files::{Node, Tree};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Manifest {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Configuration {
    #[serde(default)]
    config: Option<Process>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Process {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    user: String,
    working_dir: String,
    stop_signal: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    healthcheck: serde_json::Value,
}

/// The images with their names; `name` is that of the one that has none.
pub(crate) fn read(path: &Path, name: Option<&ImageRef>) -> Result<Vec<(Content, Vec<ImageRef>)>> {
    let named = |words: &str| invalid(format!("`{}` cannot be loaded: {words}", path.display()));
    let file = File::open(path).map_err(|error| named(&error.to_string()))?;
    let members = members(file).map_err(|error| named(&error.to_string()))?;
    let member = |name: &str| members.get(name).ok_or_else(|| named(&format!("it has no `{name}`")));
    let manifests: Vec<Manifest> =
        serde_json::from_slice(member("manifest.json")?).map_err(|error| named(&error.to_string()))?;
    let mut images = Vec::new();
    for manifest in manifests {
        let configuration: Configuration =
            serde_json::from_slice(member(&manifest.config)?).map_err(|error| named(&error.to_string()))?;
        let mut tree = Tree::default();
        for layer in &manifest.layers {
            unpack(member(layer)?, &mut tree).map_err(|error| named(&error.to_string()))?;
        }
        let names: Vec<ImageRef> =
            manifest.repo_tags.unwrap_or_default().iter().filter_map(|name| name.parse().ok()).collect();
        let config = configuration.config.unwrap_or_default().image_config();
        images.push((Content { config, tree, platform: None }, names));
    }
    if let Some(name) = name {
        let mut unnamed: Vec<&mut Vec<ImageRef>> =
            images.iter_mut().map(|(_, names)| names).filter(|names| names.is_empty()).collect();
        let count = unnamed.len();
        let [only] = unnamed.as_mut_slice() else {
            return Err(invalid(format!("`{}` has {count} images without a name, for one name", path.display())));
        };
        only.push(name.clone());
    }
    if images.iter().all(|(_, names)| names.is_empty()) {
        return Err(invalid(format!("`{}` names no image", path.display())));
    }
    Ok(images)
}

fn invalid(words: String) -> Error {
    Error::new(ErrorKind::Invalid, "load", words)
}

fn members(file: File) -> std::io::Result<HashMap<String, Vec<u8>>> {
    let mut members = HashMap::new();
    for entry in tar::Archive::new(file).entries()? {
        let mut entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        members.insert(name, bytes);
    }
    Ok(members)
}

fn unpack(layer: &[u8], tree: &mut Tree) -> std::io::Result<()> {
    for entry in tar::Archive::new(layer).entries()? {
        let mut entry = entry?;
        let path = format!("/{}", entry.path()?.to_string_lossy().trim_matches('/'));
        if entry.header().entry_type().is_dir() {
            tree.put(&path, Node::Directory);
        } else if entry.header().entry_type().is_file() {
            let executable = entry.header().mode()? & 0o111 != 0;
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            tree.put_file(&path, &bytes, executable);
        }
    }
    Ok(())
}

impl Process {
    fn image_config(self) -> ImageConfig {
        let filled = |text: String| (!text.is_empty()).then_some(text);
        let pairs = self.env.unwrap_or_default();
        ImageConfig {
            entrypoint: self.entrypoint.unwrap_or_default(),
            command: self.cmd.unwrap_or_default(),
            env: pairs
                .iter()
                .filter_map(|pair| pair.split_once('='))
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .collect(),
            user: filled(self.user),
            workdir: filled(self.working_dir),
            stop_signal: self.stop_signal.and_then(|signal| signal.parse().ok()),
            labels: self.labels.unwrap_or_default(),
            health: ImageHealth::read(&self.healthcheck),
        }
    }
}
