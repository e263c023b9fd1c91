//! Processes beside main ones: which instance can have one, and what its supervisor is asked.

use hythe_runtime::context::run_blocking;
use hythe_runtime::{Error, ErrorKind, ExecRequest, Result, State};
use hythe_shim::protocol::{self, Request, Size};
use hythe_shim::record::Process;

use crate::instances::Record;

/// The instance that `find` finds, where it runs.
///
/// # Errors
/// Those of `find`; `Conflict` for one that is paused or does not run.
pub async fn running(
    operation: &'static str,
    find: impl FnOnce() -> Result<(Record, State)> + Send + 'static,
) -> Result<Record> {
    let (record, state) = run_blocking(operation, find).await?;
    match state {
        State::Running => Ok(record),
        State::Paused => Err(conflict(operation, &record, "is paused")),
        _ => Err(conflict(operation, &record, "is not running")),
    }
}

/// What is asked of an instance does not fit what it does.
pub fn conflict(operation: &'static str, record: &Record, what: &str) -> Error {
    Error::new(ErrorKind::Conflict, operation, format!("`{}` {what}", record.name))
}

/// What a supervisor is asked: the request, over what the instance's main process has.
pub fn described(record: &Record, request: &ExecRequest, capabilities: Vec<String>) -> Request {
    let (plan, security) = (&record.plan, &record.plan.security);
    let mut env = record.command.env.clone();
    if request.tty {
        env.entry("TERM".to_owned()).or_insert_with(|| "xterm".to_owned());
    }
    env.extend(request.env.clone());
    let process = Process {
        arguments: request.command.clone(),
        user: request.user.clone().or_else(|| record.command.user.clone()),
        groups: plan.group_add.clone(),
        workdir: request.workdir.clone().unwrap_or_else(|| record.command.workdir.clone()),
        capabilities,
        no_new_privileges: security.no_new_privileges && !security.privileged,
        filters: Vec::new(),
        init: false,
        tty: request.tty,
        stdin: request.stdin,
    };
    let size = request.size.map(|size| Size { columns: size.columns, rows: size.rows });
    let timeout = request.timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    Request::Exec(Box::new(protocol::Exec { process, env, size, timeout }))
}
