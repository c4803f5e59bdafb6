//! From sockets to requests and back. Knows nothing of crates.

pub(crate) mod arriving;
pub(crate) mod chunk;
pub(crate) mod coalesce;
pub(crate) mod h2c;
pub(crate) mod inline;
pub(crate) mod lending;
pub(crate) mod linger;
mod listen;
pub(crate) mod memory;
pub(crate) mod refusal;
pub(crate) mod stall;
pub(crate) mod unsent;

pub use listen::listen;

/// What the fuzzers and benchmarks of this layer need to reach.
pub mod parts {
    pub use super::h2c::{offer::Offer, upgraded::Upgraded};
}
