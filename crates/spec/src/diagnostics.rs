//! What is wrong in a file, where, and what to write instead; rendered for people or serialised for programs.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet, renderer::DecorStyle};
use schemars::JsonSchema;
use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, and probably does not mean what its author thinks.
    Warning,
}

/// One finding in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, lower case, no final period.
    pub message: String,
    /// What to write instead, where that is known.
    pub hint: Option<String>,
    /// The key or item it is about: `components[1].ports[0]`; empty for the whole file.
    pub path: String,
    /// Where it stands.
    #[serde(flatten)]
    pub position: Position,
    /// Other places that have to do with it.
    pub related: Vec<Related>,
}

/// A piece of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Start in bytes from the start of the file.
    pub offset: usize,
    /// Length in bytes.
    pub length: usize,
}

/// Another place that has to do with a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Related {
    /// What is there.
    pub message: String,
    /// Where it stands.
    #[serde(flatten)]
    pub position: Position,
}

/// Findings in one file, in the file's order, with the text they are about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema, thiserror::Error)]
#[error("`{file}` has {} errors", self.errors())]
pub struct Diagnostics {
    /// Name of the file as the user gave it.
    pub file: String,
    /// The findings.
    pub diagnostics: Vec<Diagnostic>,
    #[serde(skip)]
    text: String,
}

impl Position {
    /// The position of a byte range in a text.
    pub(crate) fn of(source: &str, span: &Range<usize>) -> Self {
        let start = boundary(source, span.start);
        let end = boundary(source, span.end).max(start);
        let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
        Self {
            line: source[..start].matches('\n').count() + 1,
            column: source[line_start..start].chars().count() + 1,
            offset: start,
            length: end - start,
        }
    }

    fn span(&self) -> Range<usize> {
        self.offset..self.offset + self.length
    }
}

/// The nearest start of a character at or before the byte.
fn boundary(source: &str, byte: usize) -> usize {
    (0..=byte.min(source.len())).rev().find(|at| source.is_char_boundary(*at)).unwrap_or(0)
}

impl Diagnostics {
    /// Findings about a file with this name and text.
    pub fn new(file: impl Into<String>, text: impl Into<String>, mut diagnostics: Vec<Diagnostic>) -> Self {
        diagnostics.sort_by_key(|one| (one.position.offset, one.position.length));
        Self { file: file.into(), text: text.into(), diagnostics }
    }

    /// How many of the findings are errors.
    pub fn errors(&self) -> usize {
        self.diagnostics.iter().filter(|one| one.severity == Severity::Error).count()
    }

    /// The findings for people: the text they are about underlined, hints as help. `color` adds ANSI colours.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() }.decor_style(DecorStyle::Ascii);
        let blocks: Vec<String> = self.diagnostics.iter().map(|one| renderer.render(&[self.group(one)])).collect();
        let mut text = blocks.join("\n\n");
        if !text.is_empty() {
            text.push('\n');
        }
        text
    }

    fn group<'a>(&'a self, one: &'a Diagnostic) -> Group<'a> {
        let level = match one.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let related = one
            .related
            .iter()
            .map(|other| AnnotationKind::Context.span(other.position.span()).label(other.message.as_str()));
        let snippet = Snippet::source(self.text.as_str())
            .path(self.file.as_str())
            .annotation(AnnotationKind::Primary.span(one.position.span()))
            .annotations(related);
        let group = level.primary_title(one.message.as_str()).element(snippet);
        group.elements(one.hint.iter().map(|hint| Level::HELP.message(hint.as_str())))
    }
}
