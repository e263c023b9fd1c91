//! The rules of ARCHITECTURE.md that no compiler checks, each a test that names what breaks it.

mod arrows;
mod controller;
mod debug_output;
mod deploy_path;
mod drivers;
mod links;
mod names;
mod native_clients;
mod router;
mod tidiness;
mod vocabulary;
mod words;

/// Fails with every breach at once.
#[track_caller]
fn hold(rule: &str, breaches: &[String]) {
    assert!(breaches.is_empty(), "{rule}; broken by:\n  {}", breaches.join("\n  "));
}
