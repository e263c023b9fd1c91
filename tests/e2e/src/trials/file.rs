//! Service files with faults: everything is said at once, nobody is asked.

use crate::files::one;
use crate::fixture::Fixture;
use crate::home::Home;
use crate::program::Ran;
use crate::trial::trials;

trials!("file":
    all_faults_are_said_and_no_agent_is_started Memory,
    a_file_that_is_not_there_is_wrong_use Memory,
    a_valid_file_needs_no_agent_to_be_validated Memory,
);

const FAULTY: &str = "\
name = \"shop\"
[[components]]
name = \"Web\"
image = \"UPPER CASE\"
prots = [\"80\"]
[[components]]
name = \"db\"
image = \"db:1\"
memory = \"64q\"
depends_on = [\"cache\"]
";

fn all_faults_are_said_and_no_agent_is_started(_: &mut Fixture<'_>) {
    let home = Home::new("");
    std::fs::write(home.path("shop.toml"), FAULTY).unwrap();
    for verb in ["deploy", "explain", "validate", "build"] {
        let refused = Ran::of(&mut home.command(&[verb, "shop.toml"])).ends_with(2);
        refused.says(&["Web", "UPPER CASE", "prots", "ports", "64q", "cache", "shop.toml"]);
    }
    assert!(!home.path("state").exists() && !home.path("run/hythe").exists(), "an agent was started for a faulty file");
}

fn a_file_that_is_not_there_is_wrong_use(_: &mut Fixture<'_>) {
    let home = Home::new("");
    Ran::of(&mut home.command(&["deploy", "./shop.toml"])).ends_with(2).says(&["shop.toml", "No such file"]);
    assert!(!home.path("state").exists(), "an agent was started for no file");
}

fn a_valid_file_needs_no_agent_to_be_validated(fixture: &mut Fixture<'_>) {
    let home = Home::new("");
    std::fs::write(home.path("hythe.toml"), one(&fixture.service, "true", "")).unwrap();
    Ran::of(&mut home.command(&["validate", "."])).ok().says(&["is valid"]);
    let normal = Ran::of(&mut home.command(&["validate", ".", "--json"])).ok().json();
    assert_eq!(normal["components"][0]["image"], "localhost/hythe-test:1");
    assert!(!home.path("state").exists(), "an agent was started to validate a file");
}
