//! Pure translation: a plan into a specification, containers and tasks into what was observed. No I/O here.

mod image;
mod observed;
mod plan;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

pub(crate) use image::{config_of, image_of};
pub(crate) use observed::{foreign, observed, state};
pub(crate) use plan::{Instance, supervisor_config};
