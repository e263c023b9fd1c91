//! Paths as text: made absolute and cleaned without looking at any file system.

use crate::ParseError;

/// What relative paths are relative to.
#[derive(Debug, Clone, Copy)]
pub struct Paths<'a> {
    /// Absolute directory for `./x`, `../x` and `x`.
    pub base: &'a str,
    /// Directory that a leading `~` stands for, where known.
    pub home: Option<&'a str>,
}

impl Paths<'_> {
    /// The absolute, cleaned form of a host path.
    ///
    /// # Errors
    /// An empty path, a NUL byte, `~` without a known home, `~user`, a Windows path.
    pub fn resolve(&self, path: &str) -> Result<String, ParseError> {
        check_text(path)?;
        match path.strip_prefix('~') {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                let home =
                    self.home.ok_or_else(|| ParseError::new("the home directory that `~` stands for is not known"))?;
                Ok(clean(&format!("{home}{rest}")))
            }
            Some(_) => Err(ParseError::new(format!("the home of another user is not looked up in `{path}`"))
                .hint("write the full path")),
            None if path.starts_with('/') => Ok(clean(path)),
            None => Ok(clean(&format!("{}/{path}", self.base))),
        }
    }
}

/// The cleaned form of a path inside a workload.
///
/// # Errors
/// An empty or relative path, a NUL byte, the root itself.
pub(crate) fn target(path: &str) -> Result<String, ParseError> {
    check_text(path)?;
    if !path.starts_with('/') {
        return Err(ParseError::new(format!("`{path}` is not an absolute path in the workload"))
            .hint("start the path inside the workload with `/`"));
    }
    match clean(path).as_str() {
        "/" => Err(ParseError::new("nothing can be mounted over the root of a workload")),
        cleaned => Ok(cleaned.to_owned()),
    }
}

fn check_text(path: &str) -> Result<(), ParseError> {
    if path.is_empty() {
        return Err(ParseError::new("the path is empty"));
    }
    if path.contains('\0') {
        return Err(ParseError::new("a path cannot contain a NUL byte"));
    }
    if path.contains("${") {
        return Err(ParseError::new("variables are not substituted in paths").hint("write the path itself"));
    }
    let bytes = path.as_bytes();
    let drive = bytes.len() > 2 && bytes[0].is_ascii_alphabetic() && &bytes[1..3] == b":\\";
    if drive || path.starts_with("\\\\") {
        return Err(ParseError::new("Windows paths are not supported"));
    }
    Ok(())
}

/// Lexically cleaned: no empty, `.` or `..` parts, no slash at the end.
pub(crate) fn clean(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}
