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

/// Why nothing is mounted at this cleaned path of a workload; nothing for ordinary paths.
///
/// Every instance has these file systems of its own. What lies over a part of them hides what the runtime masks there, or hands
/// out the host's: a bind of `/sys/fs/cgroup` would let a workload lift its own limits.
pub(crate) fn reserved(path: &str) -> Option<&'static str> {
    if kernel_directory(path).is_some() {
        Some("it belongs to the kernel")
    } else {
        (path == "/dev").then_some("its devices are the runtime's")
    }
}

/// `/proc` or `/sys`, where a path of a workload is that directory or below it, however it is written. Links are not followed.
pub fn kernel_directory(path: &str) -> Option<&'static str> {
    let cleaned = clean(path);
    ["/proc", "/sys"].into_iter().find(|directory| is_within(&cleaned, directory))
}

/// Whether a cleaned path is this directory or below it.
pub(crate) fn is_within(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn check_text(path: &str) -> Result<(), ParseError> {
    if path.is_empty() {
        return Err(ParseError::new("the path is empty"));
    }
    if path.contains('\0') {
        return Err(ParseError::new("a path cannot contain a NUL byte"));
    }
    if path.contains("${") || path.starts_with('$') {
        return Err(ParseError::new("variables are not substituted in paths")
            .hint("write the path itself; `~/` is the home directory, `./` the directory of this file"));
    }
    let bytes = path.as_bytes();
    let drive = bytes.len() > 2 && bytes[0].is_ascii_alphabetic() && &bytes[1..3] == b":\\";
    if drive || path.starts_with("\\\\") {
        return Err(ParseError::new("Windows paths are not supported"));
    }
    Ok(())
}

/// Lexically cleaned: no empty, `.` or `..` parts, no slash at the end.
pub fn clean(path: &str) -> String {
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
