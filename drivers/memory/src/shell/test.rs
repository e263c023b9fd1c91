//! `test`.

use super::eval::Shell;
use crate::files::{Node, clean};

impl Shell {
    /// `test` and `[`: one or two operands, `!`, no `-a` or `-o`.
    pub(super) fn test(&self, arguments: &[String]) -> Result<i32, String> {
        let mut words: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
        if arguments.first().is_some_and(|name| name == "[") && words.pop() != Some("]") {
            return Err("missing ]".to_owned());
        }
        let (negated, words) = match words.split_first() {
            Some((&"!", rest)) => (true, rest),
            _ => (false, words.as_slice()),
        };
        Ok(i32::from(self.holds(words)? == negated))
    }

    fn holds(&self, words: &[&str]) -> Result<bool, String> {
        match words {
            [] => Ok(false),
            [word] => Ok(!word.is_empty()),
            ["-n", word] => Ok(!word.is_empty()),
            ["-z", word] => Ok(word.is_empty()),
            ["-t", _] => Ok(self.terminal),
            [flag, path] => self.file_test(flag, path),
            [left, "=" | "==", right] => Ok(left == right),
            [left, "!=", right] => Ok(left != right),
            [left, operator, right] => compare(left, operator, right),
            _ => Err("too many arguments".to_owned()),
        }
    }

    fn file_test(&self, flag: &str, path: &str) -> Result<bool, String> {
        let node = self.view.get(&clean(&self.workdir, path));
        match flag {
            "-e" | "-r" | "-w" => Ok(node.is_some()),
            "-f" => Ok(matches!(node, Some(Node::File { .. }))),
            "-d" => Ok(node == Some(Node::Directory)),
            "-s" => Ok(matches!(node, Some(Node::File { bytes, .. }) if !bytes.is_empty())),
            "-x" => Ok(matches!(node, Some(Node::Directory | Node::File { executable: true, .. }))),
            _ => Err(format!("{flag}: unknown operand")),
        }
    }
}

fn compare(left: &str, operator: &str, right: &str) -> Result<bool, String> {
    let number = |text: &str| text.trim().parse::<i64>().map_err(|_| format!("{text}: bad number"));
    let (left, right) = (number(left)?, number(right)?);
    match operator {
        "-eq" => Ok(left == right),
        "-ne" => Ok(left != right),
        "-lt" => Ok(left < right),
        "-le" => Ok(left <= right),
        "-gt" => Ok(left > right),
        "-ge" => Ok(left >= right),
        _ => Err(format!("{operator}: unknown operand")),
    }
}
