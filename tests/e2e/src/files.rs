//! Service files that trials deploy.

use std::fmt::Write;

/// The test image in every engine.
pub(crate) const IMAGE: &str = "localhost/hythe-test:1";

/// A script that says something, then waits until it is asked to stop.
pub(crate) fn stays(says: &str) -> String {
    format!("trap exit TERM; echo {says}; sleep 3600 & wait")
}

/// A service of one component with the service's name that runs a script; `keys` are further lines of the component.
pub(crate) fn one(service: &str, script: &str, keys: &str) -> String {
    several(service, &[(service, script, keys)])
}

/// A service of several components: name, script, further lines.
pub(crate) fn several(service: &str, components: &[(&str, &str, &str)]) -> String {
    let mut text = format!("name = \"{service}\"\n");
    for (name, script, keys) in components {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n[[components]]\nname = \"{name}\"\nimage = \"{IMAGE}\"\n");
        let _ = write!(text, "command = ['sh', '-c', '''{script}''']\n{keys}\n");
    }
    text
}
