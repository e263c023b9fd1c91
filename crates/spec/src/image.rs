//! Image references, read as `distribution/reference` reads them.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ParseError;

const DEFAULT_DOMAIN: &str = "docker.io";
/// Longest repository path and tag that distribution/reference accepts.
const MAX_PATH: usize = 255;
const MAX_TAG: usize = 128;

/// A normalised image reference: `[domain/]path[:tag][@digest]`.
///
/// `alpine` becomes domain `docker.io`, path `library/alpine`, tag `latest` (the tag is added only where neither tag nor digest is given).
/// Serialises as its full text (`docker.io/library/alpine:latest`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct ImageRef {
    /// Registry host with optional port: `docker.io`, `127.0.0.1:5000`.
    pub domain: String,
    /// Repository path below the domain: `library/alpine`.
    pub path: String,
    /// Tag without its colon.
    pub tag: Option<String>,
    /// Digest without its `@`: `sha256:…`.
    pub digest: Option<String>,
}

impl ImageRef {
    /// The repository without tag or digest: `docker.io/library/alpine`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The repository as a user of Docker writes it: without the default registry and its `library/`.
    pub fn familiar_name(&self) -> String {
        match self.domain.as_str() {
            DEFAULT_DOMAIN => {
                self.path.strip_prefix("library/").filter(|rest| !rest.contains('/')).unwrap_or(&self.path).to_owned()
            }
            _ => self.repository(),
        }
    }

    /// The version shown to users: the tag, never a digest or a port.
    pub fn version(&self) -> Option<&str> {
        self.tag.as_deref()
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl From<ImageRef> for String {
    fn from(image: ImageRef) -> Self {
        image.to_string()
    }
}

impl TryFrom<String> for ImageRef {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl std::str::FromStr for ImageRef {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(parse_digest(digest)?)),
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(parse_tag(tag)?)),
            _ => (rest, None),
        };
        let (domain, path) = split_domain(name);
        check_domain(domain)?;
        check_path(name, path.as_ref()).map_err(|error| match path.bytes().any(|b| b.is_ascii_uppercase()) {
            // A digest and a tag keep their case.
            true => error.hint(format!("write it as `{}{}`", name.to_lowercase(), &text[name.len()..])),
            false => error,
        })?;
        let tag = tag.or_else(|| digest.is_none().then(|| "latest".to_owned()));
        Ok(Self { domain: domain.to_owned(), path, tag, digest })
    }
}

/// `splitDockerDomain` of distribution/reference: what comes before the first slash is a host if it looks like one.
fn split_domain(name: &str) -> (&str, String) {
    let (domain, path) = match name.split_once('/') {
        Some(("index.docker.io", rest)) => (DEFAULT_DOMAIN, rest),
        Some((host, rest)) if host == "localhost" || host.contains(['.', ':']) || host.to_lowercase() != host => {
            (host, rest)
        }
        _ => (DEFAULT_DOMAIN, name),
    };
    let official = domain == DEFAULT_DOMAIN && !path.contains('/');
    (domain, if official { format!("library/{path}") } else { path.to_owned() })
}

fn check_domain(domain: &str) -> Result<(), ParseError> {
    let (host, port) = match domain.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            let valid = !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
            (if valid { "ipv6" } else { "" }, rest)
        }
        None => domain.find(':').map_or((domain, ""), |at| domain.split_at(at)),
    };
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let port_valid = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
    if host.split('.').all(label) && port_valid {
        Ok(())
    } else {
        Err(ParseError::new(format!("`{domain}` is not a registry host")))
    }
}

fn check_path(name: &str, path: &str) -> Result<(), ParseError> {
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(ParseError::new(format!("repository name `{name}` must be lower case")));
    }
    if name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(ParseError::new("a bare image id is not a reference").hint("name the repository"));
    }
    if path.len() > MAX_PATH {
        return Err(ParseError::new(format!("repository name is longer than {MAX_PATH} characters")));
    }
    if path.split('/').all(is_path_component) {
        Ok(())
    } else {
        Err(ParseError::new("not an image reference")
            .hint("write `[host[:port]/]path[:tag][@digest]`, for example `docker.io/library/alpine:3.20`"))
    }
}

/// Lower-case letters and digits, separated by one `.`, one or two `_`, or any number of `-`.
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    alphanumeric(first)
        && alphanumeric(last)
        && component
            .split(|c: char| c.is_ascii() && alphanumeric(c as u8))
            .all(|gap| matches!(gap, "" | "." | "_" | "__") || gap.bytes().all(|b| b == b'-'))
}

fn parse_tag(tag: &str) -> Result<String, ParseError> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let valid = tag.len() <= MAX_TAG
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-');
    if valid { Ok(tag.to_owned()) } else { Err(ParseError::new(format!("`{tag}` is not a tag"))) }
}

/// Only the algorithms that registries use: a digest of another length or name is refused.
fn parse_digest(digest: &str) -> Result<String, ParseError> {
    let (algorithm, hex) =
        digest.split_once(':').ok_or_else(|| ParseError::new(format!("`{digest}` is not a digest")))?;
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => {
            return Err(ParseError::new(format!("unsupported digest algorithm `{algorithm}`")));
        }
    };
    if hex.len() != length {
        return Err(ParseError::new(format!("a {algorithm} digest has {length} digits, this one {}", hex.len())));
    }
    if hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        Ok(digest.to_owned())
    } else {
        Err(ParseError::new("a digest is written in lower-case hexadecimal"))
    }
}
