use hythe_spec::ImageRef;
use serde_json::{Value, json};

use crate::support::{Difference, check, rows, text};

const SHA512: Difference = Difference {
    reason: "sha384 and sha512 digests are accepted",
    inputs: &[concat!(
        "validname@sha512:",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
    )],
};

fn ours(input: &str) -> Result<Value, String> {
    let image: ImageRef = input.parse().map_err(|error: hythe_spec::ParseError| error.to_string())?;
    Ok(json!({
        "domain": image.domain,
        "path": image.path,
        "name": image.repository(),
        "familiar_name": image.familiar_name(),
        "digest": image.digest,
        "tag_name_only": image.to_string(),
    }))
}

fn theirs(answer: &Value) -> Result<Value, String> {
    if answer["err"].is_string() {
        return Err(text(&answer["err"]));
    }
    let keys = ["domain", "path", "name", "familiar_name", "digest", "tag_name_only"];
    Ok(keys.into_iter().map(|key| (key.to_owned(), answer[key].clone())).collect::<serde_json::Map<_, _>>().into())
}

#[test]
fn image_references_are_read_as_distribution_reads_them() {
    let rows = rows("image_refs").into_iter().map(|row| {
        let input = text(&row["input"]);
        let ours = ours(&input);
        (input, ours, theirs(&row["normalized"]))
    });
    check(rows, &[SHA512]);
}
