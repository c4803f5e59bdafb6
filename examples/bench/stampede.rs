//! The stampede: many clients ask at the same moment for what nobody has asked for yet.

use std::{fs, net::SocketAddr, process::Stdio};

use serde::Serialize;

use crate::{
    Result,
    clients::Crowded,
    nginx::Nginx,
    record::Recording,
    report::Report,
    servers::{Mirror, Origin, Server, role},
    stats::Sample,
    tools::Bench,
};

/// How far away the origin is.
const DELAY_MS: u64 = 80;
/// How many index files each client asks for.
const INDEX_FILES: usize = 200;

/// A stampede on one server.
#[derive(Serialize)]
pub(crate) struct Stampede {
    pub(crate) what: &'static str,
    pub(crate) server: Server,
    pub(crate) clients: usize,
    pub(crate) things: usize,
    /// When a client that is alone has everything from a cold server, in seconds.
    pub(crate) lone: Sample,
    /// When the last of all has everything from a cold server.
    pub(crate) last: Sample,
    /// When the last of all has everything from bare hyper, which has it in memory: the bytes' own time.
    pub(crate) bytes_own: Sample,
    /// How many requests reached the origin for what was asked for, at most for one thing.
    pub(crate) upstream_for_one: u64,
    /// How many in all.
    pub(crate) upstream: u64,
    /// Clients that didn't get what they asked for, in all rounds.
    pub(crate) failed: usize,
}

impl Stampede {
    /// What the last client's time is in terms of a lone one's and the bytes' own time.
    pub(crate) fn against_lone(&self) -> Sample {
        let sum = self
            .lone
            .0
            .iter()
            .zip(&self.bytes_own.0)
            .map(|(a, b)| a + b);
        self.last.over(&sum.collect())
    }
}

/// What everybody wants.
pub(crate) struct Prize {
    pub(crate) what: &'static str,
    pub(crate) paths: Vec<String>,
    pub(crate) http2: bool,
}

/// Measures what is wanted of the stampedes.
pub(crate) async fn run(bench: &Bench, recording: &Recording, report: &mut Report) -> Result<()> {
    let index = recording.index.iter().take(INDEX_FILES).cloned();
    let prizes = [
        Prize {
            what: "a 5 MB crate, over HTTP/1.1",
            paths: vec![recording.large.clone()],
            http2: false,
        },
        Prize {
            what: "200 index files, over HTTP/2",
            paths: index.collect(),
            http2: true,
        },
    ];
    let prizes = prizes.into_iter();
    let wanted = prizes.filter(|prize| bench.wants(&format!("stampede: {}", prize.what)));
    let wanted: Vec<Prize> = wanted.collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let origin = Origin::start(bench, &recording.www).await?;
    origin.delay(DELAY_MS).await?;
    for prize in wanted {
        let mut found = measure(bench, recording, &origin, &prize).await?;
        report.stampedes.append(&mut found);
    }
    Ok(())
}

async fn measure(
    bench: &Bench,
    recording: &Recording,
    origin: &Origin,
    prize: &Prize,
) -> Result<Vec<Stampede>> {
    let clients = bench.pace.pick(500, 100);
    let new = |server| Stampede {
        what: prize.what,
        server,
        clients,
        things: prize.paths.len(),
        lone: Sample::default(),
        last: Sample::default(),
        bytes_own: Sample::default(),
        upstream_for_one: 0,
        upstream: 0,
        failed: 0,
    };
    let mut stampedes = vec![new(Server::Mirror)];
    if bench.nginx.is_some() {
        stampedes.push(new(Server::ProxyCacheKeeping));
    }
    for round in 1..=bench.rounds {
        eprintln!(
            "round {round} of {}: {clients} clients, {}",
            bench.rounds, prize.what
        );
        let floor = role(bench, "floor", &recording.www).await?;
        let own = crowd(bench, floor.address(), prize, clients).await?.last;
        for stampede in &mut stampedes {
            let lone = cold(bench, recording, origin, stampede.server, prize, 1).await?;
            origin.counts().await?;
            let all = cold(bench, recording, origin, stampede.server, prize, clients).await?;
            let counts = origin.counts().await?.into_iter();
            let counts = counts.filter(|(path, _)| prize.paths.contains(path));
            let counts: Vec<u64> = counts.map(|(_, count)| count).collect();
            let most = counts.iter().copied().max().unwrap_or(0);
            stampede.upstream_for_one = stampede.upstream_for_one.max(most);
            stampede.upstream = stampede.upstream.max(counts.iter().sum());
            stampede.failed += lone.failed + all.failed;
            stampede.lone.0.push(lone.last);
            stampede.last.0.push(all.last);
            stampede.bytes_own.0.push(own);
        }
    }
    Ok(stampedes)
}

/// So many clients at a server that has just been started.
async fn cold(
    bench: &Bench,
    recording: &Recording,
    origin: &Origin,
    server: Server,
    prize: &Prize,
    clients: usize,
) -> Result<Crowded> {
    let upstream = origin.address();
    match server {
        Server::Mirror | Server::Floor => {
            let mirror = Mirror::start(bench, upstream).await?;
            crowd(bench, mirror.address(), prize, clients).await
        }
        Server::ProxyCache | Server::ProxyCacheKeeping | Server::Static => {
            let nginx = Nginx::start(bench, upstream, &recording.www).await?;
            let nginx = nginx.ok_or("nginx isn't installed")?;
            let address = match prize.http2 {
                true => nginx.keeping.http2,
                false => nginx.keeping.http1,
            };
            crowd(bench, address, prize, clients).await
        }
    }
}

/// Runs the clients in a process of their own.
pub(crate) async fn crowd(
    bench: &Bench,
    address: SocketAddr,
    prize: &Prize,
    clients: usize,
) -> Result<Crowded> {
    let paths = bench.folder.path().join("paths");
    fs::write(&paths, prize.paths.join("\n")).map_err(|e| format!("the paths: {e}"))?;
    let mut command = bench.load(&bench.me);
    command
        .args(["clients", "--address", &address.to_string()])
        .args(["--count", &clients.to_string(), "--paths"])
        .arg(&paths)
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if prize.http2 {
        command.arg("--http2");
    }
    let output = command
        .output()
        .await
        .map_err(|e| format!("the clients: {e}"))?;
    let complaints = String::from_utf8_lossy(&output.stderr);
    if let Some(first) = complaints.lines().next() {
        eprintln!("{first} (and {} more)", complaints.lines().count() - 1);
    }
    serde_json::from_slice(&output.stdout).map_err(|e| format!("the clients: {e}; {complaints}"))
}
