//! A container that somebody else made, by the engine's own program; removed when dropped.

use crate::engine::Engine;
use crate::files::IMAGE;
use crate::fixture::Fixture;

/// It runs, unless a trial ended it.
pub(crate) struct Foreign {
    engine: Engine,
    pub(crate) name: String,
    pub(crate) id: String,
}

impl Foreign {
    /// Starts one that runs this script, with further words for `run`.
    pub(crate) fn start(fixture: &Fixture<'_>, name: &str, options: &[&str], script: &str) -> Self {
        let engine = fixture.engine().clone();
        let words = [&["run", "-d", "--name", name], options, &[IMAGE, "sh", "-c", script]].concat();
        let out = engine.run(&words);
        let id = out.lines().last().unwrap_or_default().trim().to_owned();
        Self { engine, name: name.to_owned(), id }
    }

    /// What the engine says of it in this template.
    pub(crate) fn ask(&self, template: &str) -> String {
        self.engine.run(&["inspect", "--type", "container", "--format", template, &self.id]).trim().to_owned()
    }

    /// Its process and state: the same as long as nobody touches it.
    pub(crate) fn life(&self) -> String {
        self.ask("{{.Id}} {{.State.Pid}} {{.State.Status}} {{.State.StartedAt}}")
    }

    /// The engine has it no more.
    pub(crate) fn is_gone(&self) -> bool {
        self.engine.tries(&["inspect", "--type", "container", &self.id]).code != Some(0)
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        // It may be gone already.
        self.engine.tries(&["rm", "-f", "-v", &self.id]);
    }
}
