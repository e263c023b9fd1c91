//! What archives keep of files, and how they are streamed.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt};
use hythe_runtime::{ArchiveInput, Error, ErrorKind, FileKind, InstanceId};
use tar::{Builder, EntryType, Header};
use tokio::io::{AsyncSeekExt, AsyncWriteExt};
use tokio::sync::Mutex;
use tokio_util::io::ReaderStream;

use super::archives::{after, archive, entries, read, running, write};
use crate::failure::Outcome;
use crate::fixture::{Fixture, volume_mount};
use crate::need::Need::{ArchiveSetuid, Archives, Exec, Logs, Owners, Real, Volumes};
use crate::trial::trials;

trials! { "archives":
    links_modes_and_odd_names_come_back [Real, Archives, Exec, Logs],
    setuid_of_a_file_with_two_names_comes_back [Real, Archives, ArchiveSetuid, Exec, Logs],
    owners_are_read_where_look_says_so [Real, Archives, Logs, Volumes, Owners],
    owners_of_an_archive_are_written [Real, Archives, Exec, Logs, Volumes, Owners],
    link_in_a_path_stays_in_the_instance [Real, Archives, Logs],
    sparse_file_comes_back [Real, Archives, Exec, Logs],
    stream_of_200_mib_is_read_in_bounded_memory [Real, Archives, Exec, Logs],
    reading_that_is_dropped_ends [Real, Archives, Exec, Logs],
}

const ODD: &str = "mkdir -p /d/e && echo x > /d/e/f && chmod 711 /d/e/f && echo s > /d/e/setuid && chmod 4755 /d/e/setuid && chmod 1777 /d/e && ln -s e/nowhere /d/link \
    && ln /d/e/f /d/hard && mkfifo /d/pipe && echo y > \"/d/a b\" && echo z > /d/$(printf 'n%.0s' $(seq 200)) \
    && echo w > \"/d/$(printf 'line\\nbreak')\" && echo v > /d/.wh.kept && touch -d @1000000000 /d/e/f";
const SEEN: &str = "cd $0; stat -c '%a %Y' e/f; stat -c %a e/setuid e; readlink link; [ hard -ef e/f ] && echo same; \
    [ -p pipe ] && echo pipe; cat 'a b' n* line*; cat .wh.kept; ls -A | wc -l";

async fn links_modes_and_odd_names_come_back(fixture: &Fixture) -> Outcome {
    let id = running(fixture, &format!("mkdir /copy && {ODD}")).await?;
    let archive = read(fixture, &id, "/d").await?;
    write(fixture, &id, "/copy", &archive).await?;
    let id = &id;
    let seen = |at| async move { Outcome::Ok(fixture.exec(id, &["sh", "-c", SEEN, at]).await?.text()) };
    let (first, copy) = (seen("/d").await?, seen("/copy").await?);
    assert_eq!(copy, "711 1000000000\n4755\n1777\ne/nowhere\nsame\npipe\ny\nz\nw\nv\n8", "the original: {first}");
    assert_eq!(copy, first);
    Ok(())
}

async fn setuid_of_a_file_with_two_names_comes_back(fixture: &Fixture) -> Outcome {
    let id = running(fixture, "mkdir -p /d /copy; echo x > /d/one; chmod 4711 /d/one; ln /d/one /d/two").await?;
    let archive = read(fixture, &id, "/d").await?;
    write(fixture, &id, "/copy", &archive).await?;
    let seen = fixture.exec(&id, &["stat", "-c", "%a %h", "/copy/one", "/copy/two"]).await?.text();
    assert_eq!(seen, "4711 2\n4711 2");
    Ok(())
}

async fn owners_are_read_where_look_says_so(fixture: &Fixture) -> Outcome {
    let volume = fixture.volume("data").await?;
    let script = "for at in /data /own; do mkdir -p $at/d/e; echo x > $at/d/f; chown 1000:1000 $at/d/e; \
        chown 7:8 $at/d/f; ln -s f $at/d/l; chown -h 9:9 $at/d/l; done";
    let mut plan = after(fixture, script);
    plan.mounts = vec![volume_mount(&volume, "/data")];
    let id = fixture.ready(&plan).await?;
    for path in ["/data/d", "/own/d"] {
        let owners = fixture.archives().look(&fixture.cx, &id.to_ref(), path).await?.owners;
        let archive = read(fixture, &id, path).await?;
        let mut found = BTreeMap::new();
        for entry in tar::Archive::new(archive.as_slice()).entries()? {
            let entry = entry?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            found.insert(name, (entry.header().uid()?, entry.header().gid()?));
        }
        let of = |uid, gid| if owners { (uid, gid) } else { (0, 0) };
        let expected = [("./", (0, 0)), ("e/", of(1000, 1000)), ("f", of(7, 8)), ("l", of(9, 9))];
        let expected: BTreeMap<_, _> = expected.map(|(name, owner)| (name.to_owned(), owner)).into();
        assert_eq!(found, expected, "{path}, owners: {owners}");
    }
    Ok(())
}

async fn owners_of_an_archive_are_written(fixture: &Fixture) -> Outcome {
    let volume = fixture.volume("data").await?;
    let mut plan = after(fixture, "mkdir /own");
    plan.mounts = vec![volume_mount(&volume, "/data")];
    let id = fixture.ready(&plan).await?;
    let mut archive = Builder::new(Vec::new());
    for (name, uid, gid) in [("e/", 1000, 1000), ("e/f", 7, 8)] {
        let mut header = Header::new_gnu();
        header.set_entry_type(if name.ends_with('/') { EntryType::Directory } else { EntryType::Regular });
        header.set_uid(uid);
        header.set_gid(gid);
        header.set_mode(0o755);
        header.set_size(0);
        archive.append_data(&mut header, name, std::io::empty())?;
    }
    let archive = archive.into_inner()?;
    for directory in ["/data", "/own"] {
        write(fixture, &id, directory, &archive).await?;
        let script = "cd $0 && stat -c %u:%g . e e/f";
        let seen = fixture.exec(&id, &["sh", "-c", script, directory]).await?.text();
        assert_eq!(seen, "0:0\n1000:1000\n7:8", "{directory}");
    }
    Ok(())
}

async fn link_in_a_path_stays_in_the_instance(fixture: &Fixture) -> Outcome {
    let script =
        "mkdir -p /d/in; ln -s / /d/root; ln -s ../../../../../../../.. /d/up; ln -s /d/in /d/to; echo own > /own";
    let id = running(fixture, script).await?;
    for path in ["/d/root/own", "/d/up/own"] {
        assert_eq!(entries(&read(fixture, &id, path).await?)?["own"].2, b"own\n", "{path}");
    }
    write(fixture, &id, "/d/to/", &archive(&[("new", "x")])?).await?;
    assert_eq!(entries(&read(fixture, &id, "/d/in").await?)?["new"].2, b"x");
    let target = fixture.archives().look(&fixture.cx, &id.to_ref(), "/d/in/new").await?;
    assert_eq!(target.kind, FileKind::File);
    Ok(())
}

async fn sparse_file_comes_back(fixture: &Fixture) -> Outcome {
    let id = running(fixture, "mkdir -p /d /copy; echo end | dd of=/d/sparse bs=1M seek=64 2>/dev/null").await?;
    copy(fixture, &id, "/d", "/copy").await?;
    let look = "stat -c %s /copy/sparse; tail -c 4 /copy/sparse; cmp /d/sparse /copy/sparse && echo same";
    assert_eq!(fixture.exec(&id, &["sh", "-c", look]).await?.text(), "67108868\nend\nsame");
    Ok(())
}

const LARGE: u64 = 200 << 20;
/// What may be in memory on the way, and what else this program does meanwhile.
const BOUND: u64 = 64 << 20;
/// Another trial may need more in one of them; an archive that is kept in memory shows in each.
const ATTEMPTS: usize = 3;
static MEASURING: Mutex<()> = Mutex::const_new(());

/// The most memory that this process has used, in bytes, since it was last reset.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok()).unwrap_or(u64::MAX >> 10) << 10
}

async fn stream_of_200_mib_is_read_in_bounded_memory(fixture: &Fixture) -> Outcome {
    let id = running(fixture, "mkdir -p /d /copy; dd if=/dev/urandom of=/d/large bs=1M count=200 2>/dev/null").await?;
    let mut grown = 0;
    for _ in 0..ATTEMPTS {
        grown = growth(copy(fixture, &id, "/d/large", "/copy")).await?;
        let compared = fixture.exec(&id, &["cmp", "/d/large", "/copy/large"]).await?;
        assert_eq!(compared.code, 0, "{compared:?}");
        if grown < BOUND {
            return Ok(());
        }
    }
    panic!("{grown} bytes more for an archive of {LARGE}")
}

/// By how much the memory of this process has grown at most while this was done.
async fn growth(work: impl Future<Output = Outcome>) -> Outcome<u64> {
    // A measurement that begins meanwhile resets the peak.
    let _one = MEASURING.lock().await;
    // 5: the peak is what is used now.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let before = peak();
    work.await?;
    Ok(peak().saturating_sub(before))
}

/// Reads an archive into a file, and then writes it: engines lock an instance while it is read.
async fn copy(fixture: &Fixture, id: &InstanceId, from: &str, to: &str) -> Outcome {
    let mut file = tokio::fs::File::from_std(tempfile::tempfile()?);
    let mut stream = fixture.archives().read(&fixture.cx, &id.to_ref(), from).await?;
    while let Some(piece) = stream.next().await {
        file.write_all(&piece?).await?;
    }
    file.rewind().await?;
    let pieces = ReaderStream::with_capacity(file, 64 << 10)
        .map_err(|error| Error::new(ErrorKind::Internal, "trial", error.to_string()));
    fixture.archives().write(&fixture.cx, &id.to_ref(), to, &ArchiveInput::new(pieces.boxed())).await?;
    Ok(())
}

async fn reading_that_is_dropped_ends(fixture: &Fixture) -> Outcome {
    let id = running(fixture, "mkdir -p /d; dd if=/dev/zero of=/d/large bs=1M count=64 2>/dev/null").await?;
    let mut stream = fixture.archives().read(&fixture.cx, &id.to_ref(), "/d").await?;
    assert!(stream.next().await.is_some_and(|piece| piece.is_ok()));
    drop(stream);
    fixture.stop(&id, 5000).await?;
    fixture.remove(&id).await
}
