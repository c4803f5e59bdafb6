//! [`Server`]: what all connections share; and [`OpenConnection`], what counts one.

use std::{sync::Arc, time::Duration};

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    client_memory::ClientMemory, connection_memory::requests_within, permits::Permits,
    protocols::Protocols, settings::Settings,
};
use crate::metrics::Metrics;

/// What all connections share.
pub(super) struct Server<S> {
    pub(super) service: S,
    pub(super) permits: Permits,
    pub(super) protocols: Protocols,
    /// How long a connection may be silent.
    pub(super) idle_timeout: Duration,
    pub(super) memory: Arc<ClientMemory>,
    pub(super) metrics: Arc<Metrics>,
    /// Cancelled when it is time to stop.
    pub(super) stopping: CancellationToken,
    /// A task for each connection.
    pub(super) tasks: TaskTracker,
}

impl<S> Server<S> {
    /// One without connections.
    pub(super) fn new(service: S, settings: Settings) -> Self {
        Self {
            service,
            permits: Permits::new(settings.max_connections),
            protocols: Protocols::new(requests_within(settings.memory.most())),
            idle_timeout: settings.idle_timeout,
            memory: settings.memory,
            metrics: settings.metrics,
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }
}

/// An open connection, counted as long as this lives.
pub(super) struct OpenConnection {
    connections: prometheus::IntGauge,
    _permit: OwnedSemaphorePermit,
}

impl OpenConnection {
    /// One that opens now.
    pub(super) fn new(metrics: &Metrics, permit: OwnedSemaphorePermit) -> Self {
        let connections = metrics.connections.clone();
        connections.inc();
        Self {
            connections,
            _permit: permit,
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.connections.dec();
    }
}
