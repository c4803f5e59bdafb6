//! Reading a bundle as a stream, and trusting nothing in it: what is handed to the [`Sink`] is what the manifest says, in the manifest's order.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
};

use tar::{Archive, Entries as Members, EntryType};

use super::{
    attachment::AttachedFile,
    entry::{BundleEntry, Entries, scratch, shown},
    format::{MANIFEST, MAX_MANIFEST, MAX_RECORD, MAX_SIGNATURE, SIGNATURE},
    manifest::{self, Head},
    sign::PublicKey,
};
use crate::{
    domain::{Hasher, Key},
    error::{Error, Result},
};

/// The largest window a decoder makes room for, 8 MiB: what zstd needs up to its level 19.
const WINDOW_LOG: u32 = 23;
/// The longest path an archive may have for a member; a key's has at most 350 bytes.
const MAX_PATH: u64 = 1 << 10;
/// What may come after the last member: tar's two empty blocks, filled up with zeros to a size that tapes like.
const MAX_PADDING: u64 = 1 << 20;

/// Where a bundle's entries go.
pub trait Sink {
    /// Called once, before the first entry, when the manifest has been checked: how many entries there are, and the sum of their sizes.
    ///
    /// # Errors
    /// Those of the sink; they end the reading.
    fn begin(&mut self, head: &Head, entries: u64, bytes: u64) -> Result<()>;

    /// Takes what is attached, before the first entry.
    ///
    /// # Errors
    /// Those of the sink and of `content`; they end the reading.
    fn attached(&mut self, file: &AttachedFile, content: EntryContent<'_>) -> Result<()>;

    /// Takes the next entry.
    ///
    /// # Errors
    /// Those of the sink and of `content`; they end the reading.
    fn entry(&mut self, entry: &BundleEntry, key: &Key, content: EntryContent<'_>) -> Result<()>;
}

/// The bytes of one entry, which can be had only whole and as the manifest says they are.
pub struct EntryContent<'a> {
    data: &'a mut dyn Read,
    entry: &'a BundleEntry,
}

impl EntryContent<'_> {
    /// Copies them; when this returns an error, what was written is not them.
    ///
    /// # Errors
    /// [`Kind::BadRequest`](crate::error::Kind::BadRequest) when they aren't what the manifest says, [`Kind::Store`](crate::error::Kind::Store) when they
    /// can't be written.
    pub fn copy_to(self, target: &mut impl Write) -> Result<()> {
        let path = &self.entry.path;
        let mut hasher = Hasher::default();
        let mut block = vec![0; 128 << 10];
        let mut left = self.entry.size;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
            let read = match self.data.read(&mut block[..most]) {
                Ok(0) => return Err(broken(path, &"it ends here")),
                Ok(read) => read,
                Err(e) => return Err(unreadable(path, &e)),
            };
            hasher.update(&block[..read]);
            target.write_all(&block[..read]).map_err(scratch)?;
            left -= read as u64;
        }
        let actual = hasher.finish();
        match actual == self.entry.sha256 {
            true => Ok(()),
            false => Err(Error::bad_request(format!(
                "{path} has been changed: its checksum is {actual}, and the manifest says {}",
                self.entry.sha256
            ))),
        }
    }

    /// All of them, which the caller knows to be few.
    ///
    /// # Errors
    /// As for [`EntryContent::copy_to`].
    pub fn into_bytes(self) -> Result<Vec<u8>> {
        let size = self.entry.size.min(MAX_RECORD);
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        self.copy_to(&mut bytes)?;
        Ok(bytes)
    }

    /// Checks them and forgets them.
    ///
    /// # Errors
    /// As for [`EntryContent::copy_to`].
    pub fn check(self) -> Result<()> {
        self.copy_to(&mut io::sink())
    }
}

/// Reads a bundle into `sink`; with a `key`, only one that it has signed, and nothing reaches the sink before that is known. `scratch` makes two files to
/// keep the manifest in.
///
/// # Errors
/// [`Kind::BadRequest`](crate::error::Kind::BadRequest) with what is wrong with the bundle and at which entry, and those of `sink`.
pub fn read(
    source: impl Read,
    key: Option<&PublicKey>,
    scratch: impl FnMut() -> Result<File>,
    sink: &mut impl Sink,
) -> Result<()> {
    let archive = decompress(source)?;
    read_archive(archive, key, scratch, sink)
}

/// Its manifest alone, the entries noted in `entries`.
pub(super) fn read_manifest(
    source: impl Read,
    mut file: File,
    entries: &mut Entries,
) -> Result<Head> {
    let mut archive = Archive::new(decompress(source)?);
    let mut members = archive
        .entries()
        .map_err(|e| unreadable(MANIFEST, &e))?
        .raw(true);
    spool_manifest(&mut members, &mut file)?;
    manifest::parse(file, entries)
}

fn decompress(source: impl Read) -> Result<impl Read> {
    let opened = zstd::Decoder::new(source).and_then(|mut decoder| {
        decoder.window_log_max(WINDOW_LOG)?;
        Ok(decoder)
    });
    opened.map_err(|e| unreadable(MANIFEST, &e))
}

/// The same as [`read`] for an archive that isn't compressed.
///
/// # Errors
/// As for [`read`].
pub fn read_archive(
    source: impl Read,
    key: Option<&PublicKey>,
    mut scratch: impl FnMut() -> Result<File>,
    sink: &mut impl Sink,
) -> Result<()> {
    let mut archive = Archive::new(source);
    let mut members = archive
        .entries()
        .map_err(|e| unreadable(MANIFEST, &e))?
        .raw(true);
    let mut file = scratch()?;
    spool_manifest(&mut members, &mut file)?;
    let mut next = next(&mut members, "the end")?;
    if let Some(member) = next.take_if(|member| member.path == SIGNATURE.as_bytes()) {
        let signature = small(member, MAX_SIGNATURE, SIGNATURE)?;
        if let Some(key) = key {
            key.verify(again(&file)?, &signature)?;
        }
        next = self::next(&mut members, "the end")?;
    } else if key.is_some() {
        return Err(Error::bad_request("it is not signed"));
    }
    let mut entries = Entries::new(scratch()?);
    let head = manifest::parse(again(&file)?, &mut entries)?;
    drop(file);
    sink.begin(&head, entries.count, entries.bytes)?;
    for file in &head.attached {
        let entry = &file.entry;
        let mut member = next
            .take()
            .ok_or_else(|| broken(&entry.path, &"it ends here"))?;
        sink.attached(file, member.content(entry)?)?;
        next = self::next(&mut members, &entry.path)?;
    }
    for entry in entries.read(0..entries.length())? {
        let entry = entry?;
        let mut member = next
            .take()
            .ok_or_else(|| broken(&entry.path, &"it ends here"))?;
        sink.entry(&entry, &entry.key()?, member.content(&entry)?)?;
        next = self::next(&mut members, &entry.path)?;
    }
    if let Some(member) = next {
        let path = member.shown();
        return Err(Error::bad_request(format!(
            "it holds {path:?}, which is not in its manifest"
        )));
    }
    end(archive.into_inner())
}

/// A file's content from its beginning.
fn again(file: &File) -> Result<File> {
    let mut file = file.try_clone().map_err(scratch)?;
    file.rewind().map_err(scratch)?;
    Ok(file)
}

/// One member of the archive.
struct Member<'a, R: Read> {
    path: Vec<u8>,
    size: u64,
    data: tar::Entry<'a, R>,
}

impl<R: Read> Member<'_, R> {
    fn shown(&self) -> String {
        shown(&String::from_utf8_lossy(&self.path))
    }

    /// What is in it, if it is what the manifest has here.
    fn content<'c>(&'c mut self, entry: &'c BundleEntry) -> Result<EntryContent<'c>> {
        if self.path != entry.path.as_bytes() {
            return Err(Error::bad_request(format!(
                "it has {:?} where its manifest has {}",
                self.shown(),
                entry.path
            )));
        }
        if self.size != entry.size {
            return Err(Error::bad_request(format!(
                "{} has {} bytes, and the manifest says {}",
                entry.path, self.size, entry.size
            )));
        }
        Ok(EntryContent {
            data: &mut self.data,
            entry,
        })
    }
}

/// The next member, which must be a plain file. Read raw: the library would take a long name of any length into memory, and an extended header's word for
/// a size.
fn next<'a, R: Read>(members: &mut Members<'a, R>, after: &str) -> Result<Option<Member<'a, R>>> {
    let mut long = None;
    loop {
        let data = match members.next() {
            None if long.is_some() => return Err(broken(after, &"a name without a file follows")),
            None => return Ok(None),
            Some(Err(e)) => return Err(unreadable(after, &e)),
            Some(Ok(data)) => data,
        };
        let member = Member {
            path: data.path_bytes().into_owned(),
            size: data.size(),
            data,
        };
        match member.data.header().entry_type() {
            EntryType::Regular => {
                let path = long.unwrap_or(member.path);
                return Ok(Some(Member { path, ..member }));
            }
            EntryType::GNULongName if long.is_none() => {
                let mut path = small(member, MAX_PATH, "a long name")?;
                if path.last() == Some(&0) {
                    path.pop();
                }
                long = Some(path);
            }
            other => {
                let path = member.shown();
                return Err(Error::bad_request(format!(
                    "it holds {path:?}, which is {}; a bundle has plain files only",
                    kind(other)
                )));
            }
        }
    }
}

fn kind(member: EntryType) -> &'static str {
    match member {
        EntryType::Link | EntryType::Symlink => "a link",
        EntryType::Directory => "a folder",
        EntryType::Char | EntryType::Block | EntryType::Fifo => "a device",
        _ => "of an unknown kind",
    }
}

/// A member that must be small, whole.
fn small<R: Read>(member: Member<'_, R>, limit: u64, name: &str) -> Result<Vec<u8>> {
    let too_large = || Error::bad_request(format!("{name} has more than {limit} bytes"));
    let size = usize::try_from(member.size).map_err(|_| too_large())?;
    if member.size > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(size);
    let mut data = member.data;
    match data.read_to_end(&mut bytes) {
        Ok(read) if read == size => Ok(bytes),
        Ok(_) => Err(broken(name, &"it ends here")),
        Err(e) => Err(unreadable(name, &e)),
    }
}

/// Copies the first member, which must be the manifest, into `file`, which is at its beginning afterwards.
fn spool_manifest<R: Read>(members: &mut Members<'_, R>, file: &mut File) -> Result<()> {
    let member = next(members, MANIFEST)?;
    let Some(mut member) = member.filter(|member| member.path == MANIFEST.as_bytes()) else {
        return Err(Error::bad_request(format!(
            "it is not a bundle: it doesn't begin with {MANIFEST}"
        )));
    };
    if member.size > MAX_MANIFEST {
        return Err(Error::bad_request(format!(
            "its manifest has more than {MAX_MANIFEST} bytes"
        )));
    }
    let mut block = vec![0; 128 << 10];
    let mut left = member.size;
    while left > 0 {
        match member.data.read(&mut block) {
            Ok(0) => return Err(broken(MANIFEST, &"it ends here")),
            Ok(read) => {
                file.write_all(&block[..read]).map_err(scratch)?;
                left = left.saturating_sub(read as u64);
            }
            Err(e) => return Err(unreadable(MANIFEST, &e)),
        }
    }
    file.rewind().map_err(scratch)
}

/// Reads to the end of the file: a cut off one may lack only what can't be missed, and a checksum of the whole stands at the end.
fn end(mut rest: impl Read) -> Result<()> {
    let mut padding = Vec::new();
    let read = (&mut rest).take(MAX_PADDING + 1).read_to_end(&mut padding);
    read.map_err(|e| unreadable("its end", &e))?;
    match padding.len() as u64 <= MAX_PADDING && padding.iter().all(|&b| b == 0) {
        true => Ok(()),
        false => Err(Error::bad_request("something follows its end")),
    }
}

/// What to say when the file can't be read on, or can't be unpacked.
fn unreadable(at: &str, why: &io::Error) -> Error {
    broken(at, why).with_io_source(why)
}

/// The reason may quote bytes of the file, which could be anybody's and go to a terminal.
fn broken(at: &str, why: &dyn std::fmt::Display) -> Error {
    const SHOWN: usize = 100;
    let why = why.to_string();
    let quotable = why.chars().take(SHOWN).flat_map(char::escape_debug);
    let why: String = quotable.collect();
    let why = why.trim_end_matches('.');
    Error::bad_request(format!("it is broken or cut off at {at}: {why}"))
}
