//! From text to commands.

use super::ast::{Body, Command, Item, Link, Part, Pipeline, Redirect, Script, Target, Word};

/// A syntax error, in words.
pub(super) type SyntaxError = String;

/// Reads a script.
pub(super) fn parse(text: &str) -> Result<Script, SyntaxError> {
    let mut parser = Parser { chars: text.chars().collect(), at: 0 };
    let script = parser.list(&[])?;
    match parser.peek() {
        None => Ok(script),
        Some(c) => Err(format!("syntax error: unexpected \"{c}\"")),
    }
}

struct Parser {
    chars: Vec<char>,
    at: usize,
}

const RESERVED: [&str; 11] = ["while", "until", "do", "done", "if", "then", "elif", "else", "fi", "for", "{"];

impl Parser {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    fn starts(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(offset, c)| self.chars.get(self.at + offset) == Some(&c))
    }

    fn eat(&mut self, text: &str) -> bool {
        let found = self.starts(text);
        if found {
            self.at += text.chars().count();
        }
        found
    }

    fn skip_blank(&mut self) {
        while self.peek().is_some_and(|c| c == ' ' || c == '\t') || self.starts("\\\n") {
            self.at += if self.peek() == Some('\\') { 2 } else { 1 };
        }
        if self.peek() == Some('#') {
            while self.peek().is_some_and(|c| c != '\n') {
                self.at += 1;
            }
        }
    }

    fn skip_lines(&mut self) {
        self.skip_blank();
        while self.peek() == Some('\n') || (self.peek() == Some(';') && !self.starts(";;")) {
            self.at += 1;
            self.skip_blank();
        }
    }

    /// The reserved or plain word that comes next, without taking it.
    fn upcoming(&mut self) -> String {
        self.skip_blank();
        let rest = &self.chars[self.at..];
        rest.iter().take_while(|c| !c.is_whitespace() && !";&|()<>'\"$`\\".contains(**c)).collect()
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let found = self.upcoming() == word;
        if found {
            self.at += word.chars().count();
        }
        found
    }

    fn expect(&mut self, word: &str) -> Result<(), SyntaxError> {
        self.skip_lines();
        if self.eat_word(word) { Ok(()) } else { Err(format!("syntax error: expecting \"{word}\"")) }
    }

    fn list(&mut self, ends: &[&str]) -> Result<Script, SyntaxError> {
        let mut script = Script::new();
        loop {
            self.skip_lines();
            let upcoming = self.upcoming();
            if self.peek().is_none_or(|c| c == ')') || ends.contains(&upcoming.as_str()) {
                return Ok(script);
            }
            let chain = self.chain()?;
            self.skip_blank();
            let background = self.peek() == Some('&');
            if background {
                self.at += 1;
            }
            script.push(Item { chain, background });
        }
    }

    fn chain(&mut self) -> Result<Vec<(Link, Pipeline)>, SyntaxError> {
        let mut chain = vec![(Link::Always, self.pipeline()?)];
        loop {
            self.skip_blank();
            let link = if self.eat("&&") {
                Link::And
            } else if self.eat("||") {
                Link::Or
            } else {
                return Ok(chain);
            };
            self.skip_lines();
            chain.push((link, self.pipeline()?));
        }
    }

    fn pipeline(&mut self) -> Result<Pipeline, SyntaxError> {
        let negated = self.eat_word("!");
        let mut commands = vec![self.command()?];
        loop {
            self.skip_blank();
            if self.peek() != Some('|') || self.starts("||") {
                return Ok(Pipeline { negated, commands });
            }
            self.at += 1;
            self.skip_lines();
            commands.push(self.command()?);
        }
    }

    fn command(&mut self) -> Result<Command, SyntaxError> {
        self.skip_blank();
        let mut redirects = Vec::new();
        let body = match self.upcoming().as_str() {
            "while" => self.loop_of(false)?,
            "until" => self.loop_of(true)?,
            "if" => self.condition()?,
            "for" => self.for_loop()?,
            "{" => {
                self.at += 1;
                let script = self.list(&["}"])?;
                self.expect("}")?;
                Body::Group(script)
            }
            "" if self.peek() == Some('(') => {
                self.at += 1;
                let script = self.list(&[])?;
                if self.next() != Some(')') {
                    return Err("syntax error: expecting \")\"".to_owned());
                }
                Body::Subshell(script)
            }
            word if RESERVED.contains(&word) => return Err(format!("syntax error: unexpected \"{word}\"")),
            _ => return self.simple(),
        };
        while let Some(redirect) = self.redirect()? {
            redirects.push(redirect);
        }
        Ok(Command { body, redirects })
    }

    fn loop_of(&mut self, until: bool) -> Result<Body, SyntaxError> {
        self.at += 5;
        let condition = self.list(&["do"])?;
        let body = self.do_group()?;
        Ok(Body::While { until, condition, body })
    }

    fn do_group(&mut self) -> Result<Script, SyntaxError> {
        self.expect("do")?;
        let body = self.list(&["done"])?;
        self.expect("done")?;
        Ok(body)
    }

    fn condition(&mut self) -> Result<Body, SyntaxError> {
        let mut arms = Vec::new();
        let mut otherwise = Script::new();
        self.at += 2;
        loop {
            let condition = self.list(&["then"])?;
            self.expect("then")?;
            arms.push((condition, self.list(&["elif", "else", "fi"])?));
            if self.eat_word("elif") {
                continue;
            }
            if self.eat_word("else") {
                otherwise = self.list(&["fi"])?;
            }
            self.expect("fi")?;
            return Ok(Body::If { arms, otherwise });
        }
    }

    fn for_loop(&mut self) -> Result<Body, SyntaxError> {
        self.at += 3;
        let name = self.upcoming();
        self.at += name.chars().count();
        self.expect("in")?;
        let mut words = Vec::new();
        while let Some(word) = self.word()? {
            words.push(word);
        }
        let body = self.do_group()?;
        Ok(Body::For { name, words, body })
    }

    fn simple(&mut self) -> Result<Command, SyntaxError> {
        let mut words = Vec::new();
        let mut redirects = Vec::new();
        loop {
            if let Some(redirect) = self.redirect()? {
                redirects.push(redirect);
            } else if let Some(word) = self.word()? {
                words.push(word);
            } else if words.is_empty() && redirects.is_empty() {
                return Err(format!(
                    "syntax error: unexpected \"{}\"",
                    self.peek().map_or("end".to_owned(), String::from)
                ));
            } else {
                return Ok(Command { body: Body::Simple(words), redirects });
            }
        }
    }

    fn redirect(&mut self) -> Result<Option<Redirect>, SyntaxError> {
        self.skip_blank();
        let digit = self.peek().and_then(|c| c.to_digit(10)).and_then(|digit| u8::try_from(digit).ok());
        let operator = self.chars.get(self.at + usize::from(digit.is_some())).copied();
        let Some(operator @ ('<' | '>')) = operator else { return Ok(None) };
        self.at += 1 + usize::from(digit.is_some());
        let descriptor = digit.unwrap_or(u8::from(operator == '>'));
        let append = operator == '>' && self.eat(">");
        let same = self.eat("&");
        let word = self.word()?.ok_or("syntax error: a redirection names no file")?;
        let target = match (same, append, operator) {
            (true, _, _) => Target::Same(same_descriptor(&word)?),
            (false, true, _) => Target::Append(word),
            (false, false, '<') => Target::Read(word),
            (false, false, _) => Target::Write(word),
        };
        Ok(Some(Redirect { descriptor, target }))
    }

    fn word(&mut self) -> Result<Option<Word>, SyntaxError> {
        self.skip_blank();
        let mut word = Word::new();
        while let Some(c) = self.peek() {
            match c {
                c if c.is_whitespace() || ";&|()<>".contains(c) => break,
                '\'' => word.push(Part::Quoted(self.single_quoted()?)),
                '"' => self.double_quoted(&mut word)?,
                '$' => {
                    let part = self.dollar(false)?;
                    word.push(part);
                }
                '\\' => {
                    self.at += 1;
                    word.push(Part::Quoted(self.next().map(String::from).unwrap_or_default()));
                }
                '`' => return Err("syntax error: backquotes are not supported".to_owned()),
                c => {
                    self.at += 1;
                    push_literal(&mut word, c);
                }
            }
        }
        Ok((!word.is_empty()).then_some(word))
    }

    fn single_quoted(&mut self) -> Result<String, SyntaxError> {
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.next() {
                Some('\'') => return Ok(text),
                Some(c) => text.push(c),
                None => return Err("syntax error: unterminated quoted string".to_owned()),
            }
        }
    }

    fn double_quoted(&mut self, word: &mut Word) -> Result<(), SyntaxError> {
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.peek().ok_or("syntax error: unterminated quoted string")? {
                '"' => break,
                '$' => {
                    word.push(Part::Quoted(std::mem::take(&mut text)));
                    let part = self.dollar(true)?;
                    word.push(part);
                    continue;
                }
                '\\' if self.chars.get(self.at + 1).is_some_and(|c| "\"\\$`".contains(*c)) => {
                    self.at += 1;
                    text.extend(self.peek());
                }
                c => text.push(c),
            }
            self.at += 1;
        }
        self.at += 1;
        word.push(Part::Quoted(text));
        Ok(())
    }

    fn dollar(&mut self, quoted: bool) -> Result<Part, SyntaxError> {
        self.at += 1;
        if self.starts("((") {
            return Err("syntax error: arithmetic is not supported".to_owned());
        }
        if self.eat("(") {
            let script = self.list(&[])?;
            return match self.next() {
                Some(')') => Ok(Part::Substitution { script, quoted }),
                _ => Err("syntax error: expecting \")\"".to_owned()),
            };
        }
        let name = self.variable_name()?;
        let literal = if quoted { Part::Quoted("$".to_owned()) } else { Part::Literal("$".to_owned()) };
        Ok(if name.is_empty() { literal } else { Part::Variable { name, quoted } })
    }

    fn variable_name(&mut self) -> Result<String, SyntaxError> {
        if self.eat("{") {
            let name: String = self.chars[self.at..].iter().take_while(|c| **c != '}').collect();
            self.at += name.chars().count() + 1;
            let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            return if plain { Ok(name) } else { Err(format!("syntax error: bad substitution ${{{name}}}")) };
        }
        if let Some(c) = self.peek().filter(|c| "$?!#@*".contains(*c) || c.is_ascii_digit()) {
            self.at += 1;
            return Ok(c.to_string());
        }
        let name: String =
            self.chars[self.at..].iter().take_while(|c| c.is_ascii_alphanumeric() || **c == '_').collect();
        self.at += name.chars().count();
        Ok(name)
    }
}

fn push_literal(word: &mut Word, c: char) {
    match word.last_mut() {
        Some(Part::Literal(text)) => text.push(c),
        _ => word.push(Part::Literal(c.to_string())),
    }
}

fn same_descriptor(word: &Word) -> Result<u8, SyntaxError> {
    match word.as_slice() {
        [Part::Literal(text)] => text.parse().map_err(|_| format!("syntax error: bad descriptor \"{text}\"")),
        _ => Err("syntax error: bad descriptor".to_owned()),
    }
}
