//! The `.crate` file: a gzipped tar with everything under `name-version/`. The same package gives
//! the same bytes.

use flate2::{Compression, GzBuilder};

use super::{Package, manifest};

/// The time cargo itself stamps on packaged files (July 2006).
const MTIME: u64 = 1_153_704_088;

/// Above this a file is stored, not compressed: an unoptimised test build takes seconds to deflate
/// noise.
const WORTH_COMPRESSING: usize = 64 * 1024;

pub(super) fn pack(package: &Package) -> Vec<u8> {
    let size: usize = package.files.values().map(Vec::len).sum();
    let level = if size > WORTH_COMPRESSING {
        Compression::none()
    } else {
        Compression::default()
    };
    let gzip = GzBuilder::new().mtime(0).write(Vec::new(), level);
    let mut tar = tar::Builder::new(gzip);
    if !package.files.contains_key("Cargo.toml") {
        let manifest = manifest::render(package);
        append(&mut tar, package, "Cargo.toml", manifest.as_bytes());
    }
    for (path, content) in &package.files {
        append(&mut tar, package, path, content);
    }
    let gzip = tar.into_inner().expect("tar into memory");
    gzip.finish().expect("gzip into memory")
}

fn append<W: std::io::Write>(
    tar: &mut tar::Builder<W>,
    package: &Package,
    path: &str,
    content: &[u8],
) {
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(MTIME);
    let path = format!("{}-{}/{path}", package.name, package.version);
    tar.append_data(&mut header, path, content)
        .expect("tar into memory");
}

/// Bytes without pattern that are the same for the same seed, from xorshift64*.
pub(super) fn noise(seed: &str, size: usize) -> Vec<u8> {
    let mut state = seed
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
        .max(1);
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let word = state.wrapping_mul(0x2545_f491_4f6c_dd1d);
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}
