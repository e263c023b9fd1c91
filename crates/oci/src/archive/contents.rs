//! What an archive calls its images, read without taking them in.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use oci_spec::image::ImageIndex;
use serde::de::DeserializeOwned;

use super::import::{Row, is_foreign, names};
use crate::error::Local as _;
use crate::store::DOCUMENT_LIMIT;
use crate::unpack::inflate;
use crate::{Error, Kind};

const INDEX: &str = "index.json";
const TABLE: &str = "manifest.json";

/// Checks that exactly one image of an archive has no name in it, so that it can be given one. Blocking; reads the archive to its end.
///
/// # Errors
/// `Invalid` where none or several have no name, or for what is no archive of images; `NotFound` for a path that is absent; `Internal`.
pub fn check_one_unnamed(archive: &Path) -> Result<(), Error> {
    let invalid = |what: String| Error::new(Kind::Invalid, format!("`{}` {what}", archive.display()));
    let mut images = images(archive)?;
    let all = images.len();
    let named: Vec<String> = images.extract_if(.., |names| !names.is_empty()).flatten().collect();
    match images.len() {
        1 => Ok(()),
        0 if named.is_empty() => Err(invalid("has no image for this platform".to_owned())),
        0 => Err(invalid(format!("has no image without a name: it has `{}`", named.join("`, `")))
            .hint("load it as it is, and give an image one more name with `hythe images tag`")),
        unnamed => Err(invalid(format!("has {unnamed} images without a name (of {all}), and one name was given"))
            .hint("name them where the archive is written, or save one image in each archive")),
    }
}

/// The names of each image.
fn images(archive: &Path) -> Result<Vec<Vec<String>>, Error> {
    let Documents { index, table } = Documents::read(archive)?;
    if let Some(bytes) = index {
        let index: ImageIndex = parse(archive, INDEX, &bytes)?;
        let mut images: Vec<(String, Vec<String>)> = Vec::new();
        for row in index.manifests().iter().filter(|row| !is_foreign(row)) {
            let (digest, names) = (row.digest().to_string(), names(row)?);
            match images.iter_mut().find(|(other, _)| *other == digest) {
                Some((_, known)) => known.extend(names),
                None => images.push((digest, names)),
            }
        }
        return Ok(images.into_iter().map(|(_, names)| names).collect());
    }
    let table = table.ok_or_else(|| {
        let words = format!("`{}` has neither `{INDEX}` nor `{TABLE}`", archive.display());
        Error::new(Kind::Invalid, words).hint("an `oci-archive` or a `docker-archive` is wanted")
    })?;
    let rows: Vec<Row> = parse(archive, TABLE, &table)?;
    Ok(rows.into_iter().map(|row| row.tags.unwrap_or_default()).collect())
}

fn parse<T: DeserializeOwned>(archive: &Path, what: &str, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| {
        Error::new(Kind::Invalid, format!("`{what}` of `{}` cannot be read: {error}", archive.display()))
    })
}

#[derive(Default)]
struct Documents {
    index: Option<Vec<u8>>,
    table: Option<Vec<u8>>,
}

impl Documents {
    fn read(archive: &Path) -> Result<Self, Error> {
        let metadata = match std::fs::metadata(archive) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::new(Kind::NotFound, format!("there is no `{}`", archive.display())));
            }
            found => found.local("look at", archive)?,
        };
        if metadata.is_dir() {
            let document = |name| File::open(archive.join(name)).ok().map(bounded).transpose();
            return Ok(Self {
                index: document(INDEX).local("read", archive)?,
                table: document(TABLE).local("read", archive)?,
            });
        }
        let file = File::open(archive).local("open", archive)?;
        Self::of_tar(file).map_err(|error| {
            Error::new(Kind::Invalid, format!("`{}` cannot be read as an archive: {error}", archive.display()))
        })
    }

    fn of_tar(file: File) -> io::Result<Self> {
        let mut found = Self::default();
        for entry in tar::Archive::new(inflate(file)?).entries()? {
            let entry = entry?;
            let path = entry.path()?.into_owned();
            match path.strip_prefix("./").unwrap_or(&path).to_str() {
                Some(INDEX) => found.index = Some(bounded(entry)?),
                Some(TABLE) => found.table = Some(bounded(entry)?),
                _ => {}
            }
        }
        Ok(found)
    }
}

fn bounded(source: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(DOCUMENT_LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > DOCUMENT_LIMIT {
        return Err(io::Error::other("its table of contents is too large"));
    }
    Ok(bytes)
}
