//! A full store: how soon a mirror on it answers after its start, and how much memory it takes when nobody asks.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use crate_mirror::{
    domain::{CrateName, IndexKey, RegistryName, Sha256, Validators},
    store::StoreRecord,
};
use serde::Serialize;

use crate::{Result, proc, report::Report, servers::mirror, stats::Sample, tools::Bench};

/// By then a mirror has looked through its store for the first time.
const SETTLES_WITHIN: Duration = Duration::from_secs(8);

/// What a full store costs.
#[derive(Serialize)]
pub(crate) struct Idle {
    pub(crate) entries: usize,
    /// From the start of the process to the end of the first answer, which is from the store, in milliseconds.
    pub(crate) first_answer_ms: Sample,
    /// Resident right after that, in bytes.
    pub(crate) memory: Sample,
    /// The most it ever had, its first look through the store included.
    pub(crate) peak_memory: Sample,
}

/// Measures it, if wanted.
pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    if !bench.wants("idle: a full store") {
        return Ok(());
    }
    let entries = bench.pace.pick(250_000, 10_000);
    eprintln!("a store with {entries} entries");
    let folder =
        tempfile::tempdir_in(bench.folder.path()).map_err(|e| format!("no folder: {e}"))?;
    let store = folder.path().join("store");
    fill(&store, entries)?;
    let mut idle = Idle {
        entries,
        first_answer_ms: Sample::default(),
        memory: Sample::default(),
        peak_memory: Sample::default(),
    };
    for _ in 0..bench.rounds {
        let started = Instant::now();
        // Nobody listens there, and nobody is asked: the entries are fresh.
        let mirror = mirror(
            bench,
            folder.path(),
            &store,
            "sparse+http://127.0.0.1:9/index/",
            "",
        )
        .await?;
        let path = IndexKey::new(registry()?, name(entries / 2)?)
            .path
            .to_string();
        let url = format!("http://{}/index/{path}", mirror.address());
        let answer = reqwest::get(&url)
            .await
            .map_err(|e| format!("{url}: {e}"))?;
        if !answer.status().is_success() {
            return Err(format!("{url}: {}", answer.status()));
        }
        answer.bytes().await.map_err(|e| format!("{url}: {e}"))?;
        idle.first_answer_ms
            .0
            .push(started.elapsed().as_secs_f64() * 1e3);
        idle.memory.0.push(proc::memory(mirror.pid()) as f64);
        tokio::time::sleep(bench.pace.pick(SETTLES_WITHIN, Duration::ZERO)).await;
        idle.peak_memory
            .0
            .push(proc::peak_memory(mirror.pid()) as f64);
    }
    report.idle = Some(idle);
    Ok(())
}

/// Writes that many index records, fresh as of now.
fn fill(store: &Path, entries: usize) -> Result<()> {
    let fault = |e: std::io::Error| format!("the store can't be filled: {e}");
    let now = SystemTime::now();
    for number in 0..entries {
        let name = name(number)?;
        let cksum = Sha256::of(name.as_str().as_bytes());
        let line = format!(
            "{{\"name\":\"{name}\",\"vers\":\"1.0.0\",\"deps\":[],\"cksum\":\"{cksum}\",\"features\":{{}},\"yanked\":false}}\n"
        );
        let body = Bytes::from(line);
        let record = StoreRecord {
            sha256: Sha256::of(&body),
            body,
            validators: Validators::default(),
            modified_at: now,
            checked_at: now,
            gone: false,
            history: Default::default(),
            sum: None,
        };
        let path = store.join(IndexKey::new(registry()?, name).path());
        let folder = path.parent().unwrap_or(store);
        if number < FOLDERS {
            fs::create_dir_all(folder).map_err(fault)?;
        }
        fs::write(path, record.encode().concat()).map_err(fault)?;
    }
    Ok(())
}

/// The entries are in so many folders.
const FOLDERS: usize = 26 * 26;

/// Different names in few enough folders.
fn name(number: usize) -> Result<CrateName> {
    let letter = |n: usize| char::from(b'a' + (n % 26) as u8);
    let name = format!("{0}{0}{1}{1}{number}", letter(number / 26), letter(number));
    CrateName::parse(&name).map_err(|e| e.to_string())
}

fn registry() -> Result<RegistryName> {
    RegistryName::parse("crates-io").map_err(|e| e.to_string())
}
