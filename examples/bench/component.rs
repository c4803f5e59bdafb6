//! A component of a toolchain, of the size of the largest that rustup usually installs. Nobody has to send it over a network for this: it is made here, with the manifest that
//! names it.

use std::{fs, path::Path};

use crate_mirror::domain::Sha256;

use crate::Result;

/// Its path, the same on the origin, the mirror and nginx.
pub(crate) const PATH: &str =
    "/toolchains/dist/2026-01-22/rustc-nightly-x86_64-unknown-linux-gnu.tar.xz";
/// How many bytes it has.
pub(crate) const SIZE: usize = 100_000_000;

/// Puts it below `www`, unless it is there.
pub(crate) fn put(www: &Path) -> Result<()> {
    let file = www.join(PATH.trim_start_matches('/'));
    if file.exists() {
        return Ok(());
    }
    let folder = file.parent().unwrap_or(www);
    let fault = |e: std::io::Error| format!("{} can't be written: {e}", folder.display());
    fs::create_dir_all(folder).map_err(fault)?;
    // What doesn't get smaller, and is the same each time.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(SIZE)
    .collect();
    let name = PATH.rsplit('/').next().unwrap_or_default();
    let manifest = format!(
        "manifest-version = \"2\"\ndate = \"2026-01-22\"\n\n[pkg.rustc.target.x86_64-unknown-linux-gnu]\navailable = true\nxz_url = \"https://static.rust-lang.org/dist/2026-01-22/{name}\"\nxz_hash = \"{}\"\n",
        Sha256::of(&bytes)
    );
    let sum = format!(
        "{}  channel-rust-nightly.toml\n",
        Sha256::of(manifest.as_bytes())
    );
    fs::write(folder.join("channel-rust-nightly.toml"), manifest).map_err(fault)?;
    fs::write(folder.join("channel-rust-nightly.toml.sha256"), sum).map_err(fault)?;
    fs::write(&file, bytes).map_err(fault)
}
