//! Files with holes, in the four ways in which archives write them.

use std::io::{self, Read};

use tar::GnuExtSparseHeader;

use super::Failure;
use super::tar_entry::{Member, damaged, number, read_block};

/// More pieces than this are no honest file.
const PIECES: usize = 1 << 20;
const LONGEST_NUMBER: usize = 20;
const BLOCK: usize = 512;

/// Where data is in a sparse file, and how large the file is.
pub(crate) struct Map {
    pub(super) size: u64,
    pub(super) pieces: Vec<(u64, u64)>,
}

impl Map {
    /// The GNU format: a few pieces in the header, the rest in blocks after it.
    pub(super) fn of_header(member: &Member, source: &mut impl Read) -> Result<Option<Self>, Failure> {
        let Some(gnu) = member.header.as_gnu().filter(|_| member.kind().is_gnu_sparse()) else {
            return Ok(None);
        };
        let mut numbers = Vec::new();
        let add = |pieces: &[tar::GnuSparseHeader], numbers: &mut Vec<u64>| -> Result<(), Failure> {
            for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
                numbers.extend([piece.offset()?, piece.length()?]);
            }
            if numbers.len() > 2 * PIECES { Err(bad("is too long")) } else { Ok(()) }
        };
        add(&gnu.sparse, &mut numbers)?;
        let mut more = gnu.is_extended();
        while more {
            let mut block = GnuExtSparseHeader::new();
            if !read_block(source, block.as_mut_bytes())? {
                return Err(bad("ends too early"));
            }
            add(block.sparse(), &mut numbers)?;
            more = block.is_extended();
        }
        Self::new(gnu.real_size()?, &numbers).map(Some)
    }

    /// The POSIX formats: 0.0 and 0.1 in records, 1.0 before the data.
    pub(super) fn of_records(member: &Member, content: &mut impl Read) -> Result<Option<Self>, Failure> {
        let field = |key| member.record(key).map(|text| number(text).ok_or_else(|| bad("has no numbers"))).transpose();
        let Some(size) = field("GNU.sparse.realsize")?.or(field("GNU.sparse.size")?) else {
            return Ok(None);
        };
        let inside = field("GNU.sparse.major")? == Some(1);
        let numbers = if inside { read_map(content)? } else { listed(member)? };
        Self::new(size, &numbers).map(Some)
    }

    fn new(size: u64, numbers: &[u64]) -> Result<Self, Failure> {
        let mut pieces = Vec::with_capacity(numbers.len() / 2);
        let mut end = 0;
        for pair in numbers.chunks(2) {
            let &[offset, length] = pair else { return Err(bad("is uneven")) };
            let next = offset.checked_add(length).filter(|next| offset >= end && *next <= size);
            end = next.ok_or_else(|| bad("is out of order"))?;
            pieces.push((offset, length));
        }
        Ok(Self { size, pieces })
    }
}

fn listed(member: &Member) -> Result<Vec<u64>, Failure> {
    let mut numbers = Vec::new();
    for (key, value) in &member.records {
        match key.as_slice() {
            b"GNU.sparse.map" => numbers.extend(value.split(|byte| *byte == b',').map(number)),
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => numbers.push(number(value)),
            _ => {}
        }
    }
    numbers.into_iter().collect::<Option<_>>().ok_or_else(|| bad("has no numbers"))
}

/// Lines of numbers, how many pieces first, filled up to a block.
fn read_map(content: &mut impl Read) -> Result<Vec<u64>, Failure> {
    let mut read = 0;
    let mut next = || -> Result<u64, Failure> {
        let mut digits = Vec::new();
        loop {
            let mut byte = [0];
            content.read_exact(&mut byte)?;
            read += 1;
            match byte[0] {
                b'\n' => return number(&digits).ok_or_else(|| bad("has no numbers")),
                _ if digits.len() == LONGEST_NUMBER => return Err(bad("has no numbers")),
                digit => digits.push(digit),
            }
        }
    };
    let count = usize::try_from(next()?).ok().filter(|count| *count <= PIECES).ok_or_else(|| bad("is too long"))?;
    let numbers: Vec<u64> = (0..count * 2).map(|_| next()).collect::<Result<_, _>>()?;
    let fill = (BLOCK - read % BLOCK) % BLOCK;
    io::copy(&mut content.take(fill as u64), &mut io::sink())?;
    Ok(numbers)
}

fn bad(why: &str) -> Failure {
    damaged(&format!("a sparse map that {why}"))
}
