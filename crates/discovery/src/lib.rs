//! Discovery: every instance on the host, whoever made it, for other tools to find. A list of them, and a stream of their changes.
//!
//! For: reading, over the same seam as everybody; what labels of other tools hint at ([`Hints`]). Not for: changing anything, or deciding
//! what a workload should do (see `controller`). Runtimes are followed only while somebody reads the stream, and nothing is stored.
//!
//! ```text
//! runtime --watch--> RuntimeFollower --(list, event, inspect)--> Cache --FeedEvent--> InstanceStream
//! ```

mod cache;
mod display_name;
mod event;
mod follower;
pub mod hints;
mod inspect;
mod instance;
mod model;
mod source;
mod stream;

#[cfg(test)]
mod tests;

pub use cache::{RuntimeConnection, Snapshot};
pub use event::{Change, FeedEvent};
pub use hints::Hints;
pub use instance::{FoundInstance, FoundNetwork};
pub use source::RuntimeSource;
pub use stream::{Discovery, InstanceStream, StreamItem};
