//! A small image as an archive of `docker save`, made of one static busybox.

use std::path::Path;

use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

fn header(kind: EntryType, size: usize) -> Header {
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

/// Writes one with more files; a path that ends with `/` is a directory.
pub(crate) fn write_with(busybox: &Path, name: &str, to: &Path, more: &[Owned<'_>]) {
    let mut layer = Builder::new(Vec::new());
    layer.append_data(&mut header(EntryType::Directory, 0), "bin", &[][..]).unwrap();
    file(&mut layer, "bin/busybox", &std::fs::read(busybox).unwrap());
    for applet in ["sh", "sleep", "cat", "yes", "head", "true", "echo"] {
        layer.append_link(&mut header(EntryType::Symlink, 0), format!("bin/{applet}"), "busybox").unwrap();
    }
    for (path, mode, uid, gid) in more {
        let (kind, content) =
            if path.ends_with('/') { (EntryType::Directory, "") } else { (EntryType::Regular, "owned\n") };
        let mut header = header(kind, content.len());
        header.set_mode(*mode);
        header.set_uid((*uid).into());
        header.set_gid((*gid).into());
        layer.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    let layer = layer.into_inner().unwrap();
    let digits: String = Sha256::digest(&layer).iter().map(|byte| format!("{byte:02x}")).collect();
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Cmd":["sh"]}},"rootfs":{{"type":"layers","diff_ids":["sha256:{digits}"]}}}}"#
    );
    let config = if cfg!(target_arch = "aarch64") { config.replace("amd64", "arm64") } else { config };
    let index = format!(r#"[{{"Config":"config.json","RepoTags":["{name}"],"Layers":["layer.tar"]}}]"#);
    let mut archive = Builder::new(Vec::new());
    file(&mut archive, "config.json", config.as_bytes());
    file(&mut archive, "layer.tar", &layer);
    file(&mut archive, "manifest.json", index.as_bytes());
    std::fs::write(to, archive.into_inner().unwrap()).unwrap();
}
