//! [`Upstream`]: one registry on the other side, asked politely: with conditional requests, limits, timeouts and a name.

mod address;
mod answer;
mod body;
mod certificates;
mod client;
mod crates;
mod credential;
mod denied;
mod dl;
mod document;
mod index;
mod proxies;
mod redirect;
mod registry;
mod resolve;
mod retry;
mod search;
mod send;
mod trial;
mod trouble;
mod wording;

pub use crate::circuit::Circuit;
pub use body::{Encoding, gunzip, inflate};
pub use crates::{CrateStream, Resume};
pub use document::Document;
pub use index::{Fetched, IndexStream};
pub use registry::{Permit, Upstream};
pub(crate) use retry::ANSWER_WITHIN;
pub use retry::Attempts;
pub use search::{ListedCrate, ListedCrates, WebApi};

/// What the fuzzers of this layer need to reach.
#[doc(hidden)]
pub mod parts {
    pub use super::{body::gunzip, crates::starts_at, index::validators, retry::retry_after};
}
