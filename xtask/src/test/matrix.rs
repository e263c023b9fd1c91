//! What the conformance suite writes in a complete run, the matrix and the isolation table, compared with what is committed.

use std::fs;
use std::path::PathBuf;

use crate::env::checkout;
use crate::failure::{Context, Failure, Result};
use crate::r#gen::show_difference;

/// The pages: where each is committed, the variable that tells the suite where to write it, and whether a stale one fails in CI.
/// The isolation table has what a kernel and the engines of one host say, so there only its comparison decides, which is a trial.
const PAGES: [(&str, &str, bool); 2] = [
    ("docs/reference/conformance.md", "HYTHE_MATRIX", true),
    ("docs/reference/isolation.md", "HYTHE_ISOLATION", false),
];

/// A fresh page on its way; the file goes away with this value.
#[derive(Debug)]
pub(crate) struct Matrix {
    committed: String,
    variable: &'static str,
    is_exact: bool,
    path: PathBuf,
}

impl Matrix {
    /// Places for the conformance suite to write to.
    pub(crate) fn all(suite: Option<&str>) -> Vec<Self> {
        let page = |(committed, variable, is_exact): (&'static str, &'static str, bool)| {
            // Other engines have pages of their own.
            let committed =
                suite.map_or(committed.to_owned(), |suite| committed.replace(".md", &format!("-{suite}.md")));
            let name = format!("{}-{}.md", variable.to_lowercase().replace('_', "-"), std::process::id());
            Self { committed, variable, is_exact, path: std::env::temp_dir().join(name) }
        };
        PAGES.into_iter().map(page).collect()
    }

    /// What tells the suite where to write.
    pub(crate) fn variable(&self) -> (&'static str, PathBuf) {
        (self.variable, self.path.clone())
    }

    /// Prints the fresh page; commits it where that was asked for. One that differs from the committed one fails in CI, whose engines it was made with,
    /// and is told elsewhere: other engines may honour more or less.
    pub(crate) fn settle(&self, accept: bool) -> Result<()> {
        let fresh = fs::read_to_string(&self.path)
            .context(|| format!("the conformance suite wrote no `{}`", self.committed))?;
        println!("{fresh}");
        let committed = checkout().join(&self.committed);
        if fs::read_to_string(&committed).is_ok_and(|committed| is_the_same(&committed, &fresh)) {
            return Ok(());
        }
        if accept {
            return fs::write(&committed, fresh).context(|| format!("writing `{}`", self.committed));
        }
        show_difference(&self.committed, &fresh)?;
        let told = format!("`{}` differs from this run; `cargo xtask test --accept` takes this run's", self.committed);
        if self.is_exact && std::env::var_os("CI").is_some() {
            return Err(Failure::new(told));
        }
        println!("{told}");
        Ok(())
    }
}

/// Whether two pages differ in nothing but the day of their run.
fn is_the_same(one: &str, other: &str) -> bool {
    let lines = |page| str::lines(page).filter(|line: &&str| !line.starts_with("Run of "));
    lines(one).eq(lines(other))
}

impl Drop for Matrix {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
