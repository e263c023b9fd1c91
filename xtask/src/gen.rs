//! `cargo xtask gen`: files that are printed by the program itself and committed, so that readers need not run it.
//!
//! The conformance matrix is generated too, but by a test run: see `cargo xtask test --accept`.

use std::fs;
use std::path::Path;

use crate::env::checkout;
use crate::failure::{Context, Failure, Result};
use crate::run;
use crate::test::program;

pub(crate) const USAGE: &str = "\
cargo xtask gen [--check]
    Writes the generated reference files. --check: writes nothing, fails when one is out of date";

/// A committed file and the words that make `hythe` print it.
struct Generated {
    path: &'static str,
    words: &'static [&'static str],
}

const FILES: [Generated; 3] = [
    Generated { path: "docs/reference/openapi.json", words: &["openapi"] },
    Generated { path: "docs/reference/service.schema.json", words: &["schema"] },
    Generated { path: "docs/reference/cli.md", words: &["help-markdown"] },
];

/// Runs `gen` with the words after it.
pub(crate) fn main(words: &[String]) -> Result<()> {
    let check = match words {
        [] => false,
        [word] if word == "--check" => true,
        _ => return Err(Failure::usage(USAGE)),
    };
    let program = program()?;
    let mut outdated = Vec::new();
    for file in &FILES {
        let fresh = file.print(&program)?;
        if check && !file.matches(&fresh)? {
            outdated.push(file.path);
        }
        if !check {
            file.write(&fresh)?;
        }
    }
    if outdated.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("out of date: {}; run `cargo xtask gen`", outdated.join(", "))))
}

impl Generated {
    fn print(&self, program: &Path) -> Result<String> {
        let mut command = run::command(&program.to_string_lossy());
        let mut text = run::output(command.args(self.words))?;
        text.truncate(text.trim_end().len());
        text.push('\n');
        Ok(text)
    }

    /// Prints the difference when there is one.
    fn matches(&self, fresh: &str) -> Result<bool> {
        let committed = fs::read_to_string(checkout().join(self.path)).unwrap_or_default();
        if committed == fresh {
            return Ok(true);
        }
        show_difference(self.path, fresh)?;
        Ok(false)
    }

    fn write(&self, fresh: &str) -> Result<()> {
        let path = checkout().join(self.path);
        let writing = || format!("writing `{}`", self.path);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).context(writing)?;
        }
        if fs::read_to_string(&path).is_ok_and(|committed| committed == fresh) {
            return Ok(());
        }
        fs::write(&path, fresh).context(writing)?;
        println!("wrote {}", self.path);
        Ok(())
    }
}

/// Prints how `fresh` differs from the committed file at `path`, as a unified diff.
pub(crate) fn show_difference(path: &str, fresh: &str) -> Result<()> {
    let committed = checkout().join(path);
    let old = if committed.exists() { committed } else { "/dev/null".into() };
    let mut diff = run::command("sh");
    // diff answers 1 for a difference, which is no failure here.
    diff.args(["-c", r#"diff -u --label "$1" --label "$1 (now)" "$2" - || [ $? = 1 ]"#, "diff", path]).arg(old);
    let text = run::filter(&mut diff, fresh.as_bytes())?;
    print!("{}", String::from_utf8_lossy(&text));
    Ok(())
}
