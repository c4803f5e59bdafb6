//! [`CrateReader`]: a stored .crate file read block by block, its last block held back until the checksum holds.
//!
//! How long the file is was said when it was opened, and clients were told: exactly so many bytes are read, whatever somebody writes into the file
//! meanwhile.

use std::{fs::File, io, os::unix::fs::FileExt, sync::Arc, time::Instant};

use bytes::Bytes;

use super::{
    Identity, Store, Touch, corrupt::Seen, disk::Disk, doubts::Doubt, unreadable::PASSED_OVER,
};
use crate::{
    domain::{CrateKey, Hasher, Key},
    error::{Error, Result},
};

/// Bytes a read asks for: large enough to make the trip to a blocking thread cheap, small enough for hundreds of readers.
const BLOCK: u64 = 64 << 10;

/// Where the blocks come from.
#[derive(Clone)]
pub(super) enum Blocks {
    File {
        file: Arc<File>,
        /// As it was when the file was opened.
        length: u64,
        seen: Seen,
    },
    Memory(Bytes),
}

/// A stored .crate file on its way out. A corrupt one is cut off before its end, dropped from the store, and fetched when asked for
/// again: a client never receives a complete wrong file. Neither does it of a file that is written into meanwhile.
pub struct CrateReader {
    store: Store,
    key: CrateKey,
    blocks: Blocks,
    /// Of all bytes before `offset`, which have been handed out.
    hasher: Hasher,
    offset: u64,
    state: State,
    audience: Audience,
}

/// Whether there is more to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// All of it was read and its checksum held.
    Whole,
    /// It is wrong or can't be read.
    Failed,
}

/// Who gets to see the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Audience {
    Clients,
    Ourselves,
}

/// What a read found.
enum Block {
    /// With more to come.
    Next(Bytes),
    /// The last one, and the file ends with it.
    Last(Bytes),
    /// The file has another length than it had.
    Changed,
}

impl CrateReader {
    pub(super) fn new(store: Store, key: CrateKey, blocks: Blocks) -> Self {
        Self {
            store,
            key,
            blocks,
            hasher: Hasher::default(),
            offset: 0,
            state: State::Open,
            audience: Audience::Clients,
        }
    }

    /// The file's size in bytes.
    pub fn length(&self) -> u64 {
        self.blocks.length()
    }

    /// Which file it is.
    pub fn key(&self) -> &CrateKey {
        &self.key
    }

    /// The same file from its beginning, for bytes that no client gets to see.
    pub fn again(&self) -> Self {
        let mut reader = Self::new(self.store.clone(), self.key, self.blocks.clone());
        reader.audience = Audience::Ourselves;
        reader
    }

    /// The next block; `None` after the last one, which comes only if the checksum of exactly as many bytes as were announced is right and the file
    /// ends there.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the file can't be read or fails its check; nothing comes after it.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        if self.state != State::Open {
            return None;
        }
        let path = self.key.path();
        let read = match self.store.touch(Touch::Read, &path) {
            Ok(()) => {
                let read = self.blocks.read(&self.store.disk, &path, self.offset);
                self.store.note(read.await)
            }
            Err(e) => Err(e),
        };
        Some(match read {
            Ok(Block::Next(block)) => {
                self.hasher.update(&block);
                self.offset += block.len() as u64;
                Ok(block)
            }
            Ok(Block::Last(block)) => {
                let mut hasher = self.hasher.clone();
                hasher.update(&block);
                let actual = hasher.finish();
                if actual != self.key.sha256 {
                    return Some(Err(self.drop(&format!("its checksum is {actual}")).await));
                }
                self.state = State::Whole;
                if block.is_empty() {
                    return None;
                }
                Ok(block)
            }
            Ok(Block::Changed) => {
                let why = "it was written to while it was read";
                Err(self.drop(why).await)
            }
            Err(e) => {
                self.doubt();
                self.state = State::Failed;
                let until = Instant::now() + PASSED_OVER;
                self.store.unreadable.add(self.key, until);
                Err(e)
            }
        })
    }

    async fn drop(&mut self, why: &str) -> Error {
        self.state = State::Failed;
        self.store.doubt(self.key, Doubt::Wrong);
        let (key, seen) = (Key::Crate(self.key), self.blocks.seen());
        let _ = self.store.drop_corrupt(key, seen, why).await;
        Error::store(format!(
            "the stored file of {} is corrupt and isn't used; ask again to have it fetched anew",
            self.key.id
        ))
    }

    /// What has been handed out so far is a beginning that nobody has checked.
    fn doubt(&self) {
        if self.offset > 0 && self.audience == Audience::Clients {
            let beginning = Doubt::Beginning {
                length: self.offset,
                sha256: self.hasher.clone().finish(),
            };
            self.store.doubt(self.key, beginning);
        }
    }
}

impl Drop for CrateReader {
    fn drop(&mut self) {
        match self.state {
            State::Open => self.doubt(),
            State::Whole | State::Failed => {}
        }
    }
}

impl Blocks {
    /// How many bytes there were when they were opened.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::File { length, .. } => *length,
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// Of what they are.
    pub(super) fn seen(&self) -> Seen {
        match self {
            Self::File { seen, .. } => *seen,
            Self::Memory(bytes) => Seen::Settled(Identity::of_bytes(bytes)),
        }
    }

    /// The block at `offset`.
    async fn read(&self, disk: &Disk, path: &str, offset: u64) -> Result<Block> {
        let left = self.length().saturating_sub(offset);
        let length = left.min(BLOCK) as usize;
        match self {
            Self::Memory(bytes) => {
                let start = offset as usize;
                Ok(Block::of(bytes.slice(start..start + length), left))
            }
            Self::File { file, .. } => {
                let file = file.clone();
                // With the last block one more is asked for, which nobody should find.
                let beyond = usize::from(left <= BLOCK);
                let read = move |_: &_| {
                    read_at(&file, offset, length + beyond)
                        .map_err(|e| Error::store(format!("reading a stored file failed: {e}")))
                };
                let block = disk.run(Touch::Read, path, read).await?;
                Ok(match block.len() == length {
                    true => Block::of(block, left),
                    false => Block::Changed,
                })
            }
        }
    }
}

impl Block {
    fn of(bytes: Bytes, left: u64) -> Self {
        match bytes.len() as u64 == left {
            true => Self::Last(bytes),
            false => Self::Next(bytes),
        }
    }
}

/// Up to `most` bytes from `offset` on; fewer only where the file ends. Leaves the file's own place alone, so that many may read.
pub(super) fn read_at(file: &File, offset: u64, most: usize) -> io::Result<Bytes> {
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
