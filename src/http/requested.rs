//! [`RequestedFile`]: a request for a file, while it waits and when it is answered.

use super::{
    files::{self, NegotiatedFile},
    receipt::{HandedOut, Receipt, refused, signed},
    respond::Answer,
};
use crate::{
    audit::AuditedFile,
    domain::RegistryName,
    error::{Error, Result},
    mirror::{FileBody, FileLink, Found, Mirror},
};

/// What has to be known of a request for a file while it waits.
pub(super) struct RequestedFile {
    pub(super) negotiated: NegotiatedFile,
    /// What is written down of it, if that is to be.
    pub(super) receipt: Option<Receipt>,
}

impl RequestedFile {
    /// The same for as long as it waits.
    pub(super) fn kept(self) -> Box<Self> {
        Box::new(Self {
            negotiated: self.negotiated.kept(),
            receipt: self.receipt,
        })
    }

    /// The answer with all of the file, written down before.
    ///
    /// # Errors
    /// [`Kind::Overloaded`](crate::error::Kind::Overloaded) when it has to be written down and can't be.
    pub(super) fn whole(self, found: Found<FileBody>) -> Result<Answer> {
        let handed_out = HandedOut::of(&found);
        signed(
            files::answer(&self.negotiated, found),
            self.receipt,
            handed_out,
        )
    }

    /// The answer with the file, or with the part of it that is asked for.
    ///
    /// # Errors
    /// Those of [`whole`](Self::whole).
    pub(super) async fn whole_or_part(
        self,
        mirror: &Mirror,
        mut found: Found<FileBody>,
    ) -> Result<Answer> {
        let divisible = match self.negotiated.is_part_of(&found.value) {
            true => mirror.divisible(&mut found.value).await,
            false => None,
        };
        let Some(length) = divisible else {
            return self.whole(found);
        };
        let handed_out = HandedOut::of(&found);
        let answer = files::part(&self.negotiated, found, length);
        signed(answer, self.receipt, handed_out)
    }

    /// The answer that says where the client gets the file by itself.
    ///
    /// # Errors
    /// Those of [`whole`](Self::whole), and of [`files::redirect`].
    pub(super) fn elsewhere(self, found: Found<FileLink>) -> Result<Answer> {
        let handed_out = HandedOut::at(&found);
        let answer = files::redirect(&self.negotiated, found)?;
        signed(answer, self.receipt, handed_out)
    }

    /// Why there is no such answer, written down if a rule is the reason.
    pub(super) fn refused(self, why: Error, registry: RegistryName, file: AuditedFile) -> Error {
        refused(why, self.receipt, registry, file)
    }
}
