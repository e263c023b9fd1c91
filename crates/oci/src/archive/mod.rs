//! Images as files: read from what other tools save, and written for them.

mod contents;
mod export;
mod import;
mod layer;

pub use contents::check_one_unnamed;
pub use export::Format;

pub(crate) use layer::LayerWriter;
