//! One line of comma separated fields with Go's quoting: `a,"b,c""d"`.

use crate::ParseError;

/// The fields of the line.
pub(super) fn fields(line: &str) -> Result<Vec<String>, ParseError> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, tail) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => bare_field(rest)?,
        };
        fields.push(field);
        match tail.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok(fields),
        }
    }
}

fn bare_field(text: &str) -> Result<(String, &str), ParseError> {
    let (field, tail) = text.split_at(text.find(',').unwrap_or(text.len()));
    if field.contains('"') {
        return Err(ParseError::new("a quote stands inside an unquoted field"));
    }
    Ok((field.to_owned(), tail))
}

fn quoted_field(text: &str) -> Result<(String, &str), ParseError> {
    let mut field = String::new();
    let mut rest = text;
    while let Some((part, tail)) = rest.split_once('"') {
        field.push_str(part);
        match tail.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None if tail.is_empty() || tail.starts_with(',') => return Ok((field, tail)),
            None => return Err(ParseError::new("text follows a quoted field")),
        }
    }
    Err(ParseError::new("a quoted field is not closed"))
}
