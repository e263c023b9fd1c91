//! A command inside the workload.

use futures_util::StreamExt;
use hythe_runtime::{Error, ErrorKind, ExecRequest, InstanceId, OpContext, Runtime};
use hythe_spec::Millis;

use super::reason::Reason;

/// Bytes of a failing command's last output that are kept.
const KEPT_OUTPUT: usize = 512;

pub(super) async fn run(
    runtime: &dyn Runtime,
    id: &InstanceId,
    command: &[String],
    limit: Millis,
) -> Result<(), Reason> {
    let not_run = |error: &Error| match error.kind() {
        ErrorKind::Timeout => Reason::NoAnswer(limit),
        _ => Reason::NotRun(error.message().to_owned()),
    };
    let exec = runtime.exec().ok_or_else(|| Reason::NotRun("the runtime cannot run a process inside".to_owned()))?;
    let request = ExecRequest { command: command.to_vec(), timeout: Some(limit.duration()), ..ExecRequest::default() };
    let context = OpContext::new(format!("health {id}"));
    let session = exec.exec(&context, &id.to_ref(), &request).await.map_err(|error| not_run(&error))?;
    let mut output = session.output;
    let mut kept = Vec::new();
    while let Some(Ok((_, bytes))) = output.next().await {
        kept.extend_from_slice(&bytes);
        kept.drain(..kept.len().saturating_sub(KEPT_OUTPUT));
    }
    match session.exit.await {
        Ok(0) => Ok(()),
        Ok(code) => Err(Reason::Exit(code, String::from_utf8_lossy(&kept).trim().to_owned())),
        Err(error) => Err(not_run(&error)),
    }
}
