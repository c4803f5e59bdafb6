//! HTTP: a listener, requests parsed into routes, answers. Decides nothing about what is fresh or allowed.

mod access;
mod agent;
mod body;
mod conditional;
mod config_json;
mod connection;
mod crates;
mod head;
mod index;
mod limits;
mod negotiate;
mod pages;
mod part;
mod range;
mod respond;
mod route;
mod service;
mod upgrades;

pub use connection::serve;
pub use pages::snippet;
pub use route::Route;
pub use service::Service;

/// What the fuzzers and benchmarks of this layer need to reach.
pub mod parts {
    pub use super::{
        agent::Agent,
        conditional::none_match,
        negotiate::accepts_gzip,
        range::{ByteRange, Extent, Part, is_strongly},
        route::{Route, Verb},
    };
}
