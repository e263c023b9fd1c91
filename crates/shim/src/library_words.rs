//! What libcontainer says of a failure, as one sentence: its errors are nested and say little, its log says the cause, and both quote Rust's debug text.

use std::fmt::{Debug, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

use crate::create::{StatusMessage, report};
use crate::error::{ShimError, ShimErrorKind};

/// Phrases that only say through which of its processes a failure came.
const EMPTY: [&str; 10] = [
    "failed to create container",
    "failed to initialize container process",
    "failed to wait for init ready",
    "failed to run container process",
    "exec process failed with error",
    "error in executing process",
    "io error",
    "nix error",
    "syscall",
    "unknown",
];
/// What libcontainer says, by the name of a type, where its first process in the container ends without a word.
const BROKEN: &str = "BrokenChannel";
const ENDED: &str = "its first process ended before it was ready";
/// The last number of an error that Linux has.
const LAST_ERROR: i32 = 133;

/// Has this process, which was just forked, send what libcontainer logs as errors.
pub(crate) fn collect(status: Arc<OwnedFd>) {
    // The first of this process.
    let _ = tracing::subscriber::set_global_default(Notes(status));
}

/// An error with its causes, as phrases.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = without_debug_text(&error.to_string());
    let mut next = error.source();
    while let Some(cause) = next {
        let _ = write!(text, ": {}", without_debug_text(&cause.to_string()));
        next = cause.source();
    }
    text
}

/// The fault that an error and the notes on the way to it tell together: each phrase once, the most telling of several alike.
pub(crate) fn fault(error: &str, notes: &[String]) -> ShimError {
    let mut phrases: Vec<&str> = Vec::new();
    for text in std::iter::once(error).chain(notes.iter().map(String::as_str)) {
        for phrase in text.split(": ").map(|phrase| phrase.trim_matches([' ', ':'])) {
            let phrase = if phrase.contains(BROKEN) { ENDED } else { phrase };
            let is_number = phrase.starts_with('E') && phrase.bytes().all(|byte| byte.is_ascii_uppercase());
            let says_nothing = is_number
                || EMPTY.iter().any(|empty| phrase.trim_start_matches(empty).trim().is_empty())
                || phrase.starts_with("failed to run container process exec process")
                || phrase.starts_with("exec process failed with error");
            if says_nothing || phrases.iter().any(|had| had.contains(phrase)) {
                continue;
            }
            phrases.retain(|had| !phrase.contains(had));
            phrases.push(phrase);
        }
    }
    let told = if phrases.is_empty() { "libcontainer does not say why".to_owned() } else { phrases.join(": ") };
    let is_sysctl = told.contains("sysctl");
    let kind = if told.contains("No space left on device") {
        ShimErrorKind::Exhausted
    } else if is_sysctl {
        ShimErrorKind::Invalid
    } else {
        ShimErrorKind::Internal
    };
    let fault = ShimError::new(kind, format!("cannot create the process: {told}"));
    if is_sysctl { fault.hint("`sysctl NAME` on the host shows a valid value") } else { fault }
}

struct Notes(Arc<OwnedFd>);

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let (text, value) = (&mut self.0, format!("{value:?}"));
        // Displayed values come this way too; of debug text only the cause is for anybody but its authors.
        let _ = match (field.name(), is_debug(&value)) {
            ("message", _) => write!(text, "{}", without_debug_text(&value)),
            (_, true) => cause(&value).map_or(Ok(()), |cause| write!(text, ": {cause}")),
            ("err" | "errno" | "error", false) => write!(text, ": {}", cause(&value).unwrap_or(value)),
            (name, false) => write!(text, " ({name} {})", value.trim_matches('"')),
        };
    }
}

impl Subscriber for Notes {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        report(self.0.as_fd(), StatusMessage::Note(text.0));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// Where Rust's debug text begins: the name of a type before its fields, or a list of strings.
fn begins(text: &str) -> Option<usize> {
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let fields = text.match_indices(['(', '{']).find_map(|(at, bracket)| {
        let before = &text[..at];
        let name = if bracket == "{" { before.strip_suffix(' ')? } else { before };
        let start = name.len() - name.bytes().rev().take_while(|byte| is_of_name(byte)).count();
        let name = &name[start..];
        let is_type =
            name.starts_with(|c: char| c.is_ascii_uppercase()) && name.contains(|c: char| c.is_ascii_lowercase());
        is_type.then_some(start)
    });
    [fields, text.find("[\"")].into_iter().flatten().min()
}

fn is_debug(text: &str) -> bool {
    begins(text).is_some()
}

/// The text before Rust's debug text, with what that says of place and cause, and the text after it.
fn without_debug_text(text: &str) -> String {
    let Some(start) = begins(text) else { return text.to_owned() };
    let (before, debug) = text.split_at(start);
    let place =
        quoted(debug, "destination: \"").or_else(|| quoted(debug, "path: \"")).map(|place| format!("`{place}`"));
    // What is displayed beside it comes last.
    let after = debug.rsplit_once("}: ").map(|(_, after)| without_debug_text(after));
    let before = before.trim_end_matches([' ', ':', ',']);
    let mut told = [Some(before.to_owned()), place].into_iter().flatten().collect::<Vec<_>>().join(" ");
    for more in after.into_iter().chain(cause(debug)) {
        let _ = write!(told, ": {more}");
    }
    told
}

/// What an error shown as debug text was: its message, or the meaning of its number's name.
fn cause(text: &str) -> Option<String> {
    quoted(text, "message: \"").map(str::to_owned).or_else(|| {
        let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
        words.find_map(|word| {
            let known = (1..=LAST_ERROR).map(nix::errno::Errno::from_raw);
            let named = |error: &nix::errno::Errno| format!("{error:?}") == word;
            let error = word.starts_with('E').then(|| known.into_iter().find(named)).flatten()?;
            Some(std::io::Error::from(error).to_string())
        })
    })
}

fn quoted<'a>(text: &'a str, before: &str) -> Option<&'a str> {
    let (_, after) = text.split_once(before)?;
    Some(after.split_once('"')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_text_is_cut_and_its_cause_kept() {
        let pairs = [
            (
                "failed to mount: Os { code: 2, kind: NotFound, message: \"No such file or directory\" }",
                "failed to mount: No such file or directory",
            ),
            (
                "failed to mount Mount { destination: \"/x\", typ: Some(\"bind\"), options: Some([\"rw\"]) }: syscall",
                "failed to mount `/x`: syscall",
            ),
            ("no such file or directory (os error 2)", "no such file or directory (os error 2)"),
            ("source is Some(\"/x\")", "source is"),
            ("failed to prepare Mount(Syscall(Nix(EINVAL)))", "failed to prepare: Invalid argument (os error 22)"),
            ("a list [\"a\", \"b\"]", "a list"),
            ("BPF(x) and EINVAL (22)", "BPF(x) and EINVAL (22)"),
        ];
        for (text, expected) in pairs {
            assert_eq!(without_debug_text(text), expected);
        }
    }

    #[test]
    fn nested_errors_and_notes_are_reported_once() {
        let nested = "failed to create container: exec process failed with error error in executing process : failed to set sysctl";
        let notes = [
            "failed to set sysctl kernel.sem=1 x: Invalid argument (os error 22)",
            "failed to initialize container process: failed to set sysctl",
            "failed to wait for init ready: exec process failed with error error in executing process : failed to set sysctl",
            "failed to run container process exec process failed with error error in executing process : failed to set sysctl",
        ]
        .map(str::to_owned);
        let told = fault(nested, &notes);
        let expected = "cannot create the process: failed to set sysctl kernel.sem=1 x: Invalid argument (os error 22)";
        assert_eq!((told.kind, told.message.as_str()), (ShimErrorKind::Invalid, expected));
        let nothing = fault("failed to create container: io error", &[]);
        assert_eq!(nothing.message, "cannot create the process: libcontainer does not say why");
    }
}
