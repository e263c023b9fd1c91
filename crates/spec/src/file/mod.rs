//! The service file: TOML text in, one normalised service or every error at once out.
//!
//! `tree` is the text as values with places, `raw` its shapes (and the JSON schema), `normalise` their meaning.
//! Not for: opening files; what a service names is read through [`Files`].

mod decode;
mod findings;
mod foreign;
mod json;
mod normalise;
mod raw;
mod render;
mod shapes;
mod syntax;
mod tree;

use crate::diagnostics::{Diagnostic, Diagnostics, Severity};
use crate::{Build, SecretSource, Service};
use decode::Decode;
use findings::Findings;
pub use raw::ServiceFile;
pub use render::render;

/// What a service file may ask of its surroundings; the caller decides what is behind it.
pub trait Files {
    /// The text of a file.
    ///
    /// # Errors
    /// It is missing, unreadable or not UTF-8.
    fn read(&self, path: &str) -> std::io::Result<String>;

    /// Absolute directory of the service file; relative paths start there.
    fn base_dir(&self) -> &str;

    /// A variable of the caller's environment.
    fn env(&self, name: &str) -> Option<String>;

    /// The caller's home directory.
    fn home(&self) -> Option<String>;
}

/// A service file that is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The service, ready to be sent.
    pub service: Service,
    /// How its images are built.
    pub builds: Vec<Build>,
    /// Where the values of its own secrets come from.
    pub secrets: Vec<SecretSource>,
    /// What deserves a look but is no error.
    pub warnings: Vec<Diagnostic>,
}

/// Reads, checks and normalises a service file. Nothing but `files` is asked, and nothing is changed anywhere.
///
/// # Errors
/// Every error of the file at once. Syntax errors are reported alone: what follows them would be guesses.
pub fn parse(file_name: &str, text: &str, files: &dyn Files) -> Result<Parsed, Diagnostics> {
    let mut findings = Findings::default();
    let parsed = read(text, files, &mut findings);
    let diagnostics = findings.locate(text);
    let failed = diagnostics.iter().any(|one| one.severity == Severity::Error);
    match parsed {
        Some((service, builds, secrets)) if !failed => Ok(Parsed { service, builds, secrets, warnings: diagnostics }),
        _ => Err(Diagnostics::new(file_name, text, diagnostics)),
    }
}

fn read(text: &str, files: &dyn Files, findings: &mut Findings) -> Option<(Service, Vec<Build>, Vec<SecretSource>)> {
    let tree = tree::from_toml(text, findings)?;
    let file = ServiceFile::read(&tree, findings)?;
    normalise::service(&file, &tree, files, findings)
}

/// The JSON schema of the service file, for editors.
pub fn json_schema() -> serde_json::Value {
    raw::schema()
}
