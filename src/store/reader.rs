//! [`CrateReader`]: a stored .crate file read block by block, its last block held back until the checksum holds.

use std::{fs::File, io::Read, time::Instant};

use bytes::Bytes;

use super::{Identity, Store, Touch, disk::Disk};
use crate::{
    domain::{CrateKey, Hasher},
    error::{Error, Result},
};

/// Bytes a read asks for: large enough to make the trip to a blocking thread cheap, small enough for hundreds of readers.
const BLOCK: usize = 64 << 10;

/// Where the blocks come from.
pub(super) enum Blocks {
    File {
        file: File,
        length: u64,
        identity: Identity,
    },
    Memory(Bytes),
}

/// A stored .crate file on its way out. A corrupt one is cut off before its end, dropped from the store, and fetched when asked for
/// again: a client never receives a complete wrong file.
pub struct CrateReader {
    store: Store,
    key: CrateKey,
    length: u64,
    identity: Identity,
    state: State,
}

enum State {
    Reading {
        blocks: Blocks,
        hasher: Hasher,
        held: Option<Bytes>,
    },
    Finished,
}

impl CrateReader {
    pub(super) fn new(store: Store, key: CrateKey, blocks: Blocks) -> Self {
        Self {
            store,
            key,
            length: blocks.length(),
            identity: blocks.identity(),
            state: State::Reading {
                blocks,
                hasher: Hasher::default(),
                held: None,
            },
        }
    }

    /// The file's size in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The next block; `None` after the last one.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the file can't be read or fails its check; nothing comes after it.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        loop {
            let State::Reading {
                blocks,
                mut hasher,
                held,
            } = std::mem::replace(&mut self.state, State::Finished)
            else {
                return None;
            };
            let read = match self.store.touch(Touch::Read, &self.key.path()) {
                Ok(()) => {
                    let path = self.key.path();
                    self.store.note(blocks.next(&self.store.disk, &path).await)
                }
                Err(e) => Err(e),
            };
            let (blocks, block) = match read {
                Ok(read) => read,
                Err(e) => {
                    self.store.unreadable.add(self.key, Instant::now());
                    return Some(Err(e));
                }
            };
            let Some(block) = block else {
                return self.release(hasher, held).await;
            };
            hasher.update(&block);
            self.state = State::Reading {
                blocks,
                hasher,
                held: Some(block),
            };
            if held.is_some() {
                return held.map(Ok);
            }
        }
    }

    /// Hands out the last block if the whole file hashes to what it should.
    async fn release(&self, hasher: Hasher, held: Option<Bytes>) -> Option<Result<Bytes>> {
        let actual = hasher.finish();
        if actual == self.key.sha256 {
            return held.map(Ok);
        }
        let why = format!("its checksum is {actual}");
        let path = self.key.path();
        let _ = self.store.drop_corrupt(path, self.identity, &why).await;
        Some(Err(Error::store(format!(
            "the stored file of {} is corrupt and was dropped; ask again to have it fetched anew",
            self.key.id
        ))))
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
    pub(super) fn identity(&self) -> Identity {
        match self {
            Self::File { identity, .. } => *identity,
            Self::Memory(bytes) => Identity::of_bytes(bytes),
        }
    }

    async fn next(self, disk: &Disk, path: &str) -> Result<(Self, Option<Bytes>)> {
        match self {
            Self::Memory(mut rest) => {
                let block = rest.split_to(rest.len().min(BLOCK));
                Ok((Self::Memory(rest), (!block.is_empty()).then_some(block)))
            }
            Self::File {
                mut file,
                length,
                identity,
            } => {
                let read = move |_: &_| {
                    let mut block = Vec::with_capacity(BLOCK);
                    match (&mut file).take(BLOCK as u64).read_to_end(&mut block) {
                        Ok(0) => Ok((
                            Self::File {
                                file,
                                length,
                                identity,
                            },
                            None,
                        )),
                        Ok(_) => Ok((
                            Self::File {
                                file,
                                length,
                                identity,
                            },
                            Some(block.into()),
                        )),
                        Err(e) => Err(Error::store(format!("reading a stored file failed: {e}"))),
                    }
                };
                disk.run(Touch::Read, path, read).await
            }
        }
    }
}
