//! A minimal image of programs, their shared libraries and given files. Programs are read, never run.
//!
//! The same files give the same digest: entries are sorted, belong to root, and have no times; the layer is not compressed.

mod closure;
mod elf;
mod search;
mod tree;

use std::path::{Path, PathBuf};

use hythe_spec::ImageRef;
use serde_json::json;

use crate::error::Local as _;
use crate::store::{Store, Stored, blocking};
use crate::{Error, Kind};

use elf::Object;
use tree::Files;

/// Where programs go; relative search paths of libraries go with them.
const PROGRAMS: &str = "/usr/bin";
const PATH: &str = "PATH=/usr/local/bin:/usr/bin:/bin";
const EPOCH: &str = "1970-01-01T00:00:00Z";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// What an image is packed from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pack {
    /// ELF programs; each goes to `/usr/bin`, with the interpreter and the libraries it names.
    pub binaries: Vec<PathBuf>,
    /// Files, or directories with all that is in them, and where they go (absolute).
    pub files: Vec<(PathBuf, PathBuf)>,
    /// What is run; the first program where this is empty.
    pub entrypoint: Vec<String>,
    /// Variables, each `NAME=value`.
    pub env: Vec<String>,
}

impl Store {
    /// Packs an image and gives it a name. Libraries are looked for as the dynamic linker does it; what is only opened while running (`dlopen`) is not seen, and can
    /// be given as a file.
    ///
    /// # Errors
    /// `NotFound` for an absent file or library, naming it; `Invalid` for what is no ELF program, for programs of several machines, and for two things at one place; `Exhausted`, `Internal`.
    pub async fn pack(&self, request: &Pack, name: &ImageRef) -> Result<Stored, Error> {
        let _using = self.using_async().await?;
        let (store, request, name) = (self.clone(), request.clone(), name.clone());
        blocking(move || {
            let stored = store.packed(&request)?;
            store.name(&stored, Some(name.to_string()))?;
            store.get(&name)
        })
        .await
    }

    fn packed(&self, request: &Pack) -> Result<Stored, Error> {
        let (files, architecture) = gather(request)?;
        let (layer, size) = files.write(self.new_blob()?)?.finish(None)?;
        let entrypoint = if request.entrypoint.is_empty() {
            vec![program(&request.binaries[0])?]
        } else {
            request.entrypoint.clone()
        };
        let has_path = request.env.iter().any(|variable| variable.starts_with("PATH="));
        let path = (!has_path).then(|| PATH.to_owned());
        let env: Vec<_> = path.into_iter().chain(request.env.iter().cloned()).collect();
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "created": EPOCH,
            "config": {"Entrypoint": entrypoint, "Env": env, "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [layer.as_str()]},
            "history": [{"created": EPOCH, "created_by": "hythe image pack"}],
        });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG},
            "layers": [{"mediaType": LAYER, "digest": layer.as_str(), "size": size}],
        });
        self.put_image(&config, manifest, MANIFEST)
    }
}

fn gather(request: &Pack) -> Result<(Files, &'static str), Error> {
    let mut files = Files::default();
    let mut machine = None;
    for binary in &request.binaries {
        let object = Object::read(binary)?;
        if *machine.get_or_insert(object.machine) != object.machine {
            let message = format!("`{}` is for another architecture than the first program", binary.display());
            return Err(Error::new(Kind::Invalid, message));
        }
        closure::add(&mut files, binary, Path::new(&program(binary)?), object)?;
    }
    for (from, there) in &request.files {
        files.add(from, there)?;
    }
    let machine = machine.ok_or_else(|| Error::new(Kind::Invalid, "there is no program to pack"))?;
    let architecture = machine.architecture();
    let unknown = || Error::new(Kind::Invalid, "the first program is for an architecture that has no platform name");
    Ok((files, architecture.ok_or_else(unknown)?))
}

/// Where a program goes.
fn program(binary: &Path) -> Result<String, Error> {
    let whole = std::path::absolute(binary).local("find", binary)?;
    let name = whole.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Error::new(Kind::Invalid, format!("`{}` has no name to go by", binary.display())))?;
    Ok(format!("{PROGRAMS}/{name}"))
}
