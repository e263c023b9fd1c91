//! Processes beside the main one: the guest starts them, and their streams come over the connection to the supervisor.

use async_trait::async_trait;
use hythe_local::attach::{attached, never_ran};
use hythe_local::from_shim;
use hythe_local::instances::Record;
use hythe_runtime::context::run_blocking;
use hythe_runtime::plan::check_workdir;
use hythe_runtime::{
    AttachRequest, Error, ErrorKind, Exec, ExecRequest, InstanceRef, OpContext, Result, Session, State,
};
use hythe_shim::protocol::{self, Request, Size};
use hythe_shim::record::Process;

use crate::attach;
use crate::client::{self, Asked};
use crate::context::SharedContext;
use crate::driver::Vm;

pub(crate) async fn running(
    context: &SharedContext,
    operation: &'static str,
    instance: &InstanceRef,
) -> Result<Record> {
    let (context, instance) = (context.clone(), instance.clone());
    run_blocking(operation, move || {
        let record = context.instances.find(operation, &instance)?;
        match crate::observe::state(&context, operation, &record)?.state {
            State::Running => Ok(record),
            State::Paused => Err(conflict(operation, &record, "is paused")),
            _ => Err(conflict(operation, &record, "is not running")),
        }
    })
    .await
}

pub(crate) fn conflict(operation: &'static str, record: &Record, what: &str) -> Error {
    Error::new(ErrorKind::Conflict, operation, format!("`{}` {what}", record.name))
}

#[async_trait]
impl Exec for Vm {
    async fn exec(&self, cx: &OpContext, instance: &InstanceRef, request: &ExecRequest) -> Result<Session> {
        cx.with_deadline("exec", exec(&self.context, instance, request)).await
    }

    async fn attach(&self, cx: &OpContext, instance: &InstanceRef, request: &AttachRequest) -> Result<Session> {
        cx.with_deadline("attach", attach::attach(&self.context, instance, request)).await
    }
}

fn described(record: &Record, request: &ExecRequest) -> Request {
    let plan = &record.plan;
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
        no_new_privileges: plan.security.no_new_privileges,
        tty: request.tty,
        stdin: request.stdin,
        ..Process::default()
    };
    let size = request.size.map(|size| Size { columns: size.columns, rows: size.rows });
    let timeout = request.timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    Request::Exec(Box::new(protocol::Exec { process, env, size, timeout }))
}

async fn exec(context: &SharedContext, instance: &InstanceRef, request: &ExecRequest) -> Result<Session> {
    let operation = "exec";
    request.workdir.as_deref().map_or(Ok(()), |path| check_workdir(operation, path))?;
    let record = running(context, operation, instance).await?;
    let directory = context.instances.directory(&record.id);
    match client::ask(operation, &directory, &described(&record, request), &[]).await? {
        // It has its size already.
        Ok(Asked::Done(connection, _)) => {
            Ok(attached(operation, connection, request.stdin, request.tty.then_some(None)))
        }
        Ok(Asked::Gone) => Err(conflict(operation, &record, "is not running")),
        Err(fault) => match fault.code {
            Some(code) => Ok(never_ran(code, &fault.message)),
            None => Err(from_shim(operation, &fault)),
        },
    }
}
