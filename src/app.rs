//! [`App`]: a mirror built from its settings and listening; the only place where the parts are wired.

mod guards;
mod listeners;
mod mirrors;
mod rules;
mod stores;
mod upkeep;

use std::{
    mem,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use guards::keys_at;
pub use listeners::reachable;
pub use mirrors::{mirror, mirror_under, toolchain_upstream, upstreams};
pub use rules::PolicySource;
pub use stores::{bucket, existing_store, folder, open_store, store_to_serve, try_store};

use self::{listeners::Listeners, rules::Enforcer, upkeep::Upkeep};
use crate::{
    config::{Config, sections},
    error::Result,
    follow::Looks,
    http,
    last_hour::LastHour,
    metrics::Metrics,
    mirror::{GzipVariants, Mirror},
    status::Status,
    store::Store,
    transport::{self, ClientMemory, Inherited, Scheme},
};

/// However long clients took to finish, what was fetched gets this long to be stored.
const STORE_WITHIN: Duration = Duration::from_secs(1);

/// A mirror that is listening.
pub struct App {
    address: SocketAddr,
    scheme: Scheme,
    tls: Option<SocketAddr>,
    base_url: String,
    mirror: Mirror,
    grace: Duration,
    stop: CancellationToken,
    servers: Vec<JoinHandle<()>>,
    admin: Option<SocketAddr>,
    guards: http::Guards,
    /// The files that may change while it runs.
    followed: Vec<Looks>,
    enforcer: Enforcer,
}

impl App {
    /// Opens the store, binds the address and begins to serve. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when the store can't be used or the address can't be bound.
    pub async fn start(config: Config) -> Result<Self> {
        Self::start_on(config, Inherited::default()).await
    }

    /// The same on sockets that a service manager has handed over, which go before the addresses in the settings.
    ///
    /// # Errors
    /// Those of [`start`](Self::start), and [`Kind::Config`](crate::error::Kind::Config) when a socket is for TLS and the settings have no certificate.
    pub async fn start_on(config: Config, sockets: Inherited) -> Result<Self> {
        let metrics = Arc::new(Metrics::new());
        let store = store_to_serve(&config, &metrics).await?;
        Self::serve(config, store, metrics, sockets).await
    }

    /// The same with a store of the caller's own.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when the address can't be bound or a registry can't be set up.
    pub async fn start_with(config: Config, store: Store, metrics: Arc<Metrics>) -> Result<Self> {
        Self::serve(config, store, metrics, Inherited::default()).await
    }

    async fn serve(
        config: Config,
        store: Store,
        metrics: Arc<Metrics>,
        mut sockets: Inherited,
    ) -> Result<Self> {
        let server = config.server.clone();
        let stop = CancellationToken::new();
        let mut followed = Vec::new();
        let admin = mem::take(&mut sockets.admin);
        let listeners = Listeners::open(&config, sockets, &metrics, &stop, &mut followed)?;
        let admin = listeners::if_any("server.admin_listen", server.admin_listen, admin)?;
        let guards = guards::guards(&config, &metrics, &stop, &mut followed)?;
        let Listeners {
            endpoints,
            address,
            scheme,
            tls,
            base_url,
        } = listeners;
        let upkeep = Upkeep::of(&config);
        let most = mirrors::most_for_clients(&config);
        let rules = PolicySource::open(&config, &metrics)?;
        let gzip = GzipVariants::Made;
        let mirror = mirror_under(&rules, config, store, metrics.clone(), gzip)?;
        let enforcer = Enforcer::start(rules, mirror.clone(), metrics.clone(), &stop);
        let keeps = mirror.clone();
        let memory = ClientMemory::new(most, move |bytes| keeps.make_room(bytes));
        let grace = *server.shutdown_grace;
        upkeep.start(&mirror, &stop);
        let last_hour = Arc::new(LastHour::default());
        let kept = last_hour.clone().keep(metrics.clone(), SystemTime::now);
        tokio::spawn(stop.clone().run_until_cancelled_owned(kept));
        let status = Status::new(mirror.clone(), last_hour, SystemTime::now());
        let served = http::Served {
            mirror: mirror.clone(),
            status: Arc::new(status),
            base_url: base_url.clone(),
        };
        let serve = |endpoints, side| {
            let (guards, memory) = (guards.clone(), memory.clone());
            let served = served.clone();
            let router = http::Router::new(served, side, &server, guards, memory.clone());
            let settings = connections(&server, memory, metrics.clone());
            let stopped = stop.clone().cancelled_owned();
            tokio::spawn(transport::serve(
                endpoints, router, settings, stopped, grace,
            ))
        };
        let (admin, servers) = match admin {
            None => (None, vec![serve(endpoints, http::Side::Both)]),
            Some((admin, at)) => {
                let clients = serve(endpoints, http::Side::Clients);
                let admin = admin.into_iter().map(listeners::plain).collect();
                (Some(at), vec![clients, serve(admin, http::Side::Admin)])
            }
        };
        Ok(Self {
            address,
            scheme,
            tls,
            base_url,
            mirror,
            grace,
            stop,
            servers,
            admin,
            guards,
            followed,
            enforcer,
        })
    }

    /// Where it listens, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How clients come there when there is nothing in front.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Where it speaks TLS, with the real port, when that is a port of its own.
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls
    }

    /// The URL for clients, without a final slash.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Where its pages are, with the real port, when that is a port of their own.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Who may ask.
    pub fn authentication(&self) -> &http::Authentication {
        &self.guards.authentication
    }

    /// The mirror that is served.
    pub fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    /// Has the files that may change while it runs looked at now, and not only within seconds.
    pub fn reread(&self) {
        self.followed.iter().for_each(Looks::now);
    }

    /// Puts the rules of these settings (`[policy]`, `[views]`) in force. Their other tables count when the mirror is started again.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when they name a database of advisories that can't be read; then the rules before stay in force.
    pub async fn enforce(&self, config: &Config) -> Result<()> {
        self.enforcer.replace(config).await
    }

    /// Stops: no new connections, requests in flight finish within the grace time, what was fetched is stored.
    pub async fn stop(self) {
        let end = Instant::now() + self.grace;
        self.stop.cancel();
        for server in self.servers {
            if let Err(e) = server.await {
                tracing::error!("the server ended badly: {e}");
            }
        }
        let left = end.saturating_duration_since(Instant::now());
        self.mirror.close(left.max(STORE_WITHIN)).await;
        if let Some(recorder) = self.guards.recorder {
            recorder.close(STORE_WITHIN).await;
        }
    }
}

/// How connections to a listener are served.
fn connections(
    settings: &sections::ServerSettings,
    memory: Arc<ClientMemory>,
    metrics: Arc<Metrics>,
) -> transport::Settings {
    transport::Settings {
        max_connections: settings.max_connections.get() as usize,
        idle_timeout: *settings.idle_timeout,
        memory,
        metrics,
    }
}
