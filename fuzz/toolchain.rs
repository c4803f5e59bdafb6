//! What is checked of toolchains: the paths that rustup asks for, and the texts that a distribution host answers with.

use bytes::Bytes;
use crate_mirror::domain::{
    Key, MissedRequest,
    toolchain::{
        ManifestHashes, PinnedToolchain, RustupRelease, SumFile, ToolchainManifest, ToolchainPath,
        ToolchainTarget,
    },
};

/// The first line is a path below `/toolchains/`, the rest what comes from there.
///
/// A path that is understood is written the same, leaves no folder, and what is missed of it is read as it is written; a stored path of toolchains is that of its key. A
/// text is read or refused in a sentence's end, and both readers of a manifest agree: what the one would install has the checksum that the other says.
pub fn toolchain(input: &[u8]) {
    let (path, text) = super::part(input, b"\n");
    if let Ok(path) = std::str::from_utf8(path) {
        of_path(path);
    }
    let sum = SumFile::parse(text);
    assert!(sum.is_err() || text.len() <= SumFile::MAX_LEN);
    let _ = RustupRelease::parse(text);
    if let Ok(text) = std::str::from_utf8(text) {
        let _ = PinnedToolchain::parse(text);
        of_manifest(text);
    }
}

fn of_path(path: &str) {
    if let Some(read) = ToolchainPath::parse(path) {
        assert_eq!(read.path(), path);
        assert!(
            path.split('/').all(|segment| !segment.starts_with('.')),
            "{path}"
        );
        let missed = MissedRequest::of_toolchain(&read).to_string();
        assert!(!missed.contains('/'), "{missed}");
        let again = MissedRequest::parse(&missed).expect("what we wrote");
        assert_eq!(again.to_string(), missed);
    }
    let stored = format!("toolchains/{path}");
    if let Some(key) = Key::from_path(&stored) {
        assert_eq!(key.path(), stored);
    }
}

fn of_manifest(text: &str) {
    let hashes = ManifestHashes::of(Bytes::copy_from_slice(text.as_bytes()));
    let read = ToolchainManifest::parse(text);
    if let Err(why) = &hashes {
        assert!(!why.contains('\n'), "{why}");
    }
    let (Ok(hashes), Ok(read)) = (hashes, read) else {
        return;
    };
    assert_eq!(hashes.day(), read.day);
    for (file, sha256) in hashes.files() {
        assert_eq!(hashes.sha256_of(&file), Some(sha256));
    }
    let wanted = ToolchainTarget {
        host: "x86_64-unknown-linux-gnu".to_owned(),
        profile: "default".to_owned(),
        components: vec!["rust-src".to_owned()],
        targets: vec!["wasm32-wasip1".to_owned()],
    };
    for (file, sha256) in read.files_of(&wanted).unwrap_or_default() {
        // One that is named twice with different checksums has none.
        let said = hashes.sha256_of(&file);
        assert!(said.is_none_or(|said| said == sha256), "{file}");
    }
}
