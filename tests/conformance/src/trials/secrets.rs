//! Secrets: files of the host in memory, whose values are in nothing that an engine is told or tells.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};

use hythe_runtime::{ErrorKind, Feature, Plan, PlanSecret};

use crate::failure::{Outcome, refused};
use crate::fixture::Fixture;
use crate::need::Need::{Can, Exec, Logs, Owners, Real, Snapshots};
use crate::trial::trials;

trials! { "secrets":
    secret_file_is_mounted_read_only [Logs, Can(Feature::Secrets)],
    secret_file_keeps_owner_and_mode [Real, Logs, Owners, Can(Feature::Secrets)],
    secret_file_at_another_path_is_mounted [Logs, Can(Feature::Secrets)],
    inspect_and_explain_show_no_secret [Can(Feature::Secrets)],
    restart_keeps_the_secret [Exec, Can(Feature::Secrets), Can(Feature::RestartInPlace)],
    create_with_missing_secret_file_is_invalid [Can(Feature::Secrets)],
    snapshot_has_no_secret [Exec, Snapshots, Can(Feature::Secrets)],
}

const VALUE: &str = "zq-s3cret-zq";

/// A plan with one secret at this path, and the directory with its file.
fn with_secret(plan: Plan, target: &str) -> Outcome<(Plan, tempfile::TempDir)> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("0");
    fs::write(&path, VALUE)?;
    fs::set_permissions(&path, Permissions::from_mode(0o444))?;
    let secret = PlanSecret { target: target.to_owned(), path: path.display().to_string() };
    Ok((Plan { secrets: vec![secret], ..plan }, directory))
}

async fn secret_file_is_mounted_read_only(fixture: &Fixture) -> Outcome {
    let script = fixture.script("cat /run/secrets/db; echo x > /run/secrets/db || echo refused");
    let (plan, _directory) = with_secret(script, "/run/secrets/db")?;
    let finished = fixture.finish(&plan).await?;
    assert_eq!(finished.stdout, format!("{VALUE}refused\n"), "{}", finished.stderr);
    Ok(())
}

async fn secret_file_keeps_owner_and_mode(fixture: &Fixture) -> Outcome {
    let script = fixture.script("ls -ln /run/secrets/db; cat /run/secrets/db");
    let (mut plan, directory) = with_secret(script, "/run/secrets/db")?;
    plan.user = Some("1000:1001".to_owned());
    let path = directory.path().join("0");
    let is_root = chown(&path, Some(1000), Some(1001)).is_ok();
    // An unprivileged user gives files to nobody; then everybody may read them.
    fs::set_permissions(&path, Permissions::from_mode(if is_root { 0o400 } else { 0o444 }))?;
    let output = fixture.output(&plan).await?;
    assert!(output.trim_end().ends_with(VALUE), "{output}");
    let expected = if is_root { ("-r--------", " 1000 ", " 1001 ") } else { ("-r--r--r--", " 0 ", " 0 ") };
    assert!(output.starts_with(expected.0) && output.contains(expected.1) && output.contains(expected.2), "{output}");
    Ok(())
}

async fn secret_file_at_another_path_is_mounted(fixture: &Fixture) -> Outcome {
    let (plan, _directory) = with_secret(fixture.script("cat /etc/app/deep/key"), "/etc/app/deep/key")?;
    assert_eq!(fixture.output(&plan).await?.trim_end(), VALUE);
    Ok(())
}

async fn inspect_and_explain_show_no_secret(fixture: &Fixture) -> Outcome {
    let (plan, _directory) = with_secret(fixture.server(), "/run/secrets/db")?;
    let explained = fixture.runtime().explain(&plan)?.to_string();
    assert!(explained.contains("/run/secrets/db") && !explained.contains(VALUE), "{explained}");
    let id = fixture.run(&plan).await?;
    let observed = serde_json::to_string(&fixture.inspect(&id).await?)?;
    assert!(observed.contains("/run/secrets/db") && !observed.contains(VALUE), "{observed}");
    Ok(())
}

async fn restart_keeps_the_secret(fixture: &Fixture) -> Outcome {
    let (plan, _directory) = with_secret(fixture.server(), "/run/secrets/db")?;
    let id = fixture.run(&plan).await?;
    fixture.stop(&id, 0).await?;
    fixture.start(&id).await?;
    assert_eq!(fixture.exec(&id, &["cat", "/run/secrets/db"]).await?.text(), VALUE);
    Ok(())
}

async fn create_with_missing_secret_file_is_invalid(fixture: &Fixture) -> Outcome {
    let (plan, directory) = with_secret(fixture.server(), "/run/secrets/db")?;
    fs::remove_file(directory.path().join("0"))?;
    refused(fixture.runtime().create(&fixture.cx, &plan).await, ErrorKind::Invalid);
    assert!(!directory.path().join("0").exists(), "the file was made");
    Ok(())
}

async fn snapshot_has_no_secret(fixture: &Fixture) -> Outcome {
    let (plan, _directory) = with_secret(fixture.server(), "/run/secrets/db")?;
    let id = fixture.run(&plan).await?;
    let image = fixture.image_name("kept");
    fixture.commit(&id, &plan, &image).await?;
    let mut later = fixture.server();
    later.identity.attempt += 1;
    later.image = image;
    let id = fixture.run(&later).await?;
    let listed = fixture.exec(&id, &["sh", "-c", "cat /run/secrets/* 2>&1; env"]).await?.text();
    assert!(!listed.contains(VALUE), "{listed}");
    Ok(())
}
