//! HTTP as registries speak it: requests parsed into routes, conditions, answers, pages, the access log. Decides nothing about what is fresh or allowed.
//!
//! How requests come in and answers go out is [`transport`](crate::transport)'s; [`Router`] stands between the two.

mod access;
mod agent;
mod answering;
mod asked;
mod at_once;
mod authentication;
mod body;
mod conditional;
mod config_json;
mod contained;
mod deferred;
mod entrance;
mod exchange;
mod files;
mod git;
mod head;
mod index;
mod negotiate;
mod page_routes;
mod pages;
mod part;
mod query;
mod range;
mod rate_limit;
mod readable;
mod receipt;
mod requested;
mod respond;
mod route;
mod router;
mod side;
mod toolchains;
mod upgrades;

pub use authentication::Authentication;
pub use config_json::config_json;
pub use pages::snippet;
pub use route::Route;
pub use router::{Guards, Router, Served};
pub use side::Side;

/// What the fuzzers and benchmarks of this layer need to reach.
pub mod parts {
    pub use super::{
        agent::Agent,
        conditional::none_match,
        negotiate::accepts_gzip,
        query::SearchQuery,
        range::{ByteRange, Extent, Part, is_strongly},
        route::{ApiCall, Asset, GitCall, Page, Place, Route, Verb},
    };
}
