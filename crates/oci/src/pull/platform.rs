//! Which manifest of an index is for this machine.

use oci_spec::image::{Descriptor, ImageIndex};

/// This machine as image indexes name it.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

/// The manifest for Linux on this architecture, the plainest variant first; an index of one manifest without a platform means that one.
pub(crate) fn choose(index: &ImageIndex) -> Option<&Descriptor> {
    let fits = |descriptor: &&Descriptor| {
        descriptor.platform().as_ref().is_some_and(|platform| {
            platform.os().to_string() == "linux" && platform.architecture().to_string() == architecture()
        })
    };
    let best = index.manifests().iter().filter(fits).min_by_key(|descriptor| rank(descriptor));
    best.or_else(|| match index.manifests().as_slice() {
        [only] if only.platform().is_none() => Some(only),
        _ => None,
    })
}

/// Variants that every machine of the architecture runs come first; newer ones need what this one may lack.
fn rank(descriptor: &Descriptor) -> usize {
    let variant = descriptor.platform().as_ref().and_then(|platform| platform.variant().clone());
    match variant.as_deref() {
        None | Some("") => 0,
        Some("v1" | "v8" | "v7") => 1,
        Some("v6") => 2,
        Some("v5") => 3,
        Some(_) => 4,
    }
}

/// What an index offers, for the user who cannot use it.
pub(crate) fn offered(index: &ImageIndex) -> String {
    let known = index.manifests().iter().filter_map(|descriptor| descriptor.platform().as_ref());
    let names = known.map(|platform| format!("{}/{}", platform.os(), platform.architecture()));
    let mut names: Vec<_> = names.filter(|name| name != "unknown/unknown").collect();
    names.sort();
    names.dedup();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
mod tests {
    use super::*;

    fn index(platforms: &[&str]) -> ImageIndex {
        let manifests: Vec<_> = platforms
            .iter()
            .enumerate()
            .map(|(at, platform)| {
                let digest = format!("sha256:{at:064x}");
                let mut manifest = serde_json::json!({"mediaType": "x", "size": 1, "digest": digest});
                let mut parts = platform.split('/');
                if let (Some(os), Some(architecture)) = (parts.next(), parts.next()) {
                    manifest["platform"] =
                        serde_json::json!({"os": os, "architecture": architecture, "variant": parts.next()});
                }
                manifest
            })
            .collect();
        serde_json::from_value(serde_json::json!({"schemaVersion": 2, "manifests": manifests})).unwrap()
    }

    fn chosen(platforms: &[&str]) -> Option<u64> {
        let index = index(platforms);
        choose(&index).map(|found| u64::from_str_radix(found.digest().digest(), 16).unwrap())
    }

    #[test]
    fn the_plainest_fitting_platform_is_chosen() {
        let own = architecture();
        let (plain, newer) = (format!("linux/{own}"), format!("linux/{own}/v3"));
        assert_eq!(chosen(&["windows/amd64", "linux/mips", &newer, &plain, "unknown/unknown"]), Some(3));
        assert_eq!(chosen(&["unknown/unknown", &newer]), Some(1));
        assert_eq!(chosen(&[""]), Some(0));
        assert_eq!(chosen(&["", ""]), None);
        assert_eq!(chosen(&["linux/mips", "unknown/unknown"]), None);
        assert_eq!(offered(&index(&["linux/mips", "unknown/unknown"])), "linux/mips");
    }
}
