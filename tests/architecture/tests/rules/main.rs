//! The rules of ARCHITECTURE.md that no compiler checks, each a test that names what breaks it.

mod arrows;
mod deploy_path;
mod drivers;
mod native_clients;
mod router;
mod tidiness;
mod words;

/// Fails with every breach at once.
#[track_caller]
fn hold(rule: &str, breaches: &[String]) {
    assert!(breaches.is_empty(), "{rule}; broken by:\n  {}", breaches.join("\n  "));
}
