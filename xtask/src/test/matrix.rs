//! The conformance matrix: written by a complete run, compared with the committed one.

use std::fs;
use std::path::{Path, PathBuf};

use crate::env::checkout;
use crate::failure::{Context, Failure, Result};
use crate::r#gen::show_difference;

const COMMITTED: &str = "docs/reference/conformance.md";

/// A fresh matrix on its way; the file goes away with this value.
#[derive(Debug)]
pub(crate) struct Matrix {
    path: PathBuf,
}

impl Matrix {
    /// A place for the conformance suite to write to.
    pub(crate) fn new() -> Self {
        let name = format!("hythe-matrix-{}.md", std::process::id());
        Self { path: std::env::temp_dir().join(name) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Prints the fresh matrix; commits it where that was asked for. One that differs from the committed one fails in CI, whose engines it was made with,
    /// and is told elsewhere: other engines may honour more or less.
    pub(crate) fn settle(&self, accept: bool) -> Result<()> {
        let fresh = fs::read_to_string(&self.path).context(|| "the conformance suite wrote no matrix".into())?;
        println!("{fresh}");
        let committed = checkout().join(COMMITTED);
        if fs::read_to_string(&committed).is_ok_and(|committed| committed == fresh) {
            return Ok(());
        }
        if accept {
            return fs::write(&committed, fresh).context(|| format!("writing `{COMMITTED}`"));
        }
        show_difference(COMMITTED, &fresh)?;
        let told = format!("`{COMMITTED}` differs from this run; `cargo xtask test --accept` takes this run's");
        if std::env::var_os("CI").is_some() {
            return Err(Failure::new(told));
        }
        println!("{told}");
        Ok(())
    }
}

impl Drop for Matrix {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
