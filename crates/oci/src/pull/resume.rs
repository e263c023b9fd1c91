//! A download on disk: it outlives its process, and a later one goes on from where it ended.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::tail_reader::Tail;
use crate::digest::Digest;
use crate::error::Local as _;
use crate::store::{Lock, Space, Store, check};
use crate::{Error, Kind};

const BUFFER: usize = 256 << 10;

/// What the writer is told.
pub(crate) enum Write {
    Append(Bytes),
    /// What is there is of no use.
    Restart,
}

/// Held by one writer at a time, over all processes.
pub(crate) struct Resume {
    path: PathBuf,
    file: File,
    hash: Sha256,
    pub(crate) length: u64,
    pub(crate) tail: Arc<Tail>,
    space: Space,
    _turn: Lock,
}

impl Resume {
    /// Opens what an earlier pull left, or begins. Blocks.
    pub(crate) fn open(store: &Store, digest: &Digest, size: u64, turn: Lock) -> Result<Self, Error> {
        let path = store.at("ingest").join(digest.digits());
        let file =
            File::options().create(true).truncate(false).read(true).write(true).open(&path).local("open", &path)?;
        let (tail, space) = (Arc::default(), store.space());
        let mut partial = Self { path, file, hash: Sha256::new(), length: 0, tail, space, _turn: turn };
        partial.read_back()?;
        if partial.length > size {
            partial.clear()?;
        }
        partial.tail.advance(partial.length);
        Ok(partial)
    }

    pub(crate) fn path(&self) -> &PathBuf {
        &self.path
    }

    fn read_back(&mut self) -> Result<(), Error> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let length = self.file.read(&mut buffer).local("read", &self.path)?;
            if length == 0 {
                return Ok(());
            }
            self.hash.update(&buffer[..length]);
            self.length += length as u64;
        }
    }

    fn clear(&mut self) -> Result<(), Error> {
        self.file.set_len(0).local("empty", &self.path)?;
        std::io::Seek::rewind(&mut self.file).local("rewind", &self.path)?;
        self.hash = Sha256::new();
        self.length = 0;
        Ok(())
    }

    /// Writes what comes until the sender is gone. Blocks. On a full disk what was written is of more use as free space.
    pub(crate) fn write(mut self, orders: mpsc::Receiver<Write>) -> Result<Self, Error> {
        match self.write_all(orders) {
            Err(error) if error.kind() == Kind::Exhausted => {
                std::fs::remove_file(&self.path).ok();
                Err(error)
            }
            written => written.map(|()| self),
        }
    }

    fn write_all(&mut self, mut orders: mpsc::Receiver<Write>) -> Result<(), Error> {
        while let Some(order) = orders.blocking_recv() {
            match order {
                Write::Append(bytes) => {
                    self.space.take(bytes.len() as u64).local("write", &self.path)?;
                    self.file.write_all(&bytes).local("write", &self.path)?;
                    self.hash.update(&bytes);
                    self.length += bytes.len() as u64;
                    self.tail.advance(self.length);
                }
                Write::Restart => {
                    self.tail.give_up();
                    self.clear()?;
                }
            }
        }
        Ok(())
    }

    /// Puts the whole download into the store; one that is not what it should be is removed. Blocks.
    pub(crate) fn finish(self, store: &Store, digest: &Digest, size: u64) -> Result<(), Error> {
        let found = Digest::from_hash(self.hash.clone());
        if let Err(error) = check(digest, size, &found, self.length) {
            std::fs::remove_file(&self.path).local("remove", &self.path)?;
            return Err(error);
        }
        self.tail.finish();
        store.publish_blob(&self.file, &self.path, digest)
    }
}

impl Drop for Resume {
    fn drop(&mut self) {
        // Whoever reads along must not wait for what will not come.
        self.tail.give_up();
    }
}
