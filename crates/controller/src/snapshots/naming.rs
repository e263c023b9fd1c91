//! Names of snapshots: what they mean, which is free, and who is about to use one.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use hythe_runtime::{Error, ErrorKind, Snapshot};
use hythe_spec::ImageRef;
use hythe_spec::vocabulary::OperationKind;

pub(super) const OPERATION: &str = OperationKind::Snapshot.as_str();
/// Begins the name of every snapshot; nobody can have a registry there.
const HOST: &str = "localhost";
const DIRECTORY: &str = "hythe/";

/// The image of this name for a workload's files.
pub(crate) fn image(service: &str, component: &str, tag: &str) -> Result<ImageRef, Error> {
    let text = format!("{HOST}/{DIRECTORY}{service}/{component}:{tag}");
    let wrong = |hint: &str| {
        let words = format!("`{tag}` cannot name a snapshot of `{service}/{component}`");
        Error::new(ErrorKind::Invalid, OPERATION, words).hint(hint)
    };
    let rule = "a name is letters, digits, `_`, `.` and `-`, at most 128, and begins with a letter, a digit or `_`";
    let image: ImageRef = text.parse().map_err(|_| wrong(rule))?;
    if image.to_string() == text && image.tag.as_deref() == Some(tag) { Ok(image) } else { Err(wrong(rule)) }
}

/// What `localhost/hythe/shop/web:1`, `shop/web:1` and, for the component named as its service, `shop:1` mean.
pub(super) fn parse(text: &str) -> Result<ImageRef, Error> {
    let wrong = || {
        Error::new(ErrorKind::Invalid, OPERATION, format!("`{text}` names no snapshot"))
            .hint("write `<service>/<component>:<name>`; `hythe snapshot ls` lists them")
    };
    let short = text.strip_prefix(&format!("{HOST}/{DIRECTORY}")).unwrap_or(text);
    let (workload, tag) = short.rsplit_once(':').ok_or_else(wrong)?;
    let (service, component) = workload.split_once('/').unwrap_or((workload, workload));
    if component.contains('/') { Err(wrong()) } else { image(service, component, tag).map_err(|_| wrong()) }
}

/// Whether an image of this name can only be a snapshot, which no registry has.
pub(crate) fn is_of_a_snapshot(image: &ImageRef) -> bool {
    image.domain == HOST && image.path.starts_with(DIRECTORY)
}

/// The number after the highest that is taken, or was once.
fn next(repository: &str, taken: &BTreeSet<String>, used: u64) -> u64 {
    let tags = taken.iter().filter_map(|name| name.strip_prefix(repository)?.strip_prefix(':'));
    tags.filter_map(|tag| tag.parse::<u64>().ok()).max().unwrap_or_default().max(used).saturating_add(1)
}

/// A snapshot of ours and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotOn {
    /// Name of the runtime.
    pub runtime: String,
    /// The snapshot.
    pub snapshot: Snapshot,
}

/// Names that are about to be used, and workloads that may be frozen meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Underway {
    /// Locked while a name is chosen, so that what is taken does not change meanwhile.
    pub(super) choosing: tokio::sync::Mutex<()>,
    names: Mutex<BTreeSet<String>>,
    frozen: Mutex<BTreeSet<String>>,
}

impl Underway {
    /// Takes the name asked for, or the next number; `used` is the highest one ever used.
    pub(super) fn take(
        self: &Arc<Self>,
        (service, component): (&str, &str),
        asked: Option<&str>,
        mut taken: BTreeSet<String>,
        used: u64,
    ) -> Result<Name, Error> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        taken.extend(names.iter().cloned());
        let image = match asked {
            Some(tag) => image(service, component, tag)?,
            None => {
                let any = image(service, component, "1")?;
                image(service, component, &next(&any.repository(), &taken, used).to_string())?
            }
        };
        let name = image.to_string();
        if taken.contains(&name) {
            return Err(Error::new(ErrorKind::AlreadyExists, OPERATION, format!("`{name}` exists already"))
                .hint("take another name, or remove that one with `hythe snapshot rm`"));
        }
        names.insert(name);
        Ok(Name { image, underway: self.clone() })
    }

    /// Notes that the engine may freeze a workload's instance for a snapshot, so that this is no drift.
    pub(crate) fn freeze(self: &Arc<Self>, workload: &str) -> Frozen {
        self.frozen.lock().unwrap_or_else(PoisonError::into_inner).insert(workload.to_owned());
        Frozen { workload: workload.to_owned(), underway: self.clone() }
    }

    pub(crate) fn is_frozen(&self, workload: &str) -> bool {
        self.frozen.lock().unwrap_or_else(PoisonError::into_inner).contains(workload)
    }
}

/// A name that nobody else takes.
#[derive(Debug)]
pub(crate) struct Name {
    pub(crate) image: ImageRef,
    underway: Arc<Underway>,
}

impl Drop for Name {
    fn drop(&mut self) {
        self.underway.names.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.image.to_string());
    }
}

/// A workload whose instance the engine may freeze; until dropped.
#[derive(Debug)]
pub(crate) struct Frozen {
    workload: String,
    underway: Arc<Underway>,
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.underway.frozen.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.workload);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    const SHOP: (&str, &str) = ("shop", "web");

    fn taken(tags: &[&str]) -> BTreeSet<String> {
        tags.iter().map(|tag| format!("localhost/hythe/{tag}")).collect()
    }

    #[test]
    fn three_ways_to_name_one() {
        for text in ["localhost/hythe/shop/web:1", "shop/web:1"] {
            assert_eq!(parse(text).unwrap().to_string(), "localhost/hythe/shop/web:1");
        }
        assert_eq!(parse("shop:before-2.0").unwrap().to_string(), "localhost/hythe/shop/shop:before-2.0");
        for text in ["shop/web", "shop", "", "shop/web:", "shop/web:a b", "a/b/c:1", "example.com/shop/web:3"] {
            assert_eq!(parse(text).unwrap_err().kind(), ErrorKind::Invalid, "{text}");
        }
    }

    #[test]
    fn a_name_is_one_tag_and_nothing_else() {
        for tag in ["1", "before-2.0", "_x"] {
            assert_eq!(image("shop", "web", tag).unwrap().tag.as_deref(), Some(tag));
        }
        for tag in ["", "a b", "-x", "a:b", "a/b", "1@sha256:0", &"x".repeat(129)] {
            assert_eq!(image("shop", "web", tag).unwrap_err().kind(), ErrorKind::Invalid, "{tag}");
        }
    }

    #[test]
    fn the_next_number_follows_the_highest_of_the_same_workload() {
        let underway = Arc::new(Underway::default());
        let names = taken(&["shop/web:1", "shop/web:7", "shop/web:x", "shop/web-2:40", "shop/db:50"]);
        let first = underway.take(SHOP, None, names.clone(), 0).unwrap();
        assert_eq!(first.image.tag.as_deref(), Some("8"));
        let second = underway.take(SHOP, None, names.clone(), 0).unwrap();
        assert_eq!(second.image.tag.as_deref(), Some("9"), "the first is not made yet");
        drop((first, second));
        assert_eq!(underway.take(SHOP, None, names.clone(), 0).unwrap().image.tag.as_deref(), Some("8"));
        assert_eq!(underway.take(SHOP, None, names, 20).unwrap().image.tag.as_deref(), Some("21"), "20 was removed");
    }

    #[test]
    fn a_name_is_given_once() {
        let underway = Arc::new(Underway::default());
        let held = underway.take(SHOP, Some("x"), BTreeSet::new(), 0).unwrap();
        let refused = |taken| underway.take(SHOP, Some("x"), taken, 0).map(|_| ()).unwrap_err().kind();
        assert_eq!(refused(BTreeSet::new()), ErrorKind::AlreadyExists);
        drop(held);
        assert_eq!(refused(taken(&["shop/web:x"])), ErrorKind::AlreadyExists);
        assert!(underway.take(SHOP, Some("x"), BTreeSet::new(), 0).is_ok());
    }
}
