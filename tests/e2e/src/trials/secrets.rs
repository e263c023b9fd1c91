//! Secrets: what is masked, and what is never anywhere but in a file of the workload.

use std::path::PathBuf;

use crate::files::{one, stays};
use crate::fixture::Fixture;
use crate::program::Ran;
use crate::trial::trials;
use crate::wait;

trials!("secrets":
    values_that_look_secret_are_masked_everywhere Every,
    deploy_of_a_masked_service_is_refused Every,
    a_secret_is_read_by_the_workload_and_reported_nowhere Every,
    deploy_after_a_new_value_makes_a_new_instance Every,
    deploy_with_a_missing_secret_stops_nothing Every,
    deploy_reads_secrets_of_files_and_variables Every,
    start_after_a_reboot_has_the_secret_again Every,
    log_at_its_finest_reports_no_value Every,
);

const OLD: &str = "zq-old-hunter";
const NEW: &str = "zq-new-hunter";

fn variables(value: &str) -> String {
    format!(
        "env = {{ DB_PASSWORD = '{value}', SMTP_PASS = '{value}', DATABASE_URL = 'postgres://u:{value}@db/x', MODE = 'plain' }}\n\
         labels = {{ 'api.token' = '{value}' }}"
    )
}

fn values_that_look_secret_are_masked_everywhere(fixture: &mut Fixture<'_>) {
    fixture.deploy(&one(&fixture.service, &stays("up"), &variables(OLD))).ok();
    let next = fixture.file(&one(&fixture.service, &stays("up"), &variables(NEW)));
    let service = fixture.service.clone();
    let words: [&[&str]; 8] = [
        &["deploy", "--dry-run", &next],
        &["deploy", "--dry-run", &next, "--json"],
        &["sync", "--dry-run", &next],
        &["explain", &next],
        &["explain", &next, "--json"],
        &["inspect", &service],
        &["status", &service, "--json"],
        &["instances", "--json"],
    ];
    for words in words {
        let ran = fixture.hythe(words).ok();
        assert!(!ran.out.contains("hunter") && !ran.err.contains("hunter"), "{words:?} shows a secret:\n{}", ran.out);
    }
    let dry = fixture.hythe(&["deploy", "--dry-run", &next]).ok().out;
    assert!(dry.contains("DB_PASSWORD") && dry.contains("DATABASE_URL"), "that they differ is shown:\n{dry}");
    for words in [&["deploy", "--dry-run", &next][..], &["explain", &next], &["inspect", &service]] {
        let shown = fixture.hythe(&[words, &["--show-secrets"]].concat()).ok().out;
        assert!(shown.contains("hunter"), "{words:?} with --show-secrets:\n{shown}");
    }
    let events = fixture.events();
    assert!(!format!("{events:?}").contains("hunter"), "{events:#?}");
    // By its name the service is deployed with its real values.
    fixture.hythe(&["deploy", "--wait", "--force", &service]).ok();
    let seen = fixture.hythe(&["inspect", &service, "--show-secrets"]).ok().json();
    assert_eq!(seen["desired"]["env"]["DB_PASSWORD"], OLD);
}

fn deploy_of_a_masked_service_is_refused(fixture: &mut Fixture<'_>) {
    let file = fixture.file(&one(&fixture.service, &stays("up"), "env = { DB_PASSWORD = '********' }"));
    let ran = fixture.hythe(&["deploy", &file]).ends_with(2);
    assert!(ran.err.contains("the mask"), "{}", ran.err);
}

fn set(fixture: &Fixture<'_>, name: &str, value: &str) {
    Ran::fed(&mut fixture.agent.command(&["secret", "set", name]), value.as_bytes()).ok();
}

/// Says what the secret is and stays.
fn reads(fixture: &Fixture<'_>, keys: &str) -> String {
    one(&fixture.service, &stays("begun; cat /run/secrets/pw; echo"), keys)
}

/// Where instances of the trial's agent get their secrets from.
fn directory(fixture: &Fixture<'_>) -> PathBuf {
    let label = fixture.agent.owner_label();
    let owner = label.rsplit('=').next().unwrap_or_default().to_owned();
    let user =
        std::fs::metadata(fixture.agent.path("")).map(|meta| std::os::unix::fs::MetadataExt::uid(&meta)).unwrap();
    let places = ["/run", "/dev/shm"].map(|place| PathBuf::from(format!("{place}/hythe-secrets-{user}/{owner}")));
    places.iter().find(|place| place.is_dir()).unwrap_or(&places[1]).clone()
}

fn instances_with_secrets(fixture: &Fixture<'_>) -> usize {
    std::fs::read_dir(directory(fixture)).map_or(0, Iterator::count)
}

fn says(fixture: &Fixture<'_>, text: &str) {
    wait::until(
        "it says the secret",
        || fixture.hythe(&["logs", &fixture.service]).ok().out,
        |said| said.contains(text),
    );
}

fn a_secret_is_read_by_the_workload_and_reported_nowhere(fixture: &mut Fixture<'_>) {
    set(fixture, "pw", OLD);
    fixture.deploy(&reads(fixture, "secrets = ['pw']")).ok();
    says(fixture, OLD);
    assert_eq!(instances_with_secrets(fixture), 1);
    let service = fixture.service.clone();
    for words in
        [&["inspect", &service, "--show-secrets"][..], &["explain", &service, "--show-secrets"], &["status", "--json"]]
    {
        let ran = fixture.hythe(words).ok();
        assert!(!ran.out.contains(OLD), "{words:?}:\n{}", ran.out);
    }
    assert!(!format!("{:?}", fixture.events()).contains(OLD));
    let listed = fixture.hythe(&["secret", "list", "--json"]).ok();
    assert_eq!(listed.json()[0]["workloads"][0], service);
    assert!(!listed.out.contains(OLD) && !fixture.hythe(&["secret", "inspect", "pw"]).ok().out.contains(OLD));
    assert_eq!(fixture.hythe(&["secret", "inspect", "pw", "--show"]).ok().out, OLD);
    assert_eq!(fixture.differences(), Vec::<serde_json::Value>::new());
    let used = fixture.hythe(&["secret", "remove", "pw"]).ends_with(4);
    assert!(used.err.contains(&service), "{}", used.err);
    // It outlives the agent, and goes with the instance.
    fixture.agent.kill();
    fixture.agent.start_again();
    fixture.hythe(&["restart", &service]).ok();
    says(fixture, OLD);
    fixture.hythe(&["undeploy", &service]).ok();
    assert!(!directory(fixture).exists(), "nothing of the agent is left in memory");
    fixture.hythe(&["secret", "remove", "pw"]).ok();
    fixture.hythe(&["secret", "inspect", "pw"]).ends_with(3);
}

fn deploy_after_a_new_value_makes_a_new_instance(fixture: &mut Fixture<'_>) {
    set(fixture, "pw", OLD);
    let text = reads(fixture, "secrets = ['pw']");
    fixture.deploy(&text).ok();
    let before = fixture.it()["generation"].clone();
    set(fixture, "pw", OLD);
    fixture.deploy(&text).ok();
    assert_eq!(fixture.it()["generation"], before, "the same value is no change");
    set(fixture, "pw", NEW);
    assert_eq!(fixture.it()["generation"], before, "nothing happens before the deploy");
    fixture.deploy(&text).ok();
    assert_ne!(fixture.it()["generation"], before);
    says(fixture, NEW);
    assert_eq!(instances_with_secrets(fixture), 1, "those of the old instance are gone");
}

fn deploy_with_a_missing_secret_stops_nothing(fixture: &mut Fixture<'_>) {
    fixture.deploy(&one(&fixture.service, &stays("up"), "")).ok();
    let before = fixture.ids();
    let ran = fixture.deploy(&reads(fixture, "secrets = ['pw']")).ends_with(3);
    assert!(ran.err.contains("`pw`") && ran.err.contains("hythe secret set pw"), "{}", ran.err);
    let dry = fixture.hythe(&["deploy", "--dry-run", &fixture.file(&reads(fixture, "secrets = ['pw']"))]).ends_with(3);
    assert_eq!(dry.err, ran.err, "a dry run says the same");
    assert_eq!(fixture.ids(), before);
    fixture.await_state("running");
}

fn deploy_reads_secrets_of_files_and_variables(fixture: &mut Fixture<'_>) {
    std::fs::write(fixture.agent.path("pw.txt"), OLD).unwrap();
    let script = stays("begun; cat /run/secrets/pw /run/secrets/key; echo");
    let text = format!(
        "{}\n[secrets.pw]\nfile = 'pw.txt'\n[secrets.key]\nenvironment = 'ZQ_KEY'\n",
        one(&fixture.service, &script, "secrets = ['pw', 'key']")
    );
    let file = fixture.file(&text);
    let missing = fixture.hythe(&["deploy", &file]).ends_with(2);
    assert!(missing.err.contains("`ZQ_KEY`"), "{}", missing.err);
    let mut command = fixture.agent.command(&["deploy", "--wait", &file]);
    command.env("ZQ_KEY", "-of-a-variable");
    Ran::fed(&mut command, b"").ok();
    says(fixture, &format!("{OLD}-of-a-variable"));
}

fn start_after_a_reboot_has_the_secret_again(fixture: &mut Fixture<'_>) {
    set(fixture, "pw", OLD);
    fixture.deploy(&reads(fixture, "secrets = ['pw']")).ok();
    says(fixture, OLD);
    fixture.hythe(&["stop", &fixture.service]).ok();
    // What a reboot leaves of a file system in memory.
    std::fs::remove_dir_all(directory(fixture)).unwrap();
    fixture.hythe(&["start", &fixture.service]).ok();
    fixture.await_state("running");
    let seen = fixture.hythe(&["exec", &fixture.service, "cat", "/run/secrets/pw"]).ok();
    assert_eq!(seen.out, OLD);
}

/// Of variables, secrets and credentials; the names of things are the proof that it would be told.
fn log_at_its_finest_reports_no_value(fixture: &mut Fixture<'_>) {
    let login = "eDp6cS1vbGQtaHVudGVy";
    let auth = format!("{{\"auths\": {{\"127.0.0.1:1\": {{\"auth\": \"{login}\"}}}}}}");
    std::fs::write(fixture.agent.path("auth.json"), auth).unwrap();
    let path = fixture.agent.path("auth.json").display().to_string();
    fixture.agent.set("REGISTRY_AUTH_FILE", path);
    fixture.agent.set("HYTHE_LOG", "trace");
    fixture.agent.restart();
    set(fixture, "pw", OLD);
    let keys = format!("{}\nsecrets = ['pw']", variables(OLD).replace("'plain'", &format!("'{OLD}'")));
    fixture.deploy(&reads(fixture, &keys)).ok();
    says(fixture, OLD);
    let service = fixture.service.clone();
    fixture.hythe(&["exec", "-e", &format!("WORD={OLD}"), &service, "cat", "/run/secrets/pw"]).ok();
    fixture.hythe(&["inspect", &service, "--show-secrets"]).ok();
    fixture.hythe(&["explain", &service, "--show-secrets"]).ok();
    let absent = one(&service, &stays("up"), &keys).replace("image = '", "image = '127.0.0.1:1/");
    fixture.hythe(&["deploy", "--wait", "--no-build", &fixture.file(&absent)]);
    fixture.hythe(&["undeploy", &service]).ok();
    fixture.agent.stop();
    let log = std::fs::read_to_string(fixture.agent.path("agent.log")).unwrap();
    assert!(log.contains(&service) && log.contains("DEBUG"), "it tells nothing:\n{log}");
    let told: Vec<_> = log.lines().filter(|line| line.contains("hunter") || line.contains(login)).collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
    fixture.agent.start_again();
}
