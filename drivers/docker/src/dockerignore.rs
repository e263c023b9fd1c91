//! `.dockerignore`: which files of a build's directory are sent, by Docker's rules (patterns of Go's `filepath.Match`, `**`, `!`).

/// The patterns of one file; the last that matches decides.
#[derive(Debug, Default)]
pub(crate) struct Ignore {
    patterns: Vec<Pattern>,
}

#[derive(Debug)]
struct Pattern {
    excluded: bool,
    glob: Vec<char>,
}

impl Ignore {
    /// Reads the file's text.
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.trim_start_matches('\u{feff}').lines();
        let patterns = lines.filter(|line| !line.starts_with('#')).filter_map(|line| Pattern::parse(line.trim()));
        Self { patterns: patterns.collect() }
    }

    /// Whether a path below the directory (`a/b`) is left out.
    pub(crate) fn excludes(&self, path: &str) -> bool {
        let matching = self.patterns.iter().rev().find(|pattern| pattern.matches(path));
        matching.is_some_and(|pattern| pattern.excluded)
    }

    /// Whether something below a directory that is left out may be wanted after all.
    pub(crate) fn has_exceptions(&self) -> bool {
        self.patterns.iter().any(|pattern| !pattern.excluded)
    }
}

impl Pattern {
    fn parse(line: &str) -> Option<Self> {
        let (excluded, text) = match line.strip_prefix('!') {
            Some(rest) => (false, rest.trim()),
            None => (true, line),
        };
        let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if parts.is_empty() {
            return None;
        }
        Some(Self { excluded, glob: parts.join("/").chars().collect() })
    }

    /// A pattern that matches a directory matches all below it.
    fn matches(&self, path: &str) -> bool {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        ends.into_iter().any(|end| glob(&self.glob, &path[..end].chars().collect::<Vec<_>>()))
    }
}

fn glob(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['*', '*', '/', rest @ ..] => {
            let starts = text.iter().enumerate().filter(|(_, c)| **c == '/').map(|(at, _)| at + 1);
            glob(rest, text) || starts.into_iter().any(|at| glob(rest, &text[at..]))
        }
        ['*', '*', rest @ ..] => (0..=text.len()).any(|at| glob(rest, &text[at..])),
        ['*', rest @ ..] => {
            let end = text.iter().position(|c| *c == '/').unwrap_or(text.len());
            (0..=end).any(|at| glob(rest, &text[at..]))
        }
        ['?', rest @ ..] => matches!(text, [c, tail @ ..] if *c != '/' && glob(rest, tail)),
        ['[', rest @ ..] => class(rest, text),
        ['\\', c, rest @ ..] | [c, rest @ ..] => matches!(text, [first, tail @ ..] if first == c && glob(rest, tail)),
    }
}

/// `[abc]`, `[a-z]`, `[^a]`; without its end it matches nothing.
fn class(pattern: &[char], text: &[char]) -> bool {
    let (negated, set) = match pattern {
        ['^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let Some(end) = set.iter().skip(1).position(|c| *c == ']').map(|at| at + 1) else { return false };
    let Some((first, tail)) = text.split_first() else { return false };
    let mut inside = false;
    let mut at = 0;
    while at < end {
        let (low, high) = if at + 2 < end && set[at + 1] == '-' { (set[at], set[at + 2]) } else { (set[at], set[at]) };
        at += if low == high { 1 } else { 3 };
        inside |= (low..=high).contains(first);
    }
    *first != '/' && inside != negated && glob(&set[end + 1..], tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_decide_as_docker_says() {
        let ignore = Ignore::parse("# comment\n/target\n**/*.log\n!keep.log\ndocs/*\n!docs/README.md\na?c\n[xy]z\n");
        for (path, excluded) in [
            ("target", true),
            ("target/debug/x", true),
            ("sub/target", false),
            ("a.log", true),
            ("b/c/a.log", true),
            ("keep.log", false),
            ("docs/x.md", true),
            ("docs/README.md", false),
            ("docs", false),
            ("abc", true),
            ("abbc", false),
            ("xz", true),
            ("zz", false),
            ("src/main.rs", false),
        ] {
            assert_eq!(ignore.excludes(path), excluded, "{path}");
        }
    }
}
