//! Connections to main processes.

use hythe_local::attach::attached;
use hythe_local::exec::conflict;
use hythe_runtime::{AttachRequest, InstanceRef, Result, Session};
use hythe_shim::protocol::Request;

use crate::client::{self, Asked};
use crate::context::SharedContext;
use crate::error::from_shim;
use crate::exec::running;

pub(crate) async fn attach(
    context: &SharedContext,
    instance: &InstanceRef,
    request: &AttachRequest,
) -> Result<Session> {
    let operation = "attach";
    let record = running(context, operation, instance).await?;
    let directory = context.instances.directory(&record.id);
    let stdin = request.stdin && record.plan.stdin;
    let connection = match client::ask(operation, &directory, &Request::Attach { stdin }, &[]).await? {
        Ok(Asked::Done(connection, _)) => connection,
        Ok(Asked::Gone) => return Err(conflict(operation, &record, "is not running")),
        Err(fault) => return Err(from_shim(operation, &fault)),
    };
    Ok(attached(operation, connection, stdin, record.plan.tty.then_some(request.size)))
}
