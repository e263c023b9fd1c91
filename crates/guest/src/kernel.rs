//! Finding a kernel and its modules.

use std::cmp::Ordering;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use crate::GuestError;
use crate::error::at;

/// A kernel and its modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The bootable image, `vmlinuz`.
    pub image: PathBuf,
    /// Its modules, `…/lib/modules/RELEASE`.
    pub modules: PathBuf,
    /// Its release, `6.1.0-57-cloud-amd64`.
    pub release: String,
}

impl Kernel {
    /// Finds a kernel.
    ///
    /// `configured` is a kernel's file, or a directory into which the package of a distribution was unpacked
    /// (`boot/vmlinuz-*`, `lib/modules/*`). Without it the host's own kernels are searched. Kernels for clouds come
    /// first, then the newest; one without its modules is passed over.
    ///
    /// # Errors
    /// `NoKernel` with what was looked for; `Damaged` where a configured file is no kernel.
    pub fn find(configured: Option<&Path>) -> Result<Self, GuestError> {
        match configured {
            Some(path) if path.is_dir() => Self::below(path),
            Some(path) => Self::of_file(path),
            None => Self::below(Path::new("/")),
        }
    }

    fn of_file(path: &Path) -> Result<Self, GuestError> {
        let release = release(path).map_err(at(path))?;
        let Some(release) = release else {
            let why = "it is not a kernel for x86_64 (bzImage)".to_owned();
            return Err(GuestError::Damaged { path: path.to_owned(), why });
        };
        let folder = path.parent().unwrap_or(Path::new("."));
        // `boot/vmlinuz-R` beside `lib/modules/R`, or `lib/modules/R/vmlinuz` itself.
        let beside = folder.parent().unwrap_or(Path::new("."));
        let beside = if beside.as_os_str().is_empty() { Path::new(".") } else { beside };
        let roots = [beside, folder, Path::new("/")];
        let places = roots.iter().flat_map(|root| module_folders(root, &release)).chain([folder.to_owned()]);
        let modules = places.into_iter().find(|place| has_modules(place));
        let Some(modules) = modules else {
            let message = format!("kernel `{}` has no modules: no `lib/modules/{release}` beside it", path.display());
            return Err(GuestError::NoKernel(message));
        };
        Ok(Self { image: path.to_owned(), modules, release })
    }

    fn below(root: &Path) -> Result<Self, GuestError> {
        let mut unreadable = None;
        let mut found = Vec::new();
        for image in images(root) {
            match release(&image) {
                Ok(Some(release)) => {
                    let modules = module_folders(root, &release).into_iter().find(|place| has_modules(place));
                    found.extend(modules.map(|modules| Self { image, modules, release }));
                }
                Ok(None) => {}
                Err(error) => unreadable = Some((image, error)),
            }
        }
        found.sort_by(|a, b| preference(&b.release, &a.release));
        let best = found.into_iter().next();
        best.ok_or_else(|| {
            GuestError::NoKernel(match unreadable {
                Some((image, error)) => format!("kernel `{}` cannot be read: {error}", image.display()),
                None => format!("`{}` has no kernel with modules (boot/vmlinuz-* and lib/modules/*)", root.display()),
            })
        })
    }
}

fn images(root: &Path) -> Vec<PathBuf> {
    let entries = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_kernel = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz")) && !path.is_symlink()
    };
    let with_modules = ["lib/modules", "usr/lib/modules"].into_iter().flat_map(|folder| entries(root.join(folder)));
    let mut images: Vec<_> = entries(root.join("boot")).filter(is_kernel).collect();
    images.extend(with_modules.map(|folder| folder.join("vmlinuz")).filter(|path| path.is_file()));
    images.sort();
    images
}

fn module_folders(root: &Path, release: &str) -> [PathBuf; 2] {
    [root.join("lib/modules").join(release), root.join("usr/lib/modules").join(release)]
}

fn has_modules(folder: &Path) -> bool {
    folder.join("kernel").is_dir() || folder.join("modules.builtin").is_file()
}

/// The release that a kernel's file has in its header; `None` where it is no kernel.
fn release(path: &Path) -> io::Result<Option<String>> {
    let mut file = File::open(path)?;
    let mut header = Vec::new();
    (&mut file).take(0x210).read_to_end(&mut header)?;
    let Some([low, high]) = header.get(0x20e..0x210) else {
        return Ok(None);
    };
    if header.get(0x202..0x206) != Some(b"HdrS") {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(u64::from(u16::from_le_bytes([*low, *high])) + 0x200))?;
    let mut text = Vec::new();
    file.take(128).read_to_end(&mut text)?;
    let end = text.iter().position(|byte| matches!(byte, b' ' | 0)).unwrap_or(text.len());
    let release = String::from_utf8_lossy(&text[..end]).into_owned();
    // It becomes part of a path.
    let is_name = |c: char| c.is_ascii_alphanumeric() || ".-+_~".contains(c);
    Ok(Some(release).filter(|release| !release.starts_with('.') && release.len() > 1 && release.chars().all(is_name)))
}

/// Kernels for clouds come before others, then newer before older.
fn preference(a: &str, b: &str) -> Ordering {
    let is_cloud = |release: &str| ["cloud", "kvm", "virt"].iter().any(|word| release.contains(word));
    is_cloud(a).cmp(&is_cloud(b)).then_with(|| numbers(a).cmp(&numbers(b))).then_with(|| a.cmp(b))
}

fn numbers(release: &str) -> Vec<u64> {
    release.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
mod tests {
    use super::*;

    fn write_kernel(path: &Path, release: &str) {
        let mut bytes = vec![0; 0x400];
        bytes[0x202..0x206].copy_from_slice(b"HdrS");
        bytes[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
        bytes[0x300..0x300 + release.len()].copy_from_slice(release.as_bytes());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn install(root: &Path, release: &str) -> PathBuf {
        let image = root.join("boot").join(format!("vmlinuz-{release}"));
        write_kernel(&image, &format!("{release} (builder) #1"));
        fs::create_dir_all(root.join("lib/modules").join(release).join("kernel")).unwrap();
        image
    }

    #[test]
    fn find_among_kernels_takes_the_newest_for_clouds() {
        let root = tempfile::tempdir().unwrap();
        for release in ["6.1.0-9-cloud-amd64", "6.1.0-57-cloud-amd64", "6.12.0-1-amd64"] {
            install(root.path(), release);
        }
        assert_eq!(Kernel::find(Some(root.path())).unwrap().release, "6.1.0-57-cloud-amd64");
    }

    #[test]
    fn find_by_file_takes_the_modules_beside_it() {
        let root = tempfile::tempdir().unwrap();
        let image = install(root.path(), "6.1.0-9-amd64");
        let kernel = Kernel::find(Some(&image)).unwrap();
        assert_eq!(kernel.modules, root.path().join("lib/modules/6.1.0-9-amd64"));
        fs::remove_dir_all(root.path().join("lib")).unwrap();
        assert!(matches!(Kernel::find(Some(&image)), Err(GuestError::NoKernel(_))));
    }

    #[test]
    fn find_without_a_kernel_is_reported() {
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(Kernel::find(Some(root.path())), Err(GuestError::NoKernel(_))));
        let file = root.path().join("vmlinuz");
        fs::write(&file, b"ELF").unwrap();
        assert!(matches!(Kernel::find(Some(&file)), Err(GuestError::Damaged { .. })));
        write_kernel(&file, "../../etc (x)");
        assert!(matches!(Kernel::find(Some(&file)), Err(GuestError::Damaged { .. })), "a release is no path");
    }
}
