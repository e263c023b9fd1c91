use std::collections::BTreeMap;
use std::io;

use hythe_spec::{Component, Diagnostics, Files, Parsed, Service, parse};

/// Files and variables in memory; the service file lies in `/srv/shop`.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) files: BTreeMap<&'static str, &'static str>,
    pub(crate) variables: BTreeMap<&'static str, &'static str>,
}

impl Files for Memory {
    fn read(&self, path: &str) -> io::Result<String> {
        let text = self.files.get(path).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))?;
        Ok((*text).to_owned())
    }

    fn base_dir(&self) -> &str {
        "/srv/shop"
    }

    fn env(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(|value| (*value).to_owned())
    }

    fn home(&self) -> Option<String> {
        Some("/home/me".to_owned())
    }
}

pub(crate) fn memory<const F: usize>(files: [(&'static str, &'static str); F]) -> Memory {
    Memory { files: files.into_iter().collect(), variables: BTreeMap::new() }
}

pub(crate) fn good(text: &str, files: &Memory) -> Parsed {
    parse("shop.toml", text, files).unwrap_or_else(|error| panic!("{}", error.render(false)))
}

pub(crate) fn bad(text: &str, files: &Memory) -> Diagnostics {
    match parse("shop.toml", text, files) {
        Ok(parsed) => panic!("accepted: {:?}", parsed.service),
        Err(error) => error,
    }
}

/// A service of one component with these lines.
pub(crate) fn one(lines: &str) -> String {
    format!("name = \"shop\"\n[[components]]\nname = \"web\"\nimage = \"busybox:1\"\n{lines}\n")
}

pub(crate) fn component(lines: &str, files: &Memory) -> Component {
    let Service { mut components, .. } = good(&one(lines), files).service;
    components.remove(0)
}

/// The messages for one component with these lines.
pub(crate) fn messages(lines: &str, files: &Memory) -> Vec<String> {
    bad(&one(lines), files).diagnostics.into_iter().map(|one| format!("{}: {}", one.path, one.message)).collect()
}
