//! [`Upstream`]: one registry on the other side, asked politely: with conditional requests, limits, timeouts and a name.

mod address;
mod answer;
mod body;
mod certificates;
mod client;
mod credential;
mod denied;
mod dl;
mod document;
mod files;
mod index;
mod proxies;
mod redirect;
mod registry;
mod resolve;
mod retry;
mod search;
mod send;
mod toolchains;
mod trial;
mod trouble;
mod wording;

pub use crate::circuit::{Circuit, HostCircuit, HostFailure};
pub use body::{Encoding, gunzip, inflate};
pub use document::Document;
pub use files::{FileStream, Resume};
pub use index::{Fetched, IndexStream};
pub use registry::{Permit, Upstream};
pub(crate) use retry::ANSWER_WITHIN;
pub use retry::Attempts;
pub use search::{ListedCrate, ListedCrates, WebApi};
pub use toolchains::{FetchedText, TextStream};

/// What the fuzzers of this layer need to reach.
#[doc(hidden)]
pub mod parts {
    pub use super::{body::gunzip, files::starts_at, index::validators, retry::retry_after};
}
