//! What a module says about itself: the section `.modinfo` of its ELF file.

use std::path::Path;

use goblin::elf::Elf;

use super::normal;
use crate::GuestError;

/// Names of the modules that must be loaded before this one.
pub(crate) fn dependencies(bytes: &[u8], path: &Path) -> Result<Vec<String>, GuestError> {
    let damaged = |why: String| GuestError::Damaged { path: path.to_owned(), why };
    let elf = Elf::parse(bytes).map_err(|error| damaged(error.to_string()))?;
    let is_info = |section: &&goblin::elf::SectionHeader| elf.shdr_strtab.get_at(section.sh_name) == Some(".modinfo");
    let section = elf.section_headers.iter().find(is_info).ok_or_else(|| damaged("no `.modinfo`".to_owned()))?;
    let range = section.file_range().and_then(|range| bytes.get(range));
    let content = range.ok_or_else(|| damaged("`.modinfo` is outside the file".to_owned()))?;
    let records = content.split(|byte| *byte == 0).filter_map(|record| std::str::from_utf8(record).ok());
    let lists = records.filter_map(|record| record.strip_prefix("depends="));
    Ok(lists.flat_map(|list| list.split(',')).filter(|name| !name.is_empty()).map(normal).collect())
}
