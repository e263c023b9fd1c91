//! The members of an archive: headers, long names and extended headers joined, all of it bounded.
//!
//! Headers are decoded by the `tar` crate. Its iterator is not used: it keeps long names of any length in memory, and cannot read extended
//! headers whose values (attributes are bytes) hold a line break.

use std::io::{self, Read};

use tar::{EntryType, Header};

use super::Failure;
use super::sparse::Map;

const BLOCK: u64 = 512;
/// What long names and attributes of one member may take.
const HEADERS: u64 = 4 << 20;

/// A name and a value of an extended header: bytes, both of them.
type Record = (Vec<u8>, Vec<u8>);

/// One member; its content is read from [`Members`].
pub(crate) struct Member {
    pub(crate) header: Header,
    pub(crate) name: Vec<u8>,
    pub(crate) link: Option<Vec<u8>>,
    /// Extended header records.
    pub(super) records: Vec<Record>,
    /// Where a sparse file has its data.
    pub(crate) map: Option<Map>,
    /// Bytes of content in the archive.
    pub(crate) stored: u64,
}

impl Member {
    pub(crate) fn kind(&self) -> EntryType {
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

/// Members one after the other; as a reader, the content of the one that was given last.
pub(crate) struct Members<R> {
    source: R,
    /// Content not read yet.
    left: u64,
    /// What fills its last block.
    fill: u64,
}

/// What stands before the header that it is about.
#[derive(Default)]
struct Ahead {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    records: Vec<Record>,
    taken: u64,
}

impl<R: Read> Members<R> {
    pub(crate) fn new(source: R) -> Self {
        Self { source, left: 0, fill: 0 }
    }

    pub(super) fn into_inner(self) -> R {
        self.source
    }

    /// The next member; what was not read of the one before is skipped.
    pub(crate) fn next(&mut self) -> Result<Option<Member>, Failure> {
        let mut ahead = Ahead::default();
        loop {
            self.skip()?;
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            match header.entry_type() {
                EntryType::GNULongName => ahead.name = Some(without_zero(self.metadata(&header, &mut ahead.taken)?)),
                EntryType::GNULongLink => ahead.link = Some(without_zero(self.metadata(&header, &mut ahead.taken)?)),
                EntryType::XHeader => ahead.records = records(&self.metadata(&header, &mut ahead.taken)?)?,
                // Of no meaning for files, and no tool that makes images writes it.
                EntryType::XGlobalHeader => self.expect(size(&header)?),
                _ => return self.member(header, ahead).map(Some),
            }
        }
    }

    fn member(&mut self, header: Header, ahead: Ahead) -> Result<Member, Failure> {
        let Ahead { name, link, records, .. } = ahead;
        let told = |key| last(&records, key).map(<[u8]>::to_vec);
        let name = told("path").or(name).unwrap_or_else(|| header.path_bytes().into_owned());
        let link = told("linkpath").or(link).or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
        let stored = match last(&records, "size") {
            Some(text) => number(text).ok_or_else(|| damaged("a size that is no number"))?,
            None => size(&header)?,
        };
        let mut member = Member { header, name, link, records, map: None, stored };
        // The blocks of an old sparse map belong to the header; a new one stands in the content.
        member.map = Map::of_header(&member, &mut self.source)?;
        self.expect(content_size(&member));
        if member.map.is_none() {
            member.map = Map::of_records(&member, self)?;
        }
        if let Some(name) = member.record("GNU.sparse.name").map(<[u8]>::to_vec) {
            member.name = name;
        }
        Ok(member)
    }

    fn header(&mut self) -> Result<Option<Header>, Failure> {
        let mut header = Header::new_old();
        if !read_block(&mut self.source, header.as_mut_bytes())? || header.as_bytes().iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let bytes = header.as_bytes();
        let sum: u32 = bytes[..148].iter().chain(&bytes[156..]).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
        if header.cksum().ok() == Some(sum) { Ok(Some(header)) } else { Err(damaged("a header with a wrong checksum")) }
    }

    /// Content that is about the next header.
    fn metadata(&mut self, header: &Header, taken: &mut u64) -> Result<Vec<u8>, Failure> {
        let size = size(header)?;
        *taken = taken.saturating_add(size);
        if *taken > HEADERS {
            return Err(Failure::OversizedHeaders);
        }
        self.expect(size);
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn expect(&mut self, size: u64) {
        self.left = size;
        self.fill = (BLOCK - size % BLOCK) % BLOCK;
    }

    fn skip(&mut self) -> Result<(), Failure> {
        io::copy(self, &mut io::sink())?;
        io::copy(&mut (&mut self.source).take(self.fill), &mut io::sink())?;
        self.fill = 0;
        Ok(())
    }
}

impl<R: Read> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let length = self.source.read(&mut buffer[..most])?;
        if length == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends inside a file"));
        }
        self.left -= length as u64;
        Ok(length)
    }
}

/// Only what can have content has it, whatever the header says.
fn content_size(member: &Member) -> u64 {
    let kind = member.kind();
    let has_none = kind.is_hard_link()
        || kind.is_symlink()
        || kind.is_dir()
        || kind.is_character_special()
        || kind.is_block_special()
        || kind.is_fifo();
    if has_none { 0 } else { member.stored }
}

fn size(header: &Header) -> Result<u64, Failure> {
    Ok(header.entry_size()?)
}

/// Whether there was one more block; half a block is an error.
pub(super) fn read_block(source: &mut impl Read, block: &mut [u8; BLOCK as usize]) -> Result<bool, Failure> {
    let mut read = 0;
    while read < block.len() {
        match source.read(&mut block[read..])? {
            0 if read == 0 => return Ok(false),
            0 => return Err(damaged("half a header at its end")),
            length => read += length,
        }
    }
    Ok(true)
}

/// Records are `<length> <key>=<value>\n`, the length counting all of it.
fn records(bytes: &[u8]) -> Result<Vec<Record>, Failure> {
    let mut records = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (record, after) = split_record(rest).ok_or_else(|| damaged("a malformed extended header"))?;
        records.push(record);
        rest = after;
    }
    Ok(records)
}

/// A record and what follows it.
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

pub(super) fn damaged(what: &str) -> Failure {
    Failure::Stream(io::Error::new(io::ErrorKind::InvalidData, format!("it has {what}")))
}

fn without_zero(mut name: Vec<u8>) -> Vec<u8> {
    if name.last() == Some(&0) {
        name.pop();
    }
    name
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn values_of_records_are_bytes() {
        let read = records(b"12 a=b\nc=d\n\n8 e=\xff=1\n").unwrap();
        assert_eq!(read, [(b"a".to_vec(), b"b\nc=d\n".to_vec()), (b"e".to_vec(), b"\xff=1".to_vec())]);
        for bad in [
            &b"5 a=b\n"[..],
            b"99 a=b\n",
            b"x a=b\n",
            b"6 a=bc",
            b"5 ab\n",
            b"0 ",
            b"2 \n",
            b"99999999999999999999 a=b\n",
        ] {
            assert!(records(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
