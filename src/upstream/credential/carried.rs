//! [`Carried`]: a credential as one request carries it.

use http::{HeaderMap, HeaderName, HeaderValue};

/// A credential as one request carries it.
pub(in crate::upstream) struct Carried {
    name: HeaderName,
    value: HeaderValue,
    number: u64,
}

impl Carried {
    /// The credential of that number, which goes into the header `name`.
    pub(super) fn new(name: HeaderName, value: HeaderValue, number: u64) -> Self {
        Self {
            name,
            value,
            number,
        }
    }

    /// Which credential it is.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Writes it into a request, unless its URL has brought one.
    pub(in crate::upstream) fn write(&self, headers: &mut HeaderMap) {
        headers
            .entry(self.name.clone())
            .or_insert_with(|| self.value.clone());
    }

    /// The header that it is in.
    pub(in crate::upstream) fn header(&self) -> &HeaderName {
        &self.name
    }
}
