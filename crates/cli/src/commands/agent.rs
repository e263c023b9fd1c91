//! `hythe agent`: the daemon. The only place that links drivers.

#[cfg(feature = "agent")]
mod linked;
#[cfg(feature = "agent")]
pub(crate) use linked::shim;
#[cfg(feature = "agent")]
pub(super) use linked::{run, run_until};

/// A build without the agent still knows the command, and says so.
#[cfg(not(feature = "agent"))]
pub(super) fn run(_: crate::args::Agent, _: crate::output::Printer<'_>) -> crate::report::Outcome {
    Err(crate::report::Failure::NoAgent)
}

/// A build without the agent is nobody's shim.
#[cfg(not(feature = "agent"))]
pub(crate) fn shim() -> Option<std::process::ExitCode> {
    None
}
