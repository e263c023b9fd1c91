//! Stopping and signalling instances through their supervisors.

use std::sync::Arc;
use std::time::Duration;

use hythe_runtime::context::run_blocking;
use hythe_runtime::{Error, ErrorKind, InstanceRef, Result, State, Stop};
use hythe_shim::Directory;
use hythe_shim::protocol::Request;
use hythe_spec::Signal;

use crate::instances::{Instances, Record};
use crate::{IoContext, from_shim, shim_client};

/// A runtime whose instances have supervisors of ours.
pub trait Supervised: Send + Sync + 'static {
    /// Its instances.
    fn instances(&self) -> &Instances;

    /// What an instance is now, after one whose supervisor died is recovered.
    ///
    /// # Errors
    /// It cannot be looked at.
    fn state(&self, operation: &'static str, record: &Record) -> Result<State>;
}

/// Longest wait for a killed process to be gone.
const KILLED: Duration = Duration::from_secs(10);
/// Time between two looks for a supervisor: the kernel tells of a dropped lock only who waits to take it, and taking it would lie to others.
const LOOK: Duration = Duration::from_millis(1);

/// Whether a supervisor runs the instance. One that is still starting it, for a caller who died meanwhile, is waited for, and so is one that is leaving.
///
/// # Errors
/// The lock cannot be looked at.
pub fn is_under_way(operation: &'static str, directory: &Directory) -> Result<bool> {
    while directory.shim().context(operation, "look for the supervisor")?.is_some() {
        let recorded: Option<hythe_shim::record::State> = hythe_shim::files::read_json(&directory.state()).ok();
        if recorded.is_some_and(|recorded| recorded.phase == hythe_shim::record::Phase::Running) {
            return Ok(true);
        }
        std::thread::sleep(LOOK);
    }
    Ok(false)
}

/// Signal, grace, KILL.
///
/// # Errors
/// Those of `Runtime::stop`.
pub async fn stop(
    context: &Arc<impl Supervised>,
    operation: &'static str,
    instance: &InstanceRef,
    how: Stop,
) -> Result<()> {
    let (record, state) = {
        let (context, instance) = (context.clone(), instance.clone());
        run_blocking(operation, move || {
            let record = context.instances().own(operation, &instance)?;
            // Whoever starts it is waited for, also where only the supervisor is left of that.
            let lock = context.instances().lock_instance(operation, &record.id)?;
            is_under_way(operation, &context.instances().directory(&record.id))?;
            drop(lock);
            let state = context.state(operation, &record)?;
            Ok((record, state))
        })
        .await?
    };
    if !matches!(state, State::Running | State::Paused) {
        return Ok(());
    }
    let directory = context.instances().directory(&record.id);
    let signal = how.signal.or(record.stop_signal).unwrap_or(Signal::TERM);
    let polite = end_by(operation, &directory, signal, state == State::Paused, how.grace).await?;
    if !polite && !end_by(operation, &directory, Signal::KILL, state == State::Paused, KILLED).await? {
        let message = format!("`{}` is killed and does not end", record.name);
        return Err(Error::new(ErrorKind::Timeout, operation, message));
    }
    let context = context.clone();
    // A supervisor that died meanwhile is settled here.
    run_blocking(operation, move || context.state(operation, &record).map(drop)).await
}

/// Whether it ended within the time.
async fn end_by(
    operation: &'static str,
    directory: &Directory,
    signal: Signal,
    paused: bool,
    grace: Duration,
) -> Result<bool> {
    use shim_client::Asked;
    let waiting = match shim_client::ask(operation, directory, &Request::Wait, &[]).await? {
        Ok(Asked::Done(stream, _)) => stream,
        Ok(Asked::Gone) => return Ok(true),
        Err(fault) => return Err(from_shim(operation, &fault)),
    };
    let mut waiting = waiting;
    if !shim_client::tell(operation, directory, &Request::Kill { signal: i32::from(signal.0), told: false }).await? {
        return Ok(true);
    }
    if paused {
        shim_client::tell(operation, directory, &Request::Freeze(false)).await?;
    }
    // It ends with a word or without: either way the shim has let go.
    Ok(tokio::time::timeout(grace, shim_client::end(&mut waiting)).await.is_ok())
}

/// Sends a signal to the main process. What is paused dies of KILL only once it goes on.
///
/// # Errors
/// Those of `Runtime::signal`.
pub async fn signal(
    context: &Arc<impl Supervised>,
    operation: &'static str,
    instance: &InstanceRef,
    signal: Signal,
) -> Result<()> {
    let (record, state) = {
        let (context, instance) = (context.clone(), instance.clone());
        run_blocking(operation, move || {
            let record = context.instances().own(operation, &instance)?;
            let state = context.state(operation, &record)?;
            Ok((record, state))
        })
        .await?
    };
    let directory = context.instances().directory(&record.id);
    let runs = matches!(state, State::Running | State::Paused);
    let kill = Request::Kill { signal: i32::from(signal.0), told: true };
    if !runs || !shim_client::tell(operation, &directory, &kill).await? {
        let words = format!("`{}` is not running", record.name);
        return Err(Error::new(ErrorKind::Conflict, operation, words));
    }
    if signal == Signal::KILL && state == State::Paused {
        // One that has gone meanwhile needs it no more.
        shim_client::tell(operation, &directory, &Request::Freeze(false)).await?;
    }
    Ok(())
}

/// A supervisor that has recorded the end still tells it; what comes after must be told after.
///
/// # Errors
/// It does not let go.
pub fn until_let_go(operation: &'static str, name: &str, directory: &Directory) -> Result<()> {
    let began = std::time::Instant::now();
    while directory.shim().context(operation, "look for the supervisor")?.is_some() {
        if began.elapsed() > KILLED {
            let message = format!("the supervisor of `{name}` does not release its lock");
            return Err(Error::new(ErrorKind::Timeout, operation, message));
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}
