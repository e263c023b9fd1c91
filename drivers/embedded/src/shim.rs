//! This program as a shim.

use std::ffi::OsString;
use std::path::PathBuf;

use hythe_network::shim_network::ShimNetwork;
use hythe_shim::namespace;

use crate::userns_exec;

/// Runs this process as a shim, or as what serves an unprivileged user's, where its arguments (without the program) say so: `shim VERB DIRECTORY`; gives its
/// exit code. `None`: they do not. Must be called first, while the process has one thread.
#[must_use]
pub fn shim(arguments: impl IntoIterator<Item = OsString>) -> Option<i32> {
    let mut arguments = arguments.into_iter();
    let (word, verb, directory) = (arguments.next()?, arguments.next()?, arguments.next()?);
    if word != "shim" || arguments.next().is_some() {
        return None;
    }
    let directory = PathBuf::from(directory);
    match verb.to_str()? {
        verb @ ("start" | "recover" | "task" | "resume") => {
            Some(hythe_shim::run(verb, &directory, &mut ShimNetwork::default()))
        }
        namespace::PAUSE => Some(namespace::pause(&directory)),
        userns_exec::USERNS_EXEC => Some(userns_exec::run(&directory)),
        _ => None,
    }
}
