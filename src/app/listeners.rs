//! [`Listeners`]: where clients come in, as the settings and a service manager say.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::SystemTime,
};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    config::{Config, units::Listen},
    error::{Error, Result},
    follow::Looks,
    metrics::Metrics,
    tls,
    transport::{self, Acceptor, Endpoint, Inherited, Scheme},
};

/// Where clients come in.
pub(super) struct Listeners {
    pub(super) endpoints: Vec<Endpoint>,
    /// What `server.listen` has come to.
    pub(super) address: SocketAddr,
    pub(super) scheme: Scheme,
    /// What `tls.listen` has come to.
    pub(super) tls: Option<SocketAddr>,
    /// The URL for clients, without a final slash.
    pub(super) base_url: String,
}

impl Listeners {
    /// As the settings say. The files that TLS takes are followed until `stop` is cancelled.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when an address can't be bound, or a file can't be read or doesn't fit.
    pub(super) fn open(
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
                endpoints: listeners.into_iter().map(plain).collect(),
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
                endpoints: listeners.into_iter().map(secured).collect(),
                address,
                scheme: Scheme::Https,
                tls: None,
                base_url: public_url.unwrap_or_else(|| url(address)),
            },
            Some((own, at)) => Self {
                endpoints: listeners
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
pub(super) fn plain(listener: TcpListener) -> Endpoint {
    Endpoint {
        listener,
        acceptor: Acceptor::Plain,
    }
}

/// Sockets that listen, and where the first of them is, with the real port.
pub(super) type Listening = (Vec<TcpListener>, SocketAddr);

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
pub(super) fn if_any(
    key: &str,
    wanted: Option<Listen>,
    handed_over: Vec<std::net::TcpListener>,
) -> Result<Option<Listening>> {
    let first = handed_over.first().and_then(|s| s.local_addr().ok());
    let wanted = wanted.map(|at| at.0).or(first);
    wanted.map(|at| listen(key, at, handed_over)).transpose()
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
