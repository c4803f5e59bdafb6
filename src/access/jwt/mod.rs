//! JSON web tokens (RFC 7519): a build job's own identity as its token, signed by whoever runs the job.
//!
//! Two algorithms are known, RS256 and ES256, both of ring. No library does it over ring any more (jsonwebtoken from version 10 on brings a cryptography of
//! its own), and what is needed of one is small.

mod claims;
mod issuer;
mod keys;
mod source;

pub use claims::{Claims, Unverified, looks_like_one};
pub use issuer::{Issuer, Judged, JwtFault, Verified, judge};
pub use keys::{Algorithm, KeyLookup, KeySet, LARGEST as KEYS_LARGEST, VerifyingKey};
pub use source::{FetchKeys, KeyFetch, KeySource, Keys, fetched};

#[cfg(test)]
pub(super) mod test_kit {
    pub(in crate::access) use super::{
        issuer::tests::{at, claims, of_keys, signed},
        keys::tests::Signer,
    };
}
