//! Which images this machine can run.

use std::fs;

use hythe_spec::Platform;

/// Where the kernel lists the programs that run what the processor cannot.
const HANDLERS: &str = "/proc/sys/fs/binfmt_misc";

/// What the processor of this machine runs, the machine itself first.
pub fn native_platforms() -> Vec<Platform> {
    let own = Platform::own();
    let smaller = match own.architecture() {
        "amd64" => Platform::of("linux", "386", ""),
        "arm64" => Platform::of("linux", "arm", ""),
        _ => None,
    };
    std::iter::once(own).chain(smaller).collect()
}

/// The same, and what it runs with an emulator that containers can use: one that `binfmt_misc` keeps open (its flag `F`).
pub fn runnable_platforms() -> Vec<Platform> {
    let mut all = native_platforms();
    let files = fs::read_dir(HANDLERS).into_iter().flatten().flatten();
    all.extend(emulated(files.filter_map(|file| fs::read_to_string(file.path()).ok())));
    all
}

/// From the files of all handlers; the one that says whether any of them is used says `disabled` and no more.
fn emulated(files: impl Iterator<Item = String>) -> Vec<Platform> {
    let files: Vec<String> = files.collect();
    if files.iter().any(|text| text.trim() == "disabled") {
        return Vec::new();
    }
    let mut found: Vec<Platform> = files.iter().filter_map(|text| handled(text)).collect();
    found.sort();
    found
}

/// The platform whose programs a handler runs: its magic number is the head of an ELF file.
fn handled(text: &str) -> Option<Platform> {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    let usable = text.starts_with("enabled") && value("flags:")?.contains('F') && value("offset ")? == "0";
    let magic = value("magic ").filter(|magic| usable && magic.starts_with("7f454c46"))?;
    // Class and byte order, and the kind of machine.
    let architecture = match (magic.get(8..12)?, magic.get(36..40)?) {
        ("0101", "0300") => "386",
        ("0201", "3e00") => "amd64",
        ("0101", "2800") => "arm",
        ("0201", "b700") => "arm64",
        ("0201", "0201") => "loong64",
        ("0202", "0008") => "mips64",
        ("0201", "0800") => "mips64le",
        ("0201", "1500") => "ppc64le",
        ("0201", "f300") => "riscv64",
        ("0202", "0016") => "s390x",
        _ => return None,
    };
    Platform::of("linux", architecture, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulator_counts_where_it_is_enabled_and_kept_open() {
        const ARM64: &str = "7f454c460201010000000000000000000200b700";
        const S390X: &str = "7f454c4602020100000000000000000000020016";
        let handler = |state: &str, flags: &str, magic: &str| {
            format!("{state}\ninterpreter /usr/bin/qemu\nflags: {flags}\noffset 0\nmagic {magic}\nmask ff\n")
        };
        let found = |status: &str, arm64: String, s390x: String| {
            let files = [format!("{status}\n"), handler("enabled", "F", "cb0d0d0a"), s390x, arm64];
            emulated(files.into_iter()).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let (arm64, s390x) = (handler("enabled", "OCF", ARM64), handler("enabled", "F", S390X));
        assert_eq!(found("enabled", arm64.clone(), s390x.clone()), ["linux/arm64", "linux/s390x"]);
        assert_eq!(found("enabled", arm64.clone(), handler("enabled", "OC", S390X)), ["linux/arm64"]);
        assert_eq!(found("enabled", handler("disabled", "F", ARM64), s390x.clone()), ["linux/s390x"]);
        assert!(found("disabled", arm64, s390x).is_empty());
    }
}
