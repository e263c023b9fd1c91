//! Which credential is found where.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use hythe_oci::auth::{self, Credential, Files};
use hythe_oci::{Error, Kind};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

fn files(root: &Path, set: &[&str]) -> Files {
    let place = |name: &str| root.join(name).to_str().map(str::to_owned);
    let set: Vec<String> = set.iter().map(|name| (*name).to_owned()).collect();
    Files::from_env(&move |name| match name {
        "XDG_RUNTIME_DIR" => place("runtime"),
        "HOME" => place("home"),
        "PATH" => Some(format!("{}:{}", root.join("bin").display(), std::env::var("PATH").unwrap())),
        other => set.iter().any(|name| name == other).then(|| place(other)).flatten(),
    })
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// An entry for user `name`, password `secret`, where `name` is one of those encoded here.
fn entry(key: &str, name: &str) -> String {
    let auth = match name {
        "one" => "b25lOnNlY3JldA==",
        "two" => "dHdvOnNlY3JldA==",
        other => unreachable!("{other}"),
    };
    format!(r#""{key}":{{"auth":"{auth}"}}"#)
}

fn auths(entries: &[String]) -> String {
    format!(r#"{{"auths":{{{}}}}}"#, entries.join(","))
}

async fn find(files: &Files, image: &str) -> Result<Option<Credential>, Error> {
    files.find(&image.parse().unwrap()).await
}

async fn user(files: &Files, image: &str) -> Option<String> {
    find(files, image).await.unwrap().map(|credential| match credential {
        Credential::Password { username, password } => {
            assert_eq!(password, "secret");
            username
        }
        Credential::Token(token) => format!("token {token}"),
    })
}

#[tokio::test]
async fn files_are_tried_in_the_order_of_the_tools() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let only = |name| auths(&[entry("r.test", name)]);
    let all = files(root, &["XDG_CONFIG_HOME", "DOCKER_CONFIG"]);
    assert_eq!(user(&all, "r.test/a").await, None);
    write(root, "DOCKER_CONFIG/config.json", &only("one"));
    assert_eq!(user(&all, "r.test/a").await.as_deref(), Some("one"));
    write(root, "XDG_CONFIG_HOME/containers/auth.json", &only("two"));
    assert_eq!(user(&all, "r.test/a").await.as_deref(), Some("two"));
    write(root, "runtime/containers/auth.json", &only("one"));
    assert_eq!(user(&all, "r.test/a").await.as_deref(), Some("one"));
    write(root, "REGISTRY_AUTH_FILE", &only("two"));
    assert_eq!(user(&files(root, &["REGISTRY_AUTH_FILE"]), "r.test/a").await.as_deref(), Some("two"));
    assert_eq!(user(&files(root, &["REGISTRY_AUTH_FILE"]), "other.test/a").await, None);
}

#[tokio::test]
async fn the_longest_prefix_wins_and_other_spellings_match() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let entries = [
        entry("r.test/team", "two"),
        entry("r.test", "one"),
        entry("https://old.test/v1/", "two"),
        entry("https://index.docker.io/v1/", "one"),
        entry("docker.io/team/app", "two"),
        r#""t.test":{"auth":"","identitytoken":"refresh"}"#.to_owned(),
        r#""empty.test":{}"#.to_owned(),
    ];
    write(root, "home/.docker/config.json", &auths(&entries));
    let files = files(root, &[]);
    let cases = [
        ("r.test/team/app:1", Some("two")),
        ("r.test/teamwork/app", Some("one")),
        ("r.test:5000/team/app", None),
        ("old.test/a", Some("two")),
        ("alpine", Some("one")),
        ("team/app@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", Some("two")),
        ("t.test/a", Some("token refresh")),
        ("empty.test/a", None),
    ];
    for (image, expected) in cases {
        assert_eq!(user(&files, image).await.as_deref(), expected, "{image}");
    }
    assert_eq!(auth::server_address(&"alpine".parse().unwrap()), "https://index.docker.io/v1/");
    assert_eq!(auth::server_address(&"r.test:5000/a".parse().unwrap()), "r.test:5000");
}

#[tokio::test]
async fn helpers_are_asked_and_their_failures_are_reported() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let script = r#"#!/bin/sh
read -r server
case "$1 $server" in
    "get r.test") echo '{"ServerURL":"r.test","Username":"helped","Secret":"secret"}' ;;
    "get https://index.docker.io/v1/") echo '{"Username":"<token>","Secret":"refresh"}' ;;
    "get broken.test") echo "the keychain is locked"; exit 1 ;;
    "get odd.test") echo "hunter2" ;;
    *) echo "credentials not found in native keychain"; exit 1 ;;
esac
"#;
    write(root, "bin/docker-credential-test", script);
    fs::set_permissions(root.join("bin/docker-credential-test"), fs::Permissions::from_mode(0o755)).unwrap();
    let config = r#"{"auths":{"r.test":{}},"credsStore":"test","credHelpers":{"gone.test":"absent"}}"#;
    write(root, "home/.docker/config.json", config);
    let files = files(root, &[]);
    assert_eq!(user(&files, "r.test/a").await.as_deref(), Some("helped"));
    assert_eq!(user(&files, "alpine").await.as_deref(), Some("token refresh"));
    assert_eq!(user(&files, "unknown.test/a").await, None);
    for (image, words) in [("broken.test/a", "the keychain is locked"), ("gone.test/a", "`docker-credential-absent`")] {
        let error = find(&files, image).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.to_string().contains("config.json"), "{error}");
    }
    assert!(!find(&files, "odd.test/a").await.unwrap_err().to_string().contains("hunter2"));
}

#[tokio::test]
async fn a_damaged_file_is_an_error_without_its_secrets() {
    let root = tempfile::tempdir().unwrap();
    let files = files(root.path(), &[]);
    let hunter = r#"{"auths":{"r.test":{"auth":"aHVudGVyMg=="}}}"#;
    for text in ["", "{", r#"{"auths":"hunter2"}"#, r#"{"auths":{"r.test":{"auth":"hunter2!"}}}"#, hunter] {
        write(root.path(), "home/.config/containers/auth.json", text);
        let error = find(&files, "r.test/a").await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(".config/containers/auth.json") && !shown.contains("hunter2"), "{shown}");
    }
    let credential = Credential::Password { username: "hunter".into(), password: "hunter2".into() };
    assert!(!format!("{credential:?} {:?}", Credential::Token("hunter2".into())).contains("hunter"));
}

/// As root's podman leaves `/run/containers` to a user who has no runtime directory.
#[test]
fn a_usual_place_in_a_closed_directory_is_passed_over() {
    // Capabilities are a thread's own, and its children's.
    let as_an_unprivileged_user = || {
        let none = CapabilitySets { effective: CapabilitySet::empty(), ..capabilities(None).unwrap() };
        set_capabilities(None, none).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let root = tempfile::tempdir().unwrap();
            let root = root.path();
            write(root, "runtime/containers/auth.json", "{");
            write(root, "home/.config/containers/auth.json", &auths(&[entry("r.test", "one")]));
            let mode = |path, mode| fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
            mode("runtime", 0);
            assert_eq!(user(&files(root, &[]), "r.test/a").await.as_deref(), Some("one"));
            let named = root.join("runtime/containers/auth.json").to_str().map(str::to_owned);
            let named = Files::from_env(&move |name| (name == "REGISTRY_AUTH_FILE").then(|| named.clone()).flatten());
            assert_eq!(find(&named, "r.test/a").await.unwrap_err().kind(), Kind::Invalid);
            // A file that is there and may not be read is one that somebody has to repair.
            mode("runtime", 0o700);
            mode("runtime/containers/auth.json", 0);
            let error = find(&files(root, &[]), "r.test/a").await.unwrap_err();
            assert!(error.to_string().contains("cannot be read"), "{error}");
        });
    };
    std::thread::spawn(as_an_unprivileged_user).join().unwrap();
}
