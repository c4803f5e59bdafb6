//! [`Board`]: where those who share a store tell each other something that isn't an object.

use std::time::SystemTime;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::error::Result;

/// Small notes, each of which has a name and is replaced by the next one.
pub trait Board: Send + Sync {
    /// Puts a note there, in the place of the one before.
    fn post<'a>(&'a self, name: &'a str, text: Bytes) -> BoxFuture<'a, Result<()>>;

    /// All that are there.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Note>>>;

    /// Reads one, unless it is larger than that or gone.
    fn read<'a>(&'a self, name: &'a str, largest: u64) -> BoxFuture<'a, Result<Option<Bytes>>>;

    /// Takes one away.
    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<()>>;
}

/// A note that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What it is called.
    pub name: String,
    /// Another one for each that takes its place.
    pub version: Vec<u8>,
    /// When it was put there, by the storage's clock.
    pub at: SystemTime,
}
