//! What an ELF file says about what it needs to run. It is only read.

use std::path::{Path, PathBuf};

use goblin::elf::Elf;
use goblin::elf::header::{EM_386, EM_AARCH64, EM_ARM, EM_PPC64, EM_RISCV, EM_S390, EM_X86_64};

use crate::error::Local as _;
use crate::{Error, Kind};

/// What two files must have in common to run in one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Machine {
    number: u16,
    is_64: bool,
}

impl Machine {
    /// As images name it.
    pub(super) fn architecture(self) -> Option<&'static str> {
        self.names().map(|(architecture, _)| architecture)
    }

    /// As Debian names its directories of libraries.
    pub(super) fn triple(self) -> &'static str {
        self.names().map_or("unknown", |(_, triple)| triple)
    }

    fn names(self) -> Option<(&'static str, &'static str)> {
        Some(match (self.number, self.is_64) {
            (EM_X86_64, true) => ("amd64", "x86_64-linux-gnu"),
            (EM_AARCH64, true) => ("arm64", "aarch64-linux-gnu"),
            (EM_386, false) => ("386", "i386-linux-gnu"),
            (EM_ARM, false) => ("arm", "arm-linux-gnueabihf"),
            (EM_RISCV, true) => ("riscv64", "riscv64-linux-gnu"),
            (EM_PPC64, true) => ("ppc64le", "powerpc64le-linux-gnu"),
            (EM_S390, true) => ("s390x", "s390x-linux-gnu"),
            _ => return None,
        })
    }
}

/// A program or a library.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) machine: Machine,
    pub(super) interpreter: Option<PathBuf>,
    pub(super) needed: Vec<String>,
    /// Searched for this object and all it brings in; of no effect beside a run path.
    pub(super) rpath: Vec<String>,
    /// Searched for this object alone.
    pub(super) runpath: Vec<String>,
}

impl Object {
    /// # Errors
    /// `NotFound` for an absent file, `Invalid` for one that is no ELF file.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let bytes = match std::fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::new(Kind::NotFound, format!("there is no file `{}`", path.display())));
            }
            read => read.local("read", path)?,
        };
        let not_elf = |why: String| {
            Error::new(Kind::Invalid, format!("`{}` is not an ELF program: {why}", path.display()))
                .hint("scripts and other files are added with `--file`, together with what runs them")
        };
        if !bytes.starts_with(b"\x7fELF") {
            return Err(not_elf("it begins otherwise".to_owned()));
        }
        let elf = Elf::parse(&bytes).map_err(|error| not_elf(error.to_string()))?;
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let split = |texts: &[&str]| texts.iter().flat_map(|text| text.split(':')).map(str::to_owned).collect();
        Ok(Self {
            machine: Machine { number: elf.header.e_machine, is_64: elf.is_64 },
            interpreter: elf.interpreter.map(PathBuf::from),
            needed: owned(&elf.libraries),
            rpath: split(&elf.rpaths),
            runpath: split(&elf.runpaths),
        })
    }
}
