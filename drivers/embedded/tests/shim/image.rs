//! A small image as an archive of `docker save`, made of one static busybox.

use std::path::Path;

use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

pub(crate) fn header(kind: EntryType, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size as u64);
    header
}

fn file(to: &mut Builder<Vec<u8>>, path: &str, content: &[u8]) {
    to.append_data(&mut header(EntryType::Regular, content.len()), path, content).unwrap();
}

/// A file that belongs to somebody: path, mode, user and group.
pub(crate) type Owned<'a> = (&'a str, u32, u32, u32);

/// Writes it.
pub(crate) fn write(busybox: &Path, name: &str, to: &Path) {
    write_with(busybox, name, to, &[]);
}

/// What the configuration of a harmless image says of its process.
const SHELL: &str = r#"{"Cmd":["sh"]}"#;

/// Writes one of as many layers, of which each but the first has a file of its number.
pub(crate) fn write_many(busybox: &Path, name: &str, to: &Path, count: usize) {
    let first = base(busybox).into_inner().unwrap();
    let more = (1..count).map(|number| small_layer(&number.to_string()));
    write_layers(name, to, &std::iter::once(first).chain(more).collect::<Vec<_>>(), SHELL);
}

/// Writes one with more files; a path that ends with `/` is a directory.
pub(crate) fn write_with(busybox: &Path, name: &str, to: &Path, more: &[Owned<'_>]) {
    let mut layer = base(busybox);
    for (path, mode, uid, gid) in more {
        let (kind, content) =
            if path.ends_with('/') { (EntryType::Directory, "") } else { (EntryType::Regular, "owned\n") };
        let mut header = header(kind, content.len());
        header.set_mode(*mode);
        header.set_uid((*uid).into());
        header.set_gid((*gid).into());
        layer.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    write_layers(name, to, &[layer.into_inner().unwrap()], SHELL);
}

/// The layer with a shell, to be added to.
pub(crate) fn base(busybox: &Path) -> Builder<Vec<u8>> {
    let mut layer = Builder::new(Vec::new());
    layer.append_data(&mut header(EntryType::Directory, 0), "bin", &[][..]).unwrap();
    file(&mut layer, "bin/busybox", &std::fs::read(busybox).unwrap());
    for applet in ["sh", "sleep", "cat", "yes", "head", "true", "echo"] {
        layer.append_link(&mut header(EntryType::Symlink, 0), format!("bin/{applet}"), "busybox").unwrap();
    }
    layer
}

/// Writes an image of one layer with a configuration.
pub(crate) fn pack(layer: Builder<Vec<u8>>, name: &str, to: &Path, config: &str) {
    write_layers(name, to, &[layer.into_inner().unwrap()], config);
}

/// A layer with one small file.
fn small_layer(path: &str) -> Vec<u8> {
    let mut layer = Builder::new(Vec::new());
    file(&mut layer, path, path.as_bytes());
    layer.into_inner().unwrap()
}

/// Writes one of these layers, lowest first.
fn write_layers(name: &str, to: &Path, layers: &[Vec<u8>], process: &str) {
    let digest = |layer: &Vec<u8>| {
        let digits: String = Sha256::digest(layer).iter().map(|byte| format!("{byte:02x}")).collect();
        format!(r#""sha256:{digits}""#)
    };
    let digests: Vec<String> = layers.iter().map(digest).collect();
    let names: Vec<String> = (0..layers.len()).map(|number| format!("{number}.tar")).collect();
    let (diff_ids, listed) = (digests.join(","), names.iter().map(|name| format!(r#""{name}""#)).collect::<Vec<_>>());
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{process},"rootfs":{{"type":"layers","diff_ids":[{diff_ids}]}}}}"#
    );
    let config = if cfg!(target_arch = "aarch64") { config.replace("amd64", "arm64") } else { config };
    let index = format!(r#"[{{"Config":"config.json","RepoTags":["{name}"],"Layers":[{}]}}]"#, listed.join(","));
    let mut archive = Builder::new(Vec::new());
    file(&mut archive, "config.json", config.as_bytes());
    for (name, layer) in names.iter().zip(layers) {
        file(&mut archive, name, layer);
    }
    file(&mut archive, "manifest.json", index.as_bytes());
    std::fs::write(to, archive.into_inner().unwrap()).unwrap();
}
