//! Images made in the test, and a registry in the test that can be told to misbehave.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::write::GzEncoder;
use hythe_oci::{Registry, RegistryConfig, Store};
use hythe_spec::ImageRef;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const GZIP_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

pub(crate) fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    format!("sha256:{}", hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An archive, entry by entry; names are written as they are, sane or not.
pub(crate) struct Archive {
    builder: Builder<Vec<u8>>,
}

impl Archive {
    pub(crate) fn new() -> Self {
        Self { builder: Builder::new(Vec::new()) }
    }

    pub(crate) fn entry(mut self, kind: EntryType, name: &str, mode: u32, link: &str, data: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_600_000_000);
        header.set_size(data.len() as u64);
        header.set_device_major(1).unwrap();
        header.set_device_minor(3).unwrap();
        header.set_cksum();
        self.builder.append(&header, data).unwrap();
        self
    }

    pub(crate) fn file(self, name: &str, data: &[u8]) -> Self {
        self.entry(EntryType::Regular, name, 0o644, "", data)
    }

    pub(crate) fn directory(self, name: &str) -> Self {
        self.entry(EntryType::Directory, name, 0o755, "", b"")
    }

    pub(crate) fn symlink(self, name: &str, to: &str) -> Self {
        self.entry(EntryType::Symlink, name, 0o777, to, b"")
    }

    pub(crate) fn hard_link(self, name: &str, to: &str) -> Self {
        self.entry(EntryType::Link, name, 0o644, to, b"")
    }

    /// Extended headers for the entry that follows.
    pub(crate) fn extended(mut self, records: &[(&str, &[u8])]) -> Self {
        self.builder.append_pax_extensions(records.iter().map(|(key, value)| (*key, *value))).unwrap();
        self
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.builder.into_inner().unwrap()
    }
}

/// An image as a registry serves it.
pub(crate) struct Image {
    pub(crate) manifest: Vec<u8>,
    pub(crate) media_type: &'static str,
    pub(crate) config: Vec<u8>,
    /// As stored, mostly compressed.
    pub(crate) layers: Vec<Vec<u8>>,
}

impl Image {
    /// Of plain archives, each compressed with gzip.
    pub(crate) fn of(archives: &[Vec<u8>]) -> Self {
        Self::with(archives.iter().map(|plain| (plain.clone(), gzip(plain), GZIP_LAYER)).collect())
    }

    /// Of plain archives with their stored form and media type.
    pub(crate) fn with(layers: Vec<(Vec<u8>, Vec<u8>, &str)>) -> Self {
        let diffs: Vec<_> = layers.iter().map(|(plain, ..)| digest(plain)).collect();
        let config = json!({
            "architecture": if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" }, "os": "linux",
            "config": {"Env": ["A=1"], "Cmd": ["/app"]},
            "rootfs": {"type": "layers", "diff_ids": diffs},
        });
        let config = serde_json::to_vec(&config).unwrap();
        let rows: Vec<_> = layers
            .iter()
            .map(|(_, stored, kind)| json!({"mediaType": kind, "digest": digest(stored), "size": stored.len()}))
            .collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "layers": rows,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(&config), "size": config.len()},
        });
        let stored = layers.into_iter().map(|(_, stored, _)| stored).collect();
        Self { manifest: serde_json::to_vec(&manifest).unwrap(), media_type: MANIFEST, config, layers: stored }
    }

    pub(crate) fn digest(&self) -> String {
        digest(&self.manifest)
    }
}

/// What a registry does wrong about a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Breaks off after so many bytes of the body.
    Cut(usize),
    /// Sends the whole where a part was asked for.
    NoRange,
    /// Turns one bit of the body.
    Flip,
    /// Waits for [`Hub::release`].
    Hold,
}

#[derive(Default)]
struct Shelf {
    /// Body and content type by path.
    items: HashMap<String, (Vec<u8>, String)>,
    /// Faults by path, used up in order.
    faults: HashMap<String, Vec<Fault>>,
    /// `GET path range`.
    asked: Vec<String>,
    released: bool,
}

/// A registry inside the test.
#[derive(Clone)]
pub(crate) struct Hub {
    pub(crate) address: String,
    shelf: Arc<(Mutex<Shelf>, std::sync::Condvar)>,
}

impl Hub {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let hub = Self { address: listener.local_addr().unwrap().to_string(), shelf: Arc::default() };
        let server = hub.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let server = server.clone();
                std::thread::spawn(move || server.answer(stream));
            }
        });
        hub
    }

    pub(crate) fn put(&self, path: &str, body: &[u8], kind: &str) {
        self.shelf.0.lock().unwrap().items.insert(path.to_owned(), (body.to_vec(), kind.to_owned()));
    }

    /// Shelves an image as `app:<tag>`.
    pub(crate) fn add(&self, tag: &str, image: &Image) -> ImageRef {
        for blob in image.layers.iter().chain([&image.config]) {
            self.put(&blob_path(blob), blob, "application/octet-stream");
        }
        for version in [tag, &image.digest()] {
            self.put(&format!("/v2/app/manifests/{version}"), &image.manifest, image.media_type);
        }
        self.name(tag)
    }

    pub(crate) fn name(&self, tag: &str) -> ImageRef {
        format!("{}/app:{tag}", self.address).parse().unwrap()
    }

    pub(crate) fn fail(&self, path: &str, faults: &[Fault]) {
        self.shelf.0.lock().unwrap().faults.insert(path.to_owned(), faults.to_vec());
    }

    pub(crate) fn take(&self, path: &str) {
        self.shelf.0.lock().unwrap().items.remove(path);
    }

    pub(crate) fn release(&self) {
        self.shelf.0.lock().unwrap().released = true;
        self.shelf.1.notify_all();
    }

    /// Waits until somebody has asked for a path.
    pub(crate) async fn until_asked(&self, path: &str) {
        let (hub, path) = (self.clone(), path.to_owned());
        let waited = tokio::task::spawn_blocking(move || {
            let unasked = |shelf: &mut Shelf| !shelf.asked.iter().any(|asked| asked.contains(&path));
            drop(hub.shelf.1.wait_while(hub.shelf.0.lock().unwrap(), unasked).unwrap());
        });
        waited.await.unwrap();
    }

    /// What was asked about a path.
    pub(crate) fn asked(&self, path: &str) -> Vec<String> {
        self.shelf.0.lock().unwrap().asked.iter().filter(|asked| asked.contains(path)).cloned().collect()
    }

    fn answer(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut range = String::new();
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or(0) == 0 || header.trim().is_empty() {
                break;
            }
            if let Some(value) = header.to_lowercase().strip_prefix("range: ") {
                range = value.trim().to_owned();
            }
        }
        self.reply(reader.into_inner(), &path, &range).ok();
    }

    fn reply(&self, mut stream: TcpStream, path: &str, range: &str) -> std::io::Result<()> {
        let (item, fault) = {
            let mut shelf = self.shelf.0.lock().unwrap();
            shelf.asked.push(format!("GET {path} {range}"));
            self.shelf.1.notify_all();
            let faults = shelf.faults.get_mut(path).filter(|faults| !faults.is_empty());
            let fault = faults.map(|faults| faults.remove(0));
            (shelf.items.get(path).cloned(), fault)
        };
        if path == "/v2/" {
            return write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{}}");
        }
        let Some((mut body, kind)) = item else {
            let words = "{\"errors\":[{\"code\":\"UNKNOWN\",\"message\":\"unknown\"}]}";
            let head = "HTTP/1.1 404 Not Found\r\nConnection: close";
            return write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{words}", words.len());
        };
        if fault == Some(Fault::Flip) {
            body[0] ^= 1;
        }
        if fault == Some(Fault::Hold) {
            let held = self.shelf.1.wait_while(self.shelf.0.lock().unwrap(), |shelf| !shelf.released);
            drop(held);
        }
        let from = range.strip_prefix("bytes=").and_then(|range| range.trim_end_matches('-').parse::<usize>().ok());
        let from = from.filter(|_| fault != Some(Fault::NoRange));
        let (status, start) = match from {
            Some(from) => {
                (format!("206 Partial\r\nContent-Range: bytes {from}-{}/{}", body.len() - 1, body.len()), from)
            }
            None => ("200 OK".to_owned(), 0),
        };
        let body = &body[start..];
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        match fault {
            Some(Fault::Cut(length)) => stream.write_all(&body[..length]),
            _ => stream.write_all(body),
        }
    }
}

pub(crate) fn blob_path(blob: &[u8]) -> String {
    format!("/v2/app/blobs/{}", digest(blob))
}

pub(crate) fn registry() -> Registry {
    Registry::new(RegistryConfig::default()).unwrap()
}

/// The directory comes first, so that the store, which may still be syncing, is dropped before it.
pub(crate) fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    (directory, store)
}

/// Names of what is in a directory of the store, sorted.
pub(crate) fn names(directory: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Bytes that do not compress.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(3_037_000_493);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
