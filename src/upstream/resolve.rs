//! [`Resolver`]: looks names up, and leaves out addresses inside the network around this machine, unless the name may lead there.

use std::{
    collections::VecDeque,
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Url;

use super::address::{is_inside, is_written_inside};

/// What is known of where the registry is, and so of where it may send this mirror.
pub(super) struct Surroundings {
    /// The hosts that the operator has named: the registry's own first, then those of `upstream.redirects`.
    named: Vec<String>,
    /// The hosts of proxies. They may be anywhere, because this mirror asks them for nothing of their own.
    proxies: Vec<String>,
    /// The hosts that the registry itself has named in its config.json and its redirects, the last ones of them.
    told: Mutex<VecDeque<String>>,
    /// Whether the registry itself is inside: as its host is written, or as its name was resolved last.
    inside: AtomicBool,
    /// How long resolving a name may take.
    patience: Duration,
}

/// So many hosts that the registry has named are remembered.
const TOLD: usize = 16;

/// Resolves names for connections.
pub(super) struct Resolver(Arc<Surroundings>);

/// Why there is no address to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NameError {
    /// The name service says that there is no such name.
    Unknown(String),
    /// The name service can't say at the moment.
    Unresolved(String),
    /// The name leads inside, and may not.
    Inside(String),
}

impl Surroundings {
    /// Those of the registry at `index`, with the other hosts that the operator has named.
    pub(super) fn of(
        index: &Url,
        others: impl Iterator<Item = String>,
        proxies: Vec<String>,
        patience: Duration,
    ) -> Self {
        let own = index.host_str().unwrap_or_default().to_owned();
        Self {
            named: std::iter::once(own).chain(others).collect(),
            proxies,
            told: Mutex::default(),
            inside: AtomicBool::new(is_written_inside(index)),
            patience,
        }
    }

    /// Whether this URL may be asked, as its host is written.
    pub(super) fn allows(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        let suspect = is_written_inside(url) || is_among(&self.proxies, host);
        !suspect || self.may_lead_inside(host)
    }

    /// Whether a host may be inside: one that the operator has named, or any when the registry itself is.
    fn may_lead_inside(&self, host: &str) -> bool {
        self.inside.load(Ordering::Relaxed) || is_among(&self.named, host)
    }

    /// Notes a host that the registry itself has named.
    pub(super) fn note(&self, url: &Url) {
        let Some(host) = url.host_str().filter(|_| !self.is_told(url)) else {
            return;
        };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() == TOLD {
            told.pop_front();
        }
        told.push_back(host.to_owned());
    }

    /// Whether the operator or the registry has named this URL's host. Only then messages name it: other names come from answers of strangers.
    pub(super) fn is_told(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        is_among(&self.named, host) || told.iter().any(|told| told == host)
    }

    /// Of the addresses of `host`, those that may be connected to.
    fn admit(&self, host: &str, mut found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, NameError> {
        if self
            .named
            .first()
            .is_some_and(|own| own.eq_ignore_ascii_case(host))
        {
            let inside = found.iter().any(|address| is_inside(address.ip()));
            self.inside.store(inside, Ordering::Relaxed);
        }
        if self.may_lead_inside(host) || is_among(&self.proxies, host) {
            return Ok(found);
        }
        found.retain(|address| !is_inside(address.ip()));
        match found.is_empty() {
            true => Err(NameError::Inside(host.to_owned())),
            false => Ok(found),
        }
    }

    async fn resolve(&self, host: String) -> Result<Vec<SocketAddr>, NameError> {
        // The port is the connector's business.
        let look_up = async {
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            Ok(found.collect())
        };
        let looked_up = tokio::time::timeout(self.patience, look_up).await;
        match looked_up {
            Ok(Ok(found)) => self.admit(&host, found),
            Ok(Err(e)) if is_final(&e) => Err(NameError::Unknown(host)),
            Ok(Err(_)) | Err(_) => Err(NameError::Unresolved(host)),
        }
    }
}

fn is_among(hosts: &[String], host: &str) -> bool {
    hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
}

/// Whether the name service has said that there is no such name, and not that it can't say.
///
/// Of what `getaddrinfo` returns the standard library passes on only the words, which are not translated unless a program asks for that: these are
/// glibc's, musl's, and those of macOS and the BSDs for EAI_NONAME and EAI_NODATA.
fn is_final(error: &io::Error) -> bool {
    let said = error.to_string();
    [
        "not known",
        "does not resolve",
        "No address associated",
        "no usable address",
    ]
    .iter()
    .any(|words| said.contains(words))
}

impl Resolver {
    pub(super) fn new(surroundings: Arc<Surroundings>) -> Self {
        Self(surroundings)
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let surroundings = self.0.clone();
        Box::pin(async move {
            let found = surroundings.resolve(name.as_str().to_owned()).await?;
            let found: Addrs = Box::new(found.into_iter());
            Ok(found)
        })
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(host) => write!(f, "no such name: {host}"),
            Self::Unresolved(host) => write!(f, "{host} can't be resolved at the moment"),
            Self::Inside(host) => write!(f, "{host} is at an address inside"),
        }
    }
}

impl std::error::Error for NameError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings(index: &str) -> Surroundings {
        let index = Url::parse(index).expect("a URL");
        let others = ["cdn.test".to_owned()].into_iter();
        let proxies = vec!["proxy.test".to_owned()];
        Surroundings::of(&index, others, proxies, Duration::from_secs(1))
    }

    fn addresses(found: &[&str]) -> Vec<SocketAddr> {
        let found = found.iter();
        found
            .map(|ip| SocketAddr::new(ip.parse().expect("an address"), 0))
            .collect()
    }

    #[test]
    fn a_name_leads_inside_only_if_the_registry_is_there_or_the_operator_named_it() {
        let of = surroundings("https://index.test/");
        let (public, private) = (addresses(&["1.1.1.1"]), addresses(&["10.0.0.1"]));
        let both = addresses(&["::ffff:127.0.0.1", "1.1.1.1"]);
        assert_eq!(of.admit("other.test", both), Ok(public.clone()));
        let refused = Err(NameError::Inside("other.test".to_owned()));
        assert_eq!(of.admit("other.test", private.clone()), refused);
        assert_eq!(of.admit("cdn.test", private.clone()), Ok(private.clone()));
        assert_eq!(of.admit("proxy.test", private.clone()), Ok(private.clone()));
        // The registry moves inside, and out again.
        assert_eq!(of.admit("INDEX.test", private.clone()), Ok(private.clone()));
        assert_eq!(of.admit("other.test", private.clone()), Ok(private.clone()));
        assert_eq!(of.admit("index.test", public.clone()), Ok(public));
        assert_eq!(of.admit("other.test", private), refused);
    }

    #[test]
    fn an_address_as_it_is_written_is_held_to_the_same() {
        let url = |text| Url::parse(text).expect("a URL");
        let outside = surroundings("https://index.test/");
        assert!(!outside.allows(&url("http://[::1]:8080/")));
        assert!(!outside.allows(&url("http://localhost/")));
        assert!(outside.allows(&url("http://1.1.1.1/")));
        assert!(outside.allows(&url("http://other.test/")));
        assert!(
            !outside.allows(&url("http://proxy.test/")),
            "a proxy is no registry"
        );
        let inside = surroundings("http://192.168.0.1:8081/index/");
        assert!(inside.allows(&url("http://127.0.0.1/")));
    }

    #[test]
    fn a_name_that_may_come_back_is_told_from_one_that_is_unknown() {
        let error =
            |said: &str| io::Error::other(format!("failed to lookup address information: {said}"));
        for said in [
            "Name or service not known",
            "nodename nor servname provided, or not known",
            "Name does not resolve",
        ] {
            assert!(is_final(&error(said)), "{said}");
        }
        for said in [
            "Temporary failure in name resolution",
            "Try again",
            "System error",
        ] {
            assert!(!is_final(&error(said)), "{said}");
        }
    }
}
