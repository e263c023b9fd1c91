//! Questions to a real `docker-registry`, started here, and to a scripted server where a real one will not misbehave.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test stops at the first surprise and says why it is skipped"
)]

#[path = "common/server.rs"]
mod server;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hythe_oci::auth::Files;
use hythe_oci::{Error, Kind, Registry, RegistryConfig};
use oci_client::client::{Client, ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::secrets::RegistryAuth;

use server::server;

/// base64 of `hythe:sesame` and of `hythe:wrong`.
const RIGHT: &str = "aHl0aGU6c2VzYW1l";
const WRONG: &str = "aHl0aGU6d3Jvbmc=";

async fn push(image: &str, auth: &RegistryAuth) -> String {
    Registry::new(RegistryConfig::default()).unwrap();
    let config = ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() };
    let client = Client::try_from(config).unwrap();
    let image = image.parse().unwrap();
    let layers = [ImageLayer::oci_v1(b"layer".to_vec(), None)];
    client.push(&image, &layers, Config::oci_v1(b"{}".to_vec(), None), auth, None).await.unwrap();
    client.fetch_manifest_digest(&image, auth).await.unwrap()
}

fn registry(auth: Files) -> Registry {
    Registry::new(RegistryConfig { auth, timeout: Duration::from_secs(10), ..RegistryConfig::default() }).unwrap()
}

/// An auth file with one entry for `host`.
fn login(directory: &Path, host: &str, entry: &str) -> Files {
    let path = directory.join("auth.json");
    std::fs::write(&path, format!(r#"{{"auths":{{"{host}":{entry}}}}}"#)).unwrap();
    Files::from_env(&|name| (name == "REGISTRY_AUTH_FILE").then(|| path.to_str().map(str::to_owned)).flatten())
}

async fn refused(registry: &Registry, image: &str) -> Error {
    registry.exists(&image.parse().unwrap()).await.unwrap_err()
}

#[tokio::test]
async fn an_open_registry_distinguishes_present_from_absent() {
    let Some(server) = server(false) else { return };
    let image = format!("{}/team/app:1", server.address);
    let digest = push(&image, &RegistryAuth::Anonymous).await;
    let registry = registry(Files::default());
    let resolved = registry.resolve(&image.parse().unwrap()).await.unwrap();
    assert_eq!(resolved.digest, digest);
    assert_eq!(resolved.media_type, "application/vnd.oci.image.manifest.v1+json");
    let named = |rest: &str| format!("{}/team/{rest}", server.address).parse().unwrap();
    assert!(registry.exists(&named(&format!("app@{digest}"))).await.unwrap());
    assert!(!registry.exists(&named("app:2")).await.unwrap());
    assert!(!registry.exists(&named("unknown")).await.unwrap());
    assert!(!registry.exists(&named(&format!("app@sha256:{}", "0".repeat(64)))).await.unwrap());
    let error = registry.resolve(&named("app:2")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("team/app:2` is not in its registry: manifest unknown"), "{error}");
}

#[tokio::test]
async fn a_locked_registry_wants_the_right_password() {
    let Some(server) = server(true) else { return };
    let image = format!("{}/app:1", server.address);
    push(&image, &RegistryAuth::Basic("hythe".into(), "sesame".into())).await;
    let with =
        |auth: &str| registry(login(server.directory.path(), &server.address, &format!(r#"{{"auth":"{auth}"}}"#)));
    let open = with(RIGHT);
    assert!(open.exists(&image.parse().unwrap()).await.unwrap());
    assert!(!open.exists(&format!("{}/app:2", server.address).parse().unwrap()).await.unwrap());
    let wrong = refused(&with(WRONG), &image).await;
    let none = refused(&registry(Files::default()), &image).await;
    for (error, how) in [(wrong, "with the stored credentials"), (none, "without credentials")] {
        assert_eq!(error.kind(), Kind::Unauthorized);
        let text = error.to_string();
        assert!(text.contains(how) && text.contains("authentication required") && text.contains(&image), "{text}");
        assert!(error.next_step().unwrap().contains("podman login"));
        assert!(!text.contains("sesame") && !text.contains(WRONG));
    }
}

#[tokio::test]
async fn a_registry_that_died_is_unavailable_not_absent() {
    let Some(server) = server(false) else { return };
    let image = format!("{}/app:1", server.address);
    push(&image, &RegistryAuth::Anonymous).await;
    drop(server);
    let error = refused(&registry(Files::default()), &image).await;
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(!error.is_temporary() && error.to_string().contains("refused"), "{error}");
    assert!(error.next_step().unwrap().contains("is up"), "{error}");
}

/// A server that gives each request the next scripted answer (the last one for ever) and keeps what was asked.
fn scripted(answers: &[&str]) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let answers: Vec<String> = answers.iter().map(|answer| answer.replace("ADDRESS", &address)).collect();
    let log = Arc::clone(&asked);
    std::thread::spawn(move || {
        for (at, stream) in listener.incoming().enumerate() {
            answer(stream.unwrap(), answers.get(at).or(answers.last()).unwrap(), &log);
        }
    });
    (address, asked)
}

/// An answer is written `<status and headers>|<body>`; an empty one means silence.
fn answer(mut stream: TcpStream, answer: &str, log: &Mutex<Vec<String>>) {
    let mut request = vec![0; 8192];
    let length = stream.read(&mut request).unwrap();
    log.lock().unwrap().push(String::from_utf8_lossy(&request[..length]).into_owned());
    let Some((head, body)) = answer.split_once('|') else {
        std::thread::spawn(move || stream.read(&mut request).ok());
        return;
    };
    write!(stream, "HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
}

const CHALLENGE: &str = "401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://ADDRESS/token\",service=\"s\"|";
const MANIFEST: &str =
    "200 OK\r\nContent-Type: application/json|{\"mediaType\":\"application/vnd.oci.image.index.v1+json\"}";

#[tokio::test]
async fn an_identity_token_buys_a_bearer_token() {
    let (address, asked) = scripted(&[CHALLENGE, "200 OK|{\"access_token\":\"t0ken\"}", "405 No|", MANIFEST]);
    let directory = tempfile::tempdir().unwrap();
    let registry = registry(login(directory.path(), &address, r#"{"identitytoken":"re fresh"}"#));
    let resolved = registry.resolve(&format!("{address}/team/app").parse().unwrap()).await.unwrap();
    assert_eq!(resolved.media_type, "application/vnd.oci.image.index.v1+json");
    assert!(resolved.digest.starts_with("sha256:") && resolved.digest.len() == 71);
    let asked = asked.lock().unwrap();
    assert!(asked[1].starts_with("POST /token"), "{}", asked[1]);
    assert!(asked[1].ends_with(
        "scope=repository%3Ateam%2Fapp%3Apull&service=s&grant_type=refresh_token&client_id=hythe&refresh_token=re+fresh"
    ));
    assert!(asked[3].starts_with("GET /v2/team/app/manifests/latest") && asked[3].contains("Bearer t0ken"));
}

#[tokio::test]
async fn odd_answers_are_never_taken_for_absent() {
    let denied = "403 Forbidden|{\"errors\":[{\"code\":\"DENIED\",\"message\":\"pull access denied\"}]}";
    let token_refused = "401 Unauthorized|{\"details\":\"incorrect username or password\"}";
    let html = "200 OK\r\nContent-Type: text/html|<html>";
    let cases: [(&[&str], Kind, &str); 8] = [
        (&["404 Not Found|404 page not found"], Kind::Invalid, "is not a registry"),
        (&[CHALLENGE, "404 Not Found|"], Kind::Invalid, "token server"),
        (&[html], Kind::Invalid, "not an image manifest"),
        (&["200 OK|", denied], Kind::Unauthorized, "pull access denied"),
        (&[CHALLENGE, token_refused], Kind::Unauthorized, "incorrect username or password"),
        (&["429 Too Many Requests|slow down"], Kind::Unavailable, "slow down"),
        (&["503 Unavailable|overloaded"], Kind::Unavailable, "overloaded"),
        (&[""], Kind::Unavailable, "gave no answer"),
    ];
    for (answers, kind, words) in cases {
        let (address, _) = scripted(answers);
        let timeout = Duration::from_millis(2000);
        let registry = Registry::new(RegistryConfig { timeout, ..RegistryConfig::default() }).unwrap();
        let error = refused(&registry, &format!("{address}/a:1")).await;
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(words) && error.to_string().contains("/a:1`"), "{error}");
    }
}

#[tokio::test]
async fn temporary_errors_are_retried_twice_and_no_more() {
    let failing = "500 Internal Server Error|";
    let (address, asked) = scripted(&[failing, failing, "200 OK|", MANIFEST]);
    assert!(registry(Files::default()).exists(&format!("{address}/a").parse().unwrap()).await.unwrap());
    assert_eq!(asked.lock().unwrap().len(), 5);
    let (address, asked) = scripted(&[failing]);
    refused(&registry(Files::default()), &format!("{address}/a")).await;
    assert_eq!(asked.lock().unwrap().len(), 3);
}
