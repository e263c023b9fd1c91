//! A typed client of the agent's API: HTTP, server-sent events and WebSockets over a Unix socket or TCP.
//!
//! For: one method per operation of `hythe_api::OPERATIONS`, with typed answers and typed errors.
//! Not for: starting agents, printing, or deciding what an answer means. Knows no runtime and no driver.

mod call;
mod client;
mod endpoint;
mod error;
mod events;
mod images;
mod instances;
mod maintenance;
mod operations;
mod reconnect;
mod secrets;
mod services;
mod session;
mod snapshots;
mod sse;
mod target;
mod transport;
mod workloads;

pub use client::Client;
pub use endpoint::{Endpoint, EndpointError};
pub use error::{ClientError, ProtocolError};
pub use operations::Update;
pub use session::{Output, Session, SessionInput, SessionOutput};
#[doc(hidden)]
pub use sse::fuzz_events;

/// Items that arrive over time; an error is the last one.
pub type Items<T> = futures_util::stream::BoxStream<'static, Result<T, ClientError>>;
