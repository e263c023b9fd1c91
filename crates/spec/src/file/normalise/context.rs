//! What every step of normalisation needs: the files, the findings, the places.

use std::str::FromStr;

use super::places::Places;
use crate::file::Files;
use crate::file::decode::At;
use crate::file::findings::{Findings, Place};
use crate::file::raw::Words;
use crate::file::shapes::{Or, Scalar};
use crate::nearest::nearest;
use crate::{ParseError, Paths};

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
    pub(super) fn number<T: TryFrom<i64> + PartialOrd>(
        &mut self,
        at: Option<&At<i64>>,
        least: T,
        bounds: &str,
    ) -> Option<T> {
        let at = at?;
        let number = T::try_from(at.value).ok().filter(|number| *number >= least);
        if number.is_none() {
            self.findings.error(&at.place, format!("`{}` is not {bounds}", at.value));
        }
        number
    }

    /// A command line: a list as it is, a string split as a shell splits it.
    pub(super) fn command(&mut self, words: &At<Words>) -> Option<Vec<String>> {
        match &words.value {
            Or::Second(list) => Some(list.iter().map(|word| word.value.clone()).collect()),
            Or::First(line) => match shlex::split(line) {
                Some(words) => Some(words),
                None => {
                    self.findings
                        .error(&words.place, "a quote is not closed")
                        .hint("write the command as a list of strings");
                    None
                }
            },
        }
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
