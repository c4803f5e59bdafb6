//! [`App`]: a mirror built from its settings and listening; the only place where the parts are wired.

mod rules;

use std::{
    io, mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use url::Url;

pub use rules::PolicySource;

use self::rules::Enforcer;
use crate::{
    access,
    allowance::Allowance,
    audit::{Duty, Recorder, Rotation},
    block_budget::BlockBudget,
    config::{Config, RegistrySettings, ServiceUrl, sections, units::Listen},
    domain::{RegistryName, loggable_url},
    error::{Error, Result},
    follow::Looks,
    http,
    last_hour::LastHour,
    metrics::Metrics,
    mirror::{GzipVariants, Mirror, Parts, Registry, ToolchainParts},
    prefetch,
    status::Status,
    store::{BucketSettings, FolderSettings, SigningSettings, Store},
    tls,
    transport::{self, Acceptor, ClientMemory, Endpoint, Inherited, Scheme},
    upstream::{Document, Upstream},
};

/// What bodies may take beside what is kept in memory: downloads in progress, and answers whose clients are slow. The rest of the 100 MB that
/// the process may exceed `memory.budget` by is for connections, code and the allocator.
const IN_FLIGHT: u64 = 24 << 20;
/// What of that is left to what is small and can't go through the disk.
const RESERVE: u64 = 6 << 20;

/// So many of the largest crates may be spooled at once where the store has no folder.
const SPOOLED: u64 = 4;

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
    /// Those of [`start`](Self::start), and [`Kind::Config`](crate::error::Kind::Config) when a socket is for what the settings don't have.
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
        let doors = Doors::open(&config, sockets, &metrics, &stop, &mut followed)?;
        let admin = if_any("server.admin_listen", server.admin_listen, admin)?;
        let guards = guards(&config, &metrics, &stop, &mut followed)?;
        let Doors {
            open,
            address,
            scheme,
            tls,
            base_url,
        } = doors;
        let background = Background::of(&config);
        let most = config.memory.budget.get() + IN_FLIGHT - RESERVE;
        let rules = PolicySource::open(&config, &metrics)?;
        let gzip = GzipVariants::Made;
        let mirror = mirror_under(&rules, config, store, metrics.clone(), gzip)?;
        let enforcer = Enforcer::start(rules, mirror.clone(), metrics.clone(), &stop);
        let keeps = mirror.clone();
        let memory = ClientMemory::new(most, move |bytes| keeps.make_room(bytes));
        let grace = *server.shutdown_grace;
        background.start(&mirror, &stop);
        let last_hour = Arc::new(LastHour::default());
        let kept = last_hour.clone().keep(metrics.clone(), SystemTime::now);
        tokio::spawn(stop.clone().run_until_cancelled_owned(kept));
        let status = Status::new(mirror.clone(), last_hour, SystemTime::now());
        let served = http::Served {
            mirror: mirror.clone(),
            status: Arc::new(status),
            base_url: base_url.clone(),
        };
        let serve = |doors, side| {
            let (guards, memory) = (guards.clone(), memory.clone());
            let served = served.clone();
            let router = http::Router::new(served, side, &server, guards, memory.clone());
            let settings = connections(&server, memory, metrics.clone());
            let stopped = stop.clone().cancelled_owned();
            tokio::spawn(transport::serve(doors, router, settings, stopped, grace))
        };
        let (admin, servers) = match admin {
            None => (None, vec![serve(open, http::Side::Both)]),
            Some((admin, at)) => {
                let clients = serve(open, http::Side::Clients);
                let admin = admin.into_iter().map(plain).collect();
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

/// Where clients come in.
struct Doors {
    open: Vec<Endpoint>,
    /// What `server.listen` has come to.
    address: SocketAddr,
    scheme: Scheme,
    /// What `tls.listen` has come to.
    tls: Option<SocketAddr>,
    /// The URL for clients, without a final slash.
    base_url: String,
}

impl Doors {
    /// As the settings say. The files that TLS takes are followed until `stop` is cancelled.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when an address can't be bound, or a file can't be read or doesn't fit.
    fn open(
        config: &Config,
        sockets: Inherited,
        metrics: &Arc<Metrics>,
        stop: &CancellationToken,
        followed: &mut Vec<Looks>,
    ) -> Result<Self> {
        let tls = tls::open(&config.tls, metrics.clone(), SystemTime::now())?;
        let (listeners, address) = listen("server.listen", config.server.listen.0, sockets.server)?;
        let own_port = if_any("tls.listen", config.tls.listen, sockets.tls)?;
        let public_url = config.server.public_url.as_ref();
        let public_url = public_url.map(|url| url.without_slash().to_owned());
        let Some(tls) = tls else {
            if own_port.is_some() {
                return Err(Error::config(
                    "a socket called \"tls\" was handed over by the service manager, and there is nothing to speak TLS with; set `tls.certificate` and `tls.key`",
                ));
            }
            return Ok(Self {
                open: listeners.into_iter().map(plain).collect(),
                address,
                scheme: Scheme::Http,
                tls: None,
                base_url: public_url.unwrap_or_else(|| format!("http://{}", reachable(address))),
            });
        };
        if config.tls.client_ca.is_some() && !config.access.is_restricted() {
            tracing::warn!(
                "`tls.client_ca` only says who asks: everybody may, because neither `access.tokens` nor a table [access.jwt.NAME] says otherwise"
            );
        }
        followed.push(tls.follower.looks());
        tokio::spawn(stop.clone().run_until_cancelled_owned(tls.follower.run()));
        let acceptor = Acceptor::Tls(tls.settings);
        let secured = |listener| Endpoint {
            listener,
            acceptor: acceptor.clone(),
        };
        let url = |at| https_url(tls.certificate.host(), at);
        Ok(match own_port {
            None => Self {
                open: listeners.into_iter().map(secured).collect(),
                address,
                scheme: Scheme::Https,
                tls: None,
                base_url: public_url.unwrap_or_else(|| url(address)),
            },
            Some((own, at)) => Self {
                open: listeners
                    .into_iter()
                    .map(plain)
                    .chain(own.into_iter().map(secured))
                    .collect(),
                address,
                scheme: Scheme::Http,
                tls: Some(at),
                base_url: public_url.unwrap_or_else(|| url(at)),
            },
        })
    }
}

/// Connections are taken as they are.
fn plain(listener: TcpListener) -> Endpoint {
    Endpoint {
        listener,
        acceptor: Acceptor::Plain,
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

/// Who may ask, and where it is written down who got what, as the settings say. The files that say who may ask are followed until `stop` is cancelled.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when a file can't be read, understood or written.
fn guards(
    config: &Config,
    metrics: &Arc<Metrics>,
    stop: &CancellationToken,
    followed: &mut Vec<Looks>,
) -> Result<http::Guards> {
    let settings = &config.access;
    let authentication = match settings.is_restricted() {
        false => http::Authentication::default(),
        true => {
            let keys = |url: &Url| keys_at(url, config);
            let opened = access::open(settings, keys, metrics.clone(), SystemTime::now());
            let (authenticator, follower) = opened?;
            followed.push(follower.looks());
            tokio::spawn(stop.clone().run_until_cancelled_owned(follower.run()));
            http::Authentication::by(authenticator, settings)
        }
    };
    let audit = &config.audit;
    let rotation = Rotation {
        max_size: audit.max_size.get(),
        keep: audit.keep.get(),
    };
    let duty = match audit.required {
        true => Duty::Required,
        false => Duty::BestEffort,
    };
    let path = audit.path.as_ref();
    let recorder = path.map(|path| Recorder::start(&path.0, rotation, duty, metrics.clone()));
    Ok(http::Guards {
        authentication,
        recorder: recorder.transpose()?.map(Arc::new),
    })
}

/// What fetches the keys of an issuer of tokens.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when it is offline, or no HTTP client can be set up.
pub fn keys_at(url: &Url, config: &Config) -> Result<access::jwt::FetchKeys> {
    if config.offline.enabled {
        return Err(Error::config(format!(
            "a mirror that is offline can't fetch keys from {}; name a file in `keys` of that table of `access.jwt`",
            loggable_url(url)
        )));
    }
    let document = Arc::new(Document::new(url, &config.upstream)?);
    Ok(Arc::new(move || {
        let document = document.clone();
        Box::pin(async move { document.fetch(access::jwt::KEYS_LARGEST).await })
    }))
}

/// Sockets that listen, and where the first of them is, with the real port.
type Listening = (Vec<TcpListener>, SocketAddr);

/// What listens on `wanted`, which the setting `key` says: the sockets that were handed over for it, or else a new one.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when the address can't be bound.
fn listen(
    key: &str,
    wanted: SocketAddr,
    handed_over: Vec<std::net::TcpListener>,
) -> Result<Listening> {
    let failed = |e: io::Error| {
        Error::config(format!(
            "`{key}`: {wanted} can't be listened on: {e}; choose a free address and port, such as \"127.0.0.1:0\""
        ))
        .with_source(e)
    };
    let listeners = match handed_over.is_empty() {
        true => transport::listen(wanted).map(|listener| vec![listener]),
        false => handed_over.into_iter().map(transport::listen_on).collect(),
    };
    let listeners = listeners.map_err(failed)?;
    let address = listeners.first().map(TcpListener::local_addr);
    let address = address.unwrap_or(Ok(wanted)).map_err(|e| {
        Error::config(format!("`{key}`: {wanted} has no address: {e}")).with_source(e)
    })?;
    Ok((listeners, address))
}

/// The same for what need not be: nothing where nothing is wanted and nothing was handed over.
///
/// # Errors
/// Those of [`listen`].
fn if_any(
    key: &str,
    wanted: Option<Listen>,
    handed_over: Vec<std::net::TcpListener>,
) -> Result<Option<Listening>> {
    let first = handed_over.first().and_then(|s| s.local_addr().ok());
    let wanted = wanted.map(|at| at.0).or(first);
    wanted.map(|at| listen(key, at, handed_over)).transpose()
}

/// What goes on beside serving: the store is kept within its limits, and filled with what is to be in it.
struct Background {
    offline: bool,
    max_size: u64,
    max_age: Option<Duration>,
    warm: prefetch::Warm,
    git_index: prefetch::FreshIndex,
}

impl Background {
    /// As the settings say.
    fn of(config: &Config) -> Self {
        let mut settings = config.prefetch.clone();
        let mut git_index = config.git_index.clone();
        if config.offline.enabled {
            settings.lockfiles.clear();
            git_index.crates.clear();
            settings.toolchains.clear();
        }
        Self {
            offline: config.offline.enabled,
            max_size: config.store.max_size.get(),
            max_age: config.store.max_age.map(|age| *age),
            warm: prefetch::Warm {
                settings,
                origins: config.origins().clone(),
            },
            git_index: prefetch::FreshIndex {
                settings: git_index,
                origins: config.origins().clone(),
            },
        }
    }

    /// Begins, until `stop` is cancelled.
    fn start(self, mirror: &Mirror, stop: &CancellationToken) {
        let Self {
            offline,
            max_size,
            max_age,
            warm,
            git_index,
        } = self;
        let keeper = mirror.clone();
        let kept = async move { keeper.keep_within(max_size, max_age).await };
        // Offline nothing can be fetched again, so nothing is removed unless somebody says so (`crate-mirror evict`). That holds for a folder in front of a
        // bucket, too: the bucket may not have what is in it.
        if !offline {
            tokio::spawn(stop.clone().run_until_cancelled_owned(kept));
        }
        let known = mirror.clone();
        let catalog = async move { known.keep_catalog(SystemTime::now).await };
        tokio::spawn(stop.clone().run_until_cancelled_owned(catalog));
        let listener = mirror.clone();
        let heard = async move { listener.hear_siblings().await };
        tokio::spawn(stop.clone().run_until_cancelled_owned(heard));
        let warmed = prefetch::keep_warm(mirror.clone(), warm, SystemTime::now);
        tokio::spawn(stop.clone().run_until_cancelled_owned(warmed));
        let fresh = prefetch::keep_fresh(mirror.clone(), git_index, SystemTime::now);
        tokio::spawn(stop.clone().run_until_cancelled_owned(fresh));
    }
}

/// The store that the settings name, to write into it: the bucket, if there is one, or the folder.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when it can't be used, [`Kind::Store`](crate::error::Kind::Store) when the bucket can't be read.
pub async fn open_store(config: &Config, metrics: &Arc<Metrics>) -> Result<Store> {
    match bucket(config)? {
        Some(bucket) => Store::in_bucket(bucket, metrics.clone()).await,
        None => Store::open(folder(config), metrics.clone(), SystemTime::now()),
    }
}

/// The store to serve from, also where nothing can be written to it: what it has is served, everything else is passed through, and it is written to when
/// it can be.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when there is no such folder and none can be made, or the bucket is for another program.
pub async fn store_to_serve(config: &Config, metrics: &Arc<Metrics>) -> Result<Store> {
    let (store, unusable) = try_store(config, metrics).await?;
    match unusable {
        None => {}
        Some(why) if config.offline.enabled => tracing::warn!(
            "{why}; it is served from all the same, but what is asked for in vain is only logged"
        ),
        Some(why) => tracing::error!(
            "{why}; what is in it is served, and what is fetched is passed on and not kept, until it can be written to"
        ),
    }
    Ok(store)
}

/// The same with why nothing can be written to it, if so, for whoever says it himself.
///
/// # Errors
/// Those of [`store_to_serve`].
pub async fn try_store(config: &Config, metrics: &Arc<Metrics>) -> Result<(Store, Option<Error>)> {
    let (metrics, now) = (metrics.clone(), SystemTime::now());
    match bucket(config)? {
        Some(bucket) => {
            let near = config.store.has_folder().then(|| folder(config));
            Store::in_tiers(near, bucket, metrics, now).await
        }
        None => Store::to_serve(folder(config), metrics, now),
    }
}

/// The store that the settings name as somebody left it, for commands that look through it.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when there is none, or it can't be read.
pub async fn existing_store(config: &Config) -> Result<Store> {
    let metrics = Arc::new(Metrics::new());
    match bucket(config)? {
        Some(bucket) => Store::in_bucket(bucket, metrics).await,
        None => Store::existing(folder(config), metrics),
    }
}

/// The bucket that the settings name, if they do.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when the certificates that are trusted can't be read.
pub fn bucket(config: &Config) -> Result<Option<BucketSettings>> {
    let store = &config.store;
    let Some(at) = &store.bucket else {
        return Ok(None);
    };
    let authorities = match &config.upstream.ca_certificates {
        None => Vec::new(),
        Some(path) => std::fs::read(&path.0).map_err(|e| {
            let path = path.0.display();
            let said = format!("`upstream.ca_certificates`: {path} can't be read: {e}");
            Error::config(said).with_source(e)
        })?,
    };
    let said = |endpoint: &Option<ServiceUrl>| {
        let endpoint = endpoint.as_ref();
        endpoint.map(|endpoint| endpoint.as_str().to_owned())
    };
    Ok(Some(BucketSettings {
        at: at.0.clone(),
        endpoint: said(&store.endpoint),
        stall_timeout: *store.stall_timeout,
        authorities,
        signing: store.redirect.then(|| SigningSettings {
            endpoint: said(&store.public_endpoint),
            good_for: *store.signed_for,
        }),
    }))
}

/// The folder that the settings name for the store.
pub fn folder(config: &Config) -> FolderSettings {
    let store = &config.store;
    FolderSettings::new(&store.path.0, store.sync).with_stall_timeout(*store.stall_timeout)
}

/// The registries that the settings name.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when an HTTP client can't be set up.
pub fn upstreams(
    config: &Config,
    metrics: &Arc<Metrics>,
) -> impl Iterator<Item = Result<Upstream>> {
    config.registries.iter().map(|(name, registry)| {
        let settings = config.upstream.clone();
        Upstream::new(*name, registry, settings, metrics.clone())
    })
}

/// How toolchains are served, if they are.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when an HTTP client can't be set up.
fn toolchains(config: &Config, metrics: &Arc<Metrics>) -> Result<Option<ToolchainParts>> {
    let settings = &config.toolchains;
    if !settings.enabled {
        return Ok(None);
    }
    let source = match config.offline.enabled {
        true => Registry::Offline(RegistryName::toolchains()),
        false => Registry::Online(Arc::new(toolchain_upstream(config, metrics)?)),
    };
    Ok(Some(ToolchainParts {
        source,
        fresh_for: *settings.fresh_for,
        channels: settings.channels.clone(),
    }))
}

/// The distribution host that the settings name.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when an HTTP client can't be set up.
pub fn toolchain_upstream(config: &Config, metrics: &Arc<Metrics>) -> Result<Upstream> {
    let host = RegistrySettings::at(config.toolchains.upstream.clone());
    let settings = config.upstream.clone();
    Upstream::new(RegistryName::toolchains(), &host, settings, metrics.clone())
}

/// The registries as they are served: with an upstream each, or offline, which needs neither a client nor certificates nor a network.
fn registries(config: &Config, metrics: &Arc<Metrics>) -> Result<Vec<Registry>> {
    if config.offline.enabled {
        let names = config.registries.keys().copied();
        return Ok(names.map(Registry::Offline).collect());
    }
    let online = |made: Result<Upstream>| made.map(|u| Registry::Online(Arc::new(u)));
    upstreams(config, metrics).map(online).collect()
}

/// The URL for who speaks TLS to that address, without a final slash. A certificate is for names, so that it is by the first of them.
fn https_url(host: Option<&str>, address: SocketAddr) -> String {
    match (host, address.port()) {
        (Some(host), 443) => format!("https://{host}"),
        (Some(host), port) => format!("https://{host}:{port}"),
        (None, _) => format!("https://{}", reachable(address)),
    }
}

/// An address that can be connected to from here, for one that means all of this machine's.
pub fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    address
}

/// A mirror that nobody listens for: what the settings say, over `store`.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when a registry can't be set up.
pub fn mirror(
    config: Config,
    store: Store,
    metrics: Arc<Metrics>,
    gzip: GzipVariants,
) -> Result<Mirror> {
    let rules = PolicySource::open(&config, &metrics)?;
    mirror_under(&rules, config, store, metrics, gzip)
}

/// The same under rules that are known already.
///
/// # Errors
/// Those of [`mirror`].
pub fn mirror_under(
    rules: &PolicySource,
    config: Config,
    store: Store,
    metrics: Arc<Metrics>,
    gzip: GzipVariants,
) -> Result<Mirror> {
    let memory_budget = config.memory.budget.get();
    let told = i64::try_from(memory_budget).unwrap_or(i64::MAX);
    metrics.memory_budget.set(told);
    let allowance = Allowance::new(memory_budget + IN_FLIGHT, RESERVE);
    // Without a folder, spools are where this machine keeps temporary files.
    let room = match config.store.has_folder() {
        true => config.store.max_size.get(),
        false => SPOOLED * config.upstream.max_crate_size.get(),
    };
    let store = store
        .with_room(room)
        .with_block_budget(BlockBudget::of(allowance.clone()));
    let registries = registries(&config, &metrics)?;
    let toolchains = toolchains(&config, &metrics)?;
    Ok(Mirror::new(Parts {
        default: config.default_registry()?,
        freshness: config.freshness,
        read_ahead: config.read_ahead,
        memory_budget,
        allowance,
        gzip,
        store,
        registries,
        offline_index: config.offline.index,
        toolchains,
        policy: rules.policy(),
        metrics,
    }))
}
