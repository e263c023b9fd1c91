//! Docker's API over its socket, spoken by hand: a few requests whose answers nobody reads but for their status.

use std::path::PathBuf;

use async_trait::async_trait;
use hythe_spec::ImageRef;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::EngineCli;
use crate::failure::{Failure, Outcome};

/// See [`EngineCli`].
pub(crate) struct DockerHand {
    socket: PathBuf,
}

impl DockerHand {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Whether its images are its containerd's: it does not say then where their layers are.
    pub(crate) async fn keeps_images_in_containerd(&self) -> Outcome<bool> {
        Ok(self.answer("GET", "/info", &Value::Null).await?.contains("io.containerd.snapshotter"))
    }

    async fn ask(&self, method: &str, path: &str, body: &Value) -> Outcome {
        self.answer(method, path, body).await.map(drop)
    }

    async fn answer(&self, method: &str, path: &str, body: &Value) -> Outcome<String> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: engine\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = UnixStream::connect(&self.socket).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split_whitespace().nth(1).unwrap_or_default();
        if status.starts_with('2') { Ok(answer) } else { Err(Failure::new(format!("{method} {path}: {answer}"))) }
    }

    async fn post(&self, path: &str) -> Outcome {
        self.ask("POST", path, &Value::Null).await
    }
}

#[async_trait]
impl EngineCli for DockerHand {
    async fn run_foreign(&self, name: &str, image: &ImageRef) -> Outcome {
        let body = json!({
            "Image": image.to_string(),
            "Cmd": ["sleep", "1000"],
            "HostConfig": { "NetworkMode": "none" },
        });
        self.ask("POST", &format!("/containers/create?name={name}"), &body).await?;
        self.post(&format!("/containers/{name}/start")).await
    }

    async fn remove(&self, instance: &str) -> Outcome {
        self.ask("DELETE", &format!("/containers/{instance}?force=1"), &Value::Null).await
    }

    async fn pause(&self, instance: &str) -> Outcome {
        self.post(&format!("/containers/{instance}/pause")).await
    }

    async fn unpause(&self, instance: &str) -> Outcome {
        self.post(&format!("/containers/{instance}/unpause")).await
    }

    async fn kill(&self, instance: &str, signal: &str) -> Outcome {
        self.post(&format!("/containers/{instance}/kill?signal={signal}")).await
    }

    async fn rename(&self, instance: &str, name: &str) -> Outcome {
        self.post(&format!("/containers/{instance}/rename?name={name}")).await
    }

    async fn connect(&self, instance: &str, network: &str) -> Outcome {
        self.ask("POST", &format!("/networks/{network}/connect"), &json!({ "Container": instance })).await
    }

    async fn disconnect(&self, instance: &str, network: &str) -> Outcome {
        self.ask("POST", &format!("/networks/{network}/disconnect"), &json!({ "Container": instance })).await
    }

    async fn make_network(&self, name: &str) -> Outcome {
        self.ask("POST", "/networks/create", &json!({ "Name": name, "CheckDuplicate": true })).await
    }

    async fn remove_network(&self, name: &str) -> Outcome {
        self.ask("DELETE", &format!("/networks/{name}"), &Value::Null).await
    }

    async fn make_volume(&self, name: &str) -> Outcome {
        self.ask("POST", "/volumes/create", &json!({ "Name": name })).await
    }

    async fn remove_volume(&self, name: &str) -> Outcome {
        self.ask("DELETE", &format!("/volumes/{name}"), &Value::Null).await
    }
}
