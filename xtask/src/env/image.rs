//! The test image, made of one static busybox without any engine: deterministic, a few MB, made in a moment.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::http::{Endpoint, Reply};
use super::layout::Layout;
use super::tar::Archive;
use crate::failure::{Context, Failure, Result};
use crate::{packages, run};

/// The image's name in every engine.
pub(crate) const NAME: &str = "localhost/hythe-test:1";
/// Its repository and tag in a registry.
pub(crate) const REPOSITORY: &str = "hythe-test";
pub(crate) const TAG: &str = "1";

const MANIFEST_TYPE: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG_TYPE: &str = "application/vnd.docker.container.image.v1+json";
const LAYER_TYPE: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\n";
const GROUP: &str = "root:x:0:\napp:x:1000:\n";

/// All parts of the image, in memory.
#[derive(Debug)]
pub(crate) struct Image {
    config: Vec<u8>,
    config_digest: String,
    layer: Vec<u8>,
    layer_digest: String,
}

impl Image {
    /// Makes the image; busybox is the machine's own if static, else fetched into the environment.
    pub(crate) fn build(layout: &Layout) -> Result<Self> {
        let layer = layer(&busybox(layout)?)?;
        let layer_digest = sha256(&layer)?;
        let config = config(&[&layer_digest]).to_string().into_bytes();
        Ok(Self { config_digest: sha256(&config)?, config, layer, layer_digest })
    }

    /// The archive that `docker load` and `podman load` read.
    pub(crate) fn archive(&self) -> Vec<u8> {
        let config = format!("{}.json", hex(&self.config_digest));
        let layer = format!("{}/layer.tar", hex(&self.layer_digest));
        let index = json!([{ "Config": config, "RepoTags": [NAME], "Layers": [layer] }]);
        let mut archive = Archive::default();
        archive.file(&config, 0o644, &self.config);
        archive.directory(hex(&self.layer_digest), 0o755, 0);
        archive.file(&layer, 0o644, &self.layer);
        archive.file("manifest.json", 0o644, index.to_string().as_bytes());
        archive.finish()
    }

    /// Uploads the image into a registry.
    pub(crate) fn push(&self, registry: Registry<'_>) -> Result<()> {
        push(registry, &self.config, std::slice::from_ref(&self.layer))
    }
}

/// Uploads an image of uncompressed layers, and nothing but it stays in memory.
fn push(registry: Registry<'_>, config: &[u8], layers: &[Vec<u8>]) -> Result<()> {
    let config_digest = sha256(config)?;
    registry.upload(&config_digest, config)?;
    let mut described = Vec::new();
    for layer in layers {
        let compressed = run::filter(run::command("gzip").args(["-n", "-6"]), layer)?;
        let digest = sha256(&compressed)?;
        registry.upload(&digest, &compressed)?;
        described.push(json!({ "mediaType": LAYER_TYPE, "size": compressed.len(), "digest": digest }));
    }
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": { "mediaType": CONFIG_TYPE, "size": config.len(), "digest": config_digest },
        "layers": described,
    });
    registry.send("PUT", &registry.manifest(), &[("Content-Type", MANIFEST_TYPE)], manifest.to_string().as_bytes())?;
    Ok(())
}

/// Uploads an image of layers of files that nobody will look at.
pub(crate) fn push_layers(registry: Registry<'_>, layers: &[Vec<u8>]) -> Result<()> {
    let digests = layers.iter().map(|layer| sha256(layer)).collect::<Result<Vec<_>>>()?;
    let digests: Vec<&str> = digests.iter().map(String::as_str).collect();
    push(registry, config(&digests).to_string().as_bytes(), layers)
}

/// A registry and how to be let in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registry<'a> {
    pub(crate) address: &'a str,
    pub(crate) repository: &'a str,
    /// The value of an `Authorization` header.
    pub(crate) authorization: Option<&'a str>,
}

impl Registry<'_> {
    /// Whether the image is there already.
    pub(crate) fn has_image(self) -> bool {
        self.request("HEAD", &self.manifest(), &[("Accept", MANIFEST_TYPE)], &[]).is_ok_and(|reply| reply.is_success())
    }

    fn manifest(self) -> String {
        format!("/v2/{}/manifests/{TAG}", self.repository)
    }

    fn upload(self, digest: &str, blob: &[u8]) -> Result<()> {
        let reply = self.send("POST", &format!("/v2/{}/blobs/uploads/", self.repository), &[], &[])?;
        let location = reply.header("location").ok_or_else(|| Failure::new("the registry gave no upload location"))?;
        let path =
            location.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..])).unwrap_or(location);
        let separator = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{separator}digest={digest}");
        self.send("PUT", &path, &[("Content-Type", "application/octet-stream")], blob)?;
        Ok(())
    }

    fn send(self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Reply> {
        let reply = self
            .request(method, path, headers, body)
            .context(|| format!("asking the registry at `{}`", self.address))?;
        if reply.is_success() {
            return Ok(reply);
        }
        Err(Failure::new(format!(
            "the registry answered {method} `{path}` with {}: {}",
            reply.status,
            String::from_utf8_lossy(&reply.body).trim()
        )))
    }

    fn request(self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> std::io::Result<Reply> {
        let authorization = self.authorization.map(|value| ("Authorization", value));
        let headers: Vec<_> = headers.iter().copied().chain(authorization).collect();
        Endpoint::Tcp(self.address).send(method, path, &headers, body)
    }
}

fn layer(busybox: &Path) -> Result<Vec<u8>> {
    let program = fs::read(busybox).context(|| format!("reading `{}`", busybox.display()))?;
    let applets = run::output(run::command(&busybox.to_string_lossy()).arg("--list"))?;
    let mut archive = Archive::default();
    for name in ["bin", "dev", "etc", "home", "proc", "run", "sys", "usr", "var"] {
        archive.directory(name, 0o755, 0);
    }
    archive.directory("root", 0o700, 0);
    archive.directory("home/app", 0o755, 1000);
    archive.directory("tmp", 0o1777, 0);
    archive.symlink("sbin", "bin");
    archive.symlink("usr/bin", "../bin");
    archive.symlink("usr/sbin", "../bin");
    archive.file("etc/passwd", 0o644, PASSWD.as_bytes());
    archive.file("etc/group", 0o644, GROUP.as_bytes());
    archive.file("bin/busybox", 0o755, &program);
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        archive.symlink(&format!("bin/{applet}"), "busybox");
    }
    Ok(archive.finish())
}

fn config(layers: &[&str]) -> serde_json::Value {
    let made = json!({ "created": "2000-01-01T00:00:00Z", "created_by": "busybox --install" });
    json!({
        "architecture": architecture(),
        "os": "linux",
        "created": "2000-01-01T00:00:00Z",
        "config": {
            "Cmd": ["sh"],
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        },
        "rootfs": { "type": "layers", "diff_ids": layers },
        "history": vec![made; layers.len()],
    })
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The static program that test images are made of.
pub(super) fn busybox(layout: &Layout) -> Result<PathBuf> {
    let installed = run::find("busybox").filter(|program| is_static(program));
    if let Some(program) = installed {
        return Ok(program);
    }
    let unpacked = layout.service("busybox-static");
    let candidates = ["usr/bin/busybox", "bin/busybox"].map(|path| unpacked.join(path));
    if !candidates.iter().any(|path| path.is_file()) {
        packages::unpack("busybox-static", &unpacked)
            .context(|| "no static busybox is installed and none could be fetched".into())?;
    }
    candidates
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| Failure::new("the package `busybox-static` holds no busybox"))
}

/// A dynamic program names its loader near its beginning.
fn is_static(program: &Path) -> bool {
    let bytes = fs::read(program).unwrap_or_default();
    let head = &bytes[..bytes.len().min(4096)];
    let loader = |marker: &[u8]| head.windows(marker.len()).any(|window| window == marker);
    !head.is_empty() && !loader(b"/ld-linux") && !loader(b"/ld-musl") && !loader(b"/ld64")
}

fn sha256(bytes: &[u8]) -> Result<String> {
    let printed = run::filter(&mut run::command("sha256sum"), bytes)?;
    let printed = String::from_utf8_lossy(&printed);
    let digest = printed.split_whitespace().next().unwrap_or_default();
    Ok(format!("sha256:{digest}"))
}

fn hex(digest: &str) -> &str {
    digest.trim_start_matches("sha256:")
}
