//! [`TarStream`]: a tar archive that is read as its bytes come.
//!
//! The crate `tar` asks for the bytes, which takes a thread for as long as they are on their way; here they are handed over. Its types read the headers. An
//! archive may be a stranger's: nothing is written, and of what isn't wanted nothing is kept.

use std::mem;

use tar::{EntryType, Header, PaxExtensions};

use crate::error::{Error, Result};

const BLOCK: usize = 512;
/// The longest path, and the largest of the headers that carry one.
const LONGEST_PATH: u64 = 1 << 10;
const LARGEST_EXTENSION: u64 = 16 << 10;

/// Whether a file of an archive is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TarChoice {
    /// Its content is wanted. It is kept in memory until it is complete.
    Take,
    /// It isn't.
    Skip,
}

/// Whether an archive is to be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TarProgress {
    /// There may be more.
    Going,
    /// It has ended, or nobody wants more of it.
    Done,
}

/// Who looks at an archive's files.
pub trait TarVisitor {
    /// Whether the file at `path` is wanted, which has `size` bytes. A path may be anything; it is cut to a kilobyte.
    fn choose(&mut self, path: &[u8], size: u64) -> TarChoice;

    /// A file that was wanted.
    fn file(&mut self, path: &[u8], content: Vec<u8>) -> TarProgress;
}

/// An archive on its way.
#[derive(Debug, Default)]
pub struct TarStream {
    state: State,
    /// What an earlier header says of the next file.
    next: Overrides,
}

#[derive(Debug, Default)]
struct Overrides {
    path: Option<Vec<u8>>,
    size: Option<u64>,
}

#[derive(Debug)]
enum State {
    /// A header, of which so much has come.
    Header(Vec<u8>),
    /// So many bytes that nobody wants.
    Skipping(u64),
    /// Something wanted, of which so much is still to come, and then so much padding.
    Taking {
        what: What,
        content: Vec<u8>,
        left: u64,
        padding: u64,
    },
    Done,
}

impl Default for State {
    fn default() -> Self {
        Self::Header(Vec::new())
    }
}

#[derive(Debug)]
enum What {
    File(Vec<u8>),
    LongPath,
    Extension,
}

impl TarStream {
    /// The next bytes of the archive. After [`TarProgress::Done`] nothing is looked at any more.
    ///
    /// # Errors
    /// [`Kind::BadRequest`](crate::error::Kind::BadRequest) when it is no such archive.
    pub fn push(&mut self, mut bytes: &[u8], visitor: &mut impl TarVisitor) -> Result<TarProgress> {
        loop {
            // What is wanted of a file without content is complete at once.
            let is_complete = matches!(&self.state, State::Taking { left: 0, .. });
            if bytes.is_empty() && !is_complete {
                return Ok(match self.state {
                    State::Done => TarProgress::Done,
                    State::Header(_) | State::Skipping(_) | State::Taking { .. } => {
                        TarProgress::Going
                    }
                });
            }
            let state = mem::replace(&mut self.state, State::Done);
            self.state = match state {
                State::Done => return Ok(TarProgress::Done),
                State::Skipping(left) => {
                    let taken = split(&mut bytes, left);
                    after(left - taken.len() as u64)
                }
                State::Header(mut block) => {
                    block.extend_from_slice(split(&mut bytes, (BLOCK - block.len()) as u64));
                    match block.len() < BLOCK {
                        true => State::Header(block),
                        false => self.header(&block, visitor)?,
                    }
                }
                State::Taking {
                    what,
                    mut content,
                    left,
                    padding,
                } => {
                    let taken = split(&mut bytes, left);
                    content.extend_from_slice(taken);
                    match left - taken.len() as u64 {
                        0 => self.complete(what, content, padding, visitor),
                        left => State::Taking {
                            what,
                            content,
                            left,
                            padding,
                        },
                    }
                }
            };
        }
    }

    fn header(&mut self, block: &[u8], visitor: &mut impl TarVisitor) -> Result<State> {
        // Two empty blocks end an archive, and one is enough to know.
        if block.iter().all(|b| *b == 0) {
            return Ok(State::Done);
        }
        let header = Header::from_byte_slice(block);
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        let own: u32 = block[148..156].iter().map(|b| u32::from(*b)).sum();
        let expected = sum - own + 8 * u32::from(b' ');
        let broken = || Error::bad_request("the archive is broken: it has a header that is none");
        if header.cksum().ok() != Some(expected) {
            return Err(broken());
        }
        let size = header.entry_size().map_err(|_| broken())?;
        let take = |what, size: u64| State::Taking {
            what,
            content: Vec::new(),
            left: size,
            padding: padding(size),
        };
        Ok(match header.entry_type() {
            EntryType::GNULongName if size <= LONGEST_PATH => take(What::LongPath, size),
            EntryType::XHeader if size <= LARGEST_EXTENSION => take(What::Extension, size),
            EntryType::GNULongName | EntryType::XHeader | EntryType::GNUSparse => {
                return Err(Error::bad_request(
                    "the archive has a file whose path is longer than any here, or whose content is written with holes",
                ));
            }
            // They come between a file's other headers and the file.
            EntryType::GNULongLink | EntryType::XGlobalHeader => after(padded(size)),
            kind => {
                let next = mem::take(&mut self.next);
                let size = next.size.unwrap_or(size);
                let path = next
                    .path
                    .unwrap_or_else(|| header.path_bytes().into_owned());
                let is_file = kind == EntryType::Regular;
                match is_file && visitor.choose(&path, size) == TarChoice::Take {
                    true => take(What::File(path), size),
                    false => after(padded(size)),
                }
            }
        })
    }

    fn complete(
        &mut self,
        what: What,
        mut content: Vec<u8>,
        padding: u64,
        visitor: &mut impl TarVisitor,
    ) -> State {
        match what {
            What::File(path) => {
                if visitor.file(&path, content) == TarProgress::Done {
                    return State::Done;
                }
            }
            What::LongPath => {
                content.pop_if(|last| *last == 0);
                self.next.path = Some(content);
            }
            What::Extension => {
                for extension in PaxExtensions::new(&content).flatten() {
                    match extension.key() {
                        Ok("path") => self.next.path = Some(extension.value_bytes().to_owned()),
                        Ok("size") => {
                            self.next.size = extension.value().ok().and_then(|v| v.parse().ok());
                        }
                        Ok(_) | Err(_) => {}
                    }
                }
            }
        }
        after(padding)
    }
}

/// Takes up to `most` bytes from the front.
fn split<'a>(bytes: &mut &'a [u8], most: u64) -> &'a [u8] {
    let most = usize::try_from(most).map_or(bytes.len(), |most| most.min(bytes.len()));
    let (taken, rest) = bytes.split_at(most);
    *bytes = rest;
    taken
}

fn after(skipped: u64) -> State {
    match skipped {
        0 => State::default(),
        left => State::Skipping(left),
    }
}

/// How many bytes fill the last block of so many.
fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

fn padded(size: u64) -> u64 {
    size.saturating_add(padding(size))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tar::Builder;

    use super::*;

    #[derive(Default)]
    struct Wanted {
        files: Vec<(String, usize)>,
        most: u64,
    }

    impl TarVisitor for Wanted {
        fn choose(&mut self, path: &[u8], size: u64) -> TarChoice {
            match path.ends_with(b".md") && size <= self.most {
                true => TarChoice::Take,
                false => TarChoice::Skip,
            }
        }

        fn file(&mut self, path: &[u8], content: Vec<u8>) -> TarProgress {
            let path = String::from_utf8_lossy(path).into_owned();
            self.files.push((path, content.len()));
            TarProgress::Going
        }
    }

    fn archive(files: &[(String, usize)]) -> Vec<u8> {
        let mut archive = Builder::new(Vec::new());
        for (path, size) in files {
            let mut header = Header::new_gnu();
            header.set_size(*size as u64);
            let content = vec![b'x'; *size];
            archive
                .append_data(&mut header, path, &*content)
                .expect("written");
        }
        archive.into_inner().expect("written")
    }

    fn read(bytes: &[u8], piece: usize) -> Result<Vec<(String, usize)>> {
        let (mut stream, mut visitor) = (
            TarStream::default(),
            Wanted {
                most: 2_000,
                ..Wanted::default()
            },
        );
        for piece in bytes.chunks(piece) {
            if stream.push(piece, &mut visitor)? == TarProgress::Done {
                break;
            }
        }
        Ok(visitor.files)
    }

    #[test]
    fn files_are_found_however_the_archive_is_cut() {
        let long = format!("{}/{}.md", "a".repeat(90), "b".repeat(90));
        let very_long = format!("{}.md", "c/".repeat(200));
        let files = [
            ("a.md", 0),
            ("b.md", 512),
            ("b.txt", 100),
            ("c.md", 513),
            ("d.md", 2_001),
            (&*long, 1),
            (&*very_long, 3),
        ];
        let files = files.map(|(path, size)| (path.to_owned(), size));
        let bytes = archive(&files);
        let expected: Vec<_> = files
            .iter()
            .filter(|(path, size)| path.ends_with(".md") && *size <= 2_000)
            .cloned()
            .collect();
        for piece in [1, 7, 511, 512, 513, bytes.len()] {
            assert_eq!(
                read(&bytes, piece).expect("an archive"),
                expected,
                "{piece}"
            );
        }
    }

    #[test]
    fn a_path_and_a_size_may_stand_in_an_extension() {
        let mut archive = Builder::new(Vec::new());
        archive
            .append_pax_extensions([("path", "x.md".as_bytes()), ("size", b"5")])
            .expect("written");
        let mut header = Header::new_ustar();
        header.set_path("other").expect("set");
        header.set_size(0);
        header.set_cksum();
        let mut bytes = archive.get_ref().clone();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(&[b'x'; 5]);
        bytes.extend_from_slice(&[0; 507]);
        bytes.extend_from_slice(&self::archive(&[("y.md".to_owned(), 1)]));
        assert_eq!(
            read(&bytes, 100).expect("an archive"),
            [("x.md".to_owned(), 5), ("y.md".to_owned(), 1)]
        );
    }

    #[test]
    fn what_is_no_archive_is_said() {
        assert!(read(&[b'x'; 600], 100).is_err());
        let mut bytes = archive(&[("a.md".to_owned(), 10)]);
        bytes[0] ^= 1;
        assert!(read(&bytes, 100).is_err());
        let mut endless = Header::new_gnu();
        endless.set_entry_type(EntryType::GNULongName);
        endless.set_size(u64::MAX / 2);
        endless.set_cksum();
        assert!(read(endless.as_bytes(), 100).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_alike_however_they_are_cut(bytes in proptest::collection::vec(any::<u8>(), 0..2_000), at in any::<proptest::sample::Index>(), piece in 1_usize..700) {
            let mut changed = archive(&[("a.md".to_owned(), 700), ("b.md".to_owned(), 3)]);
            let at = at.index(changed.len());
            let end = changed.len().min(at + bytes.len());
            changed[at..end].copy_from_slice(&bytes[..end - at]);
            let whole = read(&changed, changed.len()).map_err(|e| e.to_string());
            prop_assert_eq!(read(&changed, piece).map_err(|e| e.to_string()), whole);
        }
    }
}
