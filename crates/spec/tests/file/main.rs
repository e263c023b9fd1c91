//! The service file from text to service, and every error of a bad one.

mod commands;
mod errors;
mod example;
mod fields;
mod limits;
mod messages;
mod permissions;
mod render;
mod root;
mod schema;
mod secrets;
mod size;
mod support;
mod validate;
