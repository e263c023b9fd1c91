//! The entries of a layer's archive, within bounds: names and attributes joined, nothing interpreted yet.

use std::io::{self, Read};

use tar::{Archive, Entries, Entry, EntryType, Header};

/// What long names and attributes of one entry may take.
const HEADERS: u64 = 4 << 20;
/// Entries of one layer.
const ENTRIES: u64 = 4_000_000;

/// A name and a value of an extended header: bytes, both of them.
pub(super) type Record = (Vec<u8>, Vec<u8>);

/// An entry before its content.
pub(super) struct Raw {
    pub(super) header: Header,
    pub(super) name: Vec<u8>,
    pub(super) link: Option<Vec<u8>>,
    /// Records of extended headers.
    pub(super) records: Vec<Record>,
    /// Bytes of content in the archive.
    pub(super) size: u64,
}

impl Raw {
    pub(super) fn kind(&self) -> EntryType {
        self.header.entry_type()
    }

    /// The last record of this name, which is the one that counts.
    pub(super) fn record(&self, key: &str) -> Option<&[u8]> {
        last(&self.records, key)
    }
}

fn last<'a>(records: &'a [Record], key: &str) -> Option<&'a [u8]> {
    records.iter().rev().find(|(name, _)| name == key.as_bytes()).map(|(_, value)| value.as_slice())
}

/// Calls `each` with every entry, its number and its content.
pub(super) fn walk(
    source: Box<dyn Read>,
    mut each: impl FnMut(u64, Raw, &mut dyn Read) -> Result<(), String>,
) -> Result<(), String> {
    let mut archive = Archive::new(source);
    let mut entries = archive.entries().map_err(damaged)?.raw(true);
    let mut number = 0;
    while let Some((raw, mut content)) = next(&mut entries)? {
        number += 1;
        if number > ENTRIES {
            return Err(format!("it has more than {ENTRIES} entries"));
        }
        each(number, raw, &mut content)?;
    }
    Ok(())
}

/// What stands before the header that it is about.
#[derive(Default)]
struct Ahead {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    records: Vec<Record>,
    taken: u64,
}

type Next<'a> = Option<(Raw, Entry<'a, Box<dyn Read>>)>;

fn next<'a>(entries: &mut Entries<'a, Box<dyn Read>>) -> Result<Next<'a>, String> {
    let mut ahead = Ahead::default();
    for entry in entries.by_ref() {
        let mut entry = entry.map_err(damaged)?;
        match entry.header().entry_type() {
            EntryType::GNULongName => ahead.name = Some(without_zero(metadata(&mut entry, &mut ahead.taken)?)),
            EntryType::GNULongLink => ahead.link = Some(without_zero(metadata(&mut entry, &mut ahead.taken)?)),
            EntryType::XHeader => ahead.records = records(&metadata(&mut entry, &mut ahead.taken)?)?,
            // Of no meaning for files, and no tool that makes images writes it.
            EntryType::XGlobalHeader => {}
            _ => return raw(&entry, ahead).map(|raw| Some((raw, entry))),
        }
    }
    Ok(None)
}

fn raw(entry: &Entry<'_, Box<dyn Read>>, ahead: Ahead) -> Result<Raw, String> {
    let header = entry.header().clone();
    let recorded = |key| last(&ahead.records, key).map(<[u8]>::to_vec);
    let name = recorded("path").or(ahead.name).unwrap_or_else(|| header.path_bytes().into_owned());
    let link = recorded("linkpath").or(ahead.link).or_else(|| header.link_name_bytes().map(|link| link.into_owned()));
    let size = header.entry_size().map_err(damaged)?;
    if let Some(text) = last(&ahead.records, "size")
        && number(text) != Some(size)
    {
        let name = String::from_utf8_lossy(&name);
        return Err(format!("its entry `{name}` has a size in an extended header, which only files of 8 GiB need"));
    }
    Ok(Raw { header, name, link, records: ahead.records, size })
}

fn metadata(entry: &mut Entry<'_, Box<dyn Read>>, taken: &mut u64) -> Result<Vec<u8>, String> {
    *taken = taken.saturating_add(entry.header().entry_size().map_err(damaged)?);
    if *taken > HEADERS {
        return Err(format!("it has headers of more than {HEADERS} bytes"));
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).map_err(damaged)?;
    Ok(bytes)
}

/// Records are `<length> <key>=<value>\n`, the length counting all of it.
fn records(bytes: &[u8]) -> Result<Vec<Record>, String> {
    let mut records = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (record, after) = split_record(rest).ok_or("it has a malformed extended header")?;
        records.push(record);
        rest = after;
    }
    Ok(records)
}

type Split<'a> = (Record, &'a [u8]);

fn split_record(bytes: &[u8]) -> Option<Split<'_>> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let length = usize::try_from(number(&bytes[..space])?).ok()?;
    let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some(((record[..equals].to_vec(), record[equals + 1..].to_vec()), &bytes[length..]))
}

pub(super) fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn without_zero(mut name: Vec<u8>) -> Vec<u8> {
    if name.last() == Some(&0) {
        name.pop();
    }
    name
}

fn damaged(error: io::Error) -> String {
    format!("its archive is damaged: {error}")
}
