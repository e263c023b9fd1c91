//! Which kind of machine an image is for.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ParseError;
use crate::nearest::nearest;

/// Linux on a processor, as image indexes name it: `linux/arm64`, `linux/arm/v7`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Platform {
    /// `amd64`, `arm64`; what it is called elsewhere (`x86_64`) is translated.
    architecture: String,
    /// `v7`; absent: any.
    variant: Option<String>,
}

const OS: &str = "linux";
const OWN: &str = if cfg!(target_arch = "x86_64") {
    "amd64"
} else if cfg!(target_arch = "aarch64") {
    "arm64"
} else if cfg!(target_arch = "x86") {
    "386"
} else if cfg!(target_arch = "arm") {
    "arm"
} else if cfg!(target_arch = "riscv64") {
    "riscv64"
} else if cfg!(target_arch = "s390x") {
    "s390x"
} else if cfg!(target_arch = "powerpc64") {
    "ppc64le"
} else if cfg!(target_arch = "loongarch64") {
    "loong64"
} else {
    "unknown"
};
const FORM: &str = "write it as `linux/amd64`, `linux/arm64` or `linux/arm/v7`";
const ARCHITECTURES: [&str; 10] =
    ["386", "amd64", "arm", "arm64", "loong64", "mips64", "mips64le", "ppc64le", "riscv64", "s390x"];

impl Platform {
    /// The machine that this program was built for.
    pub fn own() -> Self {
        Self::plain(OWN, None)
    }

    /// From what an image or an engine says; `None`: not Linux, or it does not say.
    pub fn of(os: &str, architecture: &str, variant: &str) -> Option<Self> {
        let variant = Some(variant.to_owned()).filter(|variant| !variant.is_empty());
        (os == OS && !architecture.is_empty()).then(|| Self::plain(usual(architecture), variant))
    }

    /// The processor: `amd64`, `arm64`.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// Whether an image for the other one is what is wanted here; a variant matters where both have one.
    pub fn is_met_by(&self, other: &Self) -> bool {
        let same = self.variant.is_none() || other.variant.is_none() || self.variant == other.variant;
        self.architecture == other.architecture && same
    }

    fn plain(architecture: &str, variant: Option<String>) -> Self {
        // Every 64-bit ARM is v8, and every 64-bit x86 is v1.
        let usual = |variant: &String| matches!((architecture, variant.as_str()), ("arm64", "v8") | ("amd64", "v1"));
        Self { architecture: architecture.to_owned(), variant: variant.filter(|variant| !usual(variant)) }
    }
}

/// Kernels and compilers have other words than image indexes.
fn usual(architecture: &str) -> &str {
    match architecture {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" | "i386" | "i686" => "386",
        "armhf" | "armv7l" => "arm",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

impl FromStr for Platform {
    type Err = ParseError;

    /// `linux/architecture[/variant]`.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = |why: String| Err(ParseError::new(why).hint(FORM));
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match *parts.as_slice() {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => return wrong(format!("`{}` is not a platform", text.escape_debug())),
        };
        if os != OS {
            return wrong(format!("workloads are Linux, not `{}`", os.escape_debug()));
        }
        let architecture = usual(architecture);
        if !ARCHITECTURES.contains(&architecture) {
            let error = ParseError::new(format!("`{}` is not an architecture", architecture.escape_debug()));
            return Err(match nearest(architecture, ARCHITECTURES) {
                Some(known) => error.hint(format!("did you mean `{OS}/{known}`?")),
                None => error.hint(FORM),
            });
        }
        let is_variant = |word: &str| word.strip_prefix('v').is_some_and(|rest| rest.parse::<u8>().is_ok());
        if let Some(odd) = variant.filter(|variant| !is_variant(variant)) {
            return wrong(format!("`{}` is not a variant of a processor", odd.escape_debug()));
        }
        Ok(Self::plain(architecture, variant.map(str::to_owned)))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{OS}/{}", self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> Self {
        platform.to_string()
    }
}

impl TryFrom<String> for Platform {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_linux_on_a_processor() {
        let read = |text: &str| text.parse::<Platform>().map(|platform| platform.to_string()).ok();
        assert_eq!(read("linux/x86_64").as_deref(), Some("linux/amd64"));
        assert_eq!(read("linux/arm64/v8").as_deref(), Some("linux/arm64"));
        assert_eq!(read("linux/arm/v7").as_deref(), Some("linux/arm/v7"));
        for wrong in ["", "arm64", "windows/amd64", "linux/arm46", "linux/arm/7", "linux/a/b/c", "linux/"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_variant_matters_where_both_have_one() {
        let met = |wanted: &str, found: &str| {
            wanted.parse::<Platform>().unwrap().is_met_by(&found.parse::<Platform>().unwrap())
        };
        assert!(met("linux/arm", "linux/arm/v7") && met("linux/arm/v7", "linux/arm"));
        assert!(!met("linux/arm/v6", "linux/arm/v7") && !met("linux/arm", "linux/arm64"));
        assert_eq!(Platform::of("windows", "amd64", ""), None);
        assert_eq!(Platform::of("linux", "", ""), None);
    }
}
