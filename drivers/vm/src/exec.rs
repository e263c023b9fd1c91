//! Processes beside the main one: the guest starts them, and their streams come over the connection to the supervisor.

use async_trait::async_trait;
use hythe_local::attach::{attached, never_ran};
use hythe_local::exec::{conflict, described};
use hythe_local::from_shim;
use hythe_local::instances::Record;
use hythe_runtime::plan::check_workdir;
use hythe_runtime::{AttachRequest, Exec, ExecRequest, InstanceRef, OpContext, Result, Session};

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
    let find = move || {
        let record = context.instances.find(operation, &instance)?;
        let state = crate::observe::state(&context, operation, &record)?.state;
        Ok((record, state))
    };
    hythe_local::exec::running(operation, find).await
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

async fn exec(context: &SharedContext, instance: &InstanceRef, request: &ExecRequest) -> Result<Session> {
    let operation = "exec";
    request.workdir.as_deref().map_or(Ok(()), |path| check_workdir(operation, path))?;
    let record = running(context, operation, instance).await?;
    let directory = context.instances.directory(&record.id);
    match client::ask(operation, &directory, &described(&record, request, Vec::new()), &[]).await? {
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
