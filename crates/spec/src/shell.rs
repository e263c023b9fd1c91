//! A command written as one string: split into words as a shell splits them, with a look at what only a shell would do.

/// A command line, split.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Its words; quotes and escapes are gone.
    pub(crate) words: Vec<String>,
    /// The first thing in it that only a shell understands.
    pub(crate) shell: Option<Syntax>,
    /// The same inside double quotes, where a shell that is the program itself may be meant to read it.
    pub(crate) quoted: Option<String>,
}

/// Something that means what it says to a shell alone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// An operator that begins or ends a word: `&&`, `>`, `2>&1`, `a;`.
    Operator(String),
    /// An operator within a word (`a&b`), a variable, a command substitution, a pattern.
    Within(String),
}

const OPERATORS: &str = "|&;<>";
/// Words of the shell's language that begin a command and are no program.
const WORDS: [&str; 16] = [
    "!", "{", "(", ":", ".", "case", "cd", "command", "eval", "exec", "exit", "export", "for", "if", "source", "while",
];
const SHELLS: [&str; 5] = ["sh", "ash", "bash", "dash", "zsh"];

/// Splits the line; nothing where a quote is not closed. A `#` is a character like any other, as it is for Compose.
pub(crate) fn split(line: &str) -> Option<Line> {
    let mut scan = Scan::default();
    let mut rest = line.chars().peekable();
    let mut text = String::new();
    while let Some(c) = rest.next() {
        if c == '#' && scan.word.is_empty() && scan.quote.is_none() {
            // To the splitter this would begin a comment, and what follows would be lost.
            text.push('\\');
        }
        text.push(c);
        let escaped = c == '\\' && scan.quote != Some('\'');
        let next = if escaped { rest.next() } else { rest.peek().copied() };
        text.extend(next.filter(|_| escaped));
        scan.take(c, next, escaped);
    }
    let words = shlex::split(&text)?;
    Some(Line { words, shell: scan.found(), quoted: scan.quoted })
}

impl Line {
    /// Whether a shell has to read it to do what it says.
    pub(crate) fn needs_shell(&self) -> bool {
        let first = self.words.first().map_or("", String::as_str);
        let name = first.split_once('=').map_or("", |(name, _)| name);
        let assigns = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let is_shell = first.rsplit('/').next().is_some_and(|name| SHELLS.contains(&name));
        self.shell.is_some() || assigns || WORDS.contains(&first) || self.quoted.is_some() && !is_shell
    }
}

/// Where in the line the reading is.
#[derive(Default)]
struct Scan {
    quote: Option<char>,
    /// The word so far as it is written.
    word: String,
    /// Operators at the end of the word so far.
    operator: String,
    standing: Option<String>,
    within: Option<String>,
    quoted: Option<String>,
}

impl Scan {
    fn take(&mut self, c: char, next: Option<char>, escaped: bool) {
        if let Some(quote) = self.quote {
            self.word.push(c);
            if c == quote {
                self.quote = None;
            } else if quote == '"' && !escaped {
                self.quoted = self.quoted.take().or_else(|| expansion(c, next));
            }
        } else if c.is_whitespace() {
            // `a;` and `a &` end a command.
            self.stand();
            self.word.clear();
        } else if OPERATORS.contains(c) {
            self.operator.push(c);
            if next.is_none_or(char::is_whitespace) {
                self.stand();
            }
        } else {
            self.close_operator();
            self.word.push(c);
            match c {
                '\'' | '"' => self.quote = Some(c),
                '*' => self.within = self.within.take().or_else(|| Some(c.to_string())),
                _ if !escaped => self.within = self.within.take().or_else(|| expansion(c, next)),
                _ => {}
            }
        }
    }

    /// The operator ends here, before a space or the end.
    fn stand(&mut self) {
        if !self.operator.is_empty() {
            let operator = std::mem::take(&mut self.operator);
            self.standing.get_or_insert(operator);
        }
    }

    /// The operator is followed by more of the word: it stands for itself where it began the word, as in `>file` or `2>file`.
    fn close_operator(&mut self) {
        if self.operator.is_empty() {
            return;
        }
        let operator = std::mem::take(&mut self.operator);
        let redirects = operator.starts_with(['<', '>']) && self.word.bytes().all(|b| b.is_ascii_digit());
        if self.word.is_empty() || redirects {
            self.standing.get_or_insert(operator.clone());
        } else {
            self.within.get_or_insert(operator.clone());
        }
        self.word.push_str(&operator);
    }

    fn found(&mut self) -> Option<Syntax> {
        self.standing.take().map(Syntax::Operator).or_else(|| self.within.take().map(Syntax::Within))
    }
}

/// What a shell would put something else for.
fn expansion(c: char, next: Option<char>) -> Option<String> {
    match (c, next) {
        ('`', _) => Some(c.to_string()),
        ('$', Some(next)) if next.is_ascii_alphanumeric() || "_{(?#@*$".contains(next) => Some(format!("{c}{next}")),
        _ => None,
    }
}
