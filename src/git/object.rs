//! The objects themselves: how trees and commits are written. A blob is its content.

use std::fmt::Write;

use super::id::ObjectId;

/// What an entry of a tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryMode {
    /// A file that isn't executable.
    File,
    /// A folder.
    Folder,
}

/// Writes a tree, entry by entry, in the order in which they come: files by their names, folders by theirs with a slash behind it (git's `tree.c`, `base_name_compare`).
#[derive(Default)]
pub struct TreeWriter(Vec<u8>);

impl TreeWriter {
    /// With room for so many entries.
    pub fn with_room(entries: usize) -> Self {
        const ENTRY: usize = 40;
        Self(Vec::with_capacity(entries * ENTRY))
    }

    /// Adds an entry.
    pub fn add(&mut self, mode: EntryMode, name: &str, id: &ObjectId) {
        let mode: &[u8] = match mode {
            EntryMode::File => b"100644 ",
            EntryMode::Folder => b"40000 ",
        };
        self.0.extend_from_slice(mode);
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(0);
        self.0.extend_from_slice(id.as_bytes());
    }

    /// The tree's content.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Who makes commits: nobody in particular.
pub const COMMIT_IDENTITY: &str = "crate-mirror <crate-mirror@invalid>";

/// A commit.
#[derive(Clone, Copy, Debug)]
pub struct Commit<'a> {
    /// The root of its files.
    pub tree: ObjectId,
    /// The commit before.
    pub parent: Option<ObjectId>,
    /// Seconds since 1970.
    pub time: u64,
    /// What it says, without a final line feed.
    pub message: &'a str,
}

impl Commit<'_> {
    /// Its content (git's `commit.c`, `commit_tree_extended`).
    pub fn content(&self) -> Vec<u8> {
        let mut text = format!("tree {}\n", self.tree);
        if let Some(parent) = self.parent {
            let _ = writeln!(text, "parent {parent}");
        }
        let (time, message) = (self.time, self.message);
        for role in ["author", "committer"] {
            let _ = writeln!(text, "{role} {COMMIT_IDENTITY} {time} +0000");
        }
        let _ = write!(text, "\n{message}\n");
        text.into_bytes()
    }
}
