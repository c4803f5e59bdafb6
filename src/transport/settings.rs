//! [`Settings`]: how connections are served.

use std::{sync::Arc, time::Duration};

use super::client_memory::ClientMemory;
use crate::metrics::Metrics;

/// How connections are served.
pub struct Settings {
    /// How many connections may be open at once. More are told so and closed.
    pub max_connections: usize,
    /// How long a connection may be open without a byte moving on it, and how long a client may take over a chunk of an answer.
    pub idle_timeout: Duration,
    /// The memory budget for what clients make this process hold.
    pub memory: Arc<ClientMemory>,
    /// Where to count connections.
    pub metrics: Arc<Metrics>,
}
