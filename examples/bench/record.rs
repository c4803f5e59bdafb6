//! [`Recording`]: real index files and crates. The first run fetches them from crates.io, once and through a mirror, which is polite to it; later runs
//! reuse the folder.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    Result, component,
    real_cargo::{Project, Verb},
    servers::mirror,
    site::{self, Site},
    tools::Bench,
};

/// A project as they are: a web service with a database. Its lock file has more than 300 packages.
pub(crate) const PROJECT: &str = r#"[package]
name = "project"
version = "0.0.0"
edition = "2021"

[dependencies]
anyhow = "1"
axum = { version = "0.8", features = ["macros", "ws"] }
chrono = { version = "0.4", features = ["serde"] }
clap = { version = "4", features = ["derive", "env"] }
futures = "0.3"
rand = "0.9"
regex = "1"
reqwest = { version = "0.12", features = ["json", "gzip", "stream"] }
serde = { version = "1", features = ["derive"] }
serde_json = "1"
sqlx = { version = "0.8", features = ["postgres", "runtime-tokio", "tls-rustls"] }
tokio = { version = "1", features = ["full"] }
tower-http = { version = "0.6", features = ["full"] }
tracing = "0.1"
tracing-subscriber = { version = "0.3", features = ["env-filter", "json"] }
uuid = { version = "1", features = ["v4", "serde"] }

[workspace]
"#;

/// Where crates.io's index is.
const CRATES_IO: &str = "sparse+https://index.crates.io/";
/// A crate of 5 MB, which the project doesn't need.
const LARGE: &str = "/api/v1/crates/ring/0.16.20/download";
/// There when a recording is whole.
const DONE: &str = "done";
/// Nothing of a recording takes longer.
const WITHIN: Duration = Duration::from_secs(120);

/// What was recorded.
pub(crate) struct Recording {
    /// The files as they are served: see [`Site`].
    pub(crate) www: PathBuf,
    /// Paths of index files.
    pub(crate) index: Vec<String>,
    /// How many crates there are.
    pub(crate) crates: usize,
    /// The path of an index file of about 2 KB.
    pub(crate) small: String,
    /// The path of a crate of about 80 KB.
    pub(crate) medium: String,
    /// The path of a crate of about 5 MB.
    pub(crate) large: String,
}

/// What `data` holds, recorded now if there is nothing.
pub(crate) async fn recording(bench: &Bench, data: &Path) -> Result<Recording> {
    let www = data.join("www");
    if !data.join(DONE).exists() {
        record(bench, data, &www).await?;
    }
    component::put(&www)?;
    let site = Site::load(&www)?;
    let index = site.paths("/index/").into_iter().map(str::to_owned);
    let nearest = |prefix, size| {
        let path = site.nearest(prefix, size).map(str::to_owned);
        path.ok_or_else(|| format!("{} is no recording; remove it", data.display()))
    };
    Ok(Recording {
        index: index
            .filter(|path| !path.ends_with("config.json"))
            .collect(),
        crates: site.paths("/api/").len(),
        small: nearest("/index/", 2048)?,
        medium: nearest("/api/", 80_000)?,
        large: LARGE.to_owned(),
        www,
    })
}

async fn record(bench: &Bench, data: &Path, www: &Path) -> Result<()> {
    eprintln!(
        "recording from crates.io into {}, this once",
        data.display()
    );
    let fault = |e: std::io::Error| format!("{} can't be written: {e}", data.display());
    fs::create_dir_all(data).map_err(fault)?;
    let store = data.join("store");
    let mirror = mirror(bench, data, &store, CRATES_IO, "").await?.gently();
    let base = format!("http://{}", mirror.address());
    let project = Project::new(&format!("{base}/index/"), PROJECT)?;
    project.run(Verb::Fetch).await?;
    // The rows that the project may lack; a crate brings its index file.
    for path in ["/index/se/rd/serde", "/index/to/ki/tokio", LARGE] {
        let request = reqwest::Client::new().get(format!("{base}{path}"));
        let answer = request.timeout(WITHIN).send().await;
        let answer = answer.map_err(|e| format!("{path}: {e}"))?;
        if !answer.status().is_success() {
            return Err(format!("crates.io's {path}: {}", answer.status()));
        }
        answer.bytes().await.map_err(|e| format!("{path}: {e}"))?;
    }
    drop(mirror);
    site::export(&store, www)?;
    fs::write(data.join(DONE), "").map_err(fault)
}
