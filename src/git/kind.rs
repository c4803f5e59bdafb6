//! [`ObjectKind`]: what an object is.

/// What an object is. Tags aren't made here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// A state of everything, and the one before it.
    Commit,
    /// A folder.
    Tree,
    /// A file.
    Blob,
}

impl ObjectKind {
    /// As objects name it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
        }
    }
}
