//! Files and data of a workload go in and out.

use std::fs;

use crate::files::{one, stays};
use crate::fixture::Fixture;
use crate::trial::trials;

trials!("data":
    cp_brings_files_in_and_out Every,
    cp_of_what_is_absent_is_not_found Every,
    data_comes_back_from_its_archive Every,
    import_of_a_truncated_archive_is_refused_and_changes_nothing Every,
);

/// One with a volume.
fn deployed(fixture: &Fixture<'_>) {
    let script = format!("test -e /data/file || echo first > /data/file; {}", stays("up"));
    fixture.deploy(&one(&fixture.service, &script, "volumes = ['data:/data']\nstop_grace = '1s'")).ok();
}

#[track_caller]
fn inside(fixture: &Fixture<'_>, script: &str) -> String {
    fixture.hythe(&["exec", &fixture.service, "--", "sh", "-c", script]).ok().out.trim().to_owned()
}

fn at(fixture: &Fixture<'_>, path: &str) -> String {
    format!("{}:{path}", fixture.service)
}

fn cp_brings_files_in_and_out(fixture: &mut Fixture<'_>) {
    deployed(fixture);
    let home = tempfile::tempdir().unwrap();
    let here = |path: &str| home.path().join(path).display().to_string();
    fs::create_dir_all(here("tree/below")).unwrap();
    fs::write(here("tree/below/file"), "brought").unwrap();
    fixture.hythe(&["cp", &here("tree"), &at(fixture, "/data")]).ok();
    fixture.hythe(&["cp", &here("tree/."), &at(fixture, "/data/new")]).ok();
    fixture.hythe(&["cp", &here("tree/below/file"), &at(fixture, "/data/renamed")]).ok();
    let seen = inside(fixture, "cat /data/tree/below/file /data/new/below/file /data/renamed");
    assert_eq!(seen, "broughtbroughtbrought");
    fixture.hythe(&["cp", &at(fixture, "/data/tree"), &here("copy")]).ok();
    fixture.hythe(&["cp", &at(fixture, "/data/file"), &here("copy")]).ok();
    assert_eq!(fs::read_to_string(here("copy/below/file")).unwrap(), "brought");
    assert_eq!(fs::read_to_string(here("copy/file")).unwrap(), "first\n");
    // Also where it does not run.
    fixture.hythe(&["stop", &fixture.service]).ok();
    fixture.hythe(&["cp", &at(fixture, "/data/renamed"), &here("stopped")]).ok();
    assert_eq!(fs::read_to_string(here("stopped")).unwrap(), "brought");
}

fn cp_of_what_is_absent_is_not_found(fixture: &mut Fixture<'_>) {
    deployed(fixture);
    let home = tempfile::tempdir().unwrap();
    let here = home.path().join("copy").display().to_string();
    fixture.hythe(&["cp", &at(fixture, "/nothing"), &here]).ends_with(3).says(&["/nothing"]);
    fixture.hythe(&["cp", "nobody:/etc", &here]).ends_with(3).says(&["nobody"]);
    assert!(!home.path().join("copy").exists());
}

fn data_comes_back_from_its_archive(fixture: &mut Fixture<'_>) {
    deployed(fixture);
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("data.tar").display().to_string();
    fixture.hythe(&["data", "export", &fixture.service, "-o", &file]).ok().says(&["sha256:"]);
    inside(fixture, "echo broken > /data/file; echo other > /data/other");
    fixture.hythe(&["data", "import", &fixture.service, &file]).ends_with(4).says(&["in use by", "hythe stop"]);
    fixture.hythe(&["stop", &fixture.service]).ok();
    fixture.hythe(&["data", "import", &fixture.service, &file]).ok();
    fixture.hythe(&["start", &fixture.service]).ok();
    assert_eq!(inside(fixture, "cat /data/file /data/other"), "first\nother");
    inside(fixture, "echo broken > /data/file");
    fixture.hythe(&["data", "import", "--live", &at(fixture, "data"), &file]).ok();
    assert_eq!(inside(fixture, "cat /data/file"), "first");
}

fn import_of_a_truncated_archive_is_refused_and_changes_nothing(fixture: &mut Fixture<'_>) {
    deployed(fixture);
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("data.tar");
    let name = file.display().to_string();
    fixture.hythe(&["data", "export", &at(fixture, "data"), "-o", &name]).ok();
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 600]).unwrap();
    inside(fixture, "echo second > /data/file");
    fixture.hythe(&["data", "import", "--live", &fixture.service, &name]).ends_with(2).says(&["truncated"]);
    assert_eq!(inside(fixture, "cat /data/file"), "second");
}
