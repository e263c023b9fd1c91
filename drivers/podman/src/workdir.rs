//! Makes the working directory that an image lacks: podman refuses to start without it, every other engine makes it.

use http::Method;
use hythe_runtime::{Error, ErrorKind, InstanceRef, OpContext, Result};

use crate::client::{About, body};
use crate::driver::Podman;

/// Puts the directory and its missing parents into the instance, owned by root, mode 0755.
pub(crate) async fn create(podman: &Podman, cx: &OpContext, instance: &InstanceRef) -> Result<()> {
    let about = About { operation: "start", subject: instance.as_str() };
    let observed = podman.container(cx, "start", instance).await?.observed(None);
    let path = observed.workdir.unwrap_or_default();
    let target = crate::lifecycle::path(instance.as_str(), "/archive");
    let call = (Method::PUT, &*target, &[("path", "/")][..]);
    podman.client.act_holding(cx, about, call, body(archive(&path)), ()).await.map_err(|error| match error.kind() {
        ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Cancelled => error,
        _ => {
            let words = format!("`{instance}`: its working directory cannot be created");
            Error::new(ErrorKind::Invalid, "start", words).source(error)
        }
    })
}

/// A tar archive of a directory and its parents.
fn archive(path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut name = String::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        name.push_str(part);
        name.push('/');
        bytes.extend_from_slice(&directory(&name));
    }
    bytes.extend_from_slice(&[0; 1024]);
    bytes
}

/// One ustar header; names longer than its 100 bytes are cut at a slash into its prefix field.
fn directory(name: &str) -> [u8; 512] {
    let mut header = [0; 512];
    let cut = if name.len() <= 100 { 0 } else { name.len() - 100 };
    let cut = if cut == 0 { 0 } else { name[cut..].find('/').map_or(0, |slash| cut + slash + 1) };
    let mut field = |at: usize, text: &str| {
        let space = &mut header[at..];
        let length = text.len().min(space.len());
        space[..length].copy_from_slice(&text.as_bytes()[..length]);
    };
    field(0, &name[cut..]);
    field(100, "0000755\0");
    field(108, "0000000\0");
    field(116, "0000000\0");
    field(124, "00000000000\0");
    field(136, "00000000000\0");
    field(148, "        ");
    field(156, "5");
    field(257, "ustar\x0000");
    field(345, name[..cut].trim_end_matches('/'));
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parent_has_its_entry() {
        let archive = archive("/new/dir");
        assert_eq!(archive.len(), 512 * 4);
        assert_eq!(&archive[..5], b"new/\0");
        assert_eq!(&archive[512..521], b"new/dir/\0");
    }
}
