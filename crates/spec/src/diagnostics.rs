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
#[error("`{file}` has {}", self.count())]
pub struct Diagnostics {
    /// Name of the file as the user gave it.
    pub file: String,
    /// The findings.
    pub diagnostics: Vec<Diagnostic>,
    #[serde(skip)]
    text: String,
}

impl Position {
    fn span(&self) -> Range<usize> {
        self.offset..self.offset + self.length
    }
}

/// A text with where its lines start and its characters are, so that many positions cost little more than one.
#[derive(Debug)]
pub(crate) struct Index<'a> {
    source: &'a str,
    lines: Vec<usize>,
    /// Characters before every `STEP` bytes.
    characters: Vec<usize>,
}

const STEP: usize = 256;

impl<'a> Index<'a> {
    pub(crate) fn new(source: &'a str) -> Self {
        let breaks = source.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1);
        let mut before = 0;
        let count = |piece: &[u8]| {
            let so_far = before;
            before += starts(piece);
            so_far
        };
        let characters = source.as_bytes().chunks(STEP).map(count).collect();
        Self { source, lines: std::iter::once(0).chain(breaks).collect(), characters }
    }

    /// The position of a byte range.
    pub(crate) fn position(&self, span: &Range<usize>) -> Position {
        let start = boundary(self.source, span.start);
        let end = boundary(self.source, span.end).max(start);
        let line = self.lines.partition_point(|at| *at <= start);
        let line_start = self.lines[line - 1];
        Position {
            line,
            column: self.characters_before(start) - self.characters_before(line_start) + 1,
            offset: start,
            length: end - start,
        }
    }

    fn characters_before(&self, byte: usize) -> usize {
        let step = byte / STEP;
        let Some(before) = self.characters.get(step) else { return starts(self.source.as_bytes()) };
        before + starts(&self.source.as_bytes()[step * STEP..byte])
    }
}

/// How many characters start in these bytes.
fn starts(bytes: &[u8]) -> usize {
    bytes.iter().filter(|b| **b & 0xc0 != 0x80).count()
}

/// How many findings are shown to people.
const SHOWN: usize = 50;

/// The text of a file, which is UTF-8 and of a size that a person writes.
///
/// # Errors
/// It is not UTF-8, with the place of the first byte that is not; it is larger than [`MAX_FILE`].
pub fn text_of(file: &str, bytes: Vec<u8>) -> Result<String, Diagnostics> {
    if bytes.len() > MAX_FILE {
        let message = format!("the file is larger than {}, the most that is read", crate::ByteSize(MAX_FILE as u64));
        return Err(whole(file, message, "is it a service file?"));
    }
    let error = match String::from_utf8(bytes) {
        Ok(text) => return Ok(text),
        Err(error) => error,
    };
    let at = error.utf8_error().valid_up_to();
    let bytes = error.into_bytes();
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(whole(file, "the file is UTF-16; a service file is UTF-8".to_owned(), "save it as UTF-8"));
    }
    if bytes.contains(&0) {
        return Err(whole(file, "the file is binary; a service file is text".to_owned(), "is it a service file?"));
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let position = Index::new(&text).position(&(at..at + char::REPLACEMENT_CHARACTER.len_utf8()));
    let message = format!("the byte 0x{:02x} is not UTF-8", bytes[at]);
    let diagnostic = Diagnostic { hint: Some("save the file as UTF-8".to_owned()), ..error_at(position, message) };
    Err(Diagnostics::new(file, text, vec![diagnostic]))
}

/// An error about a whole file, none of which is shown.
fn whole(file: &str, message: String, hint: &str) -> Diagnostics {
    let position = Position { line: 1, column: 1, offset: 0, length: 0 };
    let diagnostic = Diagnostic { hint: Some(hint.to_owned()), ..error_at(position, message) };
    Diagnostics::new(file, "", vec![diagnostic])
}

fn error_at(position: Position, message: String) -> Diagnostic {
    Diagnostic { severity: Severity::Error, message, hint: None, path: String::new(), position, related: Vec::new() }
}

/// Largest service file in bytes.
pub const MAX_FILE: usize = 1 << 20;

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

    /// `1 error`, `3 errors`.
    fn count(&self) -> String {
        match self.errors() {
            1 => "1 error".to_owned(),
            many => format!("{many} errors"),
        }
    }

    /// The findings for people: the text they are about underlined, hints as help. `color` adds ANSI colours. Of very many the first
    /// ones are shown, and how many there are besides.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() }.decor_style(DecorStyle::Ascii);
        let blocks: Vec<String> =
            self.diagnostics.iter().take(SHOWN).map(|one| renderer.render(&[self.group(one)])).collect();
        let mut text = blocks.join("\n\n");
        if let Some(more) = self.diagnostics.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            text += &format!("\n\nand {more} more like these or others: only the first {SHOWN} are shown");
        }
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
