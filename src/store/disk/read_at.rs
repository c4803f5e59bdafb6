//! Reading somewhere in a file.

use std::{fs::File, io, os::unix::fs::FileExt};

use bytes::Bytes;

/// Up to `most` bytes from `offset` on; fewer only where the file ends. Leaves the file's own place alone, so that many may read.
pub(in crate::store) fn read_at(file: &File, offset: u64, most: usize) -> io::Result<Bytes> {
    let mut bytes = vec![0; most];
    let mut filled = 0;
    while filled < most {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    bytes.truncate(filled);
    Ok(bytes.into())
}
