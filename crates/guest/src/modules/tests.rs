#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::io::Write as _;

use super::*;

/// A small ELF file of one section.
fn elf(info: &[u8]) -> Vec<u8> {
    let names = b"\0.modinfo\0.shstrtab\0";
    let info_at = 64;
    let names_at = info_at + info.len();
    let headers_at = (names_at + names.len()).next_multiple_of(8);
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    bytes.extend([1_u16, 62].iter().flat_map(|word| word.to_le_bytes()));
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend([0_u64, 0, headers_at as u64].iter().flat_map(|word| word.to_le_bytes()));
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend([64_u16, 0, 0, 64, 3, 2].iter().flat_map(|word| word.to_le_bytes()));
    bytes.extend(info);
    bytes.extend(names);
    bytes.resize(headers_at, 0);
    let mut header = |name: u32, kind: u32, offset: usize, size: usize| {
        bytes.extend([name, kind].iter().flat_map(|word| word.to_le_bytes()));
        let words = [0, 0, offset as u64, size as u64, 0, 1, 0];
        bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    };
    header(0, 0, 0, 0);
    header(1, 1, info_at, info.len());
    header(10, 3, names_at, names.len());
    bytes
}

fn kernel(folder: &Path, modules: &[(&str, &str)], builtin: &str) -> Kernel {
    let drivers = folder.join("kernel/drivers");
    fs::create_dir_all(&drivers).unwrap();
    for (file, dependencies) in modules {
        let plain = elf(format!("license=GPL\0depends={dependencies}\0name=x\0").as_bytes());
        let packed = match Path::new(file).extension().unwrap().to_str().unwrap() {
            "zst" => zstd::encode_all(&plain[..], 1).unwrap(),
            "gz" => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(&plain).unwrap();
                encoder.finish().unwrap()
            }
            "xz" => {
                let mut packed = Vec::new();
                lzma_rs::xz_compress(&mut &plain[..], &mut packed).unwrap();
                packed
            }
            _ => plain,
        };
        fs::write(drivers.join(file), packed).unwrap();
    }
    fs::write(folder.join("modules.builtin"), builtin).unwrap();
    Kernel { image: PathBuf::new(), modules: folder.to_owned(), release: "6.1".to_owned() }
}

const MODULES: &[(&str, &str)] = &[
    ("virtio.ko", ""),
    ("virtio_ring.ko.zst", "virtio"),
    ("virtio_pci.ko.xz", "virtio-ring,virtio"),
    ("virtio_console.ko.gz", "virtio,virtio_ring"),
    ("virtio_blk.ko", "virtio,virtio_ring"),
    ("virtio_net.ko", "virtio,net-failover"),
    ("net_failover.ko", ""),
    ("qemu_fw_cfg.ko", ""),
    ("virtio-rng.ko", "virtio,built_in"),
];
const BUILTIN: &str = "kernel/fs/ext4/ext4.ko\nkernel/lib/built-in.ko\n";

fn names(group: &Loaded) -> Vec<&str> {
    group.modules.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn resolve_puts_dependencies_first_and_skips_what_is_built_in() {
    let folder = tempfile::tempdir().unwrap();
    let groups = resolve(&kernel(folder.path(), MODULES, BUILTIN)).unwrap();
    let boot = ["virtio", "virtio_ring", "virtio_pci", "virtio_console", "virtio_blk", "qemu_fw_cfg", "virtio_rng"];
    assert_eq!(names(&groups[0]), boot);
    assert_eq!(names(&groups[1]), ["net_failover", "virtio_net"]);
    assert_eq!(names(&groups[2]), [""; 0], "virtiofs is not there, and nothing demands it");
}

#[test]
fn resolve_without_a_needed_module_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let without: Vec<_> = MODULES.iter().copied().filter(|(file, _)| !file.starts_with("virtio_blk")).collect();
    let error = resolve(&kernel(folder.path(), &without, BUILTIN)).unwrap_err();
    assert_eq!(error.to_string(), "kernel `6.1` has no module `virtio_blk`, which a guest needs");
}

#[test]
fn resolve_of_a_damaged_module_names_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = kernel(folder.path(), MODULES, BUILTIN);
    for (file, bytes) in [("virtio_blk.ko", &b"no"[..]), ("virtio_ring.ko.zst", b"none"), ("virtio_pci.ko.xz", b"")] {
        let path = folder.path().join("kernel/drivers").join(file);
        let before = fs::read(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        let error = resolve(&kernel).unwrap_err();
        assert!(error.to_string().contains(file), "{error}");
        fs::write(&path, before).unwrap();
    }
}
