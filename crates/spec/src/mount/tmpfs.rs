//! Temporary memory: `/path[:size=64m,mode=1777]`.

use super::paths;
use crate::{Mount, MountSource, ParseError};

const FORM: &str = "write `/path`, or `/path:size=64m,mode=1777`";

impl Mount {
    /// Reads docker's `--tmpfs` form. `nosuid`, `nodev` and `noexec` hold anyway.
    ///
    /// # Errors
    /// A relative path, an unknown option, a size or mode that is none.
    pub fn parse_tmpfs(text: &str) -> Result<Self, ParseError> {
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        let (mut size, mut mode, mut read_only) = (None, None, false);
        for option in options.split(',').filter(|_| !options.is_empty()) {
            match option.split_once('=').unwrap_or((option, "")) {
                ("size", value) => size = Some(value.parse()?),
                ("mode", value) => mode = Some(parse_mode(value)?),
                ("rw", "") => read_only = false,
                ("ro", "") => read_only = true,
                ("nosuid" | "nodev" | "noexec", "") => {}
                _ => {
                    return Err(ParseError::new(format!("unknown tmpfs option `{option}`")).hint(FORM));
                }
            }
        }
        Ok(Self { target: paths::target(target)?, source: MountSource::Tmpfs { size, mode }, read_only })
    }
}

/// Permission bits in octal.
pub(crate) fn parse_mode(text: &str) -> Result<u32, ParseError> {
    let octal = !text.is_empty() && text.len() <= 5 && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    match u32::from_str_radix(text, 8) {
        Ok(mode @ 0..=0o7777) if octal => Ok(mode),
        _ => Err(ParseError::new(format!("`{text}` is not a file mode")).hint("write octal digits: `1777`, `0700`")),
    }
}
