//! Volumes, file systems in memory, and a root that nobody writes to.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

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
        source: Source::Tmpfs { size: Some(1 << 20), mode, options: Vec::new() },
        target: target.to_owned(),
        read_only: false,
    };
    config.mounts = vec![tmpfs("/run/app", Some(0o700)), tmpfs("/new/place", None)];
    let mut vm = Vm::start(&prepared, &config, &[]);
    let (exit, events) = vm.finish();
    assert_eq!(exit.code, 0, "{events:?}\n{}", vm.words());
    assert_eq!(vm.stdout(), "refused\nin memory\n700\nfrozen\nnameserver 10.0.2.3\n/new/place\n");
}

/// Where distributions have the daemon of shared directories.
const VIRTIOFSD: [&str; 3] = ["/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd", "/usr/lib/virtiofsd"];

#[test]
fn directory_of_the_host_is_shared_whole_or_in_part() {
    let prepared = needs_vm!();
    let Some(program) = VIRTIOFSD.into_iter().find(|path| Path::new(path).exists()) else {
        eprintln!("skipped: no virtiofsd");
        return;
    };
    let shared = prepared.folder.path().join("shared");
    fs::create_dir_all(shared.join("inner")).unwrap();
    fs::write(shared.join("file"), "of the host\n").unwrap();
    fs::write(shared.join("inner/conf"), "one file\n").unwrap();
    let socket = prepared.folder.path().join("fs.sock");
    let daemon = Command::new(program)
        .arg(format!("--socket-path={}", socket.display()))
        .args(["-o", &format!("source={}", shared.display()), "-o", "cache=auto", "-o", "sandbox=namespace"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    // It ends with the virtual machine.
    let mut daemon = daemon.unwrap();
    let mount = |path: Option<&str>, target: &str, read_only| Mount {
        source: Source::Virtiofs { tag: "share0".to_owned(), path: path.map(str::to_owned) },
        target: target.to_owned(),
        read_only,
    };
    let script = "cat /shared/file; cat /etc/app/conf; ls /part; echo written > /shared/new; \
                  echo no > /part/new || echo refused";
    let mut config = Config::new(process(&["sh", "-c", script]));
    config.mounts = vec![
        mount(None, "/shared", false),
        mount(Some("inner/conf"), "/etc/app/conf", false),
        mount(Some("inner"), "/part", true),
    ];
    let chardev = format!("socket,id=fs,path={}", socket.display());
    let more = [
        "-object",
        "memory-backend-memfd,id=mem,size=256M,share=on",
        "-machine",
        "memory-backend=mem",
        "-chardev",
        &chardev,
        "-device",
        "vhost-user-fs-pci,chardev=fs,tag=share0",
    ];
    while !socket.exists() {
        assert!(daemon.try_wait().unwrap().is_none(), "virtiofsd has ended");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let mut vm = Vm::start(&prepared, &config, &more);
    let (exit, events) = vm.finish();
    daemon.kill().ok();
    daemon.wait().unwrap();
    assert_eq!(exit.code, 0, "{events:?}\n{}", vm.words());
    assert_eq!(vm.stdout(), "of the host\none file\nconf\nrefused\n");
    assert_eq!(fs::read_to_string(shared.join("new")).unwrap(), "written\n");
}
