//! A store's objects in a bucket: the same keys and the same bytes as in a folder, so that any tool copies the one into the other.
//!
//! Nothing here rests on conditional writes or on listings that are current, because not every service has them. What makes a bucket different from other
//! places is known here only: credentials, endpoints, requests that are throttled or hang, uploads in parts, listings in pages, entity tags.

mod backend;
mod blocks;
mod board;
mod body;
mod connect;
mod jobs;
mod layout;
mod layout_look;
mod marks;
mod missed;
mod objects;
mod places;
mod probe;
mod requests;
mod settings;
mod trouble;
mod uploads;
mod waiting;
mod writes;

pub use settings::{BucketSettings, SigningSettings};

pub(super) use backend::BucketBackend;
pub(super) use connect::{Connected, connect};
