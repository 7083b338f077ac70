//! Trimming of bytes.

#[inline]
pub(super) fn trim_by(bytes: &[u8], unwanted: impl Fn(u8) -> bool) -> &[u8] {
    let start = bytes.iter().position(|&byte| !unwanted(byte)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|&byte| !unwanted(byte)).map_or(start, |last| last + 1);
    &bytes[start..end]
}

#[inline]
pub(super) fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    trim_by(bytes, |byte| byte == b' ' || byte == b'\t')
}
