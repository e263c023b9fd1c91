//! Where the dynamic linker of a program looks for libraries.

use std::path::{Path, PathBuf};

use super::elf::{Machine, Object};

/// A directory of libraries: here, and in the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) here: PathBuf,
    pub(super) there: PathBuf,
}

/// The directories that every program of a machine searches last.
#[derive(Debug)]
pub(super) struct System {
    machine: Machine,
    places: Vec<Place>,
}

impl System {
    /// Of the programs with this interpreter. An image has no `ld.so.cache`: what is found only by configuration goes where the linker looks anyway.
    pub(super) fn of(machine: Machine, interpreter: &Path) -> Self {
        let name = interpreter.file_name().unwrap_or_default().to_string_lossy();
        let (built_in, configured) = match name.strip_prefix("ld-musl-") {
            Some(rest) => (musl(), musl_paths(rest.split('.').next().unwrap_or_default())),
            None => (glibc(machine), conf(Path::new("/etc/ld.so.conf"), 0)),
        };
        let home = home(&built_in, machine);
        let own = built_in.iter().map(|path| Place { here: path.clone(), there: path.clone() });
        let extra = configured.into_iter().filter(|path| !built_in.contains(path));
        let moved = extra.map(|path| Place { here: path, there: home.clone() });
        // As the linker does it: its configuration comes before what is built into it.
        let places = moved.chain(own).collect();
        Self { machine, places }
    }

    /// The library of this name in the first place that has one for this machine.
    pub(super) fn find(&self, name: &str, before: &[Place]) -> Option<(PathBuf, PathBuf, Object)> {
        before.iter().chain(&self.places).find_map(|place| {
            let here = place.here.join(name);
            let object = here.is_file().then(|| Object::read(&here).ok()).flatten()?;
            (object.machine == self.machine).then(|| (here, place.there.join(name), object))
        })
    }

    pub(super) fn searched(&self, before: &[Place]) -> String {
        let places: Vec<_> = before.iter().chain(&self.places).map(|place| place.here.display().to_string()).collect();
        places.join(", ")
    }
}

/// Where the C library is; else the first directory there is.
fn home(built_in: &[PathBuf], machine: Machine) -> PathBuf {
    let has_libc =
        |path: &&PathBuf| Object::read(&path.join("libc.so.6")).is_ok_and(|object| object.machine == machine);
    built_in.iter().find(has_libc).or(built_in.last()).cloned().unwrap_or_else(|| PathBuf::from("/lib"))
}

fn glibc(machine: Machine) -> Vec<PathBuf> {
    let triple = machine.triple();
    let multiarch = [format!("/lib/{triple}"), format!("/usr/lib/{triple}")];
    multiarch
        .into_iter()
        .map(PathBuf::from)
        .chain(["/lib64", "/usr/lib64", "/lib", "/usr/lib"].map(PathBuf::from))
        .collect()
}

fn musl() -> Vec<PathBuf> {
    ["/lib", "/usr/local/lib", "/usr/lib"].map(PathBuf::from).to_vec()
}

fn musl_paths(architecture: &str) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(format!("/etc/ld-musl-{architecture}.path")).unwrap_or_default();
    text.split([':', '\n']).map(str::trim).filter(|path| path.starts_with('/')).map(PathBuf::from).collect()
}

/// Deeper includes are a circle.
const CONF_DEPTH: usize = 8;

fn conf(path: &Path, depth: usize) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        match line.strip_prefix("include ") {
            Some(pattern) if depth < CONF_DEPTH => {
                let pattern = path.parent().unwrap_or(Path::new("/")).join(pattern.trim());
                found.extend(matching(&pattern).iter().flat_map(|file| conf(file, depth + 1)));
            }
            _ if line.starts_with('/') => found.push(PathBuf::from(line)),
            _ => {}
        }
    }
    found
}

/// Files of a directory whose names fit a pattern with one `*`.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let name = pattern.file_name().unwrap_or_default().to_string_lossy();
    let Some((start, end)) = name.split_once('*') else {
        return vec![pattern.to_owned()];
    };
    let fits = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
    };
    let entries = std::fs::read_dir(pattern.parent().unwrap_or(Path::new("/")));
    let mut found: Vec<_> = entries.into_iter().flatten().flatten().map(|entry| entry.path()).filter(fits).collect();
    found.sort();
    found
}

/// The directories of a search path of an object that is at `here` and will be at `there`.
pub(super) fn expand(paths: &[String], machine: Machine, here: &Path, there: &Path) -> Vec<Place> {
    let mut places = Vec::new();
    for path in paths.iter().filter(|path| !path.is_empty() && !path.contains("PLATFORM")) {
        for lib in libraries(path, machine) {
            let path = path.replace("${LIB}", &lib).replace("$LIB", &lib);
            let at = |origin: &Path| {
                let origin = origin.to_string_lossy();
                PathBuf::from(path.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin))
            };
            let place = Place { here: at(here), there: at(there) };
            if place.here.is_absolute() {
                places.push(place);
            }
        }
    }
    places
}

/// What `$LIB` may mean; once where it is not used.
fn libraries(path: &str, machine: Machine) -> Vec<String> {
    if !path.contains("LIB") {
        return vec![String::new()];
    }
    vec![format!("lib/{}", machine.triple()), "lib64".to_owned(), "lib".to_owned()]
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
mod tests {
    use super::*;

    fn own() -> Machine {
        Object::read(&std::env::current_exe().unwrap()).unwrap().machine
    }

    #[test]
    fn the_configuration_includes_files_by_pattern_and_no_circle_holds_it_up() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::create_dir(at("conf.d")).unwrap();
        std::fs::write(at("ld.so.conf"), "# a remark\n/opt/one # another\ninclude conf.d/*.conf\nrelative\n").unwrap();
        std::fs::write(at("conf.d/b.conf"), "/opt/three\ninclude ../ld.so.none\n").unwrap();
        std::fs::write(at("conf.d/a.conf"), "/opt/two\n").unwrap();
        std::fs::write(at("conf.d/c.other"), "/opt/never\n").unwrap();
        assert_eq!(conf(&at("ld.so.conf"), 0), ["/opt/one", "/opt/two", "/opt/three"].map(PathBuf::from));
        std::fs::write(at("circle"), "include circle\n/opt/x\n").unwrap();
        assert_eq!(conf(&at("circle"), 0).len(), CONF_DEPTH + 1);
    }

    #[test]
    fn search_paths_move_with_their_object() {
        let (here, there) = (Path::new("/build/app/bin"), Path::new("/usr/bin"));
        let expanded = |path: &str| {
            let places = expand(&[path.to_owned()], own(), here, there);
            places
                .into_iter()
                .map(|place| (place.here.display().to_string(), place.there.display().to_string()))
                .collect::<Vec<_>>()
        };
        let pair = |here: &str, there: &str| (here.to_owned(), there.to_owned());
        assert_eq!(expanded("$ORIGIN/../lib"), [pair("/build/app/bin/../lib", "/usr/bin/../lib")]);
        assert_eq!(expanded("${ORIGIN}"), [pair("/build/app/bin", "/usr/bin")]);
        assert_eq!(expanded("/opt/lib"), [pair("/opt/lib", "/opt/lib")]);
        assert_eq!(expanded("/opt/$LIB").len(), 3);
        for ignored in ["", "relative", "/opt/$PLATFORM"] {
            assert!(expanded(ignored).is_empty(), "{ignored}");
        }
    }

    #[test]
    fn what_only_the_configuration_finds_goes_where_the_linker_looks_anyway() {
        let system = System::of(own(), Path::new("/lib64/ld-linux-x86-64.so.2"));
        let (_, there, object) = system.find("libc.so.6", &[]).unwrap();
        assert_eq!(object.machine, own());
        let homes: Vec<_> = glibc(own());
        assert!(homes.iter().any(|home| there.parent() == Some(home)));
        assert!(system.places.iter().all(|place| homes.contains(&place.there)));
        assert!(system.find("libabsent.so.9", &[]).is_none());
    }
}
