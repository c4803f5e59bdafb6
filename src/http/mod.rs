//! HTTP: a listener, requests parsed into routes, answers. Decides nothing about what is fresh or allowed.

mod access;
mod agent;
mod arriving;
mod body;
mod conditional;
mod config_json;
mod connection;
mod crates;
mod data;
mod eager;
mod gather;
mod h2c;
mod head;
mod index;
mod limits;
mod linger;
mod listen;
mod negotiate;
mod outgoing;
mod pages;
mod part;
mod pieces;
mod range;
mod refusal;
mod respond;
mod room;
mod route;
mod service;
mod upgraded;
mod upgrades;
mod watch;

pub use connection::serve;
pub use listen::listen;
pub use pages::snippet;
pub use route::Route;
pub use service::Service;

/// What the fuzzers and benchmarks of this layer need to reach.
pub mod parts {
    pub use super::{
        agent::Agent,
        conditional::none_match,
        h2c::Offer,
        negotiate::accepts_gzip,
        range::{ByteRange, Extent, Part, is_strongly},
        route::{Route, Verb},
        upgraded::Upgraded,
    };
}
