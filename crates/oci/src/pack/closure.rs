//! From programs to all the files that they need to start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::elf::Object;
use super::search::{Place, System, expand};
use super::tree::Files;
use crate::{Error, Kind};

/// Puts a program at `there` and all its libraries around it.
pub(super) fn add(files: &mut Files, program: &Path, there: &Path, object: Object) -> Result<(), Error> {
    files.file(program, there, true)?;
    let Some(interpreter) = object.interpreter.clone() else {
        return Ok(());
    };
    let linker = Object::read(&interpreter).map_err(|error| {
        let message =
            format!("`{}` runs by `{}`, which cannot be used: {error}", program.display(), interpreter.display());
        Error::new(Kind::Invalid, message).hint("install the C library of the program's architecture")
    })?;
    if linker.machine != object.machine {
        let message = format!(
            "`{}` and its interpreter `{}` are for different machines",
            program.display(),
            interpreter.display()
        );
        return Err(Error::new(Kind::Invalid, message));
    }
    files.file(&interpreter, &interpreter, true)?;
    let system = System::of(object.machine, &interpreter);
    let is_musl = interpreter.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ld-musl-"));
    Closure { files, system, is_musl, program, done: BTreeMap::new() }.run(program, there, object)
}

struct Closure<'a> {
    files: &'a mut Files,
    system: System,
    /// Its linker is its C library.
    is_musl: bool,
    program: &'a Path,
    /// A library is loaded once, whoever asks for it.
    done: BTreeMap<String, PathBuf>,
}

/// An object whose needs are to be met.
struct Pending {
    object: Object,
    here: PathBuf,
    there: PathBuf,
    /// Search paths of those that brought it in, nearest first.
    inherited: Vec<Place>,
}

impl Closure<'_> {
    /// Breadth first, as the linker does it: the first to ask for a library decides where it is found.
    fn run(&mut self, program: &Path, there: &Path, object: Object) -> Result<(), Error> {
        // The linker takes the program's own place with links resolved.
        let here = program.canonicalize().unwrap_or_else(|_| program.to_owned());
        let first = Pending { object, here, there: there.to_owned(), inherited: Vec::new() };
        let mut pending = std::collections::VecDeque::from([first]);
        while let Some(next) = pending.pop_front() {
            let (before, inherited) = paths(&next);
            for name in &next.object.needed {
                if self.done.contains_key(name) || (self.is_musl && is_musl_libc(name)) {
                    continue;
                }
                let (here, there, object) = self.find(name, &before, &next)?;
                self.files.file(&here, &there, false)?;
                self.done.insert(name.clone(), there.clone());
                pending.push_back(Pending { object, here, there, inherited: inherited.clone() });
            }
        }
        Ok(())
    }

    fn find(&self, name: &str, before: &[Place], by: &Pending) -> Result<(PathBuf, PathBuf, Object), Error> {
        if name.contains('/') {
            let path = PathBuf::from(name);
            return match Object::read(&path) {
                Ok(object) if path.is_absolute() => Ok((path.clone(), path, object)),
                _ => Err(self.missing(name, "that very path", by)),
            };
        }
        self.system.find(name, before).ok_or_else(|| self.missing(name, &self.system.searched(before), by))
    }

    fn missing(&self, name: &str, searched: &str, by: &Pending) -> Error {
        let message = format!(
            "`{}` needs the library `{name}` (of `{}`), which is not in: {searched}",
            self.program.display(),
            by.here.display()
        );
        Error::new(Kind::NotFound, message).hint("install the library, or build the program statically")
    }
}

/// What is searched for an object's libraries before the system's directories, and what these libraries inherit.
fn paths(next: &Pending) -> (Vec<Place>, Vec<Place>) {
    let origin = |path: &Path| path.parent().unwrap_or(Path::new("/")).to_owned();
    let (here, there) = (origin(&next.here), origin(&next.there));
    let machine = next.object.machine;
    let own = expand(&next.object.rpath, machine, &here, &there);
    if !next.object.runpath.is_empty() {
        return (expand(&next.object.runpath, machine, &here, &there), next.inherited.clone());
    }
    let all: Vec<_> = own.into_iter().chain(next.inherited.iter().cloned()).collect();
    (all.clone(), all)
}

fn is_musl_libc(name: &str) -> bool {
    name == "libc.so" || name.starts_with("libc.musl-") || name.starts_with("ld-musl-")
}
