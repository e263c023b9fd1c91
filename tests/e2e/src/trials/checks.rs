//! Health checks that are hard to end, and programs that end again and again.

use crate::files::{one, stays};
use crate::fixture::Fixture;
use crate::trial::trials;
use crate::wait;

trials!("checks":
    check_that_leaves_a_child_behind_is_healthy Real,
    checks_beyond_their_timeout_do_not_pile_up Real,
    program_that_fails_is_started_as_often_as_asked Real,
    command_with_words_of_a_shell_is_refused_with_the_way_to_write_it Memory,
    dry_run_of_changed_secrets_shows_none Memory,
);

fn check_that_leaves_a_child_behind_is_healthy(fixture: &mut Fixture<'_>) {
    let health = "exec = ['sh', '-c', '(sleep 60 &) ; exit 0'], interval = '500ms', timeout = '3s', retries = 3";
    let keys = format!("init = true\nhealth = {{ {health} }}");
    fixture.deploy(&one(&fixture.service, &stays("up"), &keys)).ok().says(&["healthy"]);
    assert_eq!(fixture.it()["health"], "healthy");
}

fn checks_beyond_their_timeout_do_not_pile_up(fixture: &mut Fixture<'_>) {
    let keys = "init = true\nhealth = { exec = ['sleep', '1234'], interval = '200ms', timeout = '300ms', retries = 2 }";
    fixture.hythe(&["deploy", "--detach", &fixture.file(&one(&fixture.service, &stays("up"), keys))]).ok();
    wait::until("it is unhealthy", || fixture.it(), |it| it["health"] == "unhealthy");
    let count = || {
        let script = "ps -o args | grep -c '^sleep 1234'";
        fixture.hythe(&["exec", &fixture.service, "sh", "-c", script]).out.trim().parse::<u32>().unwrap_or(u32::MAX)
    };
    // The newest one may be on its way.
    wait::until("those before are ended", count, |count| *count <= 1);
}

fn program_that_fails_is_started_as_often_as_asked(fixture: &mut Fixture<'_>) {
    let keys = "restart = 'on-failure:1'";
    fixture.hythe(&["deploy", "--detach", &fixture.file(&one(&fixture.service, "exit 5", keys))]).ok();
    let it = fixture.await_state("failed");
    assert_eq!(it["restarts"], 1, "{it:#}");
}

fn command_with_words_of_a_shell_is_refused_with_the_way_to_write_it(fixture: &mut Fixture<'_>) {
    let text = one(&fixture.service, "true", "");
    let shell = "command = \"echo $HOME && sleep 100\"";
    let lines = text.lines().map(|line| if line.starts_with("command") { shell } else { line });
    let text: Vec<&str> = lines.collect();
    fixture.deploy(&text.join("\n")).ends_with(2).says(&["no shell reads", "&&", "sh"]);
}

fn dry_run_of_changed_secrets_shows_none(fixture: &mut Fixture<'_>) {
    let keys = |word: &str| {
        format!(
            "env = {{ DB_PASSWORD = 'p-{word}', SMTP_PASS = 's-{word}', DATABASE_URL = 'postgres://u:u-{word}@db/x' }}"
        )
    };
    let service = |word: &str| one(&fixture.service, &stays("up"), &keys(word));
    fixture.deploy(&service("before")).ok();
    let file = fixture.file(&service("after"));
    let shown = [
        fixture.hythe(&["deploy", "--dry-run", &file]).ok(),
        fixture.hythe(&["explain", &file]).ok(),
        fixture.hythe(&["inspect", &fixture.service]).ok(),
    ];
    for ran in &shown {
        assert!(!ran.out.contains("-before") && !ran.out.contains("-after"), "a secret is shown: {ran:?}");
        assert!(!ran.err.contains("-before") && !ran.err.contains("-after"), "a secret is told: {ran:?}");
    }
    assert!(shown[0].out.contains("DB_PASSWORD"), "{:?}", shown[0]);
}
