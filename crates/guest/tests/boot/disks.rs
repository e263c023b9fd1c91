//! Volumes, file systems in memory, and a root that nobody writes to.

use hythe_guest::protocol::{Config, Mount, Source};
use hythe_guest::volume_disk;

use crate::needs_vm;
use crate::vm::{Vm, process};

#[test]
fn volume_gets_the_files_of_the_image_and_keeps_its_own() {
    let prepared = needs_vm!();
    let volume = prepared.folder.path().join("volume.ext4");
    volume_disk(&volume, 64 << 20, "data").unwrap();
    let drive = format!("file={},if=none,id=d1,format=raw", volume.display());
    let more = ["-drive", &drive, "-device", "virtio-blk-pci,drive=d1,serial=data"];
    let mount = |read_only| Mount {
        source: Source::Disk { serial: "data".to_owned(), copy_up: true },
        target: "/data".to_owned(),
        read_only,
    };

    let script = "ls -a /data | tr '\\n' ' '; stat -c '%a %u' /data/seed; echo kept > /data/new; rm /data/seed";
    let mut config = Config::new(process(&["sh", "-c", script]));
    config.mounts = vec![mount(false)];
    let mut vm = Vm::start(&prepared, &config, &more);
    assert_eq!(vm.finish().0.code, 0, "{}", vm.words());
    assert_eq!(vm.stdout(), ". .. seed 640 1000\n");

    let script = "cat /data/new; ls /data; echo no > /data/new || echo refused";
    let mut config = Config::new(process(&["sh", "-c", script]));
    config.mounts = vec![mount(true)];
    let mut vm = Vm::start(&prepared, &config, &more);
    assert_eq!(vm.finish().0.code, 0, "{}", vm.words());
    assert_eq!(vm.stdout(), "kept\nnew\nrefused\n");
}

#[test]
fn read_only_root_with_tmpfs_takes_files_in_memory_alone() {
    let prepared = needs_vm!();
    let script = "touch /etc/x || echo refused; echo in memory > /run/app/x && cat /run/app/x; \
                  stat -c %a /run/app; cat /etc/hostname; cat /etc/resolv.conf; ls -d /new/place";
    let mut config = Config::new(process(&["sh", "-c", script]));
    config.read_only_root = true;
    config.hostname = Some("frozen".to_owned());
    config.dns = Some(hythe_guest::protocol::Dns { servers: vec!["10.0.2.3".parse().unwrap()], ..Default::default() });
    let tmpfs = |target: &str, mode| Mount {
        source: Source::Tmpfs { size: Some(1 << 20), mode },
        target: target.to_owned(),
        read_only: false,
    };
    config.mounts = vec![tmpfs("/run/app", Some(0o700)), tmpfs("/new/place", None)];
    let mut vm = Vm::start(&prepared, &config, &[]);
    let (exit, events) = vm.finish();
    assert_eq!(exit.code, 0, "{events:?}\n{}", vm.words());
    assert_eq!(vm.stdout(), "refused\nin memory\n700\nfrozen\nnameserver 10.0.2.3\n/new/place\n");
}
