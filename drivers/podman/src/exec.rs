//! Processes inside instances, through `podman exec`.

mod overdue;

use async_trait::async_trait;
use futures_util::FutureExt;
use hythe_runtime::plan::check_workdir;
use hythe_runtime::{
    AttachRequest, Error, ErrorKind, Exec, ExecRequest, InstanceRef, OpContext, Result, Session, State,
};

use self::overdue::Limit;
use crate::api_types::Container;
use crate::client::About;
use crate::driver::Podman;
use crate::private;
use crate::program::Invocation;
use crate::session::Streams;

#[async_trait]
impl Exec for Podman {
    async fn exec(&self, cx: &OpContext, instance: &InstanceRef, request: &ExecRequest) -> Result<Session> {
        let about = About { operation: "exec", subject: instance.as_str() };
        request.workdir.as_deref().map_or(Ok(()), |path| check_workdir("exec", path))?;
        let streams = Streams { tty: request.tty, stdin: request.stdin, size: request.size };
        let limit = request.timeout.map(Limit::new).transpose()?;
        let whole = self.whole(cx, "exec", instance).await?;
        let (command, files) = self.program.prepared(about, &exec_call(&whole, request, limit.as_ref())?)?;
        // The state is asked while podman prepares the process: it answers long before.
        let mut session = self.session(about, command, streams)?;
        session.exit = session.exit.inspect(move |_| drop(files)).boxed();
        self.running(cx, "exec", instance).await?;
        if let Some(limit) = limit {
            session.exit = limit.watch(session.exit);
        }
        Ok(session)
    }

    async fn attach(&self, cx: &OpContext, instance: &InstanceRef, request: &AttachRequest) -> Result<Session> {
        self.open_attach(cx, instance, request).await
    }
}

fn exec_call(instance: &InstanceRef, request: &ExecRequest, limit: Option<&Limit>) -> Result<Invocation> {
    let ExecRequest { command, env, user, workdir, tty, stdin, size: _, timeout: _ } = request;
    let mut args = vec!["exec".to_owned(), "--detach-keys=".to_owned()];
    args.extend(tty.then(|| "--tty".to_owned()));
    args.extend(stdin.then(|| "--interactive".to_owned()));
    args.extend(user.as_ref().map(|user| format!("--user={user}")));
    args.extend(workdir.as_ref().map(|workdir| format!("--workdir={workdir}")));
    args.extend(limit.map(|limit| format!("--env={}", limit.mark())));
    let mut invocation = Invocation::from(args);
    private::pass_env(env, "exec", &mut invocation)?;
    invocation.args.push(instance.as_str().to_owned());
    invocation.args.extend(command.iter().cloned());
    Ok(invocation)
}

impl Podman {
    pub(crate) async fn running(
        &self,
        cx: &OpContext,
        operation: &'static str,
        instance: &InstanceRef,
    ) -> Result<Container> {
        let container = self.container(cx, operation, instance).await?;
        match container.state() {
            State::Running | State::Stopping => Ok(container),
            other => {
                let message = format!("`{instance}` is not running: it is {other}");
                Err(Error::new(ErrorKind::Conflict, operation, message))
            }
        }
    }
}
