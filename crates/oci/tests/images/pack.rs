//! Programs packed with what they need, and run from nothing else.

use std::path::{Path, PathBuf};
use std::process::Command;

use hythe_oci::{Error, Kind, Pack, Store, Stored};

use crate::support::*;

async fn pack(store: &Store, request: &Pack) -> Result<Stored, Error> {
    store.pack(request, &"example.test/packed:1".parse().unwrap()).await
}

fn programs(paths: &[&Path]) -> Pack {
    Pack { binaries: paths.iter().map(|path| path.to_path_buf()).collect(), ..Pack::default() }
}

/// Compiles C; the machine that builds this crate has a compiler.
fn compile(directory: &Path, output: &str, source: &str, more: &[&str]) -> PathBuf {
    let (input, output) = (directory.join(format!("{}.c", output.replace('/', "-"))), directory.join(output));
    std::fs::create_dir_all(output.parent().unwrap()).unwrap();
    std::fs::write(&input, source).unwrap();
    let status = Command::new("cc").arg("-o").arg(&output).arg(&input).args(more).status().unwrap();
    assert!(status.success());
    output
}

/// Output of a program with the unpacked image as its root.
fn run(store: &Store, image: &Stored, words: &[&str]) -> Option<String> {
    let root = store.layers(image).unwrap().remove(0);
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root may change the root directory");
        return None;
    }
    let mut chroot = Command::new("chroot");
    chroot.arg(root).args(words).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let mut output = chroot.output().unwrap();
    // A child that another test forks just then has the file open for writing until it is another program.
    while String::from_utf8_lossy(&output.stderr).contains("Text file busy") {
        output = chroot.output().unwrap();
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn a_program_runs_with_what_was_packed_and_nothing_else() {
    let (_directory, store) = store();
    let own = std::env::current_exe().unwrap();
    let image = pack(&store, &programs(&[&own])).await.unwrap();
    let place = format!("/usr/bin/{}", own.file_name().unwrap().to_str().unwrap());
    let config = image.config.config().as_ref().unwrap();
    assert_eq!(config.entrypoint().as_deref(), Some([place.clone()].as_slice()));
    assert_eq!(config.env().as_ref().unwrap().len(), 1);
    if let Some(listed) = run(&store, &image, &[&place, "--list"]) {
        assert!(listed.contains("pack::a_program_runs_with_what_was_packed_and_nothing_else"));
    }
}

#[tokio::test]
async fn libraries_are_found_as_the_linker_finds_them() {
    let (home, store) = store();
    let home = home.path();
    // A library beside the program, which needs one that only its own search path finds; one of them under two names.
    let inner = compile(
        home,
        "private/libinner.so.1",
        "int inner(void){return 40;}",
        &["-shared", "-fPIC", "-Wl,-soname,libinner.so.1"],
    );
    let outer_source = "int inner(void); int outer(void){return inner()+2;}";
    let private = format!("-Wl,--enable-new-dtags,-rpath,{}", home.join("private").display());
    let outer = compile(
        home,
        "app/lib/libouter.so.1.2",
        outer_source,
        &["-shared", "-fPIC", "-Wl,-soname,libouter.so.1", &private, inner.to_str().unwrap()],
    );
    std::os::unix::fs::symlink("libouter.so.1.2", home.join("app/lib/libouter.so.1")).unwrap();
    let source = "#include <stdio.h>\n#include <math.h>\nint outer(void); int main(int c, char**v){printf(\"%d %.0f\\n\", outer(), sqrt(c*16));return 0;}";
    let tags = ["-Wl,--disable-new-dtags,-rpath,$ORIGIN/../lib", "-Wl,--allow-shlib-undefined", "-lm"];
    let program = compile(home, "app/bin/tool", source, &[&[outer.to_str().unwrap()][..], &tags].concat());
    let request = Pack { files: vec![(home.join("app/lib"), "/data".into())], ..programs(&[&program]) };
    let image = pack(&store, &request).await.unwrap();
    let root = store.layers(&image).unwrap().remove(0);
    // Beside the program there as it is here; the private one at the very path that is written in the library.
    assert!(root.join("usr/lib/libouter.so.1").is_file() && root.join(inner.strip_prefix("/").unwrap()).is_file());
    assert!(root.join("data/libouter.so.1").is_symlink() && root.join("data/libouter.so.1.2").is_file());
    if let Some(said) = run(&store, &image, &["/usr/bin/tool"]) {
        assert_eq!(said, "42 4\n");
    }
    std::fs::remove_file(&inner).unwrap();
    let error = pack(&store, &request).await.unwrap_err();
    assert!(error.kind() == Kind::NotFound && error.to_string().contains("libinner.so.1"), "{error}");
}

#[tokio::test]
async fn a_static_program_stands_alone() {
    let (home, store) = store();
    let program = compile(home.path(), "tiny", "int main(void){return 0;}", &["-static"]);
    let image = pack(&store, &programs(&[&program])).await.unwrap();
    let root = store.layers(&image).unwrap().remove(0);
    assert_eq!((names(&root), names(&root.join("usr/bin"))), (vec!["usr".to_owned()], vec!["tiny".to_owned()]));
    run(&store, &image, &["/usr/bin/tiny"]);
}

#[tokio::test]
async fn the_same_input_gives_the_same_digest_wherever_and_whenever() {
    let own = std::env::current_exe().unwrap();
    let mut digests = Vec::new();
    for mode in [0o700, 0o755] {
        let (home, store) = store();
        let at = |name: &str| home.path().join(name);
        for name in ["b", "a", "c"] {
            std::fs::create_dir_all(at("files/sub")).unwrap();
            std::fs::write(at("files/sub").join(name), name).unwrap();
        }
        // Neither where it is nor whose it is, its time or its exact mode counts.
        std::fs::copy(&own, at("program")).unwrap();
        std::fs::set_permissions(at("program"), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        let mut request = programs(&[&at("program")]);
        request.files = vec![(at("files"), "/etc/../etc/app".into())];
        request.env = vec!["B=2".into(), "A=1".into()];
        digests.push(pack(&store, &request).await.unwrap().digest);
    }
    assert_eq!(digests[0], digests[1]);
}

#[tokio::test]
async fn what_cannot_be_packed_is_reported() {
    let (home, store) = store();
    let (script, own) = (home.path().join("script"), std::env::current_exe().unwrap());
    std::fs::write(&script, "#!/bin/sh\n").unwrap();
    std::fs::write(home.path().join("broken"), b"\x7fELF").unwrap();
    let with = |from: &Path, there: &str| Pack { files: vec![(from.to_owned(), there.into())], ..programs(&[&own]) };
    let place = format!("/usr/bin/{}", own.file_name().unwrap().to_str().unwrap());
    let cases = [
        (programs(&[&script]), Kind::Invalid, "not an ELF program"),
        (programs(&[&home.path().join("broken")]), Kind::Invalid, "not an ELF program"),
        (programs(&[Path::new("/absent")]), Kind::NotFound, "/absent"),
        (programs(&[]), Kind::Invalid, "no program"),
        (with(Path::new("/absent"), "/x"), Kind::NotFound, "/absent"),
        (with(&script, "relative"), Kind::Invalid, "no place in an image"),
        (with(&script, "/etc/.wh.x"), Kind::Invalid, "no place in an image"),
        (with(&script, &place), Kind::Invalid, "two things"),
        (with(&script, "/usr"), Kind::Invalid, "two things"),
        (with(&script, &format!("{place}/below")), Kind::Invalid, "two things"),
        (with(Path::new("/dev/null"), "/x"), Kind::Invalid, "neither a file nor a directory"),
    ];
    for (request, kind, words) in cases {
        let error = pack(&store, &request).await.unwrap_err();
        assert!(error.kind() == kind && error.to_string().contains(words), "{words}: {error}");
    }
    assert!(store.list().unwrap().is_empty());
}
