//! A process beside the main one, in the words of the OCI runtime specification.

use hythe_oci_spec::Command;
use hythe_runtime::{Error, ErrorKind, ExecRequest, Result};
use hythe_shim::Ids;
use serde_json::{Value, json};

use super::OPERATION;

/// The main process of a run, with what is asked for in its place: limits, capabilities and profiles are the container's.
pub(super) fn described(own: &Command, main: &Value, request: &ExecRequest, user: Option<&Ids>) -> Result<Value> {
    let ExecRequest { command, env: over, user: _, workdir, tty, stdin: _, size, timeout: _ } = request;
    let mut env = own.env.clone();
    if *tty {
        env.entry("TERM".to_owned()).or_insert_with(|| "xterm".to_owned());
    }
    env.extend(over.clone());
    if let Some((_, value)) = env.iter().find(|(name, _)| name.is_empty()) {
        let message = format!("the environment variable `={value}` has no name");
        return Err(Error::new(ErrorKind::Invalid, OPERATION, message).hint("give it a name"));
    }
    if env.get("HOME").is_none_or(String::is_empty) {
        let home = user.map_or_else(|| home_of(main), |user| user.home.clone());
        env.insert("HOME".to_owned(), home);
    }
    let env: Vec<String> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut process = main.clone();
    process["args"] = json!(command);
    process["env"] = json!(env);
    process["cwd"] = json!(workdir.as_ref().unwrap_or(&own.workdir));
    process["terminal"] = json!(tty);
    if let Some(size) = size.filter(|_| *tty) {
        process["consoleSize"] = json!({ "height": size.rows, "width": size.columns });
    } else if let Some(process) = process.as_object_mut() {
        process.remove("consoleSize");
    }
    if let Some(user) = user {
        process["user"] = json!({ "uid": user.uid, "gid": user.gid, "additionalGids": user.more });
    }
    Ok(process)
}

/// The home directory of the main process.
fn home_of(main: &Value) -> String {
    let env = main["env"].as_array().into_iter().flatten().filter_map(Value::as_str);
    env.filter_map(|variable| variable.strip_prefix("HOME=")).next_back().unwrap_or("/").to_owned()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::collections::BTreeMap;

    use hythe_runtime::TerminalSize;

    use super::*;

    fn command() -> Command {
        Command {
            entrypoint: Vec::new(),
            command: Vec::new(),
            env: BTreeMap::from([("KEPT".to_owned(), "1".to_owned())]),
            user: None,
            workdir: "/srv".to_owned(),
        }
    }

    #[test]
    fn described_keeps_what_confines_the_container() {
        let main = json!({
            "args": ["main"], "env": ["HOME=/root"], "user": { "uid": 5 }, "noNewPrivileges": true,
            "capabilities": { "bounding": ["CAP_KILL"] }, "consoleSize": { "height": 1, "width": 1 },
        });
        let request = ExecRequest { command: vec!["id".to_owned()], ..ExecRequest::default() };
        let process = described(&command(), &main, &request, None).unwrap();
        assert_eq!(process["capabilities"], main["capabilities"]);
        assert_eq!((&process["noNewPrivileges"], &process["user"]), (&json!(true), &main["user"]));
        assert_eq!((&process["args"], &process["cwd"]), (&json!(["id"]), &json!("/srv")));
        assert_eq!(process["env"], json!(["HOME=/root", "KEPT=1"]));
        assert!(process.get("consoleSize").is_none());
    }

    #[test]
    fn described_of_another_user_with_terminal_has_its_home_and_size() {
        let size = Some(TerminalSize { columns: 132, rows: 43 });
        let request = ExecRequest { tty: true, size, ..ExecRequest::default() };
        let user = Ids { uid: 7, gid: 8, more: vec![8], asked: Vec::new(), home: "/home/app".to_owned() };
        let process = described(&command(), &json!({ "env": ["HOME=/root"] }), &request, Some(&user)).unwrap();
        assert_eq!(process["env"], json!(["HOME=/home/app", "KEPT=1", "TERM=xterm"]));
        assert_eq!(process["consoleSize"], json!({ "height": 43, "width": 132 }));
        assert_eq!(process["user"], json!({ "uid": 7, "gid": 8, "additionalGids": [8] }));
    }

    #[test]
    fn described_with_nameless_variable_is_invalid() {
        let env = BTreeMap::from([(String::new(), "x".to_owned())]);
        let request = ExecRequest { env, ..ExecRequest::default() };
        assert_eq!(described(&command(), &json!({}), &request, None).unwrap_err().kind(), ErrorKind::Invalid);
    }
}
