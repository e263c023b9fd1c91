//! The files of the project, as text.

use std::fs;
use std::path::{Path, PathBuf};

/// What is made by a build or belongs to tools, not to the project.
const FOREIGN: &[&str] = &[".git", "node_modules", "target"];

/// A text file of the project.
#[derive(Debug, Clone)]
pub struct Source {
    /// Below the root, with `/` between the parts.
    pub path: String,
    /// Its content.
    pub text: String,
}

impl Source {
    /// The last part of the path.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Whether it is Rust.
    #[must_use]
    pub fn is_rust(&self) -> bool {
        self.name().ends_with(".rs")
    }

    /// Whether it is written by hand: neither a lock file nor a snapshot.
    #[must_use]
    pub fn is_written(&self) -> bool {
        !self.name().ends_with(".snap") && self.name() != "Cargo.lock"
    }

    /// The text without the lines that are comments from their first character.
    #[must_use]
    pub fn code(&self) -> String {
        let is_code = |line: &&str| !line.trim_start().starts_with("//");
        self.text.lines().filter(is_code).collect::<Vec<_>>().join("\n")
    }

    /// Numbers of the lines that contain `needle`, from 1.
    #[must_use]
    pub fn lines_with(&self, needle: &str) -> Vec<usize> {
        let numbered = (1..).zip(self.text.lines());
        numbered.filter(|(_, line)| line.contains(needle)).map(|(number, _)| number).collect()
    }
}

/// The folder of the workspace.
#[must_use]
pub fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package)
}

/// Every text file of the project, in the order of paths.
///
/// # Panics
/// Where a directory cannot be read.
#[must_use]
pub fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    walk(root(), &mut paths);
    paths.sort();
    paths.iter().filter_map(|path| read(path)).collect()
}

/// Those whose path begins so.
#[must_use]
pub fn sources_below(prefix: &str) -> Vec<Source> {
    sources().into_iter().filter(|source| source.path.starts_with(prefix)).collect()
}

fn walk(directory: &Path, paths: &mut Vec<PathBuf>) {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => panic!("`{}` cannot be read: {error}", directory.display()),
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let foreign = FOREIGN.iter().any(|name| entry.file_name() == *name);
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && !foreign => walk(&path, paths),
            Ok(kind) if kind.is_file() => paths.push(path),
            _ => {}
        }
    }
}

/// `None` for what is not text.
fn read(path: &Path) -> Option<Source> {
    let text = fs::read_to_string(path).ok()?;
    let path = path.strip_prefix(root()).ok()?.to_string_lossy().replace('\\', "/");
    Some(Source { path, text })
}
