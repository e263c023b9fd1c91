#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use hythe_spec::{Secret, SecretFrom, SecretSource, mask, render};

use crate::support::{bad, component, good, memory, messages, one};

#[test]
fn secrets_short_form_is_a_file_everybody_reads_in_run_secrets() {
    let web = component("secrets = ['db_password']", &memory([]));
    let expected = Secret {
        target: "/run/secrets/db_password".to_owned(),
        source: "db_password".to_owned(),
        mode: 0o444,
        uid: None,
        gid: None,
        digest: None,
    };
    assert_eq!(web.secrets, [expected]);
}

#[test]
fn secrets_long_form_says_place_owner_and_mode() {
    let lines = "secrets = [{ source = 'db', target = 'pw', mode = '0400', uid = 1000, gid = '103' }, \
                 { source = 'key', target = '/etc/app/key' }]";
    let secrets = component(lines, &memory([])).secrets;
    assert_eq!((secrets[0].target.as_str(), secrets[0].mode), ("/etc/app/key", 0o444));
    assert_eq!((secrets[1].target.as_str(), secrets[1].mode), ("/run/secrets/pw", 0o400));
    assert_eq!((secrets[1].uid, secrets[1].gid), (Some(1000), Some(103)));
}

#[test]
fn secrets_that_cannot_be_are_errors() {
    for (lines, expected) in [
        ("secrets = ['a/b']", "components[0].secrets[0]: `a/b` is not a name of a secret"),
        ("secrets = ['a', 'a']", "components[0].secrets[1]: something else is mounted at `/run/secrets/a` already"),
        (
            "volumes = ['/srv:/run/secrets/a']\nsecrets = ['a']",
            "components[0].secrets[0]: something else is mounted at `/run/secrets/a` already",
        ),
        ("secrets = [{ source = 'a', mode = '4444' }]", "components[0].secrets[0]: `4444` is not a mode of a secret"),
        ("secrets = [{ source = 'a', uid = 'x' }]", "components[0].secrets[0]: `x` is not a user's or group's number"),
        ("secrets = [{ source = 'a', target = '../x' }]", "components[0].secrets[0]: `../x` is not a name of a secret"),
    ] {
        assert_eq!(messages(lines, &memory([])), [expected], "{lines}");
    }
}

#[test]
fn secrets_of_the_service_come_from_files_and_variables() {
    let text = format!(
        "{}\n[secrets.db]\nfile = 'db.txt'\n[secrets.key]\nenvironment = 'KEY'\n",
        one("secrets = ['db', 'key', 'other']")
    );
    let parsed = good(&text, &memory([]));
    let sources: Vec<&str> = parsed.service.components[0].secrets.iter().map(|secret| secret.source.as_str()).collect();
    assert_eq!(sources, ["shop.db", "shop.key", "other"]);
    let file = SecretSource { name: "shop.db".to_owned(), from: SecretFrom::File("/srv/shop/db.txt".to_owned()) };
    let variable = SecretSource { name: "shop.key".to_owned(), from: SecretFrom::Environment("KEY".to_owned()) };
    assert_eq!(parsed.secrets, [file, variable]);
    assert_eq!(parsed.service.components[0].secrets[0].target, "/run/secrets/db");
}

#[test]
fn secrets_written_as_a_file_read_back() {
    let lines = "secrets = [{ source = 'db', target = 'pw', mode = '0400', uid = 1000 }, 'key']";
    let service = good(&one(lines), &memory([])).service;
    assert_eq!(good(&render(&service, &[]), &memory([])).service, service);
}

#[test]
fn a_service_without_secrets_is_stored_as_before() {
    let web = component("", &memory([]));
    let text = serde_json::to_string(&web).unwrap();
    assert!(!text.contains("secrets"), "{text}");
    assert_eq!(serde_json::from_str::<hythe_spec::Component>(&text).unwrap(), web);
    assert_eq!(mask::masked(&web).unwrap(), web);
}

#[test]
fn secret_where_no_file_can_be_is_refused_with_a_place() {
    for target in
        ["/proc", "/proc/x", "/sys/x", "/dev", "/dev/null", "/dev/pts/x", "/dev/stdin", "/dev/shm", "/dev/mqueue"]
    {
        let error = bad(&one(&format!("secrets = [{{ source = 'a', target = '{target}' }}]")), &memory([]));
        let found = &error.diagnostics[0];
        assert!(found.message.contains("no secret can be at"), "{target}: {found:?}");
        assert!(found.hint.as_ref().is_some_and(|hint| hint.contains("/run/secrets")), "{target}: {found:?}");
    }
    for target in ["/dev/x", "/dev/shm/x", "/dev/mqueue/x", "/process", "/tmp/x"] {
        component(&format!("secrets = [{{ source = 'a', target = '{target}' }}]"), &memory([]));
    }
}
