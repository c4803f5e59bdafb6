//! What is kept in memory, as values that know nothing of who makes or serves them: an index file with what is shown of it, and a .crate file.

mod content;
mod entry;
mod gzip;
mod rendition;
mod whole;

pub use entry::IndexEntry;
pub use rendition::{Modified, Rendition};

pub(in crate::mirror) use content::{IndexContent, Shown, keep, overhead, shown_anew};
pub(in crate::mirror) use entry::{Due, ReadAheadMark};
pub(in crate::mirror) use gzip::AT_ONCE as GZIP_AT_ONCE;
pub(in crate::mirror) use whole::{WholeCrate, etag};
