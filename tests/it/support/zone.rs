//! [`Zone`]: one of several mirrors over a bucket: the program in a process of its own, with a folder that nobody else has.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use tempfile::TempDir;

use super::{
    Bucket, Ended, Process, Program, Relay, Reply, Upstream,
    bucket::{Keys, OtherBucket, env},
    client,
};

/// A mirror that is about to start, or a command that is about to run where one would.
#[derive(Clone)]
pub struct ZoneBuilder {
    index: String,
    /// `s3://NAME`, `az://NAME` or `gs://NAME`
    bucket: String,
    endpoint: String,
    prefix: String,
    env: Vec<(&'static str, String)>,
    /// Keys of `[store]`.
    store: String,
    /// Other tables.
    tables: String,
    folder: Option<PathBuf>,
}

/// A mirror that runs.
pub struct Zone {
    process: Process,
    folder: PathBuf,
    temporary: Option<TempDir>,
}

impl Zone {
    /// A mirror of `upstream` over `bucket`, with an empty folder in front of it.
    pub fn of(upstream: &Upstream, bucket: &Bucket) -> ZoneBuilder {
        let url = format!("s3://{}", bucket.name());
        Zone::over(upstream, url, bucket.endpoint(), bucket.env())
    }

    /// The same over a bucket of another service.
    pub fn of_other(upstream: &Upstream, bucket: &OtherBucket) -> ZoneBuilder {
        let (url, endpoint) = (bucket.url().to_owned(), bucket.endpoint().to_owned());
        Zone::over(upstream, url, endpoint, bucket.env())
    }

    fn over(
        upstream: &Upstream,
        bucket: String,
        endpoint: String,
        env: Vec<(&'static str, String)>,
    ) -> ZoneBuilder {
        ZoneBuilder {
            index: upstream.index_url(),
            bucket,
            endpoint,
            prefix: "mirror".to_owned(),
            env,
            store: String::new(),
            tables: String::new(),
            folder: None,
        }
    }

    pub fn addr(&self) -> SocketAddr {
        self.process.addr()
    }

    /// What cargo is pointed at.
    pub fn index_url(&self) -> String {
        format!("http://{}/index/", self.addr())
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.process.get(path).await
    }

    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        client::get(self.addr(), path, headers).await
    }

    /// The sum of all samples in `/metrics` whose line starts with `start`.
    pub async fn metric(&self, start: &str) -> f64 {
        let text = self.get("/metrics").await.text();
        let samples = text.lines().filter(|line| line.starts_with(start));
        let values = samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum()
    }

    /// Its files, as paths below its folder.
    pub fn files(&self) -> Vec<String> {
        super::mirror::files_below(&self.folder)
    }

    pub fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// What it has logged so far, warnings and errors.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Asks again and again until the answer is as wished; panics after that long.
    pub async fn get_until(
        &self,
        path: &str,
        limit: Duration,
        wish: impl Fn(&Reply) -> bool,
    ) -> Reply {
        let started = std::time::Instant::now();
        loop {
            let reply = self.get(path).await;
            if wish(&reply) {
                return reply;
            }
            let (status, text) = (reply.status, reply.text());
            assert!(
                started.elapsed() < limit,
                "{path} still answers {status} {:?} {text:.200}",
                reply.header("x-cache")
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends it as a signal does and returns all that it has logged.
    pub async fn stop(self) -> String {
        self.process.stop().await
    }

    /// Ends it at once, as a power cut would.
    pub async fn kill(self) {
        self.process.kill().await;
    }
}

impl ZoneBuilder {
    /// Below which prefix of the bucket its objects are; none when it is empty.
    pub fn prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// Reaches upstream's index through a relay.
    pub fn index_over(mut self, upstream: &Upstream, relay: &Relay) -> Self {
        let (own, other) = (upstream.addr().to_string(), relay.addr().to_string());
        self.index = self.index.replace(&own, &other);
        self
    }

    /// Reaches the bucket through a relay.
    pub fn over(self, relay: &Relay) -> Self {
        self.endpoint(&relay.url())
    }

    /// Looks for the bucket there.
    pub fn endpoint(mut self, endpoint: &str) -> Self {
        endpoint.clone_into(&mut self.endpoint);
        self
    }

    /// Uses a bucket of another name.
    pub fn bucket(mut self, name: &str) -> Self {
        self.bucket = format!("s3://{name}");
        self
    }

    /// Signs with other keys.
    pub fn keys(mut self, keys: Keys<'_>) -> Self {
        self.env = env(keys);
        self
    }

    /// Has no keys in its environment: the machine's role has to do.
    pub fn without_keys(mut self) -> Self {
        let keys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
        self.env.retain(|(name, _)| !keys.contains(name));
        self
    }

    /// Has this variable in its environment.
    pub fn env(mut self, name: &'static str, value: &str) -> Self {
        self.env.retain(|(known, _)| *known != name);
        self.env.push((name, value.to_owned()));
        self
    }

    /// Adds lines of `[store]`.
    pub fn store(mut self, lines: &str) -> Self {
        self.store.extend([lines, "\n"]);
        self
    }

    /// Adds tables of mirror.toml other than `[store]`.
    pub fn settings(mut self, tables: &str) -> Self {
        self.tables.extend([tables, "\n"]);
        self
    }

    /// Has no upstream to ask.
    pub fn offline(self) -> Self {
        self.settings("[offline]\nenabled = true")
    }

    /// Keeps its folder there.
    pub fn folder(mut self, folder: &std::path::Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// All tables but the one that says where upstream is.
    pub fn toml(&self) -> String {
        let ZoneBuilder {
            bucket,
            endpoint,
            prefix,
            store,
            tables,
            ..
        } = self;
        let slash = if prefix.is_empty() { "" } else { "/" };
        format!(
            "[store]\nsync = false\nbucket = \"{bucket}{slash}{prefix}\"\nendpoint = \"{endpoint}\"\n{store}{tables}"
        )
    }

    /// Starts it and waits until it listens.
    pub async fn start(self) -> Zone {
        let (folder, temporary) = match &self.folder {
            Some(folder) => (folder.clone(), None),
            None => {
                let folder = TempDir::new().expect("a folder");
                (folder.path().join("cache"), Some(folder))
            }
        };
        let toml = self.toml();
        let process = Process::start_at(&self.index, &folder, &toml, &self.env).await;
        Zone {
            process,
            folder,
            temporary,
        }
    }

    /// One of the program's commands with these settings and a folder of its own, about to be run.
    pub fn program(&self, args: &[&str]) -> Program {
        let folder = self.folder.as_ref();
        let path = folder.map_or(String::new(), |path| format!("path = {path:?}\n"));
        let toml = self
            .toml()
            .replacen("[store]\n", &format!("[store]\n{path}"), 1);
        let program = Program::new(args).settings(&format!(
            "[registries.crates-io]\nindex = \"{}\"\n{toml}",
            self.index
        ));
        let env = self.env.iter();
        env.fold(program, |program, (name, value)| program.env(name, value))
    }

    /// Runs one of the program's commands.
    pub async fn run(&self, args: &[&str]) -> Ended {
        self.program(args).run().await
    }
}
