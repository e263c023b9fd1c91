//! Programs that make or change text.

use super::eval::Shell;
use super::stdio::Input;
use crate::files::clean;

const CHUNK: usize = 64 * 1024;

impl Shell {
    pub(super) async fn text_applet(&mut self, applet: &str, rest: &[String]) -> Result<i32, String> {
        match applet {
            "echo" => self.put(echo(rest)).await,
            "printf" => self.put(printf(rest)?).await,
            "printenv" => self.print_env(rest).await,
            "date" => self.say(&jiff::Timestamp::now().to_string()).await,
            "seq" => self.put(sequence(rest)?).await,
            "yes" => self.yes(rest).await,
            "expr" => self.expr(rest).await,
            "cat" => self.cat(rest).await,
            "head" => self.head(rest).await,
            "tail" => self.tail(rest).await,
            "tr" => self.translate(rest).await,
            "wc" => self.count(rest).await,
            "sort" => self.sort(rest).await,
            "grep" => self.grep(rest).await,
            "sha256sum" => {
                let bytes = self.operands(rest).await?;
                self.say(&format!("{}  -", crate::engine::hex_digest(&bytes))).await
            }
            _ => Err("not a program of this shell".to_owned()),
        }
    }

    /// What a file name stands for.
    fn open(&self, path: &str) -> Result<Input, String> {
        match clean(&self.workdir, path).as_str() {
            "/-" | "/dev/stdin" => Ok(self.stdin.clone()),
            _ if path == "-" => Ok(self.stdin.clone()),
            "/dev/zero" => Ok(Input::new(tokio::io::repeat(0))),
            "/dev/null" => Ok(Input::empty()),
            clean => match self.view.read(clean) {
                Ok(bytes) => Ok(Input::new(std::io::Cursor::new(bytes))),
                Err(error) => Err(format!("can't open '{path}': {error}")),
            },
        }
    }

    fn inputs(&self, arguments: &[String]) -> Result<Vec<Input>, String> {
        let paths: Vec<&String> = arguments.iter().filter(|path| !path.starts_with('-') || *path == "-").collect();
        if paths.is_empty() {
            return Ok(vec![self.stdin.clone()]);
        }
        paths.into_iter().map(|path| self.open(path)).collect()
    }

    async fn operands(&self, arguments: &[String]) -> Result<Vec<u8>, String> {
        let mut all = Vec::new();
        for input in self.inputs(arguments)? {
            all.extend(input.read_all().await);
        }
        Ok(all)
    }

    async fn cat(&self, arguments: &[String]) -> Result<i32, String> {
        for input in self.inputs(arguments)? {
            loop {
                let bytes = input.read(CHUNK).await;
                if bytes.is_empty() {
                    break;
                }
                self.put(bytes).await?;
            }
        }
        Ok(0)
    }

    async fn print_env(&self, names: &[String]) -> Result<i32, String> {
        for name in names {
            match self.env.get(name) {
                Some(value) => self.say(value).await?,
                None => return Ok(1),
            };
        }
        Ok(0)
    }

    async fn yes(&self, words: &[String]) -> Result<i32, String> {
        let line = if words.is_empty() { "y".to_owned() } else { words.join(" ") };
        let many = format!("{line}\n").repeat(1024);
        loop {
            self.put(many.clone()).await?;
            self.run.gate().await;
        }
    }

    async fn expr(&self, arguments: &[String]) -> Result<i32, String> {
        let [left, operator, right] = arguments else { return Err("syntax error".to_owned()) };
        let number = |text: &String| text.parse::<i64>().map_err(|_| "non-numeric argument".to_owned());
        let (left, right) = (number(left)?, number(right)?);
        let value = match operator.as_str() {
            "+" => left.checked_add(right),
            "-" => left.checked_sub(right),
            "*" => left.checked_mul(right),
            "/" => left.checked_div(right),
            "%" => left.checked_rem(right),
            _ => return Err("syntax error".to_owned()),
        };
        self.say(&value.ok_or("division by zero")?.to_string()).await
    }

    /// `head -c bytes` streams, `head -n lines` reads it all.
    async fn head(&self, arguments: &[String]) -> Result<i32, String> {
        let (unit, amount, paths) = amount_of(arguments)?;
        let Some(input) = self.inputs(paths)?.into_iter().next() else { return Ok(0) };
        if unit == 'n' {
            for _ in 0..amount {
                match input.read_line().await {
                    Some(line) => self.say(&line).await?,
                    None => break,
                };
            }
            return Ok(0);
        }
        let mut left = amount;
        while left > 0 {
            let bytes = input.read(left.min(CHUNK)).await;
            if bytes.is_empty() {
                break;
            }
            left -= bytes.len();
            self.put(bytes).await?;
        }
        Ok(0)
    }

    async fn tail(&self, arguments: &[String]) -> Result<i32, String> {
        let (unit, amount, paths) = amount_of(arguments)?;
        let bytes = self.operands(paths).await?;
        let from = if unit == 'c' {
            bytes.len().saturating_sub(amount)
        } else {
            let ends = bytes.iter().enumerate().filter(|(at, byte)| **byte == b'\n' && at + 1 < bytes.len());
            let starts: Vec<usize> = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
            starts[starts.len().saturating_sub(amount).min(starts.len() - 1)]
        };
        self.put(bytes[from..].to_vec()).await
    }

    /// `tr a b` for single characters and the same-length sets `a-z A-Z`; `tr -d a`.
    async fn translate(&self, arguments: &[String]) -> Result<i32, String> {
        let (delete, sets) = match arguments.split_first() {
            Some((flag, rest)) if flag == "-d" => (true, rest),
            _ => (false, arguments),
        };
        let sets: Vec<Vec<u8>> = sets.iter().map(|set| spread(&unescape(set))).collect();
        let from = sets.first().ok_or("a set is missing")?;
        let to = sets.get(1).cloned().unwrap_or_default();
        if !delete && to.is_empty() {
            return Err("the second set is missing".to_owned());
        }
        loop {
            let bytes = self.stdin.read(CHUNK).await;
            if bytes.is_empty() {
                return Ok(0);
            }
            let change = |byte: &u8| match from.iter().position(|other| other == byte) {
                Some(_) if delete => None,
                Some(at) => to.get(at).or(to.last()).copied(),
                None => Some(*byte),
            };
            self.put(bytes.iter().filter_map(change).collect::<Vec<u8>>()).await?;
        }
    }

    async fn count(&self, arguments: &[String]) -> Result<i32, String> {
        let (mut bytes, mut lines) = (0u64, 0u64);
        for input in self.inputs(arguments)? {
            loop {
                let chunk = input.read(CHUNK).await;
                if chunk.is_empty() {
                    break;
                }
                bytes += chunk.len() as u64;
                lines += chunk.iter().filter(|byte| **byte == b'\n').count() as u64;
            }
        }
        match arguments.first().map(String::as_str) {
            Some("-c") => self.say(&bytes.to_string()).await,
            Some("-l") => self.say(&lines.to_string()).await,
            _ => Err("one of -c and -l is wanted".to_owned()),
        }
    }

    /// `grep [-c] [-v] text`, where only `^` and `$` at the ends are special.
    async fn grep(&self, arguments: &[String]) -> Result<i32, String> {
        let flags = arguments.iter().take_while(|flag| matches!(flag.as_str(), "-c" | "-v")).count();
        let (flags, rest) = arguments.split_at(flags);
        let (pattern, paths) = rest.split_first().ok_or("a pattern is missing")?;
        let has = |wanted: &str| flags.iter().any(|flag| flag == wanted);
        let bytes = self.operands(paths).await?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let found: Vec<&str> = text.lines().filter(|line| line_matches(line, pattern) != has("-v")).collect();
        if has("-c") {
            self.say(&found.len().to_string()).await?;
        } else {
            self.put(found.iter().map(|line| format!("{line}\n")).collect::<String>()).await?;
        }
        Ok(i32::from(found.is_empty()))
    }

    async fn sort(&self, arguments: &[String]) -> Result<i32, String> {
        let bytes = self.operands(arguments).await?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        self.put(lines.iter().map(|line| format!("{line}\n")).collect::<String>()).await
    }
}

fn line_matches(line: &str, pattern: &str) -> bool {
    match (pattern.strip_prefix('^'), pattern.strip_suffix('$')) {
        (Some(rest), Some(_)) => rest.strip_suffix('$').is_some_and(|whole| line == whole),
        (Some(start), None) => line.starts_with(start),
        (None, Some(end)) => line.ends_with(end),
        (None, None) => line.contains(pattern),
    }
}

/// `-c N`, `-n N` or `-N`, ten lines without; and what follows.
fn amount_of(arguments: &[String]) -> Result<(char, usize, &[String]), String> {
    let number = |text: &str| text.parse::<usize>().map_err(|_| format!("invalid number '{text}'"));
    match arguments.first().map(String::as_str) {
        Some(flag @ ("-c" | "-n")) => {
            let amount = number(arguments.get(1).map(String::as_str).unwrap_or_default())?;
            Ok((if flag == "-c" { 'c' } else { 'n' }, amount, &arguments[2..]))
        }
        Some(flag) if flag.starts_with("-c") => Ok(('c', number(&flag[2..])?, &arguments[1..])),
        Some(flag) if flag.starts_with("-n") => Ok(('n', number(&flag[2..])?, &arguments[1..])),
        Some(flag) if flag.starts_with('-') && flag.len() > 1 => Ok(('n', number(&flag[1..])?, &arguments[1..])),
        _ => Ok(('n', 10, arguments)),
    }
}

fn echo(arguments: &[String]) -> Vec<u8> {
    let flags = arguments.iter().take_while(|flag| matches!(flag.as_str(), "-n" | "-e" | "-ne" | "-en")).count();
    let (flags, words) = arguments.split_at(flags);
    let text = words.join(" ");
    let mut bytes = if flags.iter().any(|flag| flag.contains('e')) { unescape(&text) } else { text.into_bytes() };
    if !flags.iter().any(|flag| flag.contains('n')) {
        bytes.push(b'\n');
    }
    bytes
}

/// The format is used again until no argument is left.
fn printf(arguments: &[String]) -> Result<Vec<u8>, String> {
    let (format, values) = arguments.split_first().ok_or("a format is missing")?;
    let mut values = values.iter().peekable();
    let mut all = Vec::new();
    loop {
        let mut pieces = format.split('%');
        all.extend(unescape(pieces.next().unwrap_or_default()));
        let mut took = false;
        let mut percent = false;
        for piece in pieces {
            if percent {
                percent = false;
                all.extend(unescape(piece));
                continue;
            }
            match piece.chars().next() {
                None => {
                    all.push(b'%');
                    percent = true;
                    continue;
                }
                Some('s' | 'd' | 'c') => {
                    took = true;
                    all.extend(values.next().map(String::as_bytes).unwrap_or_default());
                }
                Some('b') => {
                    took = true;
                    all.extend(unescape(values.next().map(String::as_str).unwrap_or_default()));
                }
                Some(other) => return Err(format!("bad format '%{other}'")),
            }
            all.extend(unescape(&piece[1..]));
        }
        if !took || values.peek().is_none() {
            return Ok(all);
        }
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'\\' {
            bytes.push(*byte);
            continue;
        }
        let Some((escape, after)) = rest.split_first() else {
            bytes.push(b'\\');
            break;
        };
        rest = after;
        match escape {
            b'n' => bytes.push(b'\n'),
            b't' => bytes.push(b'\t'),
            b'r' => bytes.push(b'\r'),
            b'\\' => bytes.push(b'\\'),
            b'x' => bytes.push(take_number(&mut rest, 16, 2)),
            b'0'..=b'7' => {
                let mut digits = [&[*escape], rest].concat();
                digits.truncate(if *escape == b'0' { 4 } else { 3 });
                let mut view = digits.as_slice();
                bytes.push(take_number(&mut view, 8, 4));
                rest = &rest[digits.len() - view.len() - 1..];
            }
            other => bytes.extend([b'\\', *other]),
        }
    }
    bytes
}

fn take_number(rest: &mut &[u8], radix: u32, most: usize) -> u8 {
    let mut value: u32 = 0;
    for _ in 0..most {
        let Some(digit) = rest.first().and_then(|byte| char::from(*byte).to_digit(radix)) else { break };
        value = value * radix + digit;
        *rest = &rest[1..];
    }
    (value & 0xff) as u8
}

fn spread(set: &[u8]) -> Vec<u8> {
    match set {
        [first, b'-', last, rest @ ..] if first <= last => (*first..=*last).chain(spread(rest)).collect(),
        [first, rest @ ..] => std::iter::once(*first).chain(spread(rest)).collect(),
        [] => Vec::new(),
    }
}

fn sequence(arguments: &[String]) -> Result<String, String> {
    let number = |text: &String| text.parse::<i64>().map_err(|_| format!("invalid number '{text}'"));
    let (first, last) = match arguments {
        [last] => (1, number(last)?),
        [first, last] => (number(first)?, number(last)?),
        _ => return Err("one or two numbers are wanted".to_owned()),
    };
    Ok((first..=last).map(|value| format!("{value}\n")).collect())
}
