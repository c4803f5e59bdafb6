//! A bucket at some distance: when the first byte of a crate comes, and how a new mirror with an empty folder does under a crowd.

use std::{path::Path, time::Instant};

use serde::Serialize;
use tempfile::TempDir;

use crate::{
    Result,
    child::Child,
    clients::Crowded,
    proc::cpu,
    record::Recording,
    report::Report,
    servers::{Origin, mirror_in, wire},
    stampede::{Prize, crowd},
    stats::Sample,
    support::{Bucket, index_path},
    tools::Bench,
};

/// How far away a Garage on the same network was, there and back, as it was measured once.
const AWAY_MS: u64 = 12;
/// How far away the origin is.
const ORIGIN_MS: u64 = 80;
/// How many clients a new mirror meets.
const CLIENTS: usize = 200;
/// How many index files each of them asks for, and as many crates.
const THINGS: usize = 100;

/// What a bucket costs.
#[derive(Default, Serialize)]
pub(crate) struct Buckets {
    /// Until the first byte of a crate of 80 KB, in microseconds: from a bucket that has it, to a mirror that hasn't.
    pub(crate) cold_us: Sample,
    /// The same of a mirror that has it in memory.
    pub(crate) warm_us: Sample,
    /// The same from the origin.
    pub(crate) origin_us: Sample,
    /// When the last of all clients has everything, in seconds: of a new mirror over a bucket that has everything.
    pub(crate) crowd_bucket: Sample,
    /// The same of a new mirror that has to ask the origin.
    pub(crate) crowd_origin: Sample,
    /// The same of a mirror that has everything in memory.
    pub(crate) crowd_memory: Sample,
    /// Requests for crates at the origin, by the mirror over the bucket.
    pub(crate) upstream: u64,
    pub(crate) failed: usize,
    pub(crate) clients: usize,
    pub(crate) things: usize,
}

/// A mirror with an empty folder.
struct New {
    child: Child,
    _folder: TempDir,
}

/// Measures it, if wanted.
pub(crate) async fn run(bench: &Bench, recording: &Recording, report: &mut Report) -> Result<()> {
    if !bench.wants("bucket") {
        return Ok(());
    }
    let origin = Origin::start(bench, &recording.www).await?;
    let bucket = Bucket::in_process().await;
    let away = wire(bench, bucket.addr(), AWAY_MS / 2).await?;
    let crates = crates(&recording.www)?;
    let paths: Vec<String> = recording.index.iter().take(THINGS).cloned().collect();
    let paths: Vec<String> = paths
        .into_iter()
        .chain(crates.iter().take(THINGS).cloned())
        .collect();
    let mut found = Buckets {
        clients: bench.pace.pick(CLIENTS, 50),
        things: paths.len(),
        ..Buckets::default()
    };
    eprintln!("a bucket with {} crates", crates.len());
    fill(bench, &origin, &bucket, &paths).await?;
    origin.delay(ORIGIN_MS).await?;
    let prize = Prize {
        what: "100 index files and 100 crates",
        paths,
        http2: true,
    };
    for round in 1..=bench.rounds {
        eprintln!(
            "round {round} of {}: a bucket {AWAY_MS} ms away",
            bench.rounds
        );
        first_bytes(bench, &origin, &bucket, &away, &prize, &mut found).await?;
        origin.counts().await?;
        let new = over(bench, &origin, &bucket, &away).await?;
        let cold = measured(bench, "cold, over the bucket", &new, &prize, found.clients).await?;
        let counts = origin.counts().await?.into_iter();
        let crates = counts.filter(|(path, _)| path.contains("/crates/"));
        found.upstream += crates.map(|(_, count)| count).sum::<u64>();
        let warm = measured(bench, "warm", &new, &prize, found.clients).await?;
        drop(new);
        let alone = alone(bench, &origin).await?;
        let without = measured(
            bench,
            "cold, without a bucket",
            &alone,
            &prize,
            found.clients,
        )
        .await?;
        found.crowd_bucket.0.push(cold.last);
        found.crowd_memory.0.push(warm.last);
        found.crowd_origin.0.push(without.last);
        found.failed += cold.failed + warm.failed + without.failed;
    }
    report.buckets = Some(found);
    Ok(())
}

/// A crowd at a mirror; how much of the time that took the mirror was at work is said aside.
async fn measured(
    bench: &Bench,
    what: &str,
    new: &New,
    prize: &Prize,
    clients: usize,
) -> Result<Crowded> {
    let pid = new.child.pid();
    let before = cpu(pid);
    let crowded = crowd(bench, new.child.address(), prize, clients).await?;
    eprintln!(
        "{what}: {:.2} s, {:.2} s of the mirror's CPU time, {} MB, {} failed",
        crowded.last,
        (cpu(pid) - before).as_secs_f64(),
        crowded.bytes / 1_000_000,
        crowded.failed
    );
    Ok(crowded)
}

/// The first bytes of crates at a mirror that has none of them, again at the same one, and at one without a bucket.
async fn first_bytes(
    bench: &Bench,
    origin: &Origin,
    bucket: &Bucket,
    away: &Child,
    prize: &Prize,
    found: &mut Buckets,
) -> Result<()> {
    let crates = prize.paths.iter().filter(|path| path.contains("/crates/"));
    let crates: Vec<&String> = crates.take(30).collect();
    let new = over(bench, origin, bucket, away).await?;
    let alone = alone(bench, origin).await?;
    let client = reqwest::Client::builder().no_proxy().build();
    let client = client.map_err(|e| format!("no client: {e}"))?;
    // Connections, and index files, which say what a crate's checksum is.
    for path in prize
        .paths
        .iter()
        .filter(|path| path.starts_with("/index/"))
    {
        for mirror in [&new, &alone] {
            first_byte(&client, mirror, path).await?;
        }
    }
    for path in &crates {
        index_of(&client, &[&new, &alone], path).await?;
        found.cold_us.0.push(first_byte(&client, &new, path).await?);
        found.warm_us.0.push(first_byte(&client, &new, path).await?);
        found
            .origin_us
            .0
            .push(first_byte(&client, &alone, path).await?);
    }
    Ok(())
}

/// Has these mirrors know the index file of a crate.
async fn index_of(client: &reqwest::Client, mirrors: &[&New], path: &str) -> Result<()> {
    let name = path.split('/').nth(4).unwrap_or_default();
    let index = format!("/index/{}", index_path(name));
    for mirror in mirrors {
        first_byte(client, mirror, &index).await?;
    }
    Ok(())
}

/// How long it took until the first byte of an answer's body, in microseconds.
async fn first_byte(client: &reqwest::Client, mirror: &New, path: &str) -> Result<f64> {
    let url = format!("http://{}{path}", mirror.child.address());
    let started = Instant::now();
    let answer = client.get(&url).send().await;
    let mut answer = answer.map_err(|e| format!("{url}: {e}"))?;
    let status = answer.status();
    let first = answer.chunk().await.map_err(|e| format!("{url}: {e}"))?;
    let took = started.elapsed();
    if !status.is_success() || first.is_none() {
        return Err(format!("{url}: {status}"));
    }
    while let Ok(Some(_)) = answer.chunk().await {}
    Ok(took.as_secs_f64() * 1e6)
}

/// Has a mirror put all of it into the bucket.
async fn fill(bench: &Bench, origin: &Origin, bucket: &Bucket, paths: &[String]) -> Result<()> {
    let settings = bucket.settings("mirror");
    let new = started(bench, origin, &settings, bucket).await?;
    let client = reqwest::Client::builder().no_proxy().build();
    let client = client.map_err(|e| format!("no client: {e}"))?;
    for path in paths {
        first_byte(&client, &new, path).await?;
    }
    let crates = paths
        .iter()
        .filter(|path| path.contains("/crates/"))
        .count();
    let started = Instant::now();
    while bucket.stored_with(".crate").await.len() < crates {
        if started.elapsed().as_secs() > 60 {
            return Err("the bucket isn't filled".to_owned());
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    Ok(())
}

/// A new one over the bucket, by the wire.
async fn over(bench: &Bench, origin: &Origin, bucket: &Bucket, away: &Child) -> Result<New> {
    let settings = bucket.settings("mirror");
    let far = format!("http://{}", away.address());
    let settings = settings.replace(&bucket.endpoint(), &far);
    started(bench, origin, &settings, bucket).await
}

/// A new one without a bucket.
async fn alone(bench: &Bench, origin: &Origin) -> Result<New> {
    let folder = tempfile::tempdir().map_err(|e| format!("no temporary folder: {e}"))?;
    let index = format!("sparse+http://{}/index/", origin.address());
    let store = folder.path().join("store");
    let child = mirror_in(bench, folder.path(), &store, &index, "", &[]).await?;
    Ok(New {
        child,
        _folder: folder,
    })
}

async fn started(bench: &Bench, origin: &Origin, store: &str, bucket: &Bucket) -> Result<New> {
    let folder = tempfile::tempdir().map_err(|e| format!("no temporary folder: {e}"))?;
    let index = format!("sparse+http://{}/index/", origin.address());
    let more = format!("[store]\n{store}");
    let path = folder.path().join("store");
    let child = mirror_in(bench, folder.path(), &path, &index, &more, &bucket.env()).await?;
    Ok(New {
        child,
        _folder: folder,
    })
}

/// The paths of all recorded crates.
fn crates(www: &Path) -> Result<Vec<String>> {
    let root = www.join("api/v1/crates");
    let files = walkdir::WalkDir::new(&root).sort_by_file_name().into_iter();
    let files = files.filter_map(std::result::Result::ok);
    let files = files.filter(|entry| entry.file_type().is_file());
    let paths = files.filter_map(|entry| {
        let path = entry.path().strip_prefix(www).ok()?.to_str()?;
        path.ends_with("/download").then(|| format!("/{path}"))
    });
    let paths: Vec<String> = paths.collect();
    match paths.is_empty() {
        true => Err(format!("no crates below {}", root.display())),
        false => Ok(paths),
    }
}
