//! The runtimes that are judged.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use hythe_driver_memory::Memory;
use hythe_runtime::Runtime;
use hythe_runtime::layers::{Settings, standard};
use hythe_spec::ImageRef;

use crate::engine_cli::{EngineCli, MemoryHand};
use crate::environment::Environment;
use crate::failure::{Failure, Outcome};
use crate::need::Need;

/// A connection of its own that can be broken.
pub(crate) struct Breakable {
    pub(crate) runtime: Arc<dyn Runtime>,
    /// From now on the engine does not answer there.
    pub(crate) sever: Box<dyn FnOnce() + Send>,
}

/// Makes one.
pub(crate) type MakeBreakable = Box<dyn Fn() -> BoxFuture<'static, Outcome<Breakable>> + Send + Sync>;

/// One runtime, with what the suite knows about it.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    /// The driver in its standard layers.
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) real: bool,
    pub(crate) image: ImageRef,
    pub(crate) engine_cli: Option<Box<dyn EngineCli>>,
    pub(crate) breakable: Option<MakeBreakable>,
    /// `host:port`.
    pub(crate) registry: Option<String>,
    pub(crate) registry_auth: Option<String>,
    /// What it has not, and why.
    pub(crate) without: Vec<(Need, &'static str)>,
}

/// A runtime, or why it could not be connected.
pub(crate) type Connected = (&'static str, Outcome<Subject>);

/// Everything that is up.
pub(crate) async fn all(environment: &Environment) -> Outcome<Vec<Connected>> {
    let image = environment.image.as_deref().unwrap_or(Memory::TEST_IMAGE);
    let image: ImageRef = image.parse().map_err(|error| Failure::new(format!("`{image}`: {error}")))?;
    if crate::rootless::results().is_some() {
        return Ok(crate::engines::rootless(environment, &image).await);
    }
    let mut subjects = vec![("memory", Ok(memory(image.clone())))];
    subjects.extend(crate::engines::all(environment, &image).await);
    Ok(subjects)
}

const REGISTRY: &str = "registry.test:5000";
const REGISTRY_AUTH: &str = "auth.test:5000";

fn memory_runtime(image: &ImageRef) -> Arc<Memory> {
    Memory::builder()
        .image(image.to_string())
        .registry(REGISTRY, ["hythe-test:1"])
        .registry_refusing(REGISTRY_AUTH)
        .build()
}

fn memory(image: ImageRef) -> Subject {
    let memory = memory_runtime(&image);
    let broken = image.clone();
    Subject {
        name: "memory",
        runtime: standard(memory.clone(), &Settings::default()),
        real: false,
        engine_cli: Some(Box::new(MemoryHand::new(memory.control()))),
        breakable: Some(Box::new(move || Box::pin(std::future::ready(Ok(breakable_memory(&broken)))))),
        registry: Some(REGISTRY.to_owned()),
        registry_auth: Some(REGISTRY_AUTH.to_owned()),
        without: Vec::new(),
        image,
    }
}

fn breakable_memory(image: &ImageRef) -> Breakable {
    let memory = memory_runtime(image);
    let control = memory.control();
    let sever = Box::new(move || control.down("no such file or directory"));
    Breakable { runtime: standard(memory, &Settings::default()), sever }
}
