//! [`Sight`]: what is seen of a store by who walks over it, object by object.

use std::time::SystemTime;

use super::{odd::Odd, version::ObjectVersion};
use crate::{domain::Key, error::Error};

/// A stored object, as a walk sees it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// What it is.
    pub key: Key,
    /// Where it is, relative to the store.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last used, within an hour.
    pub used: SystemTime,
    pub(super) version: ObjectVersion,
}

/// What a walk shows.
#[derive(Debug)]
pub enum Sight {
    /// An object.
    Object(Stored),
    /// Something that is no file, where an object of this path should be.
    Odd(String, Odd),
    /// Something that couldn't be looked at, and so isn't shown: a folder with all that is in it.
    Unread(Error),
    /// An object that was removed, as its visitor wanted.
    Removed(Stored),
    /// An object that couldn't be touched or removed.
    Unchanged(Error),
}

/// What is to happen after a look at an object; for any other sight, but for the last, it means going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// On to the next one.
    Go,
    /// On to the next one, with this one counted as used now.
    Touch,
    /// On to the next one, with this one removed, unless it has been replaced since.
    Remove,
    /// No further.
    Stop,
}

/// Whether a walk goes where links lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// It does: what they lead to is read by whoever reads the store.
    Followed,
    /// It doesn't: what they lead to takes no room here, and isn't the store's to remove.
    PassedOver,
}
