//! Where credentials go, and where they must not: redirects, challenges of others, uploads elsewhere.

use std::sync::Arc;

use hythe_oci::auth::Files;
use hythe_oci::{Kind, Registry, RegistryConfig};
use hythe_spec::ImageRef;

use crate::liar::*;
use crate::support::*;

fn image() -> Image {
    Image::of(&[Archive::new().file("a", &noise(1, 5000)).finish()])
}

/// A registry that is asked with a password, or with a refresh token.
fn with_login(directory: &tempfile::TempDir, host: &str, entry: &str) -> Registry {
    let path = directory.path().join("auth.json");
    std::fs::write(&path, format!(r#"{{"auths":{{"{host}":{entry}}}}}"#)).unwrap();
    let place = path.to_str().unwrap().to_owned();
    let auth = Files::from_env(&move |name| (name == "REGISTRY_AUTH_FILE").then(|| place.clone()));
    Registry::new(RegistryConfig { auth, certs: Vec::new(), ..RegistryConfig::default() }).unwrap()
}

const PASSWORD: &str = r#"{"auth":"aHl0aGU6c2VzYW1l"}"#;

/// Somebody whom a registry sends to, and who would like to have its credentials.
fn thief() -> Liar {
    Liar::start(|asked| match asked.path.as_str() {
        "/token" => reply("200 OK", br#"{"token":"stolen"}"#),
        _ => {
            let host =
                asked.head.to_lowercase().split("\r\nhost: ").nth(1).unwrap().split('\r').next().unwrap().to_owned();
            let challenge = format!(r#"Bearer realm="http://{host}/token",service="s""#);
            reply(
                &format!("401 Unauthorized\r\nWWW-Authenticate: {challenge}\r\nWWW-Authenticate: Basic realm=\"x\""),
                b"",
            )
        }
    })
}

/// A registry behind a password that sends whatever holds `part` on to `other`.
fn sending(image: Image, part: &'static str, other: String) -> Liar {
    let image = Arc::new(image);
    Liar::start(move |asked| {
        if !asked.has_credentials() {
            return reply("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"own\"", b"");
        }
        if asked.path.contains(part) {
            return to(&format!("{other}{}", asked.path));
        }
        served(&image, &asked.path)
    })
}

pub(crate) fn served(image: &Image, path: &str) -> Reply {
    if path == "/v2/" {
        return reply("200 OK", b"{}");
    }
    if path.contains("/manifests/") {
        return reply(&format!("200 OK\r\nContent-Type: {MANIFEST}"), &image.manifest);
    }
    let blob = image.layers.iter().chain([&image.config]).find(|blob| path == blob_path(blob));
    blob.map_or_else(absent, |blob| reply("200 OK", blob))
}

fn name(liar: &Liar) -> ImageRef {
    format!("{}/app:1", liar.address).parse().unwrap()
}

#[tokio::test]
async fn pull_redirected_to_challenging_host_gives_it_no_credentials() {
    for part in ["/blobs/", "/manifests/"] {
        let thief = thief();
        let registry = sending(image(), part, format!("http://{}", thief.address));
        let directory = tempfile::tempdir().unwrap();
        let client = with_login(&directory, &registry.address, PASSWORD);
        let (_directory, store) = store();
        let error = store.pull(&client, &name(&registry), |_| ()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unauthorized, "{error}");
        assert!(error.to_string().contains(&format!("redirects to `{}`", thief.address)), "{error}");
        let error = client.resolve(&name(&registry)).await;
        assert_eq!(error.is_err(), part == "/manifests/");
        assert!(!thief.asked(part).is_empty());
        assert!(thief.asked("").iter().all(|asked| !asked.has_credentials()), "{part}: {:?}", thief.asked(""));
        assert!(thief.asked("/token").is_empty(), "its challenge was answered");
    }
}

#[tokio::test]
async fn pull_redirected_to_open_host_gets_blob_without_credentials() {
    let image = Arc::new(image());
    let blobs = Arc::clone(&image);
    let open = Liar::start(move |asked| served(&blobs, &asked.path));
    let copy = Image {
        manifest: image.manifest.clone(),
        config: image.config.clone(),
        layers: image.layers.clone(),
        ..*image
    };
    let registry = sending(copy, "/blobs/", format!("http://{}", open.address));
    let directory = tempfile::tempdir().unwrap();
    let (_directory, store) = store();
    store.pull(&with_login(&directory, &registry.address, PASSWORD), &name(&registry), |_| ()).await.unwrap();
    assert_eq!(open.asked("/blobs/").len(), 2);
    assert!(open.asked("").iter().all(|asked| !asked.has_credentials()));
    assert!(registry.asked("/blobs/").iter().all(Asked::has_credentials));
}

/// Whoever was sent to could otherwise have the registry do something in the user's name.
#[tokio::test]
async fn pull_redirected_away_and_back_comes_back_without_credentials() {
    let home = Arc::new(std::sync::Mutex::new(String::new()));
    let place = Arc::clone(&home);
    let other = Liar::start(move |_| to(&format!("http://{}/v2/secret/blobs/x", place.lock().unwrap())));
    let registry = sending(image(), "/app/blobs/", format!("http://{}", other.address));
    home.lock().unwrap().clone_from(&registry.address);
    let directory = tempfile::tempdir().unwrap();
    let client = with_login(&directory, &registry.address, PASSWORD);
    let (_directory, store) = store();
    // The registry's own challenge is answered, and then leads the same way once more.
    store.pull(&client, &name(&registry), |_| ()).await.unwrap_err();
    assert!(!registry.asked("/secret/").is_empty());
    assert!(registry.asked("/secret/").iter().all(|asked| !asked.has_credentials()));
}

#[tokio::test]
async fn push_to_upload_place_on_another_host_gives_it_no_credentials() {
    let thief = thief();
    let open = Liar::start(|_| reply("201 Created", b""));
    for (other, works) in [(&thief, false), (&open, true)] {
        let address = other.address.clone();
        let registry = Liar::start(move |asked| {
            if !asked.has_credentials() {
                return reply("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"own\"", b"");
            }
            match asked.method.as_str() {
                "HEAD" => absent(),
                "POST" => reply(&format!("202 Accepted\r\nLocation: http://{address}/upload/1"), b""),
                _ => reply("201 Created", b""),
            }
        });
        let (hub, (_directory, store)) = (Hub::start(), store());
        let pulled = hub.add("1", &image());
        store.pull(&crate::support::registry(), &pulled, |_| ()).await.unwrap();
        store.tag(&pulled, &name(&registry)).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let pushed = store.push(&with_login(&directory, &registry.address, PASSWORD), &name(&registry), |_| ()).await;
        assert_eq!(pushed.is_ok(), works, "{pushed:?}");
        assert!(!other.asked("/upload/").is_empty());
        assert!(other.asked("").iter().all(|asked| !asked.has_credentials()));
        assert!(other.asked("/token").is_empty());
    }
}

/// A refresh token stands in the body of the request, which a redirect would carry on.
#[tokio::test]
async fn token_server_that_redirects_is_not_followed_with_refresh_token() {
    let thief = Liar::start(|_| reply("200 OK", br#"{"token":"t"}"#));
    let other = thief.address.clone();
    let registry = Liar::start(move |asked| match asked.path.as_str() {
        "/token" => to(&format!("http://{other}/token")),
        _ => {
            let host =
                asked.head.to_lowercase().split("\r\nhost: ").nth(1).unwrap().split('\r').next().unwrap().to_owned();
            reply(&format!("401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://{host}/token\""), b"")
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let client = with_login(&directory, &registry.address, r#"{"identitytoken":"refresh"}"#);
    client.resolve(&name(&registry)).await.unwrap_err();
    assert!(String::from_utf8_lossy(&registry.asked("/token")[0].body).contains("refresh"));
    assert!(thief.asked("").is_empty(), "{:?}", thief.asked(""));
}

#[tokio::test]
async fn redirects_in_a_circle_end() {
    let registry = Liar::start(|asked| match asked.path.as_str() {
        "/v2/" => reply("200 OK", b"{}"),
        path => to(path),
    });
    let client = Registry::new(RegistryConfig::default()).unwrap();
    let error = client.resolve(&name(&registry)).await.unwrap_err();
    assert!(error.kind() == Kind::Invalid && error.to_string().contains("redirects more than"), "{error}");
}
