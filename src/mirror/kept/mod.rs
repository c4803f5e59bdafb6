//! What is kept in memory, as values that know nothing of who makes or serves them: an index file with what is shown of it, and a file that was checked.

mod content;
mod document;
mod entry;
mod gzip;
mod rendition;
mod whole;

pub use entry::IndexEntry;
pub use rendition::{Modified, Rendition};

pub(in crate::mirror) use content::{IndexContent, Shown, keep, overhead, shown_anew};
pub(in crate::mirror) use document::{
    DocumentContent, DocumentDue, DocumentSays, DocumentText, KeptDocument,
};
pub(in crate::mirror) use entry::{Due, ReadAheadMark};
pub(in crate::mirror) use gzip::AT_ONCE as GZIP_AT_ONCE;
pub(in crate::mirror) use whole::{WholeFile, etag};
