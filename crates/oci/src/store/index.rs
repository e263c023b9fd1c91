//! `index.json`: which images there are and what they are called.

use std::collections::HashMap;
use std::io::ErrorKind;

use hythe_spec::ImageRef;
use oci_spec::image::{Descriptor, ImageIndex, MediaType};

use super::{Lock, Store, blobs};
use crate::digest::Digest;
use crate::error::Local as _;
use crate::{Error, Kind};

const NAME: &str = "org.opencontainers.image.ref.name";
/// Digest of the index that the manifest was chosen from.
const CHOSEN_FROM: &str = "hythe.chosen-from";

/// One line of the index: a manifest, under one name or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) manifest: Digest,
    pub(crate) media_type: String,
    pub(crate) size: u64,
    pub(crate) chosen_from: Option<Digest>,
    pub(crate) name: Option<String>,
}

impl Row {
    /// `None` for what is not ours to read: other tools may write what they like.
    fn read(descriptor: &Descriptor) -> Option<Self> {
        let note = |key| descriptor.annotations().as_ref().and_then(|notes| notes.get(key)).cloned();
        Some(Self {
            manifest: Digest::parse(descriptor.digest().as_ref()).ok()?,
            media_type: descriptor.media_type().to_string(),
            size: descriptor.size(),
            chosen_from: note(CHOSEN_FROM).and_then(|digest| Digest::parse(&digest).ok()),
            name: note(NAME),
        })
    }

    fn write(&self) -> Result<Descriptor, Error> {
        let digest: oci_spec::image::Digest = self
            .manifest
            .as_str()
            .parse()
            .map_err(|error| Error::new(Kind::Invalid, format!("`{}` is no digest: {error}", self.manifest)))?;
        let mut descriptor = Descriptor::new(MediaType::from(self.media_type.as_str()), self.size, digest);
        let name = self.name.clone().map(|name| (NAME.to_owned(), name));
        let from = self.chosen_from.as_ref().map(|digest| (CHOSEN_FROM.to_owned(), digest.to_string()));
        let notes: HashMap<_, _> = name.into_iter().chain(from).collect();
        descriptor.set_annotations((!notes.is_empty()).then_some(notes));
        Ok(descriptor)
    }

    /// Whether two rows are about one image, whatever their names.
    pub(crate) fn same_image(&self, other: &Self) -> bool {
        self.manifest == other.manifest
    }
}

impl Store {
    pub(crate) fn rows(&self) -> Result<Vec<Row>, Error> {
        Ok(self.read_index()?.manifests().iter().filter_map(Row::read).collect())
    }

    /// Changes the index as one step, whoever else does the same.
    pub(crate) fn change_rows<T>(&self, change: impl FnOnce(&mut Vec<Row>) -> Result<T, Error>) -> Result<T, Error> {
        let _lock = Lock::exclusive(&self.lock_path("index"))?;
        let mut index = self.read_index()?;
        let before: Vec<_> = index.manifests().iter().filter_map(Row::read).collect();
        let mut rows = before.clone();
        let outcome = change(&mut rows)?;
        if rows != before || !self.at("index.json").exists() {
            blobs::sync_directory(&self.blobs())?;
            index.set_manifests(rows.iter().map(Row::write).collect::<Result<_, _>>()?);
            let text = index.to_string().map_err(|error| self.broken_index(&error))?;
            blobs::replace_file(&self.at("index.json"), &self.session().path(), text.as_bytes())?;
        }
        Ok(outcome)
    }

    /// Gives an image a name, which another image may lose by it: the other stays without one.
    pub(crate) fn name_row(&self, row: Row) -> Result<(), Error> {
        self.change_rows(|rows| {
            if let Some(name) = &row.name {
                release(rows, name);
            }
            rows.retain(|other| !other.same_image(&row) || (other.name.is_some() && row.name != other.name));
            rows.push(row);
            Ok(())
        })
    }

    fn read_index(&self) -> Result<ImageIndex, Error> {
        let path = self.at("index.json");
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| self.broken_index(&error)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let mut index = ImageIndex::default();
                index.set_media_type(Some(MediaType::ImageIndex));
                Ok(index)
            }
            Err(error) => Err(error).local("read", &path),
        }
    }

    fn broken_index(&self, error: &dyn std::fmt::Display) -> Error {
        let path = self.at("index.json");
        Error::new(Kind::Invalid, format!("`{}` is not the index of an image store: {error}", path.display()))
            .hint("move it away and pull the images again; their content is kept")
    }
}

/// Takes a name away. The image keeps a row without a name if that was its last one, so that `gc` can judge it.
pub(crate) fn release(rows: &mut Vec<Row>, name: &str) -> bool {
    let Some(at) = rows.iter().position(|row| row.name.as_deref() == Some(name)) else {
        return false;
    };
    let mut row = rows.remove(at);
    if !rows.iter().any(|other| other.same_image(&row)) {
        row.name = None;
        rows.push(row);
    }
    true
}

/// The name under which an image is kept: what the reference says, tag or digest included.
pub(crate) fn name_of(image: &ImageRef) -> String {
    image.to_string()
}
