//! A hook that is a program: no shell, the alert on its stdin and in its environment, killed with its children when it takes too long.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, Command};

use super::message::Message;

/// Bytes of what a failing program says that are kept.
const KEPT: usize = 512;
/// Time to read its last output once it has ended: a child of its own may still have the pipe.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Ends the program and all that it started, whoever stops waiting for it.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Nobody may be left in it.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Runs it to its end; how it ended, or why that is a failure.
pub(super) async fn run(command: &[String], message: &Message) -> Result<String, String> {
    let mut child = spawn(command, message).map_err(|error| format!("cannot be run: {error}"))?;
    let mut group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let mut words = Vec::new();
    let ended = {
        let (waiting, reading, feeding) = (child.wait(), listen(stderr, &mut words), feed(stdin, message));
        tokio::pin!(waiting, reading, feeding);
        let (mut fed, mut read) = (false, false);
        loop {
            tokio::select! {
                ended = &mut waiting => {
                    if !read {
                        // What it has said until now is enough.
                        let _ = tokio::time::timeout(LAST_WORDS, &mut reading).await;
                    }
                    break ended;
                }
                () = &mut reading, if !read => read = true,
                () = &mut feeding, if !fed => fed = true,
            }
        }
    };
    // It was waited for: what it left running on purpose may go on.
    group.0 = None;
    judge(ended, &words)
}

fn spawn(command: &[String], message: &Message) -> std::io::Result<Child> {
    let (program, arguments) = command.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
    let mut spawning = Command::new(program);
    spawning.args(arguments).envs(message.variables.iter().map(|(name, value)| (name, value)));
    spawning.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    spawning.process_group(0).kill_on_drop(true).spawn()
}

/// A program that does not read is judged by how it ends.
async fn feed(stdin: Option<ChildStdin>, message: &Message) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(message.json.as_bytes()).await;
    }
}

/// Reads to the end, so that nobody waits for room in the pipe; keeps the beginning.
async fn listen(stderr: Option<ChildStderr>, words: &mut Vec<u8>) {
    let Some(mut stderr) = stderr else {
        return;
    };
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stderr.read(&mut buffer).await {
        let room = KEPT.saturating_sub(words.len());
        words.extend_from_slice(&buffer[..read.min(room)]);
    }
}

fn judge(ended: std::io::Result<ExitStatus>, words: &[u8]) -> Result<String, String> {
    let status = ended.map_err(|error| format!("cannot be waited for: {error}"))?;
    if status.success() {
        return Ok(status.to_string());
    }
    let words = String::from_utf8_lossy(words);
    let said = words.trim();
    Err(if said.is_empty() { status.to_string() } else { format!("{status}: {said}") })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use std::time::Instant;

    use super::*;

    fn message() -> Message {
        Message { json: "{\"alert\":\"drift\"}".to_owned(), variables: vec![("HYTHE_ALERT", "drift".to_owned())] }
    }

    async fn shell(script: &str) -> Result<String, String> {
        let command = ["sh", "-c", script].map(str::to_owned);
        run(&command, &message()).await
    }

    #[tokio::test]
    async fn it_gets_the_alert_on_stdin_and_in_its_environment() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("got");
        shell(&format!("(cat; echo \" $HYTHE_ALERT\") > '{}'", path.display())).await.unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "{\"alert\":\"drift\"} drift\n");
    }

    #[tokio::test]
    async fn a_failure_has_the_status_and_the_last_log_lines() {
        assert_eq!(shell("echo no such channel >&2; exit 3").await.unwrap_err(), "exit status: 3: no such channel");
        let error = run(&["/does/not/exist".to_owned()], &message()).await.unwrap_err();
        assert!(error.starts_with("cannot be run"), "{error}");
    }

    #[tokio::test]
    async fn much_talk_and_no_reading_hold_nothing_up() {
        let talk = "head -c 300000 /dev/zero >&2";
        assert_eq!(shell(talk).await.unwrap(), "exit status: 0");
        let large = Message { json: "x".repeat(1 << 20), variables: Vec::new() };
        run(&["true".to_owned()], &large).await.unwrap();
        let begun = Instant::now();
        shell("sleep 30 & exit 0").await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(3), "waited for its child processes");
    }

    #[tokio::test]
    async fn giving_up_kills_its_children_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let script = format!("sleep 60 & echo $! > '{}'; wait", path.display());
        let hanging = shell(&script);
        assert!(tokio::time::timeout(Duration::from_millis(500), hanging).await.is_err());
        let pid: u32 = std::fs::read_to_string(path).unwrap().trim().parse().unwrap();
        let gone = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
            stat.map_or(true, |stat| stat.contains(") Z "))
        };
        for _ in 0..100 {
            if gone() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("its child {pid} lives on");
    }
}
