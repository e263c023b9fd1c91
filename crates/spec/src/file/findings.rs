//! Errors and warnings as they are found, with places that are turned into lines and columns at the end.

use std::ops::Range;

use crate::ParseError;
use crate::diagnostics::{Diagnostic, Position, Related, Severity};

/// A key or value of the file: its path and its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) path: String,
    pub(crate) span: Range<usize>,
}

#[derive(Debug, Clone)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    pub(crate) place: Place,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    pub(crate) related: Vec<(Place, String)>,
}

#[derive(Debug, Default)]
pub(crate) struct Findings(pub(crate) Vec<Finding>);

impl Findings {
    pub(crate) fn error(&mut self, place: &Place, message: impl Into<String>) -> &mut Finding {
        self.add(Severity::Error, place, message.into())
    }

    pub(crate) fn warn(&mut self, place: &Place, message: impl Into<String>) -> &mut Finding {
        self.add(Severity::Warning, place, message.into())
    }

    /// The value, or nothing once the error has been noted at the place.
    pub(crate) fn check<T>(&mut self, place: &Place, result: Result<T, ParseError>) -> Option<T> {
        result.map_err(|error| self.error(place, error.message).hint = error.hint).ok()
    }

    fn add(&mut self, severity: Severity, place: &Place, message: String) -> &mut Finding {
        let at = self.0.len();
        self.0.push(Finding { severity, place: place.clone(), message, hint: None, related: Vec::new() });
        &mut self.0[at]
    }

    /// Whether an error stands at this path or below it.
    pub(crate) fn broken(&self, path: &str) -> bool {
        let below =
            |found: &str| found.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        self.0.iter().any(|one| one.severity == Severity::Error && below(&one.place.path))
    }

    pub(crate) fn locate(self, source: &str) -> Vec<Diagnostic> {
        let related =
            |(place, message): (Place, String)| Related { message, position: Position::of(source, &place.span) };
        let locate = |one: Finding| Diagnostic {
            severity: one.severity,
            position: Position::of(source, &one.place.span),
            path: one.place.path,
            message: one.message,
            hint: one.hint,
            related: one.related.into_iter().map(related).collect(),
        };
        self.0.into_iter().map(locate).collect()
    }
}

impl Finding {
    pub(crate) fn hint(&mut self, hint: impl Into<String>) -> &mut Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn related(&mut self, place: &Place, message: impl Into<String>) -> &mut Self {
        self.related.push((place.clone(), message.into()));
        self
    }
}
