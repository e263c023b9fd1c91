//! A call of podman for people.

use crate::client::Invocation;

/// The call for people: files it reads are numbered as a shell would, with what is in them.
pub(crate) fn explained(program: &str, invocation: &Invocation) -> serde_json::Value {
    let mut argv = vec![program.to_owned()];
    argv.extend(invocation.args.first().cloned());
    let mut files = serde_json::Map::new();
    for (number, (option, pairs)) in (3..).zip(invocation.files()) {
        argv.push(format!("{option}=/dev/fd/{number}"));
        files.insert(number.to_string(), serde_json::json!(pairs));
    }
    argv.extend(invocation.args.iter().skip(1).cloned());
    serde_json::json!({ "argv": argv, "env": invocation.env, "files": files })
}
