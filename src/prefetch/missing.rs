//! [`Missing`]: something that couldn't be had.

use std::sync::Arc;

/// Something that couldn't be had.
#[derive(Clone, Debug)]
pub struct Missing {
    /// What it is, as a list of requests has it.
    pub what: String,
    /// Why.
    pub why: String,
    /// Who needs it.
    pub by: Vec<Arc<str>>,
}
