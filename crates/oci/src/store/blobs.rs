//! Content by digest: written to a temporary file, synced, and renamed into place; what is in place is whole.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use super::{Bounded, DOCUMENT_LIMIT, Store, invalid_image};
use crate::digest::{Digest, Hashing};
use crate::error::Local as _;
use crate::{Error, Kind};

impl Store {
    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.digits())
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.at("blobs/sha256")
    }

    /// Whether the whole blob is here; a file of another size is not it.
    pub(crate) fn has_blob(&self, digest: &Digest, size: u64) -> bool {
        std::fs::metadata(self.blob_path(digest)).is_ok_and(|found| found.len() == size)
    }

    /// A small blob, whole and undamaged.
    pub(crate) fn read_blob(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let path = self.blob_path(digest);
        if std::fs::metadata(&path).is_ok_and(|found| found.len() > DOCUMENT_LIMIT) {
            return Err(invalid_image(digest, "it is larger than any manifest or configuration"));
        }
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::new(Kind::NotFound, format!("the image store has no content `{digest}`"))
                    .hint("pull or import the image again"));
            }
            read => read.local("read", &path)?,
        };
        let found = Digest::of(&bytes);
        if found == *digest {
            return Ok(bytes);
        }
        Err(Error::new(Kind::Invalid, format!("content `{digest}` is damaged on disk: its digest is `{found}`"))
            .hint("pull or import the image again"))
    }

    /// Removes a blob that the disk has damaged since it was written, so that it can be fetched again; says whether it was.
    pub(crate) fn discard_damaged(&self, digest: &Digest) -> Result<bool, Error> {
        let path = self.blob_path(digest);
        let Ok(file) = File::open(&path) else {
            return Ok(false);
        };
        let mut source = Hashing::new(file);
        io::copy(&mut source, &mut io::sink()).local("read", &path)?;
        if source.finish().1 == *digest {
            return Ok(false);
        }
        tracing::warn!(%digest, "content of the image store was damaged and is fetched again");
        std::fs::remove_file(&path).local("remove", &path)?;
        Ok(true)
    }

    pub(crate) fn put_blob(&self, bytes: &[u8]) -> Result<Digest, Error> {
        let mut writer = self.new_blob()?;
        writer.write_all(bytes).local("write", &self.blobs())?;
        Ok(writer.finish(None)?.0)
    }

    pub(crate) fn new_blob(&self) -> Result<BlobWriter, Error> {
        let path = TempPath::try_from_path(self.session().path()).local("use", &self.blobs())?;
        let file = File::create_new(&path).local("make", &path)?;
        Ok(BlobWriter {
            store: self.clone(),
            path,
            writer: Hashing::new(BufWriter::new(Bounded::new(file, self.space()))),
        })
    }

    /// Copies `source` into the store; `expected` is what it must be.
    pub(crate) fn copy_blob(
        &self,
        source: &mut dyn Read,
        expected: Option<(&Digest, u64)>,
    ) -> Result<(Digest, u64), Error> {
        let mut writer = self.new_blob()?;
        let limit = expected.map_or(u64::MAX, |(_, size)| size.saturating_add(1));
        io::copy(&mut source.take(limit), &mut writer).local("copy into", &self.blobs())?;
        writer.finish(expected)
    }

    /// Puts a whole, hashed file into its place. The place itself is synced once, before the index refers to it.
    pub(crate) fn publish_blob(&self, file: &File, from: &Path, digest: &Digest) -> Result<(), Error> {
        file.sync_data().local("sync", from)?;
        let to = self.blob_path(digest);
        std::fs::rename(from, &to).local("rename into place", &to)
    }
}

/// A blob being written; a value dropped unfinished leaves nothing behind.
pub(crate) struct BlobWriter {
    store: Store,
    path: TempPath,
    writer: Hashing<BufWriter<Bounded<File>>>,
}

impl BlobWriter {
    pub(crate) fn finish(mut self, expected: Option<(&Digest, u64)>) -> Result<(Digest, u64), Error> {
        self.writer.flush().local("write", &self.path)?;
        let (file, digest, size) = self.writer.finish();
        if let Some((wanted, wanted_size)) = expected {
            check(wanted, wanted_size, &digest, size)?;
        }
        self.store.publish_blob(file.get_ref().get_ref(), &self.path, &digest)?;
        Ok((digest, size))
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Whether content is what its descriptor says.
pub(crate) fn check(wanted: &Digest, wanted_size: u64, digest: &Digest, size: u64) -> Result<(), Error> {
    if size != wanted_size {
        let how = if size > wanted_size { "more" } else { "fewer" };
        return Err(Error::new(
            Kind::Invalid,
            format!("content `{wanted}` has {how} bytes than the {wanted_size} its descriptor says"),
        ));
    }
    if wanted != digest {
        return Err(Error::new(Kind::Invalid, format!("content `{wanted}` is damaged: its digest is `{digest}`")));
    }
    Ok(())
}

pub(super) fn sync_directory(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|directory| directory.sync_all()).local("sync", path)
}

/// Replaces a small file so that readers, and a crash, see the old one or the new one.
pub(crate) fn replace_file(path: &Path, temporary: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut file = File::create(temporary).local("make", temporary)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).local("write", temporary)?;
    std::fs::rename(temporary, path).local("rename into place", path)?;
    path.parent().map_or(Ok(()), sync_directory)
}
