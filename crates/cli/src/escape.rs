//! Text of others on its way to a terminal: control characters are shown, never obeyed.
//!
//! Workloads, images, registries and files choose names and messages. An escape sequence in one of them could set the clipboard
//! (OSC 52) or the title (OSC 0), and a carriage return or a bidirectional control could hide what was said before it.

use std::fmt::Write;

/// What passes besides printable characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allow {
    /// Nothing: the text is a part of a line.
    Nothing,
    /// Line feeds and tabs.
    Lines,
    /// Line feeds, tabs and SGR sequences, which set colours: the text is styled by this program.
    Styles,
}

/// No SGR sequence in use is longer.
const LONGEST_SGR: usize = 64;

/// The text with every control character written out: `\x1b`, `\r`, `\u{9b}`, `\u{202e}`.
pub(crate) fn escape(text: &str, allow: Allow) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let length = match sgr(rest.as_bytes()) {
            Some(length) if allow == Allow::Styles => {
                shown.push_str(&rest[..length]);
                length
            }
            _ => {
                write_character(&mut shown, character, allow);
                character.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    shown
}

fn write_character(shown: &mut String, character: char, allow: Allow) {
    // Writing to a string cannot fail.
    let _ = match character {
        '\n' | '\t' if allow != Allow::Nothing => shown.write_char(character),
        '\n' => shown.write_str("\\n"),
        '\t' => shown.write_str("\\t"),
        '\r' => shown.write_str("\\r"),
        _ if character.is_ascii_control() => write!(shown, "\\x{:02x}", u32::from(character)),
        _ if is_control(character) => write!(shown, "\\u{{{:x}}}", u32::from(character)),
        _ => shown.write_char(character),
    };
}

/// Control characters, those that reorder text (UAX 9), and the two separators that some terminals take for line feeds.
fn is_control(character: char) -> bool {
    let reorders =
        matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || reorders || matches!(character, '\u{2028}' | '\u{2029}')
}

/// The length of the SGR sequence at the beginning: `ESC [`, digits with `;` or `:`, `m`.
fn sgr(bytes: &[u8]) -> Option<usize> {
    let parameters = bytes.strip_prefix(b"\x1b[")?;
    let length = parameters.iter().take(LONGEST_SGR).position(|byte| !matches!(byte, b'0'..=b'9' | b';' | b':'))?;
    (parameters[length] == b'm').then_some(length + 3)
}

/// A JSON text in which no control character is left: all of them stand in strings, where they can be escaped.
pub(crate) fn json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        // What serde_json leaves: DEL, C1 and what reorders text. It has escaped C0, and its own line feeds stay.
        let _ = match u32::from(character) {
            code if is_control(character) && character != '\n' => write!(shown, "\\u{code:04x}"),
            _ => shown.write_char(character),
        };
    }
    shown
}

/// A line of a log for a terminal: colours stay where they are wanted, and end with the line.
pub(crate) fn log_line(bytes: &[u8], color: bool) -> Vec<u8> {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        shown.push_str(&escape(chunk.valid(), Allow::Styles));
        for byte in chunk.invalid() {
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    // A line feed ends the line already, and a terminal shows a tab.
    let shown = if color { shown } else { without_sgr(&shown) };
    let styled = shown.contains("\x1b[");
    let mut line = shown.into_bytes();
    if styled {
        line.extend_from_slice(b"\x1b[0m");
    }
    line
}

fn without_sgr(text: &str) -> String {
    let (mut plain, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find("\x1b[") {
        plain.push_str(&rest[..at]);
        rest = &rest[at + sgr(&rest.as_bytes()[at..]).unwrap_or(2)..];
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    /// OSC 52, OSC 0, a cursor movement, C1, a carriage return, a bidirectional control.
    const HOSTILE: &str = "a\x1b]52;c;ZWNobyBoaQ==\x07b\x1b]0;title\x1b\\c\x1b[2Jd\u{9b}31me\rf\u{202e}g\x7f\u{2028}";

    #[test]
    fn escape_of_hostile_text_leaves_no_control_character() {
        let expected =
            "a\\x1b]52;c;ZWNobyBoaQ==\\x07b\\x1b]0;title\\x1b\\c\\x1b[2Jd\\u{9b}31me\\rf\\u{202e}g\\x7f\\u{2028}";
        for allow in [Allow::Nothing, Allow::Lines, Allow::Styles] {
            assert_eq!(escape(HOSTILE, allow), expected, "{allow:?}");
        }
    }

    #[test]
    fn escape_allows_what_it_says() {
        let text = "é 漢 🚢\n\t\x1b[1;31mred\x1b[0m";
        assert_eq!(escape(text, Allow::Nothing), "é 漢 🚢\\n\\t\\x1b[1;31mred\\x1b[0m");
        assert_eq!(escape(text, Allow::Lines), "é 漢 🚢\n\t\\x1b[1;31mred\\x1b[0m");
        assert_eq!(escape(text, Allow::Styles), text);
        let not_sgr = ["\x1b[", "\x1b[3", "\x1b[?25l", "\x1b[31;1H", &format!("\x1b[{}m", "1".repeat(99))];
        assert!(not_sgr.iter().all(|text| !escape(text, Allow::Styles).contains('\x1b')));
    }

    #[test]
    fn json_stays_the_same_document_without_control_characters() {
        let document = serde_json::json!({ "message": HOSTILE });
        let text = json(&serde_json::to_string_pretty(&document).unwrap());
        assert!(!text.chars().any(|character| is_control(character) && character != '\n'), "{text:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), document);
    }

    #[test]
    fn log_line_keeps_colours_which_end_with_it() {
        assert_eq!(log_line(b"\x1b[32mok\x1b]0;x\x07", true), b"\x1b[32mok\\x1b]0;x\\x07\x1b[0m");
        assert_eq!(log_line(b"\x1b[32mok\x1b[0m \xff\x9b", false), b"ok \\xff\\x9b");
        assert_eq!(log_line("plain\t漢".as_bytes(), true), "plain\t漢".as_bytes());
    }
}
