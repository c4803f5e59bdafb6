//! [`RequestedFile`]: a request for a file, while it waits.

use super::{files::NegotiatedFile, receipt::Receipt};

/// What has to be known of a request for a file while it waits.
pub(super) struct RequestedFile {
    pub(super) negotiated: NegotiatedFile,
    /// What is written down of it, if that is to be.
    pub(super) receipt: Option<Receipt>,
}
