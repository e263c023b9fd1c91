//! Errors and warnings as they are found, with places that are turned into lines and columns at the end.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::ParseError;
use crate::diagnostics::{Diagnostic, Index, Related, Severity};

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
pub(crate) struct Findings {
    all: Vec<Finding>,
    /// Paths of the errors.
    broken: BTreeSet<String>,
}

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
        self.push(Finding { severity, place: place.clone(), message, hint: None, related: Vec::new() })
    }

    /// Takes one that was found elsewhere.
    pub(crate) fn push(&mut self, finding: Finding) -> &mut Finding {
        if finding.severity == Severity::Error {
            self.broken.insert(finding.place.path.clone());
        }
        let at = self.all.len();
        self.all.push(finding);
        &mut self.all[at]
    }

    /// All of them, in the order in which they were found.
    pub(crate) fn into_all(self) -> Vec<Finding> {
        self.all
    }

    /// Whether an error stands at this path or below it.
    pub(crate) fn broken(&self, path: &str) -> bool {
        let below = |separator: char| {
            let start = format!("{path}{separator}");
            self.broken.range(start.clone()..).next().is_some_and(|found| found.starts_with(&start))
        };
        self.broken.contains(path) || below('.') || below('[')
    }

    pub(crate) fn locate(self, source: &str) -> Vec<Diagnostic> {
        let index = Index::new(source);
        let related = |(place, message): (Place, String)| Related { message, position: index.position(&place.span) };
        let locate = |one: Finding| Diagnostic {
            severity: one.severity,
            position: index.position(&one.place.span),
            path: one.place.path,
            message: one.message,
            hint: one.hint,
            related: one.related.into_iter().map(related).collect(),
        };
        self.all.into_iter().map(locate).collect()
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
