//! What `shop/web:/path`, `./path` and `-` name.

use hythe_api::{ArchiveStart, ArchiveWay, FileInfo, FileKind, FileQuery};
use hythe_client::{Client, Session};

use crate::report::{Failure, Outcome};

/// Links that are followed one after the other.
const MOST_LINKS: usize = 40;

/// Where files are, as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A tar archive on stdin or stdout.
    Stream,
    /// A path of this host.
    Here(String),
    /// A workload, and a path in it.
    There(String, String),
}

impl Place {
    /// As `docker cp` reads it: what begins with `.` or `/` is of this host, whatever colons it has.
    pub(crate) fn parse(text: &str) -> Self {
        match text.split_once(':') {
            _ if text == "-" => Self::Stream,
            Some((workload, path)) if !workload.is_empty() && !text.starts_with(['.', '/']) => {
                Self::There(workload.to_owned(), absolute(path))
            }
            _ => Self::Here(text.to_owned()),
        }
    }
}

/// Paths of a workload are relative to its root.
fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

/// The last name of a path, whatever slashes and dots are behind it; `None` for the root and for `..`.
pub(crate) fn name(path: &str) -> Option<&str> {
    let path = path.trim_end_matches("/.").trim_end_matches('/');
    path.rsplit('/').next().filter(|name| !matches!(*name, "" | "." | ".."))
}

/// The path without its last name.
pub(crate) fn parent(path: &str) -> &str {
    match path.trim_end_matches('/').rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((parent, _)) => parent,
    }
}

/// What is in a directory is meant, and not itself.
pub(crate) fn is_content(path: &str) -> bool {
    path.ends_with("/.") || path == "."
}

/// Said where [`FileInfo::owners`] is not.
pub(crate) fn no_owners(from: &Remote<'_>) -> String {
    format!("the runtime of `{}` gives every file at `{}` to root: owners are lost", from.workload, from.path)
}

/// A path of a workload.
#[derive(Debug, Clone)]
pub(crate) struct Remote<'a> {
    pub(crate) client: &'a Client,
    pub(crate) workload: &'a str,
    pub(crate) path: String,
}

impl Remote<'_> {
    /// What is there; `None`: nothing.
    pub(crate) async fn look(&self) -> Outcome<Option<FileInfo>> {
        match self.client.file(self.workload, &FileQuery { path: self.path.clone() }).await {
            Ok(found) => Ok(Some(found)),
            // A workload that is not there is told when something is read or written.
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The same where no link is at the end of the path, and what is there.
    pub(crate) async fn followed(mut self) -> Outcome<(Self, Option<FileInfo>)> {
        for _ in 0..MOST_LINKS {
            let found = self.look().await?;
            let link = found.as_ref().filter(|found| found.kind == FileKind::Symlink);
            let Some(target) = link.and_then(|link| link.target.clone()) else { return Ok((self, found)) };
            self.path = match target.strip_prefix('/') {
                Some(_) => target,
                None => format!("{}/{target}", parent(&self.path)),
            };
        }
        let message = format!("the links at `{}` lead in a circle", self.path);
        Err(Failure::Usage { message, hint: "name the file itself".to_owned() })
    }

    /// What is there, or where the link leads to that is there.
    pub(crate) async fn found(self, follow_link: bool) -> Outcome<(Self, Option<FileInfo>)> {
        if follow_link {
            return self.followed().await;
        }
        let found = self.look().await?;
        Ok((self, found))
    }

    pub(crate) async fn open(&self, way: ArchiveWay, at_rest: bool) -> Outcome<Session> {
        let start = ArchiveStart { way, path: self.path.clone(), at_rest };
        Ok(self.client.archive(self.workload, &start).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_of_what_begins_with_a_dot_or_slash_is_of_this_host() {
        let there = |workload: &str, path: &str| Place::There(workload.to_owned(), path.to_owned());
        for (text, expected) in [
            ("-", Place::Stream),
            ("shop/web:/etc", there("shop/web", "/etc")),
            ("shop-web:etc", there("shop-web", "/etc")),
            ("shop:/a:b", there("shop", "/a:b")),
            ("./a:b", Place::Here("./a:b".to_owned())),
            ("/a:b", Place::Here("/a:b".to_owned())),
            ("file", Place::Here("file".to_owned())),
            (":x", Place::Here(":x".to_owned())),
        ] {
            assert_eq!(Place::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn names_and_parents_of_paths() {
        for (path, expected, above) in
            [("/a/b", Some("b"), "/a"), ("/a/b/", Some("b"), "/a"), ("/a", Some("a"), "/"), ("/", None, "/")]
        {
            assert_eq!((name(path), parent(path)), (expected, above), "{path}");
        }
        assert_eq!((name("/a/."), name("."), name("..")), (Some("a"), None, None));
        assert!(is_content("/a/.") && is_content(".") && !is_content("/a"));
    }
}
