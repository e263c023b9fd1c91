//! What to do about a failure: one message with its causes, one hint, one exit code, all by type.

use std::fmt::Write;
use std::io;

use anstyle::{AnsiColor, Style};
use hythe_api::{Operation, OperationKind, OperationState, Problem};
use hythe_client::{ClientError, Endpoint, EndpointError};
use hythe_spec::Diagnostics;
use hythe_spec::causes::{causes, in_words};

use crate::autostart::StartFailure;
use crate::escape::{Allow, escape};

/// Result of a command.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Host(EndpointError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Invalid(#[from] Box<Diagnostics>),
    #[error("{message}")]
    Usage { message: String, hint: String },
    #[error("{message}")]
    NotFound { message: String, hint: String },
    #[error("cannot read `{path}`")]
    File { path: String, source: io::Error },
    #[error("cannot write `{path}`")]
    Write { path: String, source: io::Error },
    #[error("{}", operation_failed(.0))]
    Operation(Box<Operation>),
    #[error("operation `{id}` is not done after {after}; the agent goes on")]
    StillRunning { id: String, after: hythe_spec::Millis },
    #[error(transparent)]
    AgentStart(#[from] StartFailure),
    #[cfg(feature = "agent")]
    #[error(transparent)]
    Agent(AgentFailure),
    #[cfg(feature = "agent")]
    #[error(transparent)]
    Image(#[from] hythe_oci::Error),
    #[cfg(not(feature = "agent"))]
    #[error("this build of hythe has no agent")]
    NoAgent,
    #[error("the terminal cannot be used")]
    Terminal(io::Error),
    #[error("interrupted")]
    Interrupted,
    /// All of them; each is printed.
    #[error("there are {} errors", .0.len())]
    Several(Vec<Failure>),
    /// The process that was run ended with this code; it has said why.
    #[error("the process ended with exit code {0}")]
    Exit(u8),
    #[error("cannot write the result")]
    Output(#[from] io::Error),
}

const FAILED: u8 = 1;
pub(crate) const USAGE: u8 = 2;
const NOT_FOUND: u8 = 3;
pub(crate) const CONFLICT: u8 = 4;
pub(crate) const UNAVAILABLE: u8 = 5;
const INTERRUPTED: u8 = 130;

impl Failure {
    /// Exit code of the process: 1 the workload failed, 2 wrong use, 3 not found, 4 conflict, 5 no agent or runtime.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Host(_) | Self::Invalid(_) | Self::Usage { .. } | Self::File { .. } => USAGE,
            Self::NotFound { .. } => NOT_FOUND,
            Self::Client(ClientError::Problem(problem)) => code_of(problem),
            Self::Client(_) | Self::AgentStart(_) => UNAVAILABLE,
            #[cfg(feature = "agent")]
            Self::Agent(failure) => failure.code,
            #[cfg(feature = "agent")]
            Self::Image(error) => code_of_image(error.kind()),
            #[cfg(not(feature = "agent"))]
            Self::NoAgent => UNAVAILABLE,
            Self::Operation(operation) => code_of_operation(operation),
            Self::StillRunning { .. } | Self::Terminal(_) | Self::Write { .. } => FAILED,
            Self::Interrupted => INTERRUPTED,
            Self::Several(failures) => failures.first().map_or(FAILED, Self::exit_code),
            Self::Exit(code) => *code,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Output(_) => FAILED,
        }
    }

    /// Success where there is none.
    pub(crate) fn all(mut failures: Vec<Self>) -> Outcome {
        match failures.len() {
            0 => Ok(()),
            1 => Err(failures.remove(0)),
            _ => Err(Self::Several(failures)),
        }
    }

    /// Whoever reads has gone, or all has been said already.
    fn is_silent(&self) -> bool {
        match self {
            Self::Output(error) => error.kind() == io::ErrorKind::BrokenPipe,
            Self::Exit(_) | Self::Interrupted => true,
            _ => false,
        }
    }

    fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Client(ClientError::Problem(problem)) => Some(problem),
            Self::Operation(operation) => operation.error.as_ref(),
            _ => None,
        }
    }

    /// The next step.
    fn hint(&self) -> Option<String> {
        match self {
            Self::Host(_) => Some(EndpointError::HINT.to_owned()),
            Self::Usage { hint, .. } | Self::NotFound { hint, .. } => Some(hint.clone()),
            Self::StillRunning { id, .. } => Some(rejoin(id)),
            Self::Client(ClientError::Unreachable { endpoint, source }) => Some(unreachable(endpoint, source)),
            Self::Client(ClientError::Silent { .. }) => {
                Some("it is stopped (SIGSTOP), or hangs; its log says more".to_owned())
            }
            Self::AgentStart(failure) => Some(failure.hint()),
            #[cfg(feature = "agent")]
            Self::Image(error) => error.next_step().map(str::to_owned),
            _ => self.problem()?.hint.clone(),
        }
    }

    /// The whole message for stderr; empty where there is nothing to say.
    pub(crate) fn render(&self, color: bool) -> String {
        if self.is_silent() {
            return String::new();
        }
        if let Self::Several(failures) = self {
            return failures.iter().map(|failure| failure.render(color)).collect();
        }
        if let Self::Invalid(diagnostics) = self {
            return escape(&diagnostics.render(color), if color { Allow::Styles } else { Allow::Lines })
                + "\n"
                + &labelled("error", AnsiColor::Red, &diagnostics.to_string(), color);
        }
        let mut text = labelled("error", AnsiColor::Red, &in_words(&self.to_string()), color);
        for cause in causes(self).into_iter().skip(1) {
            let _ = writeln!(text, "  cause: {}", escape(&cause, Allow::Lines));
        }
        for fault in self.problem().into_iter().flat_map(|problem| &problem.problems) {
            let hint = fault.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            let fault = format!("  {}: {}{hint}", fault.path, fault.message);
            let _ = writeln!(text, "{}", escape(&fault, Allow::Lines));
        }
        if let Some(hint) = self.hint() {
            text += &labelled("hint", AnsiColor::Cyan, &hint, color);
        }
        text
    }
}

/// How to follow an operation again.
pub(crate) fn rejoin(id: &str) -> String {
    format!("`hythe operations join {id}` follows it")
}

/// `label: message`, the label in colour, the message escaped.
pub(crate) fn labelled(label: &str, hue: AnsiColor, message: &str, color: bool) -> String {
    let style = if color { Style::new().bold().fg_color(Some(hue.into())) } else { Style::new() };
    format!("{style}{label}:{style:#} {}\n", escape(message, Allow::Lines))
}

fn code_of(problem: &Problem) -> u8 {
    match problem.kind.as_str() {
        "not-found" => NOT_FOUND,
        "already-exists" | "conflict" | "read-only" => CONFLICT,
        "invalid" | "unsupported" | "too-large" => USAGE,
        "unavailable" | "timeout" | "exhausted" | "unauthenticated" | "forbidden" => UNAVAILABLE,
        _ => FAILED,
    }
}

#[cfg(feature = "agent")]
fn code_of_image(kind: hythe_oci::Kind) -> u8 {
    match kind {
        hythe_oci::Kind::NotFound => NOT_FOUND,
        hythe_oci::Kind::Invalid => USAGE,
        hythe_oci::Kind::Unauthorized | hythe_oci::Kind::Unavailable | hythe_oci::Kind::Exhausted => UNAVAILABLE,
        hythe_oci::Kind::Conflict => CONFLICT,
        hythe_oci::Kind::Internal => FAILED,
    }
}

/// Why the agent in this process could not start, and the exit code of that.
#[cfg(feature = "agent")]
#[derive(Debug)]
pub(crate) struct AgentFailure {
    pub(crate) code: u8,
    pub(crate) error: Box<dyn std::error::Error + Send + Sync>,
}

#[cfg(feature = "agent")]
impl std::fmt::Display for AgentFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

#[cfg(feature = "agent")]
impl std::error::Error for AgentFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

/// What was wanted of a workload ends as the workload does; images and snapshots end as their problem says.
fn code_of_operation(operation: &Operation) -> u8 {
    let code = operation.error.as_ref().map_or(FAILED, code_of);
    if is_superseded(operation) {
        return CONFLICT;
    }
    match operation.kind.known() {
        None
        | Some(
            OperationKind::Pull
            | OperationKind::Push
            | OperationKind::Build
            | OperationKind::Load
            | OperationKind::Snapshot
            | OperationKind::Kill,
        ) => code,
        Some(
            OperationKind::Deploy
            | OperationKind::Stop
            | OperationKind::Start
            | OperationKind::Restart
            | OperationKind::Restore
            | OperationKind::Undeploy,
        ) => {
            if code == UNAVAILABLE {
                UNAVAILABLE
            } else {
                FAILED
            }
        }
    }
}

/// Another request took its place, and it is that one's outcome that counts.
fn is_superseded(operation: &Operation) -> bool {
    let said = operation.error.as_ref().is_some_and(|problem| problem.detail.starts_with("superseded"));
    said && operation.state == OperationState::Cancelled
}

fn operation_failed(operation: &Operation) -> String {
    let what = crate::format::of(&operation.kind);
    let subject = &operation.subject;
    match (&operation.error, operation.state) {
        (Some(problem), OperationState::Cancelled) if is_superseded(operation) => {
            format!("the {what} of `{subject}` was {problem}")
        }
        (_, OperationState::Cancelled) => format!("the {what} of `{subject}` was cancelled"),
        (Some(problem), _) => format!("the {what} of `{subject}` failed: {problem}"),
        (None, _) => format!("the {what} of `{subject}` failed"),
    }
}

fn unreachable(endpoint: &Endpoint, source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            "the socket is its owner's and its group's; become a member of the group, or use `--host`".to_owned()
        }
        _ => match endpoint {
            Endpoint::Unix(path) => format!("`hythe agent --socket {}` starts one there", path.display()),
            Endpoint::Tcp(_) => "see that an agent runs and listens there".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(kind: &str) -> Problem {
        Problem {
            kind: kind.into(),
            title: String::new(),
            status: 400,
            detail: "no service `x`".into(),
            hint: Some("`hythe services` lists them".into()),
            problems: Vec::new(),
        }
    }

    fn operation(kind: OperationKind, problem_kind: &str) -> Failure {
        Failure::Operation(Box::new(Operation {
            id: "7".into(),
            kind: kind.into(),
            subject: "shop".into(),
            state: OperationState::Failed,
            started: jiff::Timestamp::UNIX_EPOCH,
            finished: None,
            error: Some(problem(problem_kind)),
            result: None,
        }))
    }

    #[test]
    fn problems_have_exit_codes_by_kind() {
        let code = |kind| Failure::from(ClientError::from(problem(kind))).exit_code();
        let kinds = [
            "internal",
            "invalid",
            "unsupported",
            "not-found",
            "conflict",
            "already-exists",
            "unavailable",
            "timeout",
            "unauthenticated",
            "forbidden",
        ];
        assert_eq!(kinds.map(code), [1, 2, 2, 3, 4, 4, 5, 5, 5, 5]);
    }

    #[test]
    fn an_operation_on_a_workload_ends_as_the_workload_does() {
        assert_eq!(operation(OperationKind::Deploy, "not-found").exit_code(), 1);
        assert_eq!(operation(OperationKind::Deploy, "unavailable").exit_code(), 5);
        assert_eq!(operation(OperationKind::Pull, "not-found").exit_code(), 3);
        assert!(operation(OperationKind::Load, "invalid").to_string().starts_with("the load of"));
        assert_eq!(operation(OperationKind::Snapshot, "already-exists").exit_code(), 4);
    }

    #[test]
    fn no_agent_is_five_and_says_how_to_start_one() {
        let failure = Failure::from(ClientError::Unreachable {
            endpoint: Endpoint::Unix("/run/a.sock".into()),
            source: io::ErrorKind::NotFound.into(),
        });
        assert_eq!(failure.exit_code(), 5);
        assert_eq!(
            failure.render(false),
            "error: no agent answers on `/run/a.sock`\n  cause: entity not found\nhint: `hythe agent --socket /run/a.sock` starts one there\n"
        );
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let failure = Failure::Output(io::ErrorKind::BrokenPipe.into());
        assert_eq!((failure.exit_code(), failure.render(false).as_str()), (0, ""));
    }

    #[test]
    fn error_with_control_characters_is_shown_escaped() {
        let mut hostile = problem("not-found");
        hostile.detail = "registry said \x1b]52;c;aGk=\x07".to_owned();
        hostile.hint = Some("\u{9b}2J".to_owned());
        let text = Failure::from(ClientError::from(hostile)).render(true);
        assert!(text.contains(r"\x1b]52;c;aGk=\x07") && text.contains(r"\u{9b}2J"), "{text}");
    }

    #[test]
    fn message_and_hint_are_said_once() {
        let text = Failure::from(ClientError::from(problem("not-found"))).render(false);
        assert_eq!(text, "error: no service `x`\nhint: `hythe services` lists them\n");
    }
}
