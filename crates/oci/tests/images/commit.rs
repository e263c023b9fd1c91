//! An upper directory as one more layer.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::path::Path;

use hythe_oci::{Kind, Store, Stored};
use hythe_spec::ImageRef;
use rustix::fs::{CWD, FileType, Mode, XattrFlags};

use crate::support::*;
use crate::unpack::{attribute, is_opaque, is_whiteout};

async fn base(store: &Store) -> Stored {
    let hub = Hub::start();
    let archive = Archive::new().directory("d").file("d/old", b"old").file("gone", b"x").file("kept", b"k");
    let name = hub.add("1", &Image::of(&[archive.finish()]));
    store.pull(&registry(), &name, |_| ()).await.unwrap()
}

fn committed(store: &Store, base: &Stored, upper: &Path, name: &ImageRef) -> Result<Stored, hythe_oci::Error> {
    let labels = BTreeMap::from([("kept.by".to_owned(), "test".to_owned())]);
    store.commit(base, &store.copy_changes(upper)?, name, &labels)
}

fn whiteout(path: &Path) {
    rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
}

fn opaque_key() -> &'static str {
    if rustix::process::geteuid().is_root() { "trusted.overlay.opaque" } else { "user.overlay.opaque" }
}

#[tokio::test]
async fn changes_come_back_as_they_were_made() {
    let (directory, store) = store();
    let base = base(&store).await;
    let upper = directory.path().join("upper");
    let at = |below: &str| upper.join(below);
    std::fs::create_dir_all(at("d/inner")).unwrap();
    rustix::fs::lsetxattr(at("d"), opaque_key(), b"y", XattrFlags::empty()).unwrap();
    std::fs::write(at("d/inner/file"), "new").unwrap();
    std::fs::set_permissions(at("d/inner/file"), PermissionsExt::from_mode(0o4750)).unwrap();
    rustix::fs::lsetxattr(at("d/inner/file"), "user.note", b"a\nb\xff", XattrFlags::empty()).unwrap();
    std::fs::hard_link(at("d/inner/file"), at("second")).unwrap();
    symlink("/absolute", at("link")).unwrap();
    whiteout(&at("gone"));
    let long = format!("{}/{}", "l".repeat(120), "n".repeat(200));
    std::fs::create_dir(at(&long[..120])).unwrap();
    std::fs::write(at(&long), "long").unwrap();
    let name = "example.test/committed:1".parse::<ImageRef>().unwrap();
    let image = committed(&store, &base, &upper, &name).unwrap();
    assert_eq!((image.names.as_slice(), image.layers.len()), ([name.to_string()].as_slice(), 2));
    let config = image.config.config().as_ref().unwrap();
    assert_eq!(config.labels().as_ref().unwrap()["kept.by"], "test");
    let without = |image: &Stored| {
        let mut config = image.config.config().clone().unwrap_or_default();
        config.set_labels(None);
        config
    };
    assert_eq!(without(&image), without(&base));
    let layer = store.layers(&image).unwrap().pop().unwrap();
    assert!(is_opaque(&layer.join("d")) && is_whiteout(&layer.join("gone")));
    let [file, second] = ["d/inner/file", "second"].map(|path| layer.join(path).metadata().unwrap());
    assert_eq!((file.ino(), file.mode() & 0o7777), (second.ino(), 0o4750));
    assert_eq!(file.mtime_nsec(), at("second").metadata().unwrap().mtime_nsec());
    assert_eq!(attribute(&layer.join("second"), "user.note"), Some(b"a\nb\xff".to_vec()));
    assert_eq!(std::fs::read_link(layer.join("link")).unwrap(), Path::new("/absolute"));
    assert_eq!(std::fs::read(layer.join(&long)).unwrap(), b"long");
    let again = committed(&store, &base, &upper, &name).unwrap();
    assert_eq!(again.layers[1].digest, image.layers[1].digest, "the same changes are the same layer");
}

#[tokio::test]
async fn what_an_image_cannot_hold_is_refused_and_sockets_are_left_out() {
    let (directory, store) = store();
    let base = base(&store).await;
    let name = "example.test/committed:1".parse::<ImageRef>().unwrap();
    let upper = directory.path().join("upper");
    std::fs::create_dir(&upper).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(upper.join("socket")).unwrap();
    let image = committed(&store, &base, &upper, &name).unwrap();
    assert!(names(store.layers(&image).unwrap().last().unwrap()).is_empty());
    std::fs::write(upper.join(".wh.trap"), "").unwrap();
    let error = committed(&store, &base, &upper, &name).unwrap_err();
    assert!(error.kind() == Kind::Invalid && error.to_string().contains(".wh.trap"), "{error}");
    std::fs::remove_file(upper.join(".wh.trap")).unwrap();
    std::fs::create_dir(upper.join("moved")).unwrap();
    let key = opaque_key().replace("opaque", "redirect");
    rustix::fs::lsetxattr(upper.join("moved"), key.as_str(), b"/d", XattrFlags::empty()).unwrap();
    let error = committed(&store, &base, &upper, &name).unwrap_err();
    assert!(error.next_step().unwrap().contains("redirect_dir=off"), "{error}");
    assert_eq!(store.get(&name).unwrap(), image, "the image of before is untouched");
}
