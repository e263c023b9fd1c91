//! `podman build`: the call, and why it failed.

use hythe_runtime::{BuildRequest, Error, ErrorKind, Result};
use hythe_spec::BuildNetwork;

use crate::client::About;
use crate::images::Told;
use crate::program::Invocation;
use crate::{error, private};

/// How many of a failed build's last lines its error repeats.
const LAST_LINES: usize = 12;

/// The arguments of `podman build`.
///
/// Labels of an image are in it for everybody to read; podman takes them as arguments alone.
///
/// # Errors
/// `Unsupported` for a build argument that podman itself would act upon.
pub(crate) fn build_call(request: &BuildRequest, name: &str) -> Result<Invocation> {
    let BuildRequest { image: _, context, dockerfile, args: build_args, labels, no_cache, network } = request;
    let mut args = vec!["build".to_owned(), format!("--tag={name}"), format!("--file={}", dockerfile.display())];
    args.extend(labels.iter().map(|(key, value)| format!("--label={key}={value}")));
    // Its own format has no place for a `HEALTHCHECK`, which it leaves out with a warning.
    args.push("--format=docker".to_owned());
    args.extend(no_cache.then(|| "--no-cache".to_owned()));
    args.extend((*network != BuildNetwork::Default).then(|| format!("--network={network}")));
    let mut call = Invocation::from(args);
    private::pass_build_args(build_args, "build", &mut call)?;
    call.args.push(context.display().to_string());
    Ok(call)
}

/// A failing step is the Dockerfile's fault unless podman's words say otherwise.
pub(crate) fn failed_build(about: About<'_>, told: &Told) -> Error {
    let known = error::translate(about, told.code, &told.stderr);
    let said: Vec<&str> = told.stdout.lines().chain(told.stderr.lines()).collect();
    let last = said[said.len().saturating_sub(LAST_LINES)..].join("\n");
    match known.kind() {
        ErrorKind::Unavailable | ErrorKind::Exhausted | ErrorKind::Unauthorized if error::is_known(&told.stderr) => {
            known.with("output", last)
        }
        _ => Error::new(
            ErrorKind::Invalid,
            about.operation,
            format!("`{}` cannot be built: {}\n{last}", about.subject, error::words(&told.stderr)),
        ),
    }
}
