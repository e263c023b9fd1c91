//! Files of instances as archives.

use std::collections::BTreeMap;
use std::io::Read;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use hythe_runtime::{ArchiveInput, Error, ErrorKind, FileKind, InstanceId, InstanceRef, Plan};
use tar::{Builder, EntryType, Header};

use crate::failure::{Outcome, refused};
use crate::fixture::{Fixture, volume_mount};
use crate::need::Need::{Archives, Logs, Volumes};
use crate::trial::trials;

trials! { "archives":
    read_of_a_file_gives_it_under_its_name [Archives, Logs],
    read_of_a_directory_is_relative_to_it [Archives, Logs],
    write_of_what_was_read_gives_the_same [Archives, Logs],
    one_that_has_ended_is_read_and_written [Archives, Logs],
    one_that_never_ran_is_read_and_written [Archives],
    volume_of_one_that_does_not_run_is_reached_by_its_target [Archives, Volumes, Logs],
    look_says_what_is_there [Archives, Logs],
    absent_instance_or_file_is_not_found [Archives, Logs],
    relative_path_is_invalid [Archives, Logs],
    path_of_the_kernel_is_invalid [Archives, Logs],
    entry_that_leads_out_is_invalid_and_changes_nothing [Archives, Logs],
    directory_and_file_never_replace_each_other [Archives, Logs],
    write_to_a_file_as_directory_fails [Archives, Logs],
    incomplete_archive_fails [Archives, Logs],
    write_to_a_read_only_volume_is_conflict [Archives, Volumes, Logs],
    foreign_one_is_not_written_by_name [Archives, Logs],
}

/// What an archive has: by name its kind, mode and content or target.
pub(super) type Entries = BTreeMap<String, (EntryType, u32, Vec<u8>)>;

pub(super) fn entries(archive: &[u8]) -> Outcome<Entries> {
    let mut found = BTreeMap::new();
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let (kind, mode) = (entry.header().entry_type(), entry.header().mode()?);
        let mut content = Vec::new();
        match entry.link_name_bytes() {
            Some(target) => content.extend_from_slice(&target),
            None => drop(entry.read_to_end(&mut content)?),
        }
        found.insert(name, (kind, mode, content));
    }
    Ok(found)
}

pub(super) async fn read(fixture: &Fixture, id: &InstanceId, path: &str) -> Outcome<Vec<u8>> {
    let pieces = fixture.archives().read(&fixture.cx, &id.to_ref(), path).await?;
    let pieces: Vec<Bytes> = pieces.try_collect().await?;
    Ok(pieces.concat())
}

fn input(archive: &[u8]) -> ArchiveInput {
    let pieces: Vec<_> = archive.chunks(3000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    ArchiveInput::new(stream::iter(pieces).boxed())
}

pub(super) async fn write(fixture: &Fixture, id: &InstanceId, directory: &str, archive: &[u8]) -> Result<(), Error> {
    fixture.archives().write(&fixture.cx, &id.to_ref(), directory, &input(archive)).await
}

/// An archive of these files; a name with a slash at its end is a directory.
pub(super) fn archive(files: &[(&str, &str)]) -> Outcome<Vec<u8>> {
    let mut archive = Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = Header::new_gnu();
        header.set_mode(if name.ends_with('/') { 0o755 } else { 0o644 });
        header.set_size(content.len() as u64);
        if name.ends_with('/') {
            header.set_entry_type(EntryType::Directory);
        }
        // The library refuses names that lead out.
        header.as_gnu_mut().expect("it is one").name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        archive.append(&header, content.as_bytes())?;
    }
    Ok(archive.into_inner()?)
}

/// Runs this, and then waits to be stopped.
pub(super) fn after(fixture: &Fixture, script: &str) -> Plan {
    fixture.script(&format!("{script}; trap 'exit 0' TERM; echo ready; while :; do sleep 0.1; done"))
}

pub(super) async fn running(fixture: &Fixture, script: &str) -> Outcome<InstanceId> {
    fixture.ready(&after(fixture, script)).await
}

async fn read_of_a_file_gives_it_under_its_name(fixture: &Fixture) -> Outcome {
    let id = running(fixture, "mkdir -p /d; echo hello > /d/file").await?;
    let found = entries(&read(fixture, &id, "/d/file").await?)?;
    assert_eq!(found.keys().collect::<Vec<_>>(), ["file"]);
    assert_eq!(found["file"].2, b"hello\n");
    Ok(())
}

async fn read_of_a_directory_is_relative_to_it(fixture: &Fixture) -> Outcome {
    let id = running(fixture, "mkdir -p /d/e; echo one > /d/a; echo two > /d/e/b").await?;
    for path in ["/d", "/d/", "/d/."] {
        let found = entries(&read(fixture, &id, path).await?)?;
        assert_eq!(found.keys().collect::<Vec<_>>(), ["./", "a", "e/", "e/b"], "{path}");
        assert_eq!(found["e/b"].2, b"two\n");
    }
    Ok(())
}

async fn write_of_what_was_read_gives_the_same(fixture: &Fixture) -> Outcome {
    let id = running(fixture, "mkdir -p /d/e /copy; echo one > /d/a; echo two > /d/e/b").await?;
    let first = read(fixture, &id, "/d").await?;
    write(fixture, &id, "/copy", &first).await?;
    // Twice is as good as once.
    write(fixture, &id, "/copy", &first).await?;
    assert_eq!(entries(&read(fixture, &id, "/copy").await?)?, entries(&first)?);
    Ok(())
}

async fn round_trip(fixture: &Fixture, id: &InstanceId, directory: &str) -> Outcome {
    write(fixture, id, directory, &archive(&[("new/", ""), ("new/file", "brought")])?).await?;
    let found = entries(&read(fixture, id, &format!("{directory}/new")).await?)?;
    assert_eq!(found["file"].2, b"brought");
    Ok(())
}

async fn one_that_has_ended_is_read_and_written(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.script("mkdir -p /d; echo kept > /d/file")).await?;
    fixture.until_exited(&id).await?;
    assert_eq!(entries(&read(fixture, &id, "/d/file").await?)?["file"].2, b"kept\n");
    round_trip(fixture, &id, "/d").await
}

async fn one_that_never_ran_is_read_and_written(fixture: &Fixture) -> Outcome {
    let id = fixture.create(&fixture.script("true")).await?;
    assert!(read(fixture, &id, "/etc/passwd").await?.len() > 512);
    round_trip(fixture, &id, "/tmp").await
}

async fn volume_of_one_that_does_not_run_is_reached_by_its_target(fixture: &Fixture) -> Outcome {
    let volume = fixture.volume("data").await?;
    let mut plan = fixture.script("echo one > /data/one; [ ! -e /data/new/file ] || cat /data/new/file");
    plan.mounts = vec![volume_mount(&volume, "/data")];
    let id = fixture.run(&plan).await?;
    fixture.until_exited(&id).await?;
    assert_eq!(entries(&read(fixture, &id, "/data/one").await?)?["one"].2, b"one\n");
    assert_eq!(entries(&read(fixture, &id, "/data").await?)?["one"].2, b"one\n");
    round_trip(fixture, &id, "/data").await?;
    fixture.remove(&id).await?;
    plan.identity.attempt = 2;
    assert_eq!(fixture.output(&plan).await?, "brought\n");
    Ok(())
}

async fn look_says_what_is_there(fixture: &Fixture) -> Outcome {
    let id = running(fixture, "mkdir -p /d; printf 12345 > /d/file").await?;
    let id = &id.to_ref();
    let look = |path| async move { fixture.archives().look(&fixture.cx, id, path).await };
    let file = look("/d/file").await?;
    assert_eq!((file.kind, file.size, file.mode & 0o600), (FileKind::File, 5, 0o600));
    assert_eq!(look("/d").await?.kind, FileKind::Directory);
    assert_eq!(look("/").await?.kind, FileKind::Directory);
    Ok(())
}

async fn absent_instance_or_file_is_not_found(fixture: &Fixture) -> Outcome {
    let id = running(fixture, "true").await?;
    let archives = fixture.archives();
    for instance in [InstanceRef::id("0123456789abcdef"), InstanceRef::name(format!("{}-none", fixture.service))] {
        refused(archives.look(&fixture.cx, &instance, "/etc").await, ErrorKind::NotFound);
        refused(archives.read(&fixture.cx, &instance, "/etc").await.map(drop), ErrorKind::NotFound);
        let archive = input(&archive(&[("f", "x")])?);
        refused(archives.write(&fixture.cx, &instance, "/tmp", &archive).await, ErrorKind::NotFound);
    }
    refused(archives.look(&fixture.cx, &id.to_ref(), "/nothing/here").await, ErrorKind::NotFound);
    refused(archives.read(&fixture.cx, &id.to_ref(), "/nothing").await.map(drop), ErrorKind::NotFound);
    refused(write(fixture, &id, "/nothing", &archive(&[("f", "x")])?).await, ErrorKind::NotFound);
    Ok(())
}

async fn relative_path_is_invalid(fixture: &Fixture) -> Outcome {
    let id = running(fixture, "true").await?;
    let archives = fixture.archives();
    for path in ["", "etc", "./etc", "/etc\0"] {
        refused(archives.look(&fixture.cx, &id.to_ref(), path).await, ErrorKind::Invalid);
        refused(archives.read(&fixture.cx, &id.to_ref(), path).await.map(drop), ErrorKind::Invalid);
        refused(write(fixture, &id, path, &archive(&[("f", "x")])?).await, ErrorKind::Invalid);
    }
    Ok(())
}

async fn path_of_the_kernel_is_invalid(fixture: &Fixture) -> Outcome {
    let id = running(fixture, "true").await?;
    for path in ["/proc/self/environ", "/proc", "/sys/kernel"] {
        let read = fixture.archives().read(&fixture.cx, &id.to_ref(), path).await;
        refused(read.map(drop), ErrorKind::Invalid);
    }
    refused(write(fixture, &id, "/proc", &archive(&[("f", "x")])?).await, ErrorKind::Invalid);
    Ok(())
}

async fn entry_that_leads_out_is_invalid_and_changes_nothing(fixture: &Fixture) -> Outcome {
    let id = running(fixture, "mkdir -p /d/e").await?;
    for name in ["../out", "x/../../out"] {
        refused(write(fixture, &id, "/d/e", &archive(&[(name, "x")])?).await, ErrorKind::Invalid);
    }
    let found = entries(&read(fixture, &id, "/d").await?)?;
    assert_eq!(found.keys().collect::<Vec<_>>(), ["./", "e/"]);
    Ok(())
}

async fn directory_and_file_never_replace_each_other(fixture: &Fixture) -> Outcome {
    let id = running(fixture, "mkdir -p /d/directory; echo old > /d/file").await?;
    refused(write(fixture, &id, "/d", &archive(&[("directory", "x")])?).await, ErrorKind::Conflict);
    refused(write(fixture, &id, "/d", &archive(&[("file/", ""), ("file/in", "x")])?).await, ErrorKind::Conflict);
    let found = entries(&read(fixture, &id, "/d").await?)?;
    assert_eq!(found.keys().collect::<Vec<_>>(), ["./", "directory/", "file"]);
    assert_eq!(found["file"].2, b"old\n");
    Ok(())
}

async fn write_to_a_file_as_directory_fails(fixture: &Fixture) -> Outcome {
    let id = running(fixture, "echo old > /file").await?;
    let archives = fixture.archives();
    refused(archives.look(&fixture.cx, &id.to_ref(), "/file/").await, ErrorKind::Invalid);
    refused(archives.read(&fixture.cx, &id.to_ref(), "/file/").await.map(drop), ErrorKind::Invalid);
    let error = write(fixture, &id, "/file", &archive(&[("x", "new")])?).await.expect_err("it is no directory");
    assert!(matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Conflict), "{error:?}");
    assert_eq!(entries(&read(fixture, &id, "/file").await?)?["file"].2, b"old\n");
    Ok(())
}

async fn incomplete_archive_fails(fixture: &Fixture) -> Outcome {
    let id = running(fixture, "mkdir -p /d; echo old > /d/b").await?;
    let whole = archive(&[("a", "first"), ("b", &"x".repeat(100_000))])?;
    let cut = Error::new(ErrorKind::Unavailable, "trial", "the source broke");
    let pieces = [Ok(Bytes::copy_from_slice(&whole[..60_000])), Err(cut)];
    let broken = ArchiveInput::new(stream::iter(pieces).boxed());
    let outcome = fixture.archives().write(&fixture.cx, &id.to_ref(), "/d", &broken).await;
    assert!(refused(outcome, ErrorKind::Unavailable).message().contains("the source broke"));
    refused(write(fixture, &id, "/d", &whole[..60_000]).await, ErrorKind::Invalid);
    Ok(())
}

async fn write_to_a_read_only_volume_is_conflict(fixture: &Fixture) -> Outcome {
    let volume = fixture.volume("data").await?;
    let mut plan = after(fixture, "true");
    let mut mount = volume_mount(&volume, "/data");
    mount.read_only = true;
    plan.mounts = vec![mount];
    let id = fixture.ready(&plan).await?;
    refused(write(fixture, &id, "/data", &archive(&[("f", "x")])?).await, ErrorKind::Conflict);
    assert_eq!(entries(&read(fixture, &id, "/data").await?)?.len(), 1);
    Ok(())
}

async fn foreign_one_is_not_written_by_name(fixture: &Fixture) -> Outcome {
    let mut plan = after(fixture, "true");
    plan.identity.owner = format!("{}-other", fixture.owner);
    let id = fixture.ready(&plan).await?;
    // Another agent's is reached by its id alone, as every change is.
    write(fixture, &id, "/tmp", &archive(&[("f", "x")])?).await?;
    let how = hythe_runtime::Stop { signal: None, grace: Duration::from_secs(5) };
    fixture.runtime().stop(&fixture.cx, &id.to_ref(), &how).await?;
    fixture.remove(&id).await
}
