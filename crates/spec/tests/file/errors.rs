use crate::support::{Memory, bad, memory};

#[test]
fn every_error_of_a_file_is_shown_at_its_place() {
    let error = bad(include_str!("bad.toml"), &Memory::default());
    insta::assert_snapshot!("bad", error.render(false));
}

#[test]
fn every_error_is_there_for_programs() {
    let error = bad(include_str!("bad.toml"), &Memory::default());
    insta::assert_json_snapshot!("bad_json", error);
}

#[test]
fn all_syntax_errors_are_shown() {
    let error = bad("name = \"shop\nlabels = { a = }\n[[components]\nname = 'x'\n", &memory([]));
    insta::assert_snapshot!("syntax", error.render(false));
}

#[test]
fn an_empty_file_says_what_is_missing() {
    insta::assert_snapshot!("empty", bad("", &memory([])).render(false));
}
