use hythe_spec::{ByteSize, Millicores, Millis, Restart, Ulimit};
use serde_json::{Value, json};

use crate::support::{Difference, Row, check, rows_of, text};

const DECIMAL: &[&str] = &["32K", "32Kb", "32Gb", "32Pb", "32.5 kB", "0.3 K"];
const DECIMAL_UNITS: Difference = Difference { reason: "A size unit is a power of 1024 everywhere", inputs: DECIMAL };
const NEGATIVE: Difference = Difference { reason: "A negative size is refused", inputs: &["-1"] };
const UNKNOWN_POLICY: Difference =
    Difference { reason: "An unknown restart policy is refused", inputs: &["negative:-123"] };

fn compare(file: &str, function: &str, ours: impl Fn(&str) -> Result<Value, String>) -> Vec<Row<Value>> {
    rows_of(file, function)
        .into_iter()
        .map(|row| {
            let input = text(&row["in"]);
            let theirs = if row["err"].is_string() { Err(text(&row["err"])) } else { Ok(row["out"].clone()) };
            let ours = ours(&input);
            (input, ours, theirs)
        })
        .collect()
}

fn size(text: &str) -> Result<Value, String> {
    text.parse::<ByteSize>().map(|size| json!(size)).map_err(|error| error.to_string())
}

fn nanoseconds(text: &str) -> Result<Value, String> {
    text.parse::<Millis>().map(|time| json!(time.0 * 1_000_000)).map_err(|error| error.to_string())
}

#[test]
fn sizes() {
    check(compare("sizes_durations_ulimits", "RAMInBytes", size), &[]);
    check(compare("sizes_durations_ulimits", "FromHumanSize", size), &[DECIMAL_UNITS]);
    check(compare("sizes_cpus_restart", "MemBytes", size), &[]);
    check(compare("sizes_cpus_restart", "MemSwapBytes", size), &[NEGATIVE]);
    check(compare("bytes_durations_cpus", "UnitBytes", size), &[NEGATIVE]);
}

#[test]
fn durations() {
    check(compare("bytes_durations_cpus", "Duration_ns", nanoseconds), &[]);
    check(compare("sizes_cpus_restart", "DurationOpt_ns", nanoseconds), &[]);
    check(compare("sizes_cpus_restart", "PositiveDurationOpt_ns", nanoseconds), &[]);
}

#[test]
fn cores() {
    let nanocores =
        |text: &str| text.parse::<Millicores>().map(|cpus| json!(cpus.0 * 1_000_000)).map_err(|e| e.to_string());
    check(compare("sizes_cpus_restart", "ParseCPUs", nanocores), &[]);
}

#[test]
fn ulimits() {
    let ours = |text: &str| {
        let (name, value) = text.split_once('=').ok_or("no value")?;
        Ulimit::parse(name, value)
            .map(|limit| json!({ "Name": limit.name, "Hard": limit.hard, "Soft": limit.soft }))
            .map_err(|error| error.to_string())
    };
    check(compare("sizes_durations_ulimits", "ParseUlimit", ours), &[]);
    let rows = compare("sizes_cpus_restart", "UlimitOpt", ours).into_iter().map(|(input, ours, theirs)| {
        // The recorded list also holds what the test had set before.
        (input, ours, theirs.map(|list| list[0].clone()))
    });
    check(rows, &[]);
}

#[test]
fn restart_policies() {
    let ours = |text: &str| text.parse::<Restart>().map(|policy| json!(policy)).map_err(|error| error.to_string());
    check(compare("sizes_cpus_restart", "ParseRestartPolicy", ours), &[UNKNOWN_POLICY]);
}
