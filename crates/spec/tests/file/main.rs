//! The service file from text to service, and every error of a bad one.

mod errors;
mod example;
mod fields;
mod permissions;
mod render;
mod schema;
mod support;
mod validate;
