use serde_json::Value;

/// Inputs that are read differently on purpose, with the reason as it stands in the documentation.
pub(crate) struct Difference {
    pub(crate) reason: &'static str,
    pub(crate) inputs: &'static [&'static str],
}

/// An input, our answer, theirs.
pub(crate) type Row<T> = (String, Result<T, String>, Result<T, String>);

pub(crate) fn rows(name: &str) -> Vec<Value> {
    let path = format!("{}/tests/data/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let file: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert!(file["meta"]["source"].is_string(), "{path} names its source");
    file["vectors"].as_array().cloned().unwrap_or_default()
}

pub(crate) fn rows_of(name: &str, function: &str) -> Vec<Value> {
    let rows: Vec<Value> = rows(name).into_iter().filter(|row| row["fn"] == function).collect();
    assert!(!rows.is_empty(), "{name} has rows of {function}");
    rows
}

/// The input of a row as text; numbers as they would be written.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Compares all rows and reports every unexpected one at once, as well as a listed difference that is none.
pub(crate) fn check<T: PartialEq + std::fmt::Debug>(
    rows: impl IntoIterator<Item = Row<T>>,
    differences: &[Difference],
) {
    let mut wrong = Vec::new();
    let listed = |input: &str| differences.iter().any(|difference| difference.inputs.contains(&input));
    for (input, ours, theirs) in rows {
        let equal = match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) => ours == theirs,
            (Err(_), Err(_)) => true,
            _ => false,
        };
        if equal == listed(&input) {
            wrong.push(format!("{input:?}\n    ours   {ours:?}\n    theirs {theirs:?}\n    listed {}", listed(&input)));
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
    documented(differences);
}

fn documented(differences: &[Difference]) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/parsing.md");
    let page = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    for Difference { reason, .. } in differences {
        assert!(page.contains(reason), "docs/reference/parsing.md does not say: {reason}");
    }
}
