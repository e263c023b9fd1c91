//! To a real registry and back, and the registries of the test where a real one will not do.

use std::collections::BTreeMap;
use std::sync::Mutex;

use hythe_oci::auth::Files;
use hythe_oci::{Kind, Phase, Registry, RegistryConfig};
use hythe_spec::ImageRef;
use serde_json::{Value, json};

use crate::server::server;
use crate::support::*;

fn image() -> Image {
    Image::of(&[Archive::new().file("a", &noise(1, 700_000)).finish(), Archive::new().file("b", b"b").finish()])
}

#[tokio::test]
async fn an_image_goes_to_a_real_registry_and_comes_back_the_same() {
    let Some(server) = server(false) else { return };
    let (hub, (_directory, from)) = (Hub::start(), store());
    let pulled = hub.add("1", &image());
    let original = from.pull(&registry(), &pulled, |_| ()).await.unwrap();
    let name: ImageRef = format!("{}/team/app:1", server.address).parse().unwrap();
    from.tag(&pulled, &name).unwrap();
    let seen = Mutex::new(Vec::new());
    let tell = |progress| seen.lock().unwrap().push(progress);
    assert_eq!(from.push(&registry(), &name, tell).await.unwrap(), original.digest);
    assert_eq!(seen.lock().unwrap().iter().filter(|seen| seen.phase == Phase::Done).count(), 3);
    assert!(seen.lock().unwrap().iter().any(|seen| seen.phase == Phase::Transferring && seen.current > 700_000));
    let (_directory, into) = store();
    let back = into.pull(&registry(), &name, |_| ()).await.unwrap();
    assert_eq!((&back.digest, &back.id, &back.layers), (&original.digest, &original.id, &original.layers));
    seen.lock().unwrap().clear();
    from.push(&registry(), &name, |progress| seen.lock().unwrap().push(progress)).await.unwrap();
    assert!(seen.lock().unwrap().iter().all(|seen| seen.phase == Phase::Done), "nothing is sent twice");
    let absent: ImageRef = format!("{}/team/other:1", server.address).parse().unwrap();
    assert_eq!(from.push(&registry(), &absent, |_| ()).await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn a_locked_registry_is_pushed_to_with_the_right_password() {
    let Some(server) = server(true) else { return };
    let (hub, (_directory, store)) = (Hub::start(), store());
    let pulled = hub.add("1", &image());
    store.pull(&registry(), &pulled, |_| ()).await.unwrap();
    let name: ImageRef = format!("{}/app:1", server.address).parse().unwrap();
    store.tag(&pulled, &name).unwrap();
    assert_eq!(store.push(&registry(), &name, |_| ()).await.unwrap_err().kind(), Kind::Unauthorized);
    let path = server.directory.path().join("auth.json");
    let file = json!({"auths": {&server.address: {"auth": "aHl0aGU6c2VzYW1l"}}});
    std::fs::write(&path, file.to_string()).unwrap();
    let place = path.to_str().unwrap().to_owned();
    let auth = Files::from_env(&|name| (name == "REGISTRY_AUTH_FILE").then(|| place.clone()));
    let registry = Registry::new(RegistryConfig { auth, ..RegistryConfig::default() }).unwrap();
    let digest = store.push(&registry, &name, |_| ()).await.unwrap();
    assert_eq!(store.pull(&registry, &name, |_| ()).await.unwrap().digest, digest);
}

fn serve_index(hub: &Hub, kind: &str, rows: &[Value]) -> Vec<u8> {
    let index = json!({"schemaVersion": 2, "mediaType": kind, "manifests": rows}).to_string().into_bytes();
    for version in ["multi".to_owned(), digest(&index)] {
        hub.put(&format!("/v2/app/manifests/{version}"), &index, kind);
    }
    index
}

#[tokio::test]
async fn an_index_gives_the_image_for_this_host() {
    let (hub, image) = (Hub::start(), image());
    hub.add("1", &image);
    let own = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    let row = |architecture: &str, digest: &str| json!({"mediaType": MANIFEST, "digest": digest, "size": image.manifest.len(), "platform": {"os": "linux", "architecture": architecture}});
    let other = digest(b"for another machine");
    for kind in ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"]
    {
        let index = serve_index(&hub, kind, &[row("mips64le", &other), row(own, &image.digest())]);
        let (_directory, store) = store();
        let by_tag = hub.name("multi");
        let stored = store.pull(&registry(), &by_tag, |_| ()).await.unwrap();
        assert_eq!((stored.digest, stored.index), (image.digest(), Some(digest(&index))));
        // The digest that the registry gives the tag finds it, and can be pulled by.
        let by_digest: ImageRef = format!("{}/app@{}", hub.address, digest(&index)).parse().unwrap();
        assert_eq!(store.get(&by_digest).unwrap().id, digest(&image.config));
        store.pull(&registry(), &by_digest, |_| ()).await.unwrap();
        assert_eq!(store.get(&by_digest).unwrap().names.len(), 2);
    }
    serve_index(&hub, "application/vnd.oci.image.index.v1+json", &[row("mips64le", &other)]);
    let (_directory, store) = store();
    let error = store.pull(&registry(), &hub.name("multi"), |_| ()).await.unwrap_err();
    assert!(error.kind() == Kind::Invalid && error.to_string().contains("only for: linux/mips64le"), "{error}");
}

#[tokio::test]
async fn a_pull_for_a_platform_takes_that_image_of_an_index_and_no_other() {
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    let (own, smaller) = if cfg!(target_arch = "x86_64") { ("amd64", "386") } else { ("arm64", "arm") };
    let (hub, image) = (Hub::start(), image());
    let mut small =
        Image { manifest: image.manifest.clone(), config: image.config.clone(), layers: image.layers.clone(), ..image };
    let mut config: Value = serde_json::from_slice(&small.config).unwrap();
    config["architecture"] = smaller.into();
    small.config = config.to_string().into_bytes();
    let mut manifest: Value = serde_json::from_slice(&small.manifest).unwrap();
    manifest["config"]["digest"] = digest(&small.config).into();
    manifest["config"]["size"] = small.config.len().into();
    small.manifest = manifest.to_string().into_bytes();
    let row = |architecture: &str, image: &Image| json!({"mediaType": MANIFEST, "digest": image.digest(), "size": image.manifest.len(), "platform": {"os": "linux", "architecture": architecture}});
    hub.add("own", &image);
    hub.add("small", &small);
    serve_index(&hub, INDEX, &[row(own, &image), row(smaller, &small)]);
    let (_directory, store) = store();
    let pull = async |tag: &str, architecture: &str| {
        let platform = format!("linux/{architecture}").parse().unwrap();
        let pulled = store.pull_for(&registry(), &hub.name(tag), Some(&platform), |_| ()).await;
        pulled.map(|stored| stored.digest)
    };
    // The name means what was pulled last.
    for (architecture, wanted) in [(own, &image), (smaller, &small), (own, &image)] {
        assert_eq!(pull("multi", architecture).await.unwrap(), wanted.digest());
        let found = store.get(&hub.name("multi")).unwrap();
        assert_eq!(found.platform().unwrap().to_string(), format!("linux/{architecture}"));
    }
    let error = pull("multi", "s390x").await.unwrap_err();
    assert!(error.kind() == Kind::Invalid && error.to_string().contains("`linux/s390x`, only for"), "{error}");
    // An image without an index says it in its configuration.
    let error = pull("own", smaller).await.unwrap_err();
    assert!(
        error.kind() == Kind::Invalid && error.to_string().contains(&format!("`linux/{smaller}` is wanted")),
        "{error}"
    );
    assert_eq!(store.get(&hub.name("own")).unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn docker_schema_2_is_pulled_and_schema_1_is_refused() {
    let hub = Hub::start();
    let plain = Archive::new().file("f", b"x").finish();
    let layer = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    let mut image = Image::with(vec![(plain.clone(), gzip(&plain), layer)]);
    image.media_type = "application/vnd.docker.distribution.manifest.v2+json";
    let mut manifest: Value = serde_json::from_slice(&image.manifest).unwrap();
    manifest["mediaType"] = image.media_type.into();
    image.manifest = manifest.to_string().into_bytes();
    let (_directory, store) = store();
    let stored = store.pull(&registry(), &hub.add("2", &image), |_| ()).await.unwrap();
    assert_eq!((stored.media_type.as_str(), stored.digest), (image.media_type, image.digest()));
    let old = json!({"schemaVersion": 1, "name": "app", "fsLayers": [], "history": []}).to_string();
    hub.put("/v2/app/manifests/old", old.as_bytes(), "application/vnd.docker.distribution.manifest.v1+prettyjws");
    let error = store.pull(&registry(), &hub.name("old"), |_| ()).await.unwrap_err();
    assert!(error.kind() == Kind::Invalid && error.to_string().contains("schema 1"), "{error}");
}

#[tokio::test]
async fn a_mirror_serves_what_it_has_under_the_name_that_was_asked_for() {
    let (mirror, origin, image) = (Hub::start(), Hub::start(), image());
    mirror.add("1", &image);
    let (on_both, on_origin) = (origin.name("1"), origin.add("2", &image));
    let mirrors = BTreeMap::from([(origin.address.clone(), vec!["127.0.0.1:1".to_owned(), mirror.address.clone()])]);
    let registry = Registry::new(RegistryConfig { mirrors, ..RegistryConfig::default() }).unwrap();
    let (_directory, store) = store();
    let stored = store.pull(&registry, &on_both, |_| ()).await.unwrap();
    assert_eq!(stored.names, [on_both.to_string()]);
    assert!(origin.asked("/v2/").is_empty());
    store.pull(&registry, &on_origin, |_| ()).await.unwrap();
    assert!(!origin.asked("/manifests/2").is_empty());
}
