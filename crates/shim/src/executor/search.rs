//! Finding the program as a shell would, and becoming it.

mod interpreter;

use std::ffi::CString;
use std::io::ErrorKind;
use std::path::Path;

use nix::unistd::execve;

use crate::{ShimError, workdir};

/// Bytes of one argument or variable that the kernel takes (`MAX_ARG_STRLEN`, with the byte at its end).
const LONGEST: usize = 131_072;

/// Returns only on failure.
pub(super) fn execute(arguments: &[String], env: &[String], own: (u64, u64)) -> ShimError {
    let Some(program) = arguments.first() else { return ShimError::invalid("there is no command to execute") };
    let strings =
        |words: &[String]| words.iter().map(|word| CString::new(word.as_str())).collect::<Result<Vec<_>, _>>();
    let Ok(words) = strings(arguments) else {
        return ShimError::invalid(format!("the command `{program}` has a zero byte in it"));
    };
    let Ok(variables) = strings(env) else {
        return ShimError::invalid(format!("the environment of `{program}` has a zero byte in it"));
    };
    let mut outcome = nix::Error::ENOENT;
    let mut missing = None;
    for place in places(program, env) {
        let helpers = interpreter::chain(Path::new(&place));
        if std::iter::once(&place).chain(&helpers).any(|path| workdir::leads_to(path, own)) {
            return refused(126, program, "it leads to the runtime's own program");
        }
        let Ok(file) = CString::new(place) else { continue };
        match execve(&file, &words, &variables) {
            // The kernel says so of the file and of what is to run it alike.
            Err(nix::Error::ENOENT | nix::Error::ENOTDIR) => missing = missing.or_else(|| absent(helpers)),
            Err(error) => outcome = error,
            Ok(never) => match never {},
        }
    }
    match (outcome, missing) {
        (nix::Error::ENOENT, Some(helper)) => {
            refused(127, program, &format!("its interpreter `{}` is not found", helper.escape_debug()))
        }
        (nix::Error::ENOENT, None) => refused(127, program, "not found"),
        (nix::Error::E2BIG, _) => refused(126, program, &too_long(arguments, env)),
        (error, _) => refused(126, program, &error.desc().to_lowercase()),
    }
}

/// The first that there is not.
fn absent(helpers: Vec<String>) -> Option<String> {
    let is_absent = |error: std::io::Error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory);
    helpers.into_iter().find(|helper| std::fs::metadata(helper).is_err_and(is_absent))
}

fn refused(code: i32, program: &str, why: &str) -> ShimError {
    ShimError { code: Some(code), ..ShimError::invalid(format!("cannot execute `{program}`: {why}")) }
}

fn places(program: &str, env: &[String]) -> Vec<String> {
    if program.contains('/') {
        return vec![program.to_owned()];
    }
    let path = env.iter().find_map(|variable| variable.strip_prefix("PATH=")).unwrap_or_default();
    let place =
        |directory: &str| if directory.is_empty() { program.to_owned() } else { format!("{directory}/{program}") };
    path.split(':').map(place).collect()
}

/// Which one, where one is too long by itself.
fn too_long(arguments: &[String], env: &[String]) -> String {
    let limit = LONGEST - 1;
    if let Some(variable) = env.iter().find(|variable| variable.len() > limit) {
        let (name, _) = variable.split_once('=').unwrap_or((variable, ""));
        return format!("the variable `{name}` has {} bytes and the kernel takes {limit}", variable.len());
    }
    if let Some(argument) = arguments.iter().find(|argument| argument.len() > limit) {
        return format!("an argument has {} bytes and the kernel takes {limit}", argument.len());
    }
    let total: usize = arguments.iter().chain(env).map(|word| word.len() + 1).sum();
    format!("arguments and environment have {total} bytes together, more than the kernel takes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_long_names_the_variable_and_the_limit() {
        let env = ["A=1".to_owned(), format!("BIG={}", "x".repeat(140_000))];
        assert_eq!(too_long(&[], &env), "the variable `BIG` has 140004 bytes and the kernel takes 131071");
    }

    #[test]
    fn path_is_searched_in_order_and_a_path_is_not() {
        let env = ["PATH=/a:/b".to_owned()];
        assert_eq!(places("sh", &env), ["/a/sh", "/b/sh"]);
        assert_eq!(places("./sh", &env), ["./sh"]);
    }
}
