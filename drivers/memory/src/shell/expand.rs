//! From the words of a command to its arguments.

use std::sync::{Arc, Mutex, PoisonError};

use super::ast::{Part, Script, Word};
use super::eval::Shell;
use super::stdio::Sink;

impl Shell {
    /// All words, with unquoted expansions split at white space.
    pub(super) async fn expand(&mut self, words: &[Word]) -> Vec<String> {
        let mut arguments = Vec::new();
        for word in words {
            self.expand_word(word, &mut arguments).await;
        }
        arguments
    }

    /// One word as one string.
    pub(super) async fn expand_whole(&mut self, word: &Word) -> String {
        let mut whole = String::new();
        for part in word {
            let (text, _) = self.expand_part(part).await;
            whole.push_str(&text);
        }
        whole
    }

    async fn expand_word(&mut self, word: &Word, arguments: &mut Vec<String>) {
        let mut current: Option<String> = None;
        for part in word {
            let (text, quoted) = self.expand_part(part).await;
            if quoted {
                current.get_or_insert_default().push_str(&text);
                continue;
            }
            let mut fields = text.split_whitespace().peekable();
            if text.starts_with(char::is_whitespace) {
                arguments.extend(current.take());
            }
            while let Some(field) = fields.next() {
                current.get_or_insert_default().push_str(field);
                if fields.peek().is_some() || text.ends_with(char::is_whitespace) {
                    arguments.extend(current.take());
                }
            }
        }
        arguments.extend(current);
    }

    /// The text of a part and whether it must not be split.
    async fn expand_part(&mut self, part: &Part) -> (String, bool) {
        match part {
            Part::Literal(text) | Part::Quoted(text) => (text.clone(), true),
            Part::Variable { name, quoted } => (self.variable(name), *quoted),
            Part::Substitution { script, quoted } => (self.substitute(script).await, *quoted),
        }
    }

    fn variable(&self, name: &str) -> String {
        match name {
            "?" => self.status.to_string(),
            "$" => self.pid.to_string(),
            "!" => self.last_job.map(|pid| pid.to_string()).unwrap_or_default(),
            "#" => self.positional.len().saturating_sub(1).to_string(),
            "@" | "*" => self.positional.get(1..).unwrap_or_default().join(" "),
            name => match name.parse::<usize>() {
                Ok(at) => self.positional.get(at).cloned().unwrap_or_default(),
                Err(_) => self.vars.get(name).or_else(|| self.env.get(name)).cloned().unwrap_or_default(),
            },
        }
    }

    /// The output of a script in a subshell, without the last line feeds.
    async fn substitute(&mut self, script: &Script) -> String {
        let buffer = Arc::new(Mutex::new(Vec::new()));
        let mut shell = self.subshell();
        shell.stdout = Sink::Buffer(Arc::clone(&buffer));
        self.status = shell.script(script).await;
        let bytes = std::mem::take(&mut *buffer.lock().unwrap_or_else(PoisonError::into_inner));
        String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned()
    }
}
