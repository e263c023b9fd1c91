//! The init of a guest.
#[allow(dead_code)]
mod protocol;
fn main() {}
