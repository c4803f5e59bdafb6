//! [`Mirror`]: the real server, in this process, on a port of its own, in front of a fake upstream.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use crate_mirror::{
    app::{self, App},
    config,
    metrics::Metrics,
    store::{DiskStall, Fault, Store},
};
use tempfile::TempDir;

use super::{Upstream, client, client::Reply};

/// Settings for a mirror that is about to start.
pub struct MirrorBuilder {
    index: Option<String>,
    settings: Settings,
    store: Option<PathBuf>,
    fault: Option<Fault>,
    stall: Option<DiskStall>,
}

/// What is written into mirror.toml beside where it listens and what it keeps where.
#[derive(Default)]
struct Settings {
    /// Keys of `[server]`.
    server: String,
    /// Keys of `[store]`.
    store: String,
    /// Other tables.
    tables: String,
}

/// A running mirror. Dropping it leaves its tasks to the test's runtime; [`Mirror::stop`] ends it as a signal would.
pub struct Mirror {
    app: App,
    index: Option<String>,
    settings: Settings,
    store: PathBuf,
    temporary: Option<Arc<TempDir>>,
}

impl Mirror {
    /// A mirror of `upstream` with a store of its own.
    pub fn of(upstream: &Upstream) -> MirrorBuilder {
        Self::of_index(&upstream.index_url())
    }

    /// A mirror of whatever is at `index`, which may be nothing.
    pub fn of_index(index: &str) -> MirrorBuilder {
        MirrorBuilder {
            index: Some(index.to_owned()),
            ..Self::unconfigured()
        }
    }

    /// A mirror without a word on registries: the real crates.io's, which only one test may ask.
    pub fn unconfigured() -> MirrorBuilder {
        MirrorBuilder {
            index: None,
            settings: Settings::default(),
            store: None,
            fault: None,
            stall: None,
        }
    }

    pub fn addr(&self) -> SocketAddr {
        self.app.address()
    }

    /// Where its pages are, when that is a port of their own.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.app.admin_address()
    }

    /// Where it speaks TLS, when that is a port of its own.
    pub fn tls_addr(&self) -> SocketAddr {
        self.app.tls_address().expect("`tls.listen` is set")
    }

    /// `https://localhost:PORT`, of that port.
    pub fn tls_url(&self) -> String {
        format!("https://localhost:{}", self.tls_addr().port())
    }

    /// Has it look at its files now, as SIGHUP does.
    pub fn reread(&self) {
        self.app.reread();
    }

    /// `http://127.0.0.1:PORT`, or where it speaks TLS.
    pub fn url(&self) -> &str {
        self.app.base_url()
    }

    /// What cargo is pointed at, without `sparse+`.
    pub fn index_url(&self) -> String {
        format!("{}/index/", self.url())
    }

    /// The folder of its store.
    pub fn store(&self) -> &Path {
        &self.store
    }

    /// All files below its store that aren't temporary, as paths relative to it, sorted; without what is kept of manifests beside crates.
    pub fn stored(&self) -> Vec<String> {
        let mut found = self.all_stored();
        found.retain(|path| !path.ends_with(".license"));
        found
    }

    /// What is kept of manifests beside crates.
    pub fn stored_beside(&self) -> Vec<String> {
        let mut found = self.all_stored();
        found.retain(|path| path.ends_with(".license"));
        found
    }

    fn all_stored(&self) -> Vec<String> {
        files_below(&self.store)
    }

    pub async fn get(&self, path: &str) -> Reply {
        client::get(self.addr(), path, &[]).await
    }

    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        client::get(self.addr(), path, headers).await
    }

    /// Downloads version 1.0.0 of all these crates, whole.
    pub async fn download_all(&self, upstream: &Upstream, names: &[String]) {
        for name in names {
            let reply = self
                .get(&format!("/api/v1/crates/{name}/1.0.0/download"))
                .await;
            let right = reply.complete && reply.body == upstream.crate_file(name, "1.0.0");
            assert!(right, "{name}: {} {:.200}", reply.status, reply.text());
        }
    }

    /// Asks again and again until the answer is as wished; panics after 10 seconds.
    pub async fn get_until(&self, path: &str, wish: impl Fn(&Reply) -> bool) -> Reply {
        let started = Instant::now();
        loop {
            let reply = self.get(path).await;
            if wish(&reply) {
                return reply;
            }
            let (status, text) = (reply.status, reply.text());
            assert!(
                started.elapsed() < Duration::from_secs(10),
                "{path} still answers {status} {:?} {text:.200}",
                reply.header("x-cache")
            );
        }
    }

    /// The sum of all samples in `/metrics` whose line starts with `start`, which may end within the labels.
    ///
    /// # Panics
    /// For a name that the mirror doesn't have: its sum would be 0 for ever.
    pub async fn metric(&self, start: &str) -> f64 {
        let name = start.split(['{', ' ']).next().unwrap_or_default();
        let sources = [
            include_str!("../../../src/metrics.rs"),
            include_str!("../../../src/metrics/requests.rs"),
        ];
        let named = format!("\"{name}\"");
        let known = sources.iter().any(|source| source.contains(&named));
        assert!(known, "there is no metric {name}");
        let text = self.get("/metrics").await.text();
        let samples = text.lines().filter(|line| line.starts_with(start));
        let values = samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum()
    }

    /// Ends it as a signal would: what it has fetched is in the store afterwards.
    pub async fn stop(self) {
        self.app.stop().await;
    }

    /// Ends it and starts another one on the same store, with the same settings and an empty memory.
    pub async fn restart(self) -> Self {
        let Self {
            app,
            index,
            settings,
            store,
            temporary,
        } = self;
        app.stop().await;
        let builder = MirrorBuilder {
            index,
            settings,
            store: Some(store),
            fault: None,
            stall: None,
        };
        let mut next = builder.start().await;
        next.temporary = temporary;
        next
    }
}

impl MirrorBuilder {
    /// Adds tables of mirror.toml other than `[server]` and `[store]`.
    pub fn settings(mut self, toml: &str) -> Self {
        self.settings.tables.extend([toml, "\n"]);
        self
    }

    /// Adds lines of `[server]`.
    pub fn server(mut self, toml: &str) -> Self {
        self.settings.server.extend([toml, "\n"]);
        self
    }

    /// Adds lines of `[store]`.
    pub fn store_settings(mut self, toml: &str) -> Self {
        self.settings.store.extend([toml, "\n"]);
        self
    }

    /// Every index request asks upstream: `fresh_for` and `absent_for` are zero, and a client waits for the answer.
    pub fn always_asks(self) -> Self {
        self.settings("[freshness]\nfresh_for = \"0s\"\nabsent_for = \"0s\"\npatience = \"20s\"")
    }

    /// Keeps its objects in `folder`.
    pub fn store(mut self, folder: &Path) -> Self {
        self.store = Some(folder.to_owned());
        self
    }

    /// Each operation of its store meets this fault first. After a restart there is none.
    pub fn fault(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }

    /// Each operation of its store calls this on the thread that then waits for the disk. After a restart nothing does.
    pub fn stall(mut self, stall: DiskStall) -> Self {
        self.stall = Some(stall);
        self
    }

    pub async fn start(self) -> Mirror {
        let (store, temporary) = match self.store {
            Some(store) => (store, None),
            None => {
                let folder = TempDir::new().expect("a temporary folder");
                (folder.path().join("cache"), Some(Arc::new(folder)))
            }
        };
        let crates_io = self.index.as_ref().map_or(String::new(), |index| {
            format!("[registries.crates-io]\nindex = \"{index}\"\n")
        });
        let Settings {
            server,
            store: keeps,
            tables,
        } = &self.settings;
        let toml = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n{server}[store]\npath = {store:?}\nsync = false\n{keeps}{crates_io}{tables}"
        );
        let config = config::parse(&toml).expect("valid settings");
        let metrics = Arc::new(Metrics::new());
        let mut opened = match self.stall {
            None => app::store_to_serve(&config, &metrics)
                .await
                .expect("a store"),
            Some(stall) => {
                let folder = app::folder(&config).with_stall(stall);
                let opened = Store::to_serve(folder, metrics.clone(), SystemTime::now());
                opened.expect("a store").0
            }
        };
        if let Some(fault) = self.fault {
            opened = opened.with_fault(fault);
        }
        let app = App::start_with(config, opened, metrics).await;
        Mirror {
            app: app.expect("a mirror that starts"),
            index: self.index,
            settings: self.settings,
            store,
            temporary,
        }
    }
}

/// All files below a folder that aren't temporary, as paths relative to it, sorted.
pub fn files_below(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    list(folder, folder, &mut found);
    found.sort();
    found
}

fn list(root: &Path, folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && entry.file_name() != ".tmp" {
            list(root, &path, found);
        } else if path.is_file() {
            let relative = path.strip_prefix(root).expect("below the root");
            found.push(relative.display().to_string());
        }
    }
}
