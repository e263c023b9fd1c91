//! Writing images for other tools.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use hythe_spec::ImageRef;
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};
use tempfile::NamedTempFile;

use crate::digest::{Digest, Hashing};
use crate::error::Local as _;
use crate::store::{Bounded, LAYOUT, Store, Stored, blocking, check};
use crate::unpack::inflate;
use crate::{Error, Kind};

/// How an image is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// An OCI layout in one file, with the table of contents of `docker load` beside it: every engine reads it.
    OciArchive,
    /// What `docker save` has written since 2016: plain layers and `manifest.json`.
    DockerArchive,
    /// An OCI layout directory.
    OciLayout,
}

impl Store {
    /// Writes an image to `to`, which appears once it is whole; a file that is there is replaced, a directory must be empty or absent.
    /// The same image gives the same bytes.
    ///
    /// # Errors
    /// `NotFound` when the image is not in the store; `Exhausted`, `Internal`.
    pub async fn export(&self, image: &ImageRef, to: &Path, format: Format) -> Result<(), Error> {
        let _using = self.using_async().await?;
        let (store, image, to) = (self.clone(), image.clone(), to.to_owned());
        blocking(move || {
            let stored = store.get(&image)?;
            let names = if image.digest.is_none() { vec![image.to_string()] } else { stored.names.clone() };
            match format {
                Format::OciArchive => archived(&to, |archive| store.write_oci(archive, &stored, &names)),
                Format::DockerArchive => archived(&to, |archive| store.write_docker(archive, &stored, &names)),
                Format::OciLayout => store.write_layout(&to, &stored, &names),
            }
        })
        .await
    }

    fn write_oci(&self, archive: &mut Archive<'_>, stored: &Stored, names: &[String]) -> Result<(), Error> {
        archive.bytes("oci-layout", LAYOUT)?;
        archive.bytes("index.json", &index(self, stored, names)?)?;
        let contents = contents(stored)?;
        for directory in ["blobs/", "blobs/sha256/"] {
            archive.entry(directory, EntryType::Directory, 0, io::empty())?;
        }
        for digest in &contents {
            let path = self.blob_path(digest);
            archive.file(&blob_name(digest), &path)?;
        }
        let layers: Result<Vec<_>, _> =
            stored.layers.iter().map(|layer| Digest::parse(&layer.digest).map(|digest| blob_name(&digest))).collect();
        let table = table(&blob_name(&Digest::parse(&stored.id)?), &layers?, names);
        archive.bytes("manifest.json", &table)
    }

    fn write_docker(&self, archive: &mut Archive<'_>, stored: &Stored, names: &[String]) -> Result<(), Error> {
        let id = Digest::parse(&stored.id)?;
        let config = format!("{}.json", id.digits());
        archive.file(&config, &self.blob_path(&id))?;
        let mut layers = Vec::new();
        for layer in &stored.layers {
            let (blob, diff) = (Digest::parse(&layer.digest)?, Digest::parse(&layer.diff_id)?);
            let name = format!("{}.tar", diff.digits());
            if !layers.contains(&name) {
                let plain = self.plain_layer(&blob, &diff)?;
                archive.file(&name, plain.path())?;
            }
            layers.push(name);
        }
        archive.bytes("manifest.json", &table(&config, &layers, names))
    }

    /// The uncompressed archive of a layer; its size must be known before it can be written.
    fn plain_layer(&self, blob: &Digest, diff: &Digest) -> Result<NamedTempFile, Error> {
        let path = self.blob_path(blob);
        let source = inflate(File::open(&path).local("open", &path)?).local("read", &path)?;
        let plain = self.temporary()?;
        let mut source = Hashing::new(source);
        io::copy(&mut source, &mut Bounded::new(plain.as_file(), self.space())).local("inflate", &path)?;
        let (_, found, size) = source.finish();
        check(diff, size, &found, size)?;
        Ok(plain)
    }

    fn write_layout(&self, to: &Path, stored: &Stored, names: &[String]) -> Result<(), Error> {
        let blobs = to.join("blobs/sha256");
        if std::fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_some()) {
            let message = format!("directory `{}` is not empty", to.display());
            return Err(Error::new(Kind::Invalid, message).hint("name one that is empty or does not exist"));
        }
        std::fs::create_dir_all(&blobs).local("make", &blobs)?;
        for digest in contents(stored)? {
            let (from, into) = (self.blob_path(&digest), blobs.join(digest.digits()));
            std::fs::copy(&from, &into).local("write", &into)?;
        }
        let write = |name: &str, bytes: &[u8]| std::fs::write(to.join(name), bytes).local("write", &to.join(name));
        write("oci-layout", LAYOUT)?;
        write("index.json", &index(self, stored, names)?)
    }
}

/// Everything of an image by digest, sorted, each once.
fn contents(stored: &Stored) -> Result<Vec<Digest>, Error> {
    let layers = stored.layers.iter().map(|layer| layer.digest.as_str());
    let digests: Result<Vec<_>, _> = layers.chain([stored.id.as_str(), &stored.digest]).map(Digest::parse).collect();
    let mut digests = digests?;
    digests.sort();
    digests.dedup();
    Ok(digests)
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.digits())
}

fn index(store: &Store, stored: &Stored, names: &[String]) -> Result<Vec<u8>, Error> {
    let path = store.blob_path(&Digest::parse(&stored.digest)?);
    let size = std::fs::metadata(&path).local("look at", &path)?.len();
    let row = || json!({"mediaType": stored.media_type, "digest": stored.digest, "size": size});
    let named = |name: &String| {
        let mut row = row();
        row["annotations"] = json!({"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name});
        row
    };
    let rows: Vec<Value> = if names.is_empty() { vec![row()] } else { names.iter().map(named).collect() };
    Ok(json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": rows})
        .to_string()
        .into_bytes())
}

/// `manifest.json`, by which `docker load` finds its way.
fn table(config: &str, layers: &[String], names: &[String]) -> Vec<u8> {
    let tags: Vec<_> = names.iter().filter(|name| !name.contains('@')).collect();
    json!([{"Config": config, "RepoTags": tags, "Layers": layers}]).to_string().into_bytes()
}

/// An archive in the making.
struct Archive<'a> {
    builder: Builder<BufWriter<&'a File>>,
    path: PathBuf,
}

impl Archive<'_> {
    fn bytes(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.entry(name, EntryType::Regular, bytes.len() as u64, bytes)
    }

    fn file(&mut self, name: &str, from: &Path) -> Result<(), Error> {
        let file = File::open(from).local("open", from)?;
        let size = file.metadata().local("look at", from)?.len();
        self.entry(name, EntryType::Regular, size, file)
    }

    fn entry(&mut self, name: &str, kind: EntryType, size: u64, content: impl Read) -> Result<(), Error> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        self.builder.append_data(&mut header, name, content).local("write", &self.path)
    }
}

fn archived(to: &Path, fill: impl FnOnce(&mut Archive<'_>) -> Result<(), Error>) -> Result<(), Error> {
    plain_file(to, |file| {
        let mut archive = Archive { builder: Builder::new(BufWriter::new(file)), path: to.to_owned() };
        fill(&mut archive)?;
        archive.builder.into_inner().and_then(|mut writer| writer.flush()).local("write", to)
    })
}

/// Writes a file beside its place and renames it.
fn plain_file(to: &Path, fill: impl FnOnce(&File) -> Result<(), Error>) -> Result<(), Error> {
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = tempfile::Builder::new().permissions(readable()).tempfile_in(parent).local("make a file in", parent)?;
    fill(file.as_file())?;
    file.as_file().sync_all().local("sync", to)?;
    file.persist(to).map_err(|error| error.error).local("write", to)?;
    Ok(())
}

fn readable() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}
