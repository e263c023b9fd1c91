use serde_json::json;

use super::*;

#[test]
fn is_secret_by_name() {
    let secret = [
        "DB_PASSWORD",
        "SMTP_PASS",
        "PGPASSFILE",
        "MYSQL_PWD",
        "client_secret",
        "GITHUB_TOKEN",
        "GOOGLE_API_KEY",
        "BASIC_AUTH",
        "AWS_CREDENTIALS",
        "jwt",
        "PASSWORD_SALT",
        "SENTRY_DSN",
        "traefik.http.middlewares.a.basicauth.users",
        "tls-key",
    ];
    assert!(secret.into_iter().all(is_secret), "{:?}", secret.map(is_secret));
    let plain = ["MODE", "PATH", "PWD", "DATABASE_URL", "LANG", "org.opencontainers.image.authors", "PORT"];
    assert!(!plain.into_iter().any(is_secret), "{:?}", plain.map(is_secret));
}

#[test]
fn variable_keeps_what_is_no_secret() {
    for (name, value, shown) in [
        ("DB_PASSWORD", "hunter2", MASK),
        ("DB_PASSWORD", "", ""),
        ("MODE", "fast", "fast"),
        ("DATABASE_URL", "postgres://u:hunter2@db/x", "postgres://u:********@db/x"),
        ("DATABASE_URL", "postgres://u:h/unter@2@db:5432/x", "postgres://u:********@db:5432/x"),
        ("URLS", "amqp://a:b@c,amqp://d:e@f", "amqp://a:********@c,amqp://d:********@f"),
        ("SITE", "http://localhost:80/a@b", "http://localhost:80/a@b"),
        ("REPO", "ssh://git@example.com/x", "ssh://git@example.com/x"),
        ("HOOK", "https://h/x?a=1&token=hunter2&b=2", "https://h/x?a=1&token=********&b=2"),
        ("CONNECTION", "Server=db;Password=hunter2;Port=1", "Server=db;Password=********;Port=1"),
    ] {
        assert_eq!(variable(name, value), shown, "{name}={value}");
    }
}

#[test]
fn words_after_options_are_masked() {
    for (words, shown) in [
        (&["redis-server", "--requirepass", "hunter2"][..], &["redis-server", "--requirepass", MASK][..]),
        (&["a", "--token=hunter2", "--port", "1"], &["a", "--token=********", "--port", "1"]),
        (&["a", "--password", "--verbose", "x"], &["a", "--password", "--verbose", "x"]),
        (&["a", "--no-auth", "x"], &["a", "--no-auth", "x"]),
        (&["env", "PGPASSWORD=hunter2", "psql"], &["env", "PGPASSWORD=********", "psql"]),
        (&["podman", "--env=API_KEY=hunter2", "x"], &["podman", "--env=API_KEY=********", "x"]),
        (&["--label=a=http://u:p@h"], &["--label=a=http://u:********@h"]),
        (
            &["sh", "-c", "PGPASSWORD='a b' psql  --password hunter2; x --key=k;"],
            &["sh", "-c", "PGPASSWORD=********' psql  --password ********; x --key=********;"],
        ),
        (&["sh", "-c", "exec sh -c \"a --secret hunter2\""], &["sh", "-c", "exec sh -c \"a --secret ********\""]),
        (&["curl", "-H", "Authorization: Bearer hunter2"], &["curl", "-H", "Authorization: ********"]),
        (&["sleep", "10 000"], &["sleep", "10 000"]),
    ] {
        assert_eq!(self::words(words), shown);
    }
}

#[test]
fn document_is_masked_at_every_depth() {
    let mut seen = json!({
        "Env": ["API_KEY=hunter2", "MODE=fast"],
        "env": { "SMTP_PASS": "hunter2", "MODE": "fast" },
        "command": ["redis-server", "--requirepass", "hunter2"],
        "labels": { "recipe": "{\"command\":[\"a\",\"--token\",\"hunter2\"]}" },
        "list": [{ "url": "redis://:hunter2@r" }, 1],
        "Tokens": 3,
    });
    document(&mut seen);
    let text = seen.to_string();
    assert!(!text.contains("hunter2"), "{text}");
    assert!(
        text.contains("MODE=fast") && text.contains("\"MODE\":\"fast\"") && text.contains("\"Tokens\":3"),
        "{text}"
    );
}

#[test]
fn field_of_a_path_is_masked_by_its_last_name() {
    for path in ["components.web.env.DB_PASSWORD", "env.DB_PASSWORD", "DB_PASSWORD", "labels.api.key"] {
        let mut value = json!("hunter2");
        field(path, &mut value);
        assert_eq!(value, json!(MASK), "{path}");
    }
    let mut value = json!({ "env": { "API_KEY": "hunter2" } });
    field("components.web", &mut value);
    assert_eq!(value, json!({ "env": { "API_KEY": MASK } }));
    let mut value = json!("web");
    field("components.keycloak.hostname", &mut value);
    assert_eq!(value, json!("web"));
}

#[test]
fn exceptions_win() {
    assert!(matches("*A*", "XAY") && matches("A*", "AB") && !matches("A*", "BA") && matches("*_PWD", "X_PWD"));
    assert!(!is_secret("Author") && is_secret("authorization"));
}

#[test]
fn nothing_is_lost_of_odd_texts() {
    for text in ["", " ", "=", "a=", "://", "x://:@", "é 漢 '", "\"", "a  b\n c", "--password"] {
        assert_eq!(self::text(text), text);
        assert_eq!(words(&[text]), [text]);
    }
}
