//! From sockets to requests and back. Knows nothing of crates.
//!
//! There is one door: [`serve`] has a [`Service`] answer what comes over the connections of a listener. What lies behind it, from the outside in:
//!
//! - Accepting: `listen` and `inherited`, `serve` (with `permits`, and `refusal` for those who get none), `connection`, `drive`, `turns`, `linger`.
//! - The bytes of a connection: `stream`, which is plain or TLS (`tls`, with `records`, `peer` and `holds`), `lending` and `handover` (large bodies sent without a copy), `watched`,
//!   `coalesce`.
//! - The protocols, which are hyper's: `protocols`, `inline`, `reply`, `request_body`, and `h2c`, the upgrade between them.
//! - What is known of a client: `activity`, `in_flight`, `chunk`, `unsent`, `arriving` (with `length_prefixed`), `stall`, and `connection_memory`.

mod activity;
mod arriving;
mod chunk;
mod client_memory;
mod coalesce;
mod connection;
mod connection_memory;
mod drive;
mod frames;
mod h2c;
mod handover;
mod holds;
mod in_flight;
mod inherited;
mod inline;
mod lending;
mod length_prefixed;
mod linger;
mod listen;
mod peer;
mod permits;
mod protocols;
mod records;
mod refusal;
mod reply;
mod request_body;
mod scheme;
mod serve;
mod server;
mod service;
mod settings;
mod stall;
mod stream;
mod tls;
mod turns;
mod unsent;
mod watched;

pub use activity::Standing;
pub use chunk::UnsentChunk;
pub use client_memory::ClientMemory;
pub use h2c::Offer;
pub use in_flight::InFlight;
pub use inherited::Inherited;
pub use listen::{listen, listen_on};
pub use peer::{InForce, Peer};
pub use request_body::RequestBody;
pub use scheme::Scheme;
pub use serve::{Endpoint, serve};
pub use service::{Request, Service};
pub use settings::Settings;
pub use stream::Acceptor;
pub use tls::{TlsInUse, TlsTerms};

/// What the fuzzers and benchmarks of this layer need to reach.
pub mod parts {
    pub use super::h2c::{Offer, Upgraded};
}
