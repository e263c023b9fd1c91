//! Why a start failed, from the log of the OCI runtime: podman itself does not report it.

use std::fs;
use std::path::Path;

use hythe_runtime::Exit;
use serde::Deserialize;

/// How a failed start would have ended in a shell: 127 absent, 126 not executable, with the OCI runtime's words.
///
/// Podman itself leaves such an instance `created` with exit code 0.
pub(crate) fn failed_start(runtime_log: &Path) -> Option<Exit> {
    let text = fs::read_to_string(runtime_log).ok()?;
    let message = text.lines().rev().find_map(error_line)?;
    let code = command_code(&message)?;
    Some(Exit::never_started(code, message))
}

fn error_line(line: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Line {
        level: String,
        msg: String,
    }
    let line: Line = serde_json::from_str(line).ok()?;
    (line.level == "error").then_some(line.msg)
}

fn command_code(message: &str) -> Option<i32> {
    let lower = message.to_lowercase();
    let command = lower.contains("exec: \"")
        || lower.contains("executable file")
        || lower.contains("open executable")
        || lower.contains("exec container process");
    if !command {
        return None;
    }
    Some(if lower.contains("permission denied") || lower.contains("is a directory") { 126 } else { 127 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_follows_the_runtimes_words() {
        let absent = r#"runc create failed: unable to start container process: exec: "/no/such": stat /no/such: no such file or directory"#;
        let directory = r#"runc create failed: unable to start container process: exec: "/etc": permission denied"#;
        assert_eq!(command_code(absent), Some(127));
        assert_eq!(command_code(directory), Some(126));
        assert_eq!(command_code("executable file `x` not found in $PATH: No such file or directory"), Some(127));
        assert_eq!(command_code("error setting rlimit type 7: operation not permitted"), None);
    }
}
