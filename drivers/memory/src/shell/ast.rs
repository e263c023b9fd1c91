//! A script as the parser gives it.

/// A list of commands.
pub(super) type Script = Vec<Item>;

/// One chain of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) chain: Vec<(Link, Pipeline)>,
    pub(super) background: bool,
}

/// When a pipeline of a chain runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    Always,
    And,
    Or,
}

/// Commands joined by `|`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pipeline {
    pub(super) negated: bool,
    pub(super) commands: Vec<Command>,
}

/// One command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) body: Body,
    pub(super) redirects: Vec<Redirect>,
}

/// What a command is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    Simple(Vec<Word>),
    Group(Script),
    Subshell(Script),
    While { until: bool, condition: Script, body: Script },
    If { arms: Vec<(Script, Script)>, otherwise: Script },
    For { name: String, words: Vec<Word>, body: Script },
}

/// `2>file` and the like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Redirect {
    pub(super) descriptor: u8,
    pub(super) target: Target,
}

/// Where a descriptor goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Read(Word),
    Write(Word),
    Append(Word),
    Same(u8),
}

/// A word in its parts.
pub(super) type Word = Vec<Part>;

/// A part of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Literal(String),
    /// Quoted text, kept apart so that `""` is a word.
    Quoted(String),
    Variable {
        name: String,
        quoted: bool,
    },
    Substitution {
        script: Script,
        quoted: bool,
    },
}
