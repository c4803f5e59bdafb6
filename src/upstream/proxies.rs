//! [`Proxies`]: through which proxy a URL is asked, as the settings or the environment say, and what such a proxy answers to CONNECT. This machine itself is
//! never asked through one: a credential may go there in clear, which is nothing for a proxy elsewhere to see.

use std::{sync::Arc, time::Duration};

use http::{StatusCode, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use reqwest::{ClientBuilder, Proxy};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use url::Url;

use crate::{
    config::{self, Origin},
    error::{Error, Result},
};

/// The proxies on the way.
pub(super) enum Proxies {
    /// None, whatever is asked for.
    None,
    /// Those of `HTTPS_PROXY`, `HTTP_PROXY` and `ALL_PROXY`, with the exceptions of `NO_PROXY`; or the system's.
    OfEnvironment(Arc<Matcher>),
    /// The one that a setting names, for everything but this machine.
    Named {
        /// The setting.
        key: String,
        matcher: Arc<Matcher>,
    },
}

/// As much of an answer as has its status: `HTTP/1.1 403`.
const STATUS_LINE: usize = 12;

impl Proxies {
    /// The one that the setting `key` names, or those that the environment does when the settings say nothing.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when one can't be used; the setting or the variable is named, and its value isn't, which may hold a
    /// password.
    pub(super) fn of_settings(said: Option<(String, &config::ProxySetting)>) -> Result<Self> {
        match said {
            None => Self::of_environment(),
            Some((_, config::ProxySetting::None)) => Ok(Self::None),
            Some((key, config::ProxySetting::Through(url))) => {
                let url = url.expose();
                if Proxy::all(url).is_err() {
                    return Err(Error::config(format!("`{key}` can't be used")));
                }
                Ok(Self::Named {
                    key,
                    matcher: Arc::new(Matcher::builder().all(url.to_owned()).build()),
                })
            }
        }
    }

    fn of_environment() -> Result<Self> {
        Ok(match usage(|name| std::env::var(name).ok())? {
            Usage::None => Self::None,
            Usage::Some => Self::OfEnvironment(Arc::new(Matcher::from_system())),
        })
    }

    /// A client that goes through these.
    pub(super) fn applied_to(&self, builder: ClientBuilder) -> ClientBuilder {
        // Which also keeps the library from looking for some by itself.
        let builder = builder.no_proxy();
        let Some(matcher) = self.matcher() else {
            return builder;
        };
        ["http", "https"]
            .into_iter()
            .fold(builder, |builder, scheme| {
                let usual = usual(matcher, scheme);
                let matcher = matcher.clone();
                let through = move |url: &Url| {
                    let found = (url.scheme() == scheme).then(|| intercepted(&matcher, url));
                    found.flatten().map(|proxy| proxy.uri().to_string())
                };
                let proxy = Proxy::custom(through);
                builder.proxy(match usual.as_ref().and_then(Intercept::basic_auth) {
                    Some(credentials) => proxy.custom_http_auth(credentials.clone()),
                    None => proxy,
                })
            })
    }

    fn matcher(&self) -> Option<&Arc<Matcher>> {
        match self {
            Self::None => None,
            Self::OfEnvironment(matcher) | Self::Named { matcher, .. } => Some(matcher),
        }
    }

    /// The proxy through which `url` is asked.
    pub(super) fn of(&self, url: &Url) -> Option<Intercept> {
        intercepted(self.matcher()?, url)
    }

    /// Where the URL of a proxy stands, for who has to change it.
    pub(super) fn said_in(&self) -> String {
        match self {
            Self::None | Self::OfEnvironment(_) => "HTTPS_PROXY or HTTP_PROXY".to_owned(),
            Self::Named { key, .. } => format!("`{key}`"),
        }
    }

    /// The hosts of all proxies.
    pub(super) fn hosts(&self) -> impl Iterator<Item = String> {
        let proxies = ["http", "https"]
            .into_iter()
            .filter_map(|scheme| usual(self.matcher()?, scheme));
        proxies.filter_map(|proxy| proxy.uri().host().map(str::to_owned))
    }
}

/// The proxy through which `url` is asked by these rules.
fn intercepted(matcher: &Matcher, url: &Url) -> Option<Intercept> {
    let is_elsewhere = !Origin::of(url).is_this_machine();
    let uri = is_elsewhere.then(|| url.as_str().parse().ok());
    matcher.intercept(&uri.flatten()?)
}

/// The proxy for what is no exception.
fn usual(matcher: &Matcher, scheme: &str) -> Option<Intercept> {
    let any = format!("{scheme}://any.invalid/");
    matcher.intercept(&any.parse().ok()?)
}

/// Whether there is to be any proxy.
#[derive(Debug, PartialEq, Eq)]
enum Usage {
    None,
    Some,
}

/// What the environment says. `NO_PROXY=*` is looked for here, because the library takes it for names only and not for addresses.
fn usage(variable: impl Fn(&str) -> Option<String>) -> Result<Usage> {
    // As curl has it: the first that is set counts, even when it is empty.
    let first = |upper: &'static str, lower: &'static str| {
        let found = [upper, lower]
            .into_iter()
            .find_map(|name| Some((name, variable(name)?)));
        found.filter(|(_, value)| !value.is_empty())
    };
    let exceptions = first("NO_PROXY", "no_proxy");
    if exceptions.is_some_and(|(_, list)| list.split(',').any(|entry| entry.trim() == "*")) {
        return Ok(Usage::None);
    }
    for (upper, lower) in [("HTTPS_PROXY", "https_proxy"), ("HTTP_PROXY", "http_proxy")] {
        let own = first(upper, lower).or_else(|| first("ALL_PROXY", "all_proxy"));
        if let Some((name, value)) = own {
            usable(name, &value)?;
        }
    }
    Ok(Usage::Some)
}

fn usable(name: &str, value: &str) -> Result<()> {
    let uri = value
        .parse::<Uri>()
        .ok()
        .filter(|uri| uri.authority().is_some());
    let scheme = uri.as_ref().map(|uri| uri.scheme_str().unwrap_or("http"));
    let allowed = "allowed is the URL of an HTTP proxy, such as \"http://proxy:3128\", and NO_PROXY=* for none";
    match scheme {
        Some("http" | "https") => Ok(()),
        Some(scheme) if scheme.starts_with("socks") => Err(Error::config(format!(
            "the environment variable {name} names a SOCKS proxy, which isn't supported; {allowed}"
        ))),
        Some(_) | None => Err(Error::config(format!(
            "the environment variable {name} names no proxy that can be used; {allowed}"
        ))),
    }
}

/// What this proxy answers when it is asked for a tunnel to `url`; `None` when it lets one through, or doesn't say.
///
/// The library that makes the tunnels keeps the status to itself. So once a proxy has refused, it is asked again, for its status alone.
pub(super) async fn refusal(
    proxy: &Intercept,
    url: &Url,
    patience: Duration,
) -> Option<StatusCode> {
    let asked = tokio::time::timeout(patience, ask(proxy, url)).await;
    asked.ok()?.filter(|status| !status.is_success())
}

async fn ask(proxy: &Intercept, url: &Url) -> Option<StatusCode> {
    let uri = proxy.uri();
    if uri.scheme_str() != Some("http") {
        return None;
    }
    let host = uri.host()?.trim_matches(['[', ']']);
    let mut stream = TcpStream::connect((host, uri.port_u16().unwrap_or(80)))
        .await
        .ok()?;
    let target = format!("{}:{}", url.host_str()?, url.port_or_known_default()?);
    let mut asked = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
    if let Some(credentials) = proxy.basic_auth() {
        let credentials = [b"Proxy-Authorization: ", credentials.as_bytes(), b"\r\n"];
        asked.extend(credentials.concat());
    }
    asked.extend(b"\r\n");
    stream.write_all(&asked).await.ok()?;
    let mut line = Vec::with_capacity(STATUS_LINE);
    while line.len() < STATUS_LINE && stream.read_buf(&mut line).await.ok()? > 0 {}
    status(&line)
}

/// The status in the first line of an answer: `HTTP/1.1 403 Forbidden`.
fn status(line: &[u8]) -> Option<StatusCode> {
    let line = line.strip_prefix(b"HTTP/1.")?;
    StatusCode::from_bytes(line.get(2..5)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn with(variables: &[(&str, &str)]) -> Result<Usage> {
        usage(|name| {
            let found = variables.iter().find(|(set, _)| *set == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn usual(variables: &[(&str, &str)]) -> bool {
        matches!(with(variables), Ok(Usage::Some))
    }

    fn none(variables: &[(&str, &str)]) -> bool {
        matches!(with(variables), Ok(Usage::None))
    }

    /// A credential goes to this machine over plain http, and went to the proxy like that.
    #[test]
    fn this_machine_is_never_asked_through_a_proxy() {
        let said = config::parse("[upstream]\nproxy = \"http://proxy.test:3128\"");
        let said = said.expect("valid settings").upstream.proxy;
        let named = said.as_ref().map(|said| (String::new(), said));
        let matcher = Matcher::builder().all("http://proxy.test:3128").build();
        for proxies in [
            Proxies::of_settings(named).expect("a proxy"),
            Proxies::OfEnvironment(Arc::new(matcher)),
        ] {
            let is_asked = |url: &str| proxies.of(&Url::parse(url).expect("a URL")).is_some();
            for url in [
                "http://localhost:8080/index/",
                "https://LOCALHOST/",
                "http://127.0.0.1/",
                "http://127.9.9.9:1/x",
                "https://[::1]:8443/",
                "http://2130706433/",
            ] {
                assert!(!is_asked(url), "{url}");
            }
            for url in [
                "http://a.test/",
                "https://localhost.a.test/",
                "http://10.0.0.1/",
            ] {
                assert!(is_asked(url), "{url}");
            }
            assert_eq!(proxies.hosts().count(), 2);
        }
    }

    #[test]
    fn a_star_stands_for_no_proxy_at_all() {
        let proxy = ("HTTPS_PROXY", "http://proxy:1");
        assert!(usual(&[]));
        for list in ["*", "a.test, *", " * "] {
            assert!(none(&[proxy, ("no_proxy", list)]), "{list:?}");
        }
        for list in ["", "*.test", "a.test"] {
            let variables = [proxy, ("NO_PROXY", list), ("no_proxy", "*")];
            assert!(usual(&variables), "{list:?}");
        }
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_an_error_that_names_the_variable_and_no_password() {
        for (name, value, words) in [
            ("HTTPS_PROXY", "socks5h://user:secret@proxy:1080", "SOCKS"),
            ("http_proxy", "socks4://proxy:1080", "SOCKS"),
            ("all_proxy", "socks5://proxy", "SOCKS"),
            ("ALL_PROXY", "ftp://user:secret@proxy", "no proxy"),
            ("HTTP_PROXY", "http:// secret", "no proxy"),
        ] {
            let error = with(&[(name, value)]).expect_err(value);
            assert_eq!(error.kind(), Kind::Config);
            let told = error.to_string();
            assert!(told.contains(&format!("variable {name} names")), "{told}");
            assert!(told.contains(words) && !told.contains("secret"), "{told}");
        }
        for value in [
            "proxy:3128",
            "http://user:p@proxy:3128",
            "https://proxy",
            "",
        ] {
            assert!(usual(&[("HTTPS_PROXY", value)]), "{value}");
        }
        // What isn't used does no harm.
        assert!(usual(&[
            ("ALL_PROXY", "socks5://proxy"),
            ("HTTP_PROXY", "http://proxy"),
            ("HTTPS_PROXY", "http://proxy"),
        ]));
    }

    #[test]
    fn a_status_is_read_from_the_first_line() {
        let read = |line: &str| status(line.as_bytes()).map(|s| s.as_u16());
        assert_eq!(
            read("HTTP/1.1 407 Proxy Authentication Required"),
            Some(407)
        );
        assert_eq!(read("HTTP/1.0 403"), Some(403));
        for line in ["", "HTTP/1.1", "HTTP/1.1 4", "HTTP/2 403", "SSH-2.0-x"] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
