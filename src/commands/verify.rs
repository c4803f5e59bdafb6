//! `verify`: everything stored, read and checked.

use std::process::ExitCode;

use bytesize::ByteSize;
use indicatif::ProgressBar;
use tokio::{sync::mpsc, task::JoinSet};

use super::bar;
use crate::{
    app,
    config::{self, Flags},
    error::{Error, Result},
    store::{Next, Store, Stored, Verdict},
};

/// So many objects are read at once, and so many more are known of.
const AT_ONCE: usize = 8;

/// What was found so far.
#[derive(Default)]
struct Tally {
    objects: u64,
    bytes: u64,
    bad: u64,
}

/// Checks every object and names the bad ones; `repair` drops them, so that they are fetched again when they are asked for. Exit code 1 when there
/// was any.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when the settings or the store can't be used, [`Kind::Store`](crate::error::Kind::Store) when a bad
/// object can't be dropped.
pub async fn run(flags: &Flags, repair: bool) -> Result<ExitCode> {
    let config = config::load(flags)?;
    let store = app::existing_store(&config)?;
    let size = store
        .each((0, 0), |sum: &mut (u64, u64), stored| {
            *sum = (sum.0 + 1, sum.1 + stored.size);
            Next::Go
        })
        .await?;
    let bar = bar::of(size.1);
    let tally = check_all(&store, &bar, repair).await?;
    bar.finish_and_clear();
    if repair && tally.bad > 0 {
        store.announce_change().await?;
    }
    println!(
        "{} objects of {} checked, {} bad{}",
        tally.objects,
        ByteSize(tally.bytes).display().iec(),
        tally.bad,
        match (repair && tally.bad > 0, config.offline.enabled) {
            (true, false) => ", dropped; they are fetched again when asked for",
            (true, true) => ", dropped; import them anew",
            (false, _) => "",
        }
    );
    Ok(if tally.bad > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Reads objects side by side while the walk goes on; neither list of objects nor object is ever whole in memory.
async fn check_all(store: &Store, bar: &ProgressBar, repair: bool) -> Result<Tally> {
    let (found, mut objects) = mpsc::channel::<Stored>(AT_ONCE);
    let walker = store.clone();
    let walk = tokio::spawn(async move {
        let show = |found: &mut mpsc::Sender<Stored>, stored| match found.blocking_send(stored) {
            Ok(()) => Next::Go,
            Err(_) => Next::Stop,
        };
        walker.each(found, show).await.map(drop)
    });
    let (mut tally, mut checks) = (Tally::default(), JoinSet::new());
    loop {
        let more = checks.len() < AT_ONCE;
        tokio::select! {
            Some(stored) = objects.recv(), if more => {
                let store = store.clone();
                checks.spawn(async move {
                    let verdict = store.verify(&stored).await;
                    (stored, verdict)
                });
            }
            Some(checked) = checks.join_next() => {
                let (stored, verdict) = checked.map_err(|e| Error::internal(format!("a check ended early: {e}")))?;
                note(store, &mut tally, bar, &stored, verdict?, repair).await?;
            }
            else => break,
        }
    }
    walk.await
        .map_err(|e| Error::internal(format!("the walk ended early: {e}")))??;
    Ok(tally)
}

async fn note(
    store: &Store,
    tally: &mut Tally,
    bar: &ProgressBar,
    stored: &Stored,
    verdict: Verdict,
    repair: bool,
) -> Result<()> {
    bar.inc(stored.size);
    tally.objects += 1;
    tally.bytes += stored.size;
    if let Verdict::Bad(why) = verdict {
        tally.bad += 1;
        bar.suspend(|| println!("bad  {}: {why}", stored.path));
        if repair {
            store.remove(stored).await?;
        }
    }
    Ok(())
}
