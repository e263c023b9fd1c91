//! What every step of normalisation needs: the files, the findings, the places.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::places::Places;
use crate::file::Files;
use crate::file::decode::At;
use crate::file::findings::{Findings, Place};
use crate::file::raw::Words;
use crate::file::shapes::{Or, Scalar};
use crate::nearest::nearest;
use crate::shell::{self, Line, Syntax};
use crate::{ParseError, Paths};

const SHELL_FORM: &str =
    "write `[\"sh\", \"-c\", \"…\"]` for a shell, or put it into single quotes where it is meant as it is";

pub(super) struct Context<'a> {
    pub(super) files: &'a dyn Files,
    pub(super) findings: &'a mut Findings,
    pub(super) places: Places,
    /// Absolute directory that relative paths start in.
    pub(super) base: String,
    home: Option<String>,
}

impl<'a> Context<'a> {
    pub(super) fn new(files: &'a dyn Files, findings: &'a mut Findings, places: Places) -> Self {
        Self { files, findings, places, base: files.base_dir().to_owned(), home: files.home() }
    }

    pub(super) fn paths(&self) -> Paths<'_> {
        Paths { base: &self.base, home: self.home.as_deref() }
    }

    pub(super) fn resolve(&mut self, path: &At<String>) -> Option<String> {
        let resolved = self.paths().resolve(&path.value);
        self.findings.check(&path.place, resolved)
    }

    pub(super) fn parse<T: FromStr<Err = ParseError>>(&mut self, at: &At<String>) -> Option<T> {
        self.findings.check(&at.place, at.value.parse())
    }

    pub(super) fn parse_scalar<T: FromStr<Err = ParseError>>(&mut self, at: Option<&At<Scalar>>) -> Option<T> {
        let at = at?;
        self.findings.check(&at.place, at.value.text().parse())
    }

    /// One of a few words.
    pub(super) fn choose<T: Clone>(&mut self, at: &At<String>, what: &str, options: &[(&str, T)]) -> Option<T> {
        if let Some((_, value)) = options.iter().find(|(word, _)| *word == at.value) {
            return Some(value.clone());
        }
        let words: Vec<&str> = options.iter().map(|(word, _)| *word).collect();
        let finding = self.findings.error(&at.place, format!("`{}` is not a {what}", at.value));
        match nearest(&at.value, words.iter().copied()) {
            Some(word) => finding.hint(format!("did you mean `{word}`?")),
            None => finding.hint(format!("one of {}", words.join(", "))),
        };
        None
    }

    /// A whole number within bounds.
    pub(super) fn number<T: TryFrom<i64> + PartialOrd + Display>(
        &mut self,
        at: Option<&At<i64>>,
        bounds: RangeInclusive<T>,
        what: &str,
    ) -> Option<T> {
        let at = at?;
        let number = T::try_from(at.value).ok().filter(|number| bounds.contains(number));
        if number.is_none() {
            let finding = self.findings.error(&at.place, format!("`{}` is not {what}", at.value));
            finding.hint(format!("between {} and {}", bounds.start(), bounds.end()));
        }
        number
    }

    /// A command line: a list as it is, a string split as a shell splits it. No shell reads it, so what only a shell understands is
    /// an error where it stands alone, and told where it may be meant as it is.
    pub(super) fn command(&mut self, words: &At<Words>) -> Option<Vec<String>> {
        let Or::First(text) = &words.value else { return Some(list(words)) };
        let line = self.split(text, &words.place)?;
        match &line.shell {
            None => {}
            Some(Syntax::Operator(operator)) => {
                let message = format!("no shell reads a command, so `{operator}` has no meaning");
                self.findings.error(&words.place, message).hint(SHELL_FORM);
                return None;
            }
            // A pattern is often meant for the program.
            Some(Syntax::Within(text)) if text == "*" => {}
            Some(Syntax::Within(text)) => {
                let message = format!("no shell reads a command, so `{text}` stays as it is");
                self.findings.warn(&words.place, message).hint(SHELL_FORM);
            }
        }
        Some(line.words)
    }

    /// A command line as [`Line`].
    pub(super) fn split(&mut self, text: &str, place: &Place) -> Option<Line> {
        let line = shell::split(text);
        if line.is_none() {
            self.findings.error(place, "a quote is not closed").hint("write the command as a list of strings");
        }
        line
    }

    /// Two keys with one meaning: whichever is there, an error where both are.
    pub(super) fn either<'t, T>(
        &mut self,
        one: (&str, Option<&'t At<T>>),
        two: (&str, Option<&'t At<T>>),
    ) -> Option<&'t At<T>> {
        if let (Some(first), Some(second)) = (one.1, two.1) {
            let finding = self.findings.error(&second.place, format!("`{}` and `{}` mean the same", one.0, two.0));
            finding.related(&first.place, "given here already");
        }
        one.1.or(two.1)
    }
}

/// The words of a list.
pub(super) fn list(words: &At<Words>) -> Vec<String> {
    strings(Some(words)).into_iter().map(|word| word.value).collect()
}

/// The strings of a single one or a list, each with its place.
pub(super) fn strings(words: Option<&At<Words>>) -> Vec<At<String>> {
    match words {
        None => Vec::new(),
        Some(At { value: Or::First(text), place }) => vec![At { value: text.clone(), place: place.clone() }],
        Some(At { value: Or::Second(list), .. }) => list.clone(),
    }
}

/// A value with another place's address.
pub(super) fn at<T>(value: T, place: &Place) -> At<T> {
    At { value, place: place.clone() }
}
