//! [`Exchange`]: what has to be known of a request when its answer is ready.

use std::fmt::Display;

use http::Response;

use super::{
    access::Access,
    body::Body,
    respond::{Answer, ErrorForm},
    route::Verb,
};
use crate::{domain::Principal, error::Result};

/// What has to be known of a request when its answer is ready.
pub(super) struct Exchange {
    pub(super) verb: Verb,
    /// In which form its client reads errors.
    pub(super) form: ErrorForm,
    pub(super) access: Access,
}

impl Exchange {
    /// The answer to what was asked for: a path, or what it names.
    pub(super) fn finish(self, answer: Result<Answer>, path: impl Display) -> Response<Body> {
        let answer = answer.unwrap_or_else(|e| {
            if e.kind().is_fault() {
                tracing::error!(%path, "{e}");
            }
            Answer::error(&e, self.form)
        });
        let answer = match self.access.who {
            Some(Principal::Named(_)) => answer.for_one_client(),
            Some(Principal::Anonymous) | None => answer,
        };
        answer.finish(self.verb, self.access)
    }
}
