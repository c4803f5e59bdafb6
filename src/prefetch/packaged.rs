//! The Cargo.lock inside a .crate file: what `cargo install --locked` builds with, whatever is the newest by then.
//!
//! The archive is a stranger's. Nothing is written, no name in it is used but to compare it, and what it may unpack to is bounded.

use std::{io::Read, sync::Arc};

use flate2::read::GzDecoder;
use tar::{Archive, EntryType};

use super::{missing::Missing, parallel, prefetcher::Prefetcher};
use crate::{
    domain::{CrateId, CrateKey, Key, Lockfile, Selected},
    error::{Error, Result},
    store::Store,
};

/// No archive is unpacked further: cargo itself refuses those that are larger.
const MAX_UNPACKED: u64 = 512 << 20;
/// No Cargo.lock in it may be larger; those of the largest projects have under 1 MB.
const MAX_LOCKFILE: u64 = 8 << 20;
/// No path in it is longer: a name, a version and `/Cargo.lock`.
const MAX_PATH: u64 = 1 << 10;
/// So many archives are looked into at once.
const AT_ONCE: usize = 4;

/// The Cargo.lock files found, each with whose it is, and those that can't be read.
pub type Packaged = (Vec<(Arc<str>, Lockfile)>, Vec<Missing>);

impl Prefetcher {
    /// The Cargo.lock files inside the selected .crate files, as far as these are stored and have one.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::error::Kind::Internal) when a task panics.
    pub async fn packaged(&self, selected: Vec<Selected>) -> Result<Packaged> {
        let store = self.mirror.store();
        let work = |selected: Selected| {
            let store = store.clone();
            let label = selected.label();
            let look = move || stored(&store, &selected);
            async move { (label, tokio::task::spawn_blocking(look).await) }
        };
        let (mut found, mut missing) = Packaged::default();
        for (label, looked) in parallel::each(selected, AT_ONCE, work).await? {
            let looked = looked.map_err(|e| Error::ended_early("a task", e))?;
            match looked {
                Ok(None) => {}
                Ok(Some(lockfile)) => {
                    found.push((format!("the Cargo.lock in {label}").into(), lockfile));
                }
                Err(e) => missing.push(Missing {
                    what: label,
                    why: format!(
                        "the Cargo.lock in it can't be read, so that `cargo install --locked` may lack something: {e}"
                    ),
                    by: Vec::new(),
                }),
            }
        }
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok((found, missing))
    }
}

/// The Cargo.lock in a selected file, if it is stored.
fn stored(store: &Store, selected: &Selected) -> Result<Option<Lockfile>> {
    let Some(sha256) = selected.sha256 else {
        return Ok(None);
    };
    let Selected { registry, id, .. } = *selected;
    let key = CrateKey {
        registry,
        id,
        sha256,
    };
    match store.open_object(&Key::from(key))? {
        Some((file, _)) => in_crate_file(file, &id),
        None => Ok(None),
    }
}

/// The Cargo.lock in the .crate file of `id`, if it has one. It alone is in memory, however large the archive. Blocks.
///
/// # Errors
/// [`Kind::BadRequest`](crate::error::Kind::BadRequest) with what is wrong with the archive or with the Cargo.lock.
fn in_crate_file(file: impl Read, id: &CrateId) -> Result<Option<Lockfile>> {
    lockfile_in(GzDecoder::new(file), id)
}

/// The same in an archive that isn't compressed.
///
/// # Errors
/// [`Kind::BadRequest`](crate::error::Kind::BadRequest) with what is wrong with the archive or with the Cargo.lock.
pub fn lockfile_in(archive: impl Read, id: &CrateId) -> Result<Option<Lockfile>> {
    let wanted = format!("{}-{}/Cargo.lock", id.name, id.version);
    let mut archive = Archive::new(archive.take(MAX_UNPACKED));
    // Raw: the library would take as much memory as a long name has bytes.
    let members = archive.entries().map_err(|e| broken(&e))?.raw(true);
    let mut long = None;
    for member in members {
        let member = member.map_err(|e| broken(&e))?;
        let path = long.take();
        match member.header().entry_type() {
            EntryType::GNULongName => {
                let mut path = bytes(member, MAX_PATH)?;
                path.pop_if(|last| *last == 0);
                long = Some(path);
            }
            EntryType::Regular => {
                let path = path.unwrap_or_else(|| member.path_bytes().into_owned());
                if path == wanted.as_bytes() {
                    let text = String::from_utf8(bytes(member, MAX_LOCKFILE)?);
                    let text = text.map_err(|e| {
                        Error::bad_request("it is no text").with_source(e.utf8_error())
                    })?;
                    return Lockfile::parse(&text).map(Some);
                }
            }
            _ => {}
        }
    }
    Ok(None)
}

/// All that a member has.
fn bytes(member: impl Read, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match member.take(most + 1).read_to_end(&mut bytes) {
        Ok(length) if length as u64 > most => Err(Error::bad_request(format!(
            "it is larger than the {most} bytes that it may have"
        ))),
        Ok(_) => Ok(bytes),
        Err(e) => Err(broken(&e)),
    }
}

/// The reason may quote bytes of the file, which could be anybody's and go to a terminal.
fn broken(why: &std::io::Error) -> Error {
    const SHOWN: usize = 100;
    let said = why.to_string();
    let quotable = said.chars().take(SHOWN).flat_map(char::escape_debug);
    Error::bad_request(format!(
        "the archive is broken: {}",
        quotable.collect::<String>()
    ))
    .with_io_source(why)
}

#[cfg(test)]
mod tests {
    use std::io::{Write, repeat};

    use flate2::{Compression, write::GzEncoder};
    use tar::{Builder, Header};

    use super::*;

    const TEXT: &str = "[[package]]\nname = \"leaf\"\nversion = \"1.0.0\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n";

    fn id() -> CrateId {
        CrateId::parse("tool", "1.0.0").expect("valid")
    }

    fn append(to: &mut Builder<impl Write>, path: &str, size: u64, data: impl Read) {
        let mut header = Header::new_gnu();
        header.set_size(size);
        header.set_mode(0o644);
        to.append_data(&mut header, path, data.take(size))
            .expect("written");
    }

    fn packed(fill: impl FnOnce(&mut Builder<GzEncoder<Vec<u8>>>)) -> Vec<u8> {
        let mut archive = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        fill(&mut archive);
        let gzip = archive.into_inner().expect("written");
        gzip.finish().expect("written")
    }

    fn found(bytes: &[u8]) -> Result<Option<usize>> {
        let lockfile = in_crate_file(bytes, &id())?;
        Ok(lockfile.map(|lockfile| lockfile.packages.len()))
    }

    #[test]
    fn the_crate_s_own_lockfile_is_found_and_no_other() {
        let with = |path: &str| {
            packed(|archive| {
                append(archive, "tool-1.0.0/Cargo.toml", 4, repeat(b' '));
                append(archive, path, TEXT.len() as u64, TEXT.as_bytes());
            })
        };
        for (path, packages) in [
            ("tool-1.0.0/Cargo.lock", Some(1)),
            ("tool-1.0.0/examples/Cargo.lock", None),
            ("other-1.0.0/Cargo.lock", None),
            ("Cargo.lock", None),
        ] {
            assert_eq!(found(&with(path)).expect("an archive"), packages, "{path}");
        }
    }

    #[test]
    fn a_path_too_long_for_its_header_is_read_from_before_it() {
        let version = format!("1.0.0+{}", "a".repeat(120));
        let id = CrateId::parse("tool", &version).expect("valid");
        let file = packed(|archive| {
            let path = format!("tool-{version}/Cargo.lock");
            append(archive, &path, TEXT.len() as u64, TEXT.as_bytes());
        });
        let found = in_crate_file(&*file, &id).expect("an archive");
        assert_eq!(found.map(|f| f.packages.len()), Some(1));
    }

    #[test]
    fn what_would_take_more_than_it_may_is_refused() {
        let large = packed(|archive| {
            let size = MAX_LOCKFILE + 1;
            append(archive, "tool-1.0.0/Cargo.lock", size, repeat(b'#'));
        });
        assert!(
            found(&large)
                .expect_err("refused")
                .to_string()
                .contains("larger")
        );
        let long_name = packed(|archive| {
            let mut header = Header::new_gnu();
            header.set_entry_type(EntryType::GNULongName);
            header.set_size(MAX_LOCKFILE);
            header.set_cksum();
            let name = repeat(b'a').take(MAX_LOCKFILE);
            archive.append(&header, name).expect("written");
        });
        assert!(found(&long_name).is_err());
        let mut cut = packed(|archive| {
            append(archive, "tool-1.0.0/Cargo.lock", 9, TEXT.as_bytes());
        });
        cut.truncate(cut.len() / 2);
        for bytes in [&cut[..], b"no archive", b""] {
            assert!(found(bytes).is_err(), "{bytes:?}");
        }
    }
}
