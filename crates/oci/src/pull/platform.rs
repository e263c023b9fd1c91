//! Which manifest of an index is for this machine.

use hythe_spec::Platform;
use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex};

use crate::store::Stored;
use crate::{Error, Kind};

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

/// The manifest for this machine or the wanted one, the plainest variant first; an index of one manifest without a platform means that one.
pub(crate) fn choose<'a>(index: &'a ImageIndex, wanted: Option<&Platform>) -> Option<&'a Descriptor> {
    let wanted = wanted.cloned().unwrap_or_else(Platform::own);
    let fits = |descriptor: &&Descriptor| described(descriptor).is_some_and(|found| wanted.is_met_by(&found));
    let best = index.manifests().iter().filter(fits).min_by_key(|descriptor| rank(descriptor));
    best.or_else(|| match index.manifests().as_slice() {
        [only] if only.platform().is_none() => Some(only),
        _ => None,
    })
}

fn described(descriptor: &Descriptor) -> Option<Platform> {
    let platform = descriptor.platform().as_ref()?;
    let (os, architecture) = (platform.os().to_string(), platform.architecture().to_string());
    Platform::of(&os, &architecture, platform.variant().as_deref().unwrap_or_default())
}

impl Stored {
    /// The kind of machine that it says it is for; `None`: it does not say, or not Linux.
    pub fn platform(&self) -> Option<Platform> {
        of_config(&self.config)
    }
}

fn of_config(config: &ImageConfiguration) -> Option<Platform> {
    let (os, architecture) = (config.os().to_string(), config.architecture().to_string());
    Platform::of(&os, &architecture, config.variant().as_deref().unwrap_or_default())
}

/// Refuses an image that says it is for another kind of machine than the wanted one.
pub(crate) fn check_wanted(config: &ImageConfiguration, wanted: &Platform, image: &str) -> Result<(), Error> {
    match of_config(config) {
        Some(found) if !wanted.is_met_by(&found) => {
            let message = format!("`{image}` is an image for `{found}`, and `{wanted}` is wanted");
            Err(Error::new(Kind::Invalid, message).hint("leave `platform` out, or push the image for it too"))
        }
        _ => Ok(()),
    }
}

/// Refuses an image that says it is for another kind of machine; one that says nothing may be for this one.
pub(crate) fn check(config: &ImageConfiguration, image: &str) -> Result<(), Error> {
    let (os, architecture, own) = (config.os().to_string(), config.architecture().to_string(), self::architecture());
    let runs = architecture.is_empty()
        || architecture == own
        || matches!((own, architecture.as_str()), ("amd64", "386") | ("arm64", "arm"));
    if runs && matches!(os.as_str(), "" | "linux") {
        return Ok(());
    }
    let message = format!("`{image}` is an image for `{os}/{architecture}`, and this host is `linux/{own}`");
    Err(Error::new(Kind::Invalid, message).hint("use an image for this platform, or build one"))
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
        choose(&index, None).map(|found| u64::from_str_radix(found.digest().digest(), 16).unwrap())
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
        let other = |wanted: &str| {
            let index = index(&["linux/arm/v6", "linux/arm/v7", "linux/arm64/v8", "linux/amd64"]);
            let found = choose(&index, Some(&wanted.parse().unwrap())).cloned();
            found.map(|found| u64::from_str_radix(found.digest().digest(), 16).unwrap())
        };
        let found = ["linux/arm", "linux/arm/v6", "linux/arm64", "linux/s390x"].map(other);
        assert_eq!(found, [Some(1), Some(0), Some(2), None]);
        assert_eq!(offered(&index(&["linux/mips", "unknown/unknown"])), "linux/mips");
    }
}
