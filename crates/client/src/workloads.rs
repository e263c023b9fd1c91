//! Workloads: list, detail, logs, resource use, and sessions inside.

use futures_util::StreamExt;
use hythe_api::{
    ArchiveStart, AttachStart, ExecStart, FileInfo, FileQuery, LogLine, LogQuery, SecretsQuery, Stats, Workload,
    WorkloadDetail,
};

use crate::call::{Call, segment};
use crate::sse::{self, Message, Messages, Step};
use crate::{Client, ClientError, Items, Session};

impl Client {
    /// Workloads of all services.
    pub async fn workloads(&self) -> Result<Vec<Workload>, ClientError> {
        Call::get("/v1/workloads").json(&self.endpoint).await
    }

    /// One workload, desired and observed.
    pub async fn workload(&self, name: &str, query: &SecretsQuery) -> Result<WorkloadDetail, ClientError> {
        Call::get(workload(name)).query(query)?.json(&self.endpoint).await
    }

    /// Its log lines; the stream ends when the agent says that they are complete.
    pub async fn logs(&self, name: &str, query: &LogQuery) -> Result<Items<LogLine>, ClientError> {
        let call = Call::get(format!("{}/logs", workload(name))).query(query)?;
        let messages = sse::open(call, &self.endpoint).await?;
        Ok(sse::items(messages, line).boxed())
    }

    /// Its resource use now.
    pub async fn stats(&self, name: &str) -> Result<Stats, ClientError> {
        Call::get(format!("{}/stats", workload(name))).json(&self.endpoint).await
    }

    /// Runs a process inside.
    pub async fn exec(&self, name: &str, start: &ExecStart) -> Result<Session, ClientError> {
        Session::open(&self.endpoint, format!("{}/exec", workload(name)), start).await
    }

    /// Connects to the main process.
    pub async fn attach(&self, name: &str, start: &AttachStart) -> Result<Session, ClientError> {
        Session::open(&self.endpoint, format!("{}/attach", workload(name)), start).await
    }

    /// What is at a path of its instance; absent there is a `not-found` problem.
    pub async fn file(&self, name: &str, query: &FileQuery) -> Result<FileInfo, ClientError> {
        Call::get(format!("{}/files", workload(name))).query(query)?.json(&self.endpoint).await
    }

    /// Reads or writes files of its instance: the archive is the session's stdout, or its stdin.
    pub async fn archive(&self, name: &str, start: &ArchiveStart) -> Result<Session, ClientError> {
        Session::open(&self.endpoint, format!("{}/archive", workload(name)), start).await
    }
}

fn workload(name: &str) -> String {
    format!("/v1/workloads/{}", segment(name))
}

fn line(messages: &Messages, message: &Message) -> Result<Step<LogLine>, ClientError> {
    Ok(match message.event.as_str() {
        "line" => Step::Item(messages.parse(message)?),
        "end" => Step::End,
        _ => Step::Skip,
    })
}
