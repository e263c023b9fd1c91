//! Writing a layer: an archive whose digest depends on nothing but what is put in.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use tar::{Builder, EntryType, Header};

use crate::unpack::Meta;

const XATTR: &str = "SCHILY.xattr.";

pub(crate) struct LayerWriter<W: Write> {
    builder: Builder<W>,
}

impl<W: Write> LayerWriter<W> {
    pub(crate) fn new(writer: W) -> Self {
        Self { builder: Builder::new(writer) }
    }

    pub(crate) fn finish(self) -> io::Result<W> {
        self.builder.into_inner()
    }

    /// A regular file; `content` has exactly `size` bytes.
    pub(crate) fn file(&mut self, path: &Path, meta: &Meta, size: u64, content: impl Read) -> io::Result<()> {
        let mut header = self.header(meta, EntryType::Regular)?;
        header.set_size(size);
        let mut exact = Exactly { inner: content.take(size), left: size };
        self.builder.append_data(&mut header, path, &mut exact)
    }

    pub(crate) fn directory(&mut self, path: &Path, meta: &Meta) -> io::Result<()> {
        // The name ends with a slash, by which old readers know it.
        let mut name = path.as_os_str().as_bytes().to_vec();
        name.push(b'/');
        self.empty(Path::new(OsStr::from_bytes(&name)), meta, EntryType::Directory)
    }

    pub(crate) fn empty(&mut self, path: &Path, meta: &Meta, kind: EntryType) -> io::Result<()> {
        let mut header = self.header(meta, kind)?;
        self.builder.append_data(&mut header, path, io::empty())
    }

    pub(crate) fn device(&mut self, path: &Path, meta: &Meta, kind: EntryType, number: u64) -> io::Result<()> {
        let mut header = self.header(meta, kind)?;
        header.set_device_major(rustix::fs::major(number))?;
        header.set_device_minor(rustix::fs::minor(number))?;
        self.builder.append_data(&mut header, path, io::empty())
    }

    /// A symbolic or a hard link.
    pub(crate) fn link(&mut self, path: &Path, meta: &Meta, kind: EntryType, to: &Path) -> io::Result<()> {
        let mut header = self.header(meta, kind)?;
        self.builder.append_link(&mut header, path, to)
    }

    fn header(&mut self, meta: &Meta, kind: EntryType) -> io::Result<Header> {
        let mut records: Vec<(String, Vec<u8>)> = Vec::new();
        if meta.mtime.tv_nsec != 0 || meta.mtime.tv_sec < 0 {
            records.push(("mtime".to_owned(), time(meta).into_bytes()));
        }
        for (name, value) in &meta.xattrs {
            records.push((format!("{XATTR}{}", String::from_utf8_lossy(name)), value.clone()));
        }
        self.builder.append_pax_extensions(records.iter().map(|(key, value)| (key.as_str(), value.as_slice())))?;
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_mode(meta.mode);
        header.set_uid(u64::from(meta.uid));
        header.set_gid(u64::from(meta.gid));
        header.set_mtime(u64::try_from(meta.mtime.tv_sec).unwrap_or(0));
        Ok(header)
    }
}

fn time(meta: &Meta) -> String {
    let (seconds, nanoseconds) = (meta.mtime.tv_sec, meta.mtime.tv_nsec);
    match seconds {
        ..0 if nanoseconds > 0 => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanoseconds),
        _ => format!("{seconds}.{nanoseconds:09}"),
    }
}

/// A file that shrinks while it is read must not make an archive that lies.
struct Exactly<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.left -= length as u64;
        if length == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was read"));
        }
        Ok(length)
    }
}
