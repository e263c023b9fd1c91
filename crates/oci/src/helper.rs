//! Credential helpers: programs named `docker-credential-<name>` that keep secrets for Docker and Podman.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::Error;
use crate::auth::{Credential, broken};

const DEADLINE: Duration = Duration::from_secs(10);
/// The words of the helper protocol for "none", on stdout or stderr.
const ABSENT: &str = "credentials not found";
/// The user name by which a helper says that its secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// One question to one helper.
pub(crate) struct Helper<'a> {
    pub(crate) name: &'a str,
    pub(crate) server: &'a str,
    /// The auth file that names the helper.
    pub(crate) file: &'a Path,
    /// Where the program is looked for, like `$PATH`; `None`: the process's own.
    pub(crate) search: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

impl Helper<'_> {
    pub(crate) async fn get(self) -> Result<Option<Credential>, Error> {
        if self.name.contains('/') {
            return Err(self.failed("is not a program name"));
        }
        let output = match tokio::time::timeout(DEADLINE, self.run()).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => return Err(self.failed(&format!("cannot be run: {error}"))),
            Err(_) => {
                return Err(self.failed(&format!("gave no answer within {} s", DEADLINE.as_secs())));
            }
        };
        if !output.status.success() {
            let words = [output.stdout, output.stderr].concat();
            let words = String::from_utf8_lossy(&words);
            return match words.contains(ABSENT) {
                true => Ok(None),
                false => Err(self.failed(&format!("failed: {}", words.trim()))),
            };
        }
        let Ok(answer) = serde_json::from_slice::<Answer>(&output.stdout) else {
            return Err(self.failed("gave an answer that is not a credential"));
        };
        Ok(Some(match answer.username.as_str() {
            TOKEN_USER => Credential::Token(answer.secret),
            _ => Credential::Password { username: answer.username, password: answer.secret },
        }))
    }

    async fn run(&self) -> std::io::Result<Output> {
        let mut command = Command::new(format!("docker-credential-{}", self.name));
        command.arg("get").kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(search) = self.search {
            command.env("PATH", search);
        }
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A helper that answers without reading is judged by its answer.
            stdin.write_all(self.server.as_bytes()).await.ok();
        }
        child.wait_with_output().await
    }

    fn failed(&self, what: &str) -> Error {
        broken(self.file, &format!("names the credential helper `docker-credential-{}`, which {what}", self.name))
    }
}
