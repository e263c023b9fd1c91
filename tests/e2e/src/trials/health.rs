//! Health checks: the image's own, and what a failed one says.

use serde_json::{Value, json};

use crate::files::{one, several, stays};
use crate::fixture::Fixture;
use crate::trial::trials;
use crate::wait;

trials!("health":
    an_image_check_is_used_and_goes_on_after_the_agents_restart Real,
    health_none_switches_an_image_check_off Real,
    an_image_check_without_a_command_is_not_used_and_said_so Real,
    a_dependency_whose_image_has_no_check_either_is_refused Every,
    an_exec_check_without_output_says_its_code Every,
);

/// Loads an image of one busybox whose check is this one; gives its name.
fn image(fixture: &Fixture<'_>, check: &Value) -> String {
    let name = format!("localhost/{}:1", fixture.service);
    let path = fixture.agent.path("image.tar");
    let own = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    std::fs::write(&path, archive(&name, check, own)).unwrap();
    fixture.hythe(&["image", "load", &path.display().to_string()]).ok();
    name
}

/// As `docker save` writes it (Docker Image Specification v1.2).
pub(super) fn archive(name: &str, check: &Value, architecture: &str) -> Vec<u8> {
    let busybox = std::env::var_os("HYTHE_TEST_BUSYBOX").unwrap_or_else(|| "/bin/busybox".into());
    let mut layer = tar::Builder::new(Vec::new());
    append(&mut layer, "bin/busybox", &std::fs::read(busybox).unwrap(), 0o755);
    for applet in ["sh", "test", "sleep", "rm", "touch"] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        layer.append_link(&mut header, format!("bin/{applet}"), "busybox").unwrap();
    }
    append(&mut layer, "run/note", b"note\n", 0o644);
    let layer = layer.into_inner().unwrap();
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": { "Env": ["PATH=/bin"], "Cmd": ["sh"], "Healthcheck": check },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", digest(&layer))] },
        "history": [{ "created_by": "a trial" }],
    });
    let config = serde_json::to_vec(&config).unwrap();
    let config_name = format!("{}.json", digest(&config));
    let manifest = json!([{ "Config": config_name, "RepoTags": [name], "Layers": ["layer.tar"] }]);
    let mut whole = tar::Builder::new(Vec::new());
    append(&mut whole, "manifest.json", &serde_json::to_vec(&manifest).unwrap(), 0o644);
    append(&mut whole, &config_name, &config, 0o644);
    append(&mut whole, "layer.tar", &layer, 0o644);
    whole.into_inner().unwrap()
}

fn append(archive: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8], mode: u32) {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(mode);
    archive.append_data(&mut header, name, bytes).unwrap();
}

fn digest(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Fails with words until `/ok` is there.
fn check() -> Value {
    let interval = 200_000_000_u64;
    json!({ "Test": ["CMD-SHELL", "test -e /ok || { echo not yet; exit 3; }"], "Interval": interval, "Retries": 2 })
}

fn removed(fixture: &Fixture<'_>, image: &str) {
    fixture.hythe(&["undeploy", &fixture.service]).ok();
    fixture.hythe(&["images", "remove", image]).ok();
}

fn of_service<'a>(fixture: &Fixture<'_>, component: &str, workloads: &'a [Value]) -> &'a Value {
    let name = format!("{}-{component}", fixture.service);
    workloads.iter().find(|workload| workload["name"] == name.as_str()).unwrap_or_else(|| panic!("{workloads:#?}"))
}

fn an_image_check_is_used_and_goes_on_after_the_agents_restart(fixture: &mut Fixture<'_>) {
    let image = image(fixture, &check());
    let db = format!("touch /ok; {}", stays("up"));
    let text = several(&fixture.service, &[("db", &db, ""), ("app", &stays("up"), "depends_on = { db = 'healthy' }")]);
    let text = text.replacen(crate::files::IMAGE, &image, 1);
    fixture.deploy(&text).ok();
    let workloads = fixture.workloads();
    let db = of_service(fixture, "db", &workloads);
    assert_eq!((&db["health"], &db["health_source"]), (&"healthy".into(), &"image".into()), "{db:#}");
    assert_eq!(of_service(fixture, "app", &workloads)["health_source"], "none");
    let status = fixture.hythe(&["status", &fixture.service]).ok();
    assert!(status.out.contains("healthy (image)"), "{status:?}");
    let name = format!("{}-db", fixture.service);
    let detail = fixture.hythe(&["inspect", &name]).ok().json();
    assert_eq!(detail["image_health"]["retries"], 2, "{detail:#}");
    fixture.hythe(&["explain", &fixture.file(&text)]).ok().says(&["health: the check of its image"]);
    let ids = fixture.ids();
    fixture.agent.restart();
    fixture.hythe(&["exec", &name, "rm", "/ok"]).ok();
    let look = || fixture.workload(&name);
    let unwell = wait::until("it is unhealthy", look, |workload| workload["health"] == "unhealthy");
    assert_eq!(unwell["message"], "probe failed 2 times: exit code 3: not yet", "{unwell:#}");
    assert_eq!(fixture.ids(), ids, "the same instances");
    removed(fixture, &image);
}

fn health_none_switches_an_image_check_off(fixture: &mut Fixture<'_>) {
    let image =
        image(fixture, &json!({ "Test": ["CMD", "test", "-e", "/never"], "Interval": 100_000_000, "Retries": 1 }));
    let text = |keys: &str| one(&fixture.service, &stays("up"), keys).replace(crate::files::IMAGE, &image);
    fixture.deploy(&text("health = 'none'")).ok();
    let it = fixture.it();
    assert_eq!((&it["health"], &it["health_source"]), (&"none".into(), &"none".into()), "{it:#}");
    fixture.deploy(&text("")).ends_with(1).says(&["exit code 1, without output"]);
    removed(fixture, &image);
}

fn an_image_check_without_a_command_is_not_used_and_said_so(fixture: &mut Fixture<'_>) {
    let image = image(fixture, &json!({ "Test": ["CMD-SHELL", ""] }));
    fixture.deploy(&one(&fixture.service, &stays("up"), "").replace(crate::files::IMAGE, &image)).ok();
    let it = fixture.it();
    assert_eq!((&it["state"], &it["health"]), (&"running".into(), &"none".into()), "{it:#}");
    let warned = fixture.events().into_iter().find(|event| event["kind"] == "warning").expect("a warning");
    let message = warned["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("no health check of its image is used: its command is empty"), "{message}");
    removed(fixture, &image);
}

fn a_dependency_whose_image_has_no_check_either_is_refused(fixture: &mut Fixture<'_>) {
    let text = several(
        &fixture.service,
        &[("db", &stays("up"), ""), ("app", &stays("up"), "depends_on = { db = 'healthy' }")],
    );
    fixture.deploy(&text).ends_with(1).says(&["has no health check, nor has its image"]);
}

fn an_exec_check_without_output_says_its_code(fixture: &mut Fixture<'_>) {
    let health = "health = { exec = ['test', '-e', '/never'], interval = '100ms', retries = 1 }";
    fixture.deploy(&one(&fixture.service, &stays("up"), health)).ends_with(1).says(&["exit code 1, without output"]);
}
