#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use super::observed::entrypoint;
use super::{Container, Row};

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn an_inspected_container() {
    let containers: Vec<Container> = serde_json::from_str(include_str!("../../tests/data/inspect.json")).unwrap();
    let observed: Vec<_> = containers
        .into_iter()
        .map(|container| {
            let exit = container.exit();
            container.observed(exit)
        })
        .collect();
    insta::assert_json_snapshot!(observed);
}

#[test]
fn listed_containers() {
    let rows: Vec<Row> = serde_json::from_str(include_str!("../../tests/data/ps.json")).unwrap();
    insta::assert_json_snapshot!(rows.into_iter().map(Row::listed).collect::<Vec<_>>());
}

#[test]
fn the_entrypoint_keeps_its_words_apart() {
    let command = words(&["c d", "e"]);
    let args = words(&["--", "echo", "a b", "c d", "e"]);
    assert_eq!(entrypoint("/run/podman-init".to_owned(), args, &command), words(&["echo", "a b"]));
    assert_eq!(entrypoint("sh".to_owned(), words(&["-c"]), &words(&["sh", "-c"])), words(&[]));
}
