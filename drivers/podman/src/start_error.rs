//! Why a start failed, from the log of the OCI runtime: podman itself does not report it.

use std::fs;
use std::path::Path;

use hythe_runtime::Exit;
use serde::Deserialize;

use crate::error;

/// How a failed start would have ended in a shell: 127 absent, 126 not executable, with the OCI runtime's words.
///
/// Podman itself leaves such an instance `created` with exit code 0.
pub(crate) fn failed_start(runtime_log: &Path) -> Option<Exit> {
    let message = last_error(&fs::read(runtime_log).ok()?)?;
    let code = command_code(&message)?;
    Some(Exit::never_started(code, message))
}

/// The message of the last error. runc writes one JSON value a line, crun since 1.28 each over several lines.
fn last_error(log: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        level: String,
        #[serde(default)]
        msg: String,
    }
    let entries = serde_json::Deserializer::from_slice(log).into_iter::<Entry>().map_while(Result::ok);
    entries.filter(|entry| entry.level == "error").last().map(|entry| entry.msg)
}

fn command_code(message: &str) -> Option<i32> {
    let lower = message.to_lowercase();
    if error::is_not_executable(&lower) {
        return Some(126);
    }
    let commands = ["exec: \"", "executable file", "open executable", "exec container process"];
    if !commands.iter().any(|words| lower.contains(words)) {
        return None;
    }
    Some(if lower.contains("permission denied") || lower.contains("exec format error") { 126 } else { 127 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_follows_the_runtimes_words() {
        let absent = r#"runc create failed: unable to start container process: exec: "/no/such": stat /no/such: no such file or directory"#;
        let directory = r#"runc create failed: unable to start container process: exec: "/etc": permission denied"#;
        let directory_of_new_runc = r#"unable to start container process: exec: "/etc": is a directory"#;
        let directory_of_crun = "the path `/etc` is not a regular file: Operation not permitted";
        let file_of_crun = "the path `/etc/passwd` exists but it is not executable: Operation not permitted";
        assert_eq!(command_code(absent), Some(127));
        for words in [directory, directory_of_new_runc, directory_of_crun, file_of_crun] {
            assert_eq!(command_code(words), Some(126), "{words}");
        }
        assert_eq!(command_code("open executable: Permission denied"), Some(126));
        assert_eq!(command_code("exec container process `/x`: Exec format error"), Some(126));
        assert_eq!(command_code("executable file `x` not found in $PATH: No such file or directory"), Some(127));
        assert_eq!(command_code("error setting rlimit type 7: operation not permitted"), None);
    }

    #[test]
    fn the_last_error_of_the_log_counts_however_it_is_laid_out() {
        let of_runc = b"{\"level\":\"warning\",\"msg\":\"a\"}\n{\"level\":\"error\",\"msg\":\"b\"}\n";
        assert_eq!(last_error(of_runc).as_deref(), Some("b"));
        let of_crun = b"{\n  \"msg\": \"first\",\n  \"level\": \"error\",\n  \"time\": \"2026-11-22T09:57:36Z\"\n}\n{\n  \"msg\": \"last\",\n  \"level\": \"error\"\n}\n{\n  \"msg\": \"cut";
        assert_eq!(last_error(of_crun).as_deref(), Some("last"));
        assert_eq!(last_error(b""), None);
        assert_eq!(last_error(b"no json"), None);
    }
}
