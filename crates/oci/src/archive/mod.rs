//! Images as files: read from what other tools save, and written for them.

mod export;
mod import;
mod layer;

pub use export::Format;

pub(crate) use layer::LayerWriter;
