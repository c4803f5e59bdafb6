//! [`ManifestReader`]: the Cargo.toml of a .crate file, found while the file comes by.
//!
//! The file is a stranger's. What is kept of it is one manifest of at most half a megabyte, and it isn't unpacked any further than cargo itself would.

use std::{
    io::{self, Read, Write},
    mem,
};

use flate2::write::GzDecoder;

use crate::domain::{CrateId, License, Manifest, TarChoice, TarProgress, TarStream, TarVisitor};

/// No manifest is larger; those of the largest projects have some 100 KB. While it is read, it takes a hundred times its size at worst.
const MAX_MANIFEST: u64 = 512 << 10;
/// No archive is unpacked further: cargo itself refuses those that are larger.
const MAX_UNPACKED: u64 = 512 << 20;

/// A .crate file on its way, of which the manifest is to be known.
///
/// It unpacks as it is fed, some milliseconds for each megabyte that comes out, and a piece of 64 KiB can hold 64 MiB: who feeds it more at once, or whole files,
/// does that on a thread that may block.
#[derive(Debug)]
pub struct ManifestReader {
    state: State,
}

#[derive(Debug)]
enum State {
    Reading(Box<GzDecoder<Unpacked>>),
    Found(Box<Manifest>),
}

impl ManifestReader {
    /// Looks for the manifest of `id`: the first file of the archive that is called `NAME-VERSION/Cargo.toml`, in any case, as stored paths have none.
    pub fn new(id: &CrateId) -> Self {
        let unpacked = Unpacked {
            tar: TarStream::default(),
            left: MAX_UNPACKED,
            is_done: false,
            wanted: Wanted {
                path: format!("{}-{}/Cargo.toml", id.name, id.version),
                found: None,
            },
        };
        Self {
            state: State::Reading(Box::new(GzDecoder::new(unpacked))),
        }
    }

    /// The next bytes of the file. What the manifest says is there as soon as it has come by, or can't come any more: [`Manifest::none`] then, and for what
    /// isn't a .crate file. From then on nothing is looked at.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<&Manifest> {
        if let State::Reading(decoder) = &mut self.state {
            // An error is one of the archive, or its way to say that it has seen enough.
            let has_failed = decoder.write_all(bytes).is_err();
            let unpacked = decoder.get_mut();
            if has_failed || unpacked.is_done {
                self.state = State::Found(Box::new(unpacked.manifest()));
            }
        }
        match &self.state {
            State::Reading(_) => None,
            State::Found(manifest) => Some(manifest),
        }
    }

    /// What the manifest says, when no more bytes are to come.
    pub fn finish(mut self) -> Manifest {
        match &mut self.state {
            State::Reading(decoder) => {
                // What the decoder still holds.
                let _ = decoder.try_finish();
                decoder.get_mut().manifest()
            }
            State::Found(manifest) => mem::replace(manifest, Manifest::none()),
        }
    }
}

/// The manifest of a whole .crate file. Takes as long as it takes to unpack it up to there.
pub fn manifest_in(file: &[u8], id: &CrateId) -> Manifest {
    let mut reader = ManifestReader::new(id);
    reader.feed(file);
    reader.finish()
}

/// The licence of the .crate file whose bytes `file` gives, of which no more are read than it takes. One that can't be read names none. Blocks as long as `file` does.
pub(super) fn license_from(mut file: impl Read, id: &CrateId) -> License {
    let mut reader = ManifestReader::new(id);
    let mut block = vec![0; 64 << 10];
    while let Ok(read @ 1..) = file.read(&mut block) {
        if reader.feed(&block[..read]).is_some() {
            break;
        }
    }
    reader.finish().license
}

/// The unpacked archive on its way.
#[derive(Debug)]
struct Unpacked {
    tar: TarStream,
    left: u64,
    is_done: bool,
    wanted: Wanted,
}

impl Unpacked {
    fn manifest(&mut self) -> Manifest {
        self.wanted.found.take().unwrap_or(Manifest::none())
    }
}

impl Write for Unpacked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(left) = self.left.checked_sub(bytes.len() as u64)
            && let Ok(TarProgress::Going) = self.tar.push(bytes, &mut self.wanted)
        {
            self.left = left;
            return Ok(bytes.len());
        }
        self.is_done = true;
        Err(io::Error::other("enough"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The manifest that is looked for, and what it says.
#[derive(Debug)]
struct Wanted {
    path: String,
    found: Option<Manifest>,
}

impl TarVisitor for Wanted {
    fn choose(&mut self, path: &[u8], size: u64) -> TarChoice {
        let is_it = path.eq_ignore_ascii_case(self.path.as_bytes());
        match is_it && size <= MAX_MANIFEST {
            true => TarChoice::Take,
            false => TarChoice::Skip,
        }
    }

    fn file(&mut self, _path: &[u8], content: Vec<u8>) -> TarProgress {
        self.found = Some(Manifest::parse(&content));
        TarProgress::Done
    }
}

#[cfg(test)]
mod tests {
    use std::io::repeat;

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;
    use tar::{Builder, Header};

    use super::*;

    fn license_in(file: &[u8], id: &CrateId) -> License {
        manifest_in(file, id).license
    }

    fn id() -> CrateId {
        CrateId::parse("Some_Tool", "1.0.0").expect("valid")
    }

    fn append(to: &mut Builder<impl Write>, path: &str, size: u64, data: impl Read) {
        let mut header = Header::new_gnu();
        header.set_size(size);
        header.set_mode(0o644);
        let data = data.take(size);
        to.append_data(&mut header, path, data).expect("written");
    }

    fn packed(files: &[(&str, &str)]) -> Vec<u8> {
        let mut archive = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (path, content) in files {
            append(&mut archive, path, content.len() as u64, content.as_bytes());
        }
        let gzip = archive.into_inner().expect("written");
        gzip.finish().expect("written")
    }

    const MIT: &str = "[package]\nname = \"x\"\nlicense = \"MIT\"\n";

    #[test]
    fn the_crate_s_own_manifest_is_found_and_no_other() {
        let other = "[package]\nlicense = \"Apache-2.0\"\n";
        for (files, license) in [
            (
                vec![
                    ("Some_Tool-1.0.0/a", other),
                    ("Some_Tool-1.0.0/Cargo.toml", MIT),
                ],
                Some("MIT"),
            ),
            (vec![("some_tool-1.0.0/Cargo.toml", MIT)], Some("MIT")),
            (
                vec![
                    ("Some_Tool-1.0.0/examples/Cargo.toml", other),
                    ("Some_Tool-1.0.0/Cargo.toml", MIT),
                ],
                Some("MIT"),
            ),
            (
                vec![
                    ("Some_Tool-1.0.0/Cargo.toml", MIT),
                    ("Some_Tool-1.0.0/Cargo.toml", other),
                ],
                Some("MIT"),
            ),
            (vec![("other-1.0.0/Cargo.toml", other)], None),
            (vec![("Cargo.toml", other)], None),
            (vec![("Some_Tool-1.0.0/Cargo.toml.orig", other)], None),
            (vec![], None),
        ] {
            let expected = license.map_or(License::None, |l| License::Expression(l.into()));
            assert_eq!(license_in(&packed(&files), &id()), expected, "{files:?}");
        }
    }

    #[test]
    fn what_a_manifest_says_is_read_as_cargo_reads_it() {
        let expression = |text: &str| License::Expression(text.into());
        for (manifest, license) in [
            (MIT.to_owned(), expression("MIT")),
            (
                "[project]\nlicense = \"MIT/Apache-2.0\"\n".to_owned(),
                expression("MIT/Apache-2.0"),
            ),
            (
                "[package]\nlicense-file = \"LICENSE\"\n".to_owned(),
                License::File("LICENSE".into()),
            ),
            ("[package]\nname = \"x\"\n".to_owned(), License::None),
            (
                "[package]\nlicense = { workspace = true }\n".to_owned(),
                License::None,
            ),
            ("no toml".to_owned(), License::None),
            ("\u{0}".to_owned(), License::None),
            (
                format!("{MIT}x = {}1{}", "[".repeat(50_000), "]".repeat(50_000)),
                License::None,
            ),
            (
                format!("{MIT}# {}", "x".repeat(MAX_MANIFEST as usize)),
                License::None,
            ),
        ] {
            let file = packed(&[("Some_Tool-1.0.0/Cargo.toml", &manifest)]);
            let said: String = manifest.chars().take(40).collect();
            assert_eq!(license_in(&file, &id()), license, "{said}");
        }
    }

    #[test]
    fn the_licence_is_known_as_soon_as_the_manifest_has_come_by() {
        let mut archive = Builder::new(GzEncoder::new(Vec::new(), Compression::none()));
        append(
            &mut archive,
            "Some_Tool-1.0.0/Cargo.toml",
            MIT.len() as u64,
            MIT.as_bytes(),
        );
        append(&mut archive, "Some_Tool-1.0.0/large", 1 << 20, repeat(b'x'));
        let file = archive
            .into_inner()
            .expect("written")
            .finish()
            .expect("written");
        let mut reader = ManifestReader::new(&id());
        let pieces = file.chunks(1_000);
        let fed = pieces.take_while(|piece| reader.feed(piece).is_none());
        assert!(fed.count() < 200, "long before the end");
        assert_eq!(reader.finish().license, License::Expression("MIT".into()));
    }

    /// 10 GiB of nothing in 10 MB: it is given up after half a gigabyte.
    #[test]
    fn what_unpacks_to_more_than_cargo_takes_is_given_up() {
        let mut archive = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        append(&mut archive, "Some_Tool-1.0.0/a", MAX_UNPACKED, repeat(0));
        append(
            &mut archive,
            "Some_Tool-1.0.0/Cargo.toml",
            MIT.len() as u64,
            MIT.as_bytes(),
        );
        let file = archive
            .into_inner()
            .expect("written")
            .finish()
            .expect("written");
        assert!(file.len() < 8 << 20, "{}", file.len());
        assert_eq!(license_in(&file, &id()), License::None);
    }

    #[test]
    fn what_is_cut_off_or_no_archive_names_no_licence() {
        let mut file = packed(&[("Some_Tool-1.0.0/Cargo.toml", MIT)]);
        file.truncate(40);
        for bytes in [&file[..], b"no archive", b""] {
            assert_eq!(license_in(bytes, &id()), License::None, "{bytes:?}");
        }
    }

    proptest! {
        /// Pieces of any size come to the same, and no damage makes another licence of it.
        #[test]
        fn a_file_is_read_alike_however_it_is_cut(piece in 1_usize..300, at in any::<proptest::sample::Index>(), byte in any::<u8>(), is_damaged in any::<bool>()) {
            let mut file = packed(&[("Some_Tool-1.0.0/a", "x"), ("Some_Tool-1.0.0/Cargo.toml", MIT)]);
            if is_damaged {
                let at = at.index(file.len());
                file[at] = byte;
            }
            let mut reader = ManifestReader::new(&id());
            for piece in file.chunks(piece) {
                reader.feed(piece);
            }
            let license = reader.finish().license;
            let whole = license_in(&file, &id());
            match is_damaged {
                // In one go the damage may be met before what came out of the file so far has been looked at.
                true => prop_assert!(license == whole || license == License::None || whole == License::None),
                false => {
                    prop_assert_eq!(&license, &License::Expression("MIT".into()));
                    prop_assert_eq!(&license, &whole);
                }
            }
        }
    }
}
