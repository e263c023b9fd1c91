use std::collections::BTreeMap;

use hythe_spec::env_file;
use serde_json::Value;

use crate::support::{Difference, check, rows_of, text};

const EMPTY_NAME: Difference = Difference { reason: "An empty variable name is refused", inputs: &["=\"value\""] };

fn lookup(row: &Value, name: &str) -> Option<String> {
    row["in"]["lookups"][name].as_str().map(str::to_owned)
}

#[test]
fn dotenv_files_are_read_as_compose_reads_them() {
    let rows = rows_of("env_file_dotenv", "dotenv").into_iter().map(|row| {
        let content = text(&row["in"]["content"]);
        let ours = env_file::dotenv(&content, &|name| lookup(&row, name))
            .map(|entries| entries.into_iter().collect::<BTreeMap<_, _>>())
            .map_err(|error| error.to_string());
        let theirs = match row["out"].as_object() {
            Some(out) => Ok(out.iter().map(|(name, value)| (name.clone(), text(value))).collect()),
            None => Err(text(&row["err"])),
        };
        (content, ours, theirs)
    });
    check(rows, &[EMPTY_NAME]);
}

#[test]
fn plain_files_are_read_as_docker_reads_them() {
    // The row whose bytes are no UTF-8 has no text: such a file is refused when it is read.
    let rows =
        rows_of("env_file_docker", "kvfile").into_iter().filter(|row| row["in"]["content"].is_string()).map(|row| {
            let content = text(&row["in"]["content"]);
            let ours = env_file::plain(&content, &|name| lookup(&row, name))
                .map(|entries| entries.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>())
                .map_err(|error| error.to_string());
            let theirs = match row["out"].as_array() {
                Some(out) => Ok(out.iter().map(text).collect()),
                None => Err(text(&row["err"])),
            };
            (content, ours, theirs)
        });
    check(rows, &[]);
}
