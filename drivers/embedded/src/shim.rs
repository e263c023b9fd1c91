//! This program as a shim.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::network_hook::Hook;

/// Runs this process as a shim where its arguments (without the program) say so: `shim start|settle DIRECTORY`; gives its exit code. `None`: they do
/// not. Must be called first, while the process has one thread.
#[must_use]
pub fn shim(arguments: impl IntoIterator<Item = OsString>) -> Option<i32> {
    let mut arguments = arguments.into_iter();
    let (word, verb, directory) = (arguments.next()?, arguments.next()?, arguments.next()?);
    let verb = verb.to_str().filter(|verb| matches!(*verb, "start" | "settle"))?;
    if word != "shim" || arguments.next().is_some() {
        return None;
    }
    Some(hythe_shim::run(verb, &PathBuf::from(directory), &mut Hook::default()))
}
