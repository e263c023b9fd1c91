//! Archives that would be refused at their first header, mended so far that what lies behind is reached.

const BLOCK: usize = 512;

/// Gives every header in `bytes` the checksum that belongs to it.
pub(crate) fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut at = 0;
    while let Some(header) = bytes.get_mut(at..at + BLOCK) {
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let size = std::str::from_utf8(&header[124..135]).ok().map(|text| text.trim_matches(['\0', ' ']));
        let size = size.and_then(|text| usize::from_str_radix(text, 8).ok()).unwrap_or(0);
        at = at.saturating_add(BLOCK).saturating_add(size.div_ceil(BLOCK).saturating_mul(BLOCK));
    }
    bytes
}
