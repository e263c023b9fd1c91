//! Registries over TLS: on loopback, insecure ones, and those whose CA stands in `certs.d`.

use std::path::Path;
use std::time::{Duration, Instant};

use hythe_oci::{Kind, Registry, RegistryConfig};
use hythe_spec::ImageRef;

use crate::credentials::served;
use crate::liar::*;
use crate::support::*;

fn image() -> Image {
    Image::of(&[Archive::new().file("a", b"over tls").finish()])
}

fn secure(authority: &Authority) -> Liar {
    let image = image();
    Liar::secure(authority, move |asked| served(&image, &asked.path))
}

fn registry(certs: &Path) -> Registry {
    Registry::new(RegistryConfig { certs: vec![certs.to_owned()], ..RegistryConfig::default() }).unwrap()
}

async fn pulls(registry: &Registry, address: &str) -> Result<(), hythe_oci::Error> {
    let (_directory, store) = store();
    let name: ImageRef = format!("{address}/app:1").parse().unwrap();
    store.pull(registry, &name, |_| ()).await.map(drop)
}

#[tokio::test]
async fn pull_from_tls_registry_on_loopback_works() {
    let liar = secure(&Authority::new());
    let nothing = tempfile::tempdir().unwrap();
    pulls(&registry(nothing.path()), &liar.address).await.unwrap();
}

/// Without a port the two ways lead to two ports, and the first may be closed.
#[tokio::test]
async fn pull_from_tls_registry_without_port_works_where_plain_http_is_refused() {
    let image = image();
    let answer = move |asked: &Asked| served(&image, &asked.path);
    let Ok(_liar) = Liar::secure_at("127.9.8.7:443", &Authority::new(), answer) else {
        eprintln!("skipped: port 443 cannot be had here");
        return;
    };
    pulls(&registry(Path::new("/nonexistent")), "127.9.8.7").await.unwrap();
}

#[tokio::test]
async fn pull_from_registry_with_ca_in_certs_d_checks_its_certificate() {
    let (right, wrong) = (Authority::new(), Authority::new());
    let liar = secure(&right);
    let certs = tempfile::tempdir().unwrap();
    let home = certs.path().join(&liar.address);
    std::fs::create_dir(&home).unwrap();
    let client = registry(certs.path());
    std::fs::write(home.join("ca.crt"), &wrong.pem).unwrap();
    let error = pulls(&client, &liar.address).await.unwrap_err();
    assert!(error.kind() == Kind::Unavailable && error.to_string().contains("certificate"), "{error}");
    let hint = format!("/etc/containers/certs.d/{}/ca.crt", liar.address);
    assert!(error.next_step().unwrap().contains(&hint), "{:?}", error.next_step());
    // A new file counts at once.
    std::fs::write(home.join("ca.crt"), &right.pem).unwrap();
    pulls(&client, &liar.address).await.unwrap();
    std::fs::write(home.join("ca.crt"), "no certificate").unwrap();
    let error = pulls(&client, &liar.address).await.unwrap_err();
    assert!(error.kind() == Kind::Invalid && error.to_string().contains("CA certificates"), "{error}");
}

#[tokio::test]
async fn pull_from_registry_in_hosts_toml_of_containerd_obeys_it() {
    let authority = Authority::new();
    let liar = secure(&authority);
    let certs = tempfile::tempdir().unwrap();
    let home = certs.path().join(&liar.address);
    std::fs::create_dir(&home).unwrap();
    let client = registry(certs.path());
    std::fs::write(home.join("own.pem"), &authority.pem).unwrap();
    let hosts = format!(
        "server = \"https://{0}\"\n[host.\"https://{0}\"]\ncapabilities = [\"pull\"]\nca = \"own.pem\"\n",
        liar.address
    );
    std::fs::write(home.join("hosts.toml"), hosts).unwrap();
    pulls(&client, &liar.address).await.unwrap();
    std::fs::write(home.join("own.pem"), Authority::new().pem).unwrap();
    pulls(&client, &liar.address).await.unwrap_err();
    std::fs::write(home.join("hosts.toml"), "skip_verify = true\n").unwrap();
    pulls(&client, &liar.address).await.unwrap();
    std::fs::write(home.join("hosts.toml"), "skip_verify = \"yes\"\n").unwrap();
    let error = pulls(&client, &liar.address).await.unwrap_err();
    assert!(error.kind() == Kind::Invalid && error.to_string().contains("hosts.toml"), "{error}");
}

#[tokio::test]
async fn pull_of_what_was_built_here_asks_nobody() {
    let client = registry(Path::new("/nonexistent"));
    let begun = Instant::now();
    let error = pulls(&client, "localhost").await.unwrap_err();
    assert!(error.kind() == Kind::NotFound && error.to_string().contains("on no runtime here"), "{error}");
    assert!(error.next_step().unwrap().contains("load it"));
    assert!(begun.elapsed() < Duration::from_secs(5));
    // One that is here is as new as it can be.
    let (hub, (_directory, store)) = (Hub::start(), store());
    let (pulled, name) = (hub.add("1", &image()), "localhost/app:1".parse().unwrap());
    store.pull(&client, &pulled, |_| ()).await.unwrap();
    store.tag(&pulled, &name).unwrap();
    assert_eq!(store.pull(&client, &name, |_| ()).await.unwrap(), store.get(&name).unwrap());
}

#[tokio::test]
async fn pull_from_closed_port_is_refused_once() {
    let begun = Instant::now();
    let error = pulls(&registry(Path::new("/nonexistent")), &closed_address()).await.unwrap_err();
    assert!(error.kind() == Kind::Unavailable && !error.is_temporary(), "{error}");
    let hint = error.next_step().unwrap();
    assert!(hint.contains("is up") && !hint.contains("hythe runtimes"), "{hint}");
    assert!(begun.elapsed() < Duration::from_secs(5));
}
