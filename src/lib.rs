//! crate-mirror: a caching pull-through mirror of crates.io and of any sparse registry.
//!
//! It sits between cargo and the internet, answers sparse-index and download requests from a local cache, and refreshes that
//! cache with conditional requests. The layers, lowest first; imports go downward only:
//!
//! [`error`] and [`domain`] (pure types), [`config`], [`metrics`], [`policy`] (pure too), [`store`] and [`upstream`] (bytes in and out),
//! [`mirror`] (the one place where they meet), [`transport`] (from sockets to requests and back), [`prefetch`] and [`bundle`] (filling a store, carrying one), [`access`] and [`audit`] (who may ask, who got what), [`advisories`] (what is known against versions of crates), [`status`] (what a mirror does now), [`http`] (the protocol), [`app`] (the wiring), [`commands`], [`cli`].
//!
//! A mirror inside another program starts with [`app::App::start`]; see `examples/embed.rs`.

pub mod access;
pub mod advisories;
pub mod allowance;
pub mod app;
pub mod audit;
pub mod block_budget;
pub mod bundle;
pub mod certificate;
mod circuit;
pub mod cli;
pub mod commands;
pub mod config;
pub mod domain;
pub mod error;
pub mod follow;
pub mod git;
pub mod http;
pub mod last_hour;
pub mod metrics;
pub mod mirror;
pub mod policy;
pub mod prefetch;
pub mod secret;
pub mod status;
pub mod store;
pub mod tls;
pub mod traces;
pub mod transport;
pub mod upstream;
pub mod zero_copy;
