//! [`Row`]: one kind of request that every server is loaded with.

use reqwest::header;

use crate::{
    Result, component,
    record::Recording,
    servers::{Protocol, Server},
    tools::Pace,
};

/// One kind of request.
#[derive(Clone)]
pub(crate) struct Row {
    /// What tables call it.
    pub(crate) name: &'static str,
    /// What is asked for.
    pub(crate) path: String,
    /// In which form.
    pub(crate) form: Form,
    /// The size of the thing, uncompressed.
    pub(crate) size: usize,
}

/// In which form something is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it is.
    Identity,
    /// Gzipped, as cargo asks for everything.
    Gzip,
    /// With the ETag it has, to be answered 304.
    Unchanged,
}

/// The rows of a run.
pub(crate) fn rows(recording: &Recording, pace: Pace) -> Vec<Row> {
    let row = |name, path: &str, form, size| Row {
        name,
        path: path.to_owned(),
        form,
        size,
    };
    use Form::{Gzip, Identity, Unchanged};
    let [small, serde, tokio] = [&recording.small, "/index/se/rd/serde", "/index/to/ki/tokio"];
    let all = vec![
        row("2 KB index", small, Identity, 2 << 10),
        row("2 KB index, gzip", small, Gzip, 2 << 10),
        row("serde index", serde, Identity, 165_000),
        row("serde index, gzip", serde, Gzip, 165_000),
        row("tokio index", tokio, Identity, 871_000),
        row("tokio index, gzip", tokio, Gzip, 871_000),
        row("80 KB crate", &recording.medium, Identity, 80_000),
        row("5 MB crate", &recording.large, Identity, 5_000_000),
        row(
            "100 MB component",
            component::PATH,
            Identity,
            component::SIZE,
        ),
        row("serde index, 304", serde, Unchanged, 0),
        row("config.json", "/index/config.json", Gzip, 100),
    ];
    let telling = ["2 KB index, gzip", "serde index, gzip", "80 KB crate"];
    let kept = |row: &Row| pace == Pace::Full || telling.contains(&row.name);
    all.into_iter().filter(kept).collect()
}

impl Row {
    /// Whether this row says anything of that server: what upstream compressed differs only where something is compressed.
    pub(crate) fn concerns(&self, server: Server) -> bool {
        let compressed = self.form == Form::Gzip && self.path != "/index/config.json";
        compressed || server != Server::ProxyCacheKeeping
    }

    /// Whether it is asked for over that protocol: TLS does to all answers of a size the same.
    pub(crate) fn is_asked_over(&self, protocol: Protocol) -> bool {
        // As rustup asks for it on a plain connection.
        if self.path == component::PATH {
            return !protocol.is_tls() && !protocol.is_http2();
        }
        !protocol.is_tls() || ["2 KB index", "80 KB crate", "5 MB crate"].contains(&self.name)
    }

    /// Asks once, so that it is a hit from then on, and sees to it that the answer is what it should be. Gives the headers to ask with.
    pub(crate) async fn prepare(
        &self,
        base: &str,
        protocol: Protocol,
        server: Server,
    ) -> Result<Vec<String>> {
        let client = match protocol.is_http2() {
            false => reqwest::Client::builder().http1_only(),
            true => reqwest::Client::builder().http2_prior_knowledge(),
        };
        let client = client
            .tls_danger_accept_invalid_certs(true)
            .no_proxy()
            .build()
            .map_err(|e| format!("no client: {e}"))?;
        let url = format!("{base}{}", self.path);
        let what = format!(
            "{} of {} over {}",
            self.name,
            server.name(),
            protocol.name()
        );
        let mut sent = Vec::new();
        if self.form == Form::Gzip {
            sent.push(("accept-encoding", "deflate, gzip".to_owned()));
        }
        let first = get(&client, &url, &sent).await?;
        if self.form == Form::Unchanged {
            let etag = first
                .headers()
                .get(header::ETAG)
                .and_then(|tag| tag.to_str().ok());
            // The floor has no tags and takes any.
            sent.push(("if-none-match", etag.unwrap_or("\"any\"").to_owned()));
        }
        let second = get(&client, &url, &sent).await?;
        let expected = match self.form {
            Form::Identity | Form::Gzip => 200,
            Form::Unchanged => 304,
        };
        if second.status() != expected {
            return Err(format!("{what}: {} instead of {expected}", second.status()));
        }
        let encoded = second.headers().contains_key(header::CONTENT_ENCODING);
        let body = second.bytes().await.map_err(|e| format!("{what}: {e}"))?;
        let plain = self.form == Form::Identity && !encoded;
        if plain && self.size > 0 && body.len().abs_diff(self.size) > self.size / 2 {
            return Err(format!(
                "{what}: {} bytes, about {} expected",
                body.len(),
                self.size
            ));
        }
        Ok(sent
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect())
    }
}

async fn get(
    client: &reqwest::Client,
    url: &str,
    headers: &[(&'static str, String)],
) -> Result<reqwest::Response> {
    let mut request = client.get(url);
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let answer = request.send().await.map_err(|e| format!("{url}: {e}"))?;
    match answer.status().is_client_error() || answer.status().is_server_error() {
        true => Err(format!("{url}: {}", answer.status())),
        false => Ok(answer),
    }
}
