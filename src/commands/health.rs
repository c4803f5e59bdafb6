//! `health`: is the mirror that runs with these settings well? For supervisors that start a program to find out, such as those of containers.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use url::Url;

use super::{
    address_file::{self, Addresses},
    say::{self, Lines},
};
use crate::{
    config::{self, Config, Flags},
    error::{Error, Result},
    transport::Scheme,
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// So much of an answer is shown.
const SHOWN: usize = 4096;

/// What is asked, and where.
#[derive(Args, Clone, Debug, Default)]
pub struct HealthOptions {
    /// Where the mirror is, if that isn't what the settings say, such as http://127.0.0.1:8080.
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
    /// Ask only whether it answers at all (/healthz), not whether it can serve (/readyz).
    #[arg(long)]
    live: bool,
}

/// Asks the mirror, and prints what it says. Exit code 0 when it is well, 1 when it isn't or doesn't answer.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when the settings can't be used, or don't say where it listens.
pub async fn run(flags: &Flags, options: &HealthOptions) -> Result<ExitCode> {
    let mut base = match &options.url {
        Some(url) => url.clone(),
        None => url_of_settings(&config::load(flags)?)?,
    };
    // What stands behind the last slash would be replaced.
    if !base.path().ends_with('/') {
        base.set_path(&format!("{}/", base.path()));
    }
    let path = if options.live { "healthz" } else { "readyz" };
    let url = base.join(path).map_err(|e| {
        Error::config(format!(
            "--url can't have {path} at its end; allowed is a URL such as http://127.0.0.1:8080"
        ))
        .with_source(e)
    })?;
    match ask(url.clone()).await {
        Ok((true, said)) => {
            let mut lines = Lines::default();
            lines.say(said.trim_end());
            Ok(lines.end(ExitCode::SUCCESS))
        }
        Ok((false, said)) => {
            say::aside(format_args!(
                "crate-mirror: it isn't well: {}",
                said.trim_end()
            ));
            Ok(ExitCode::FAILURE)
        }
        Err(why) => {
            let at = url.origin().ascii_serialization();
            say::aside(format_args!(
                "crate-mirror: no mirror answers at {at}: {why}"
            ));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Where the mirror with these settings can be asked from this machine: where it has written that it is, or else where they say.
fn url_of_settings(config: &Config) -> Result<Url> {
    let file = config.server.address_file.as_ref();
    let written = file.map(|path| Addresses::read(&path.0)).transpose()?;
    match written.flatten() {
        Some(addresses) => Ok(addresses.own()),
        None => own_url(config),
    }
}

/// Where a mirror with these settings listens as far as they say.
fn own_url(config: &Config) -> Result<Url> {
    let server = &config.server;
    let (key, scheme, at) = match (&server.admin_listen, is_plain(config)) {
        (Some(admin), _) => ("server.admin_listen", Scheme::Http, admin),
        (None, true) => ("server.listen", Scheme::Http, &server.listen),
        (None, false) => ("server.listen", Scheme::Https, &server.listen),
    };
    if at.0.port() == 0 {
        return Err(Error::config(format!(
            "`{key}` has port 0, so that nobody knows the port; say it with --url http://ADDRESS:PORT, or have the mirror write it down (`server.address_file`)"
        )));
    }
    address_file::url(scheme, at.0)
}

/// Whether `server.listen` speaks plain HTTP.
fn is_plain(config: &Config) -> bool {
    config.tls.certificate.is_none() || config.tls.listen.is_some()
}

/// Whether it answers that all is well, and what it says.
async fn ask(url: Url) -> std::result::Result<(bool, String), reqwest::Error> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(PATIENCE)
        // It is this machine's own, asked by its address, which its certificate needn't name; nothing secret is said to it.
        .tls_danger_accept_invalid_certs(true)
        .build()?;
    let mut answer = client
        .get(url)
        .send()
        .await
        .map_err(reqwest::Error::without_url)?;
    let is_well = answer.status().is_success();
    let mut said = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
        said.extend_from_slice(&chunk);
        if said.len() >= SHOWN {
            said.truncate(SHOWN);
            break;
        }
    }
    Ok((is_well, String::from_utf8_lossy(&said).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_say_where_it_is() {
        let tls = "[tls]\ncertificate = \"c\"\nkey = \"k\"\n";
        for (toml, wanted) in [
            (String::new(), "http://127.0.0.1:8080/"),
            (
                "[server]\nlisten = \"0.0.0.0:80\"".to_owned(),
                "http://127.0.0.1/",
            ),
            (
                "[server]\nlisten = \"[::]:81\"".to_owned(),
                "http://[::1]:81/",
            ),
            (tls.to_owned(), "https://127.0.0.1:8080/"),
            (
                format!("{tls}listen = \"0.0.0.0:8443\""),
                "http://127.0.0.1:8080/",
            ),
            (
                format!("[server]\nadmin_listen = \"10.0.0.5:9090\"\n{tls}"),
                "http://10.0.0.5:9090/",
            ),
        ] {
            let config = config::parse(&toml).expect("settings");
            assert_eq!(own_url(&config).expect("a URL").as_str(), wanted, "{toml}");
        }
        let config = config::parse("[server]\nlisten = \"127.0.0.1:0\"").expect("settings");
        let said = own_url(&config).expect_err("no port").to_string();
        assert!(said.contains("--url"), "{said}");
    }
}
