//! `verify`: everything stored, read and checked.

use std::{fmt::Display, process::ExitCode};

use bytesize::ByteSize;
use indicatif::ProgressBar;
use tokio::{sync::mpsc, task::JoinSet};

use super::{bar, interrupt, say::Lines};
use crate::{
    app,
    config::{self, Flags},
    error::{Error, Result},
    store::{Links, Next, Removal, Sight, Store, Stored, Verification},
};

/// So many objects are read at once, and so many more are known of.
const AT_ONCE: usize = 8;

/// What was found so far.
#[derive(Default)]
struct Tally {
    objects: u64,
    bytes: u64,
    bad: u64,
    dropped: u64,
    unread: u64,
    lines: Lines,
}

/// Whether what is bad is dropped.
#[derive(Clone, Copy)]
enum Repair {
    Yes,
    No,
}

/// Checks every object and names the bad ones, and what can't be read; `repair` drops those that were read and are bad, so that they are fetched again
/// when they are asked for. Exit code 1 when there was anything but good objects.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when the settings or the store can't be used.
pub async fn run(flags: &Flags, repair: bool) -> Result<ExitCode> {
    let config = config::load(flags)?;
    let store = app::existing_store(&config).await?;
    let size = store.each(Links::Followed, 0, |sum: &mut u64, sight| {
        if let Sight::Object(stored) = sight {
            *sum += stored.size;
        }
        Next::Go
    });
    let size = size.await?;
    let repair = match repair {
        true => Repair::Yes,
        false => Repair::No,
    };
    let checked = store.clone();
    let checking = async move {
        let bar = bar::of(size);
        let tally = check_all(&checked, &bar, repair).await;
        bar.finish_and_clear();
        tally
    };
    let Some(mut tally) = interrupt::until_told(checking).await? else {
        if let Repair::Yes = repair {
            // It may have dropped something.
            store.announce_change().await?;
        }
        return Ok(interrupt::told("not everything is checked; run it again"));
    };
    if tally.dropped > 0 {
        store.announce_change().await?;
    }
    let summary = tally.summary(config.offline.enabled);
    tally.lines.say(summary);
    Ok(tally.lines.end(match tally.bad + tally.unread {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }))
}

impl Tally {
    fn say(&mut self, bar: &ProgressBar, line: impl Display) {
        bar.suspend(|| self.lines.say(line));
    }

    fn summary(&self, offline: bool) -> String {
        let Self {
            objects,
            bad,
            dropped,
            unread,
            ..
        } = self;
        let bytes = ByteSize(self.bytes).display().iec();
        let mut said = format!("{objects} objects of {bytes} checked, {bad} bad");
        if *dropped > 0 {
            let again = match offline {
                false => "they are fetched again when asked for",
                true => "import them anew",
            };
            match dropped == bad {
                true => said.push_str(&format!(", dropped; {again}")),
                false => said.push_str(&format!(", {dropped} of them dropped; {again}")),
            }
        }
        if *unread > 0 {
            said.push_str(&format!("; {unread} files or folders can't be read"));
        }
        said
    }
}

/// Reads objects side by side while the walk goes on; neither list of objects nor object is ever whole in memory.
async fn check_all(store: &Store, bar: &ProgressBar, repair: Repair) -> Result<Tally> {
    let (found, mut sights) = mpsc::channel::<Sight>(AT_ONCE);
    let walker = store.clone();
    let walk = tokio::spawn(async move {
        let show = |found: &mut mpsc::Sender<Sight>, sight| match found.blocking_send(sight) {
            Ok(()) => Next::Go,
            Err(_) => Next::Stop,
        };
        walker.each(Links::Followed, found, show).await.map(drop)
    });
    let (mut tally, mut checks) = (Tally::default(), JoinSet::new());
    loop {
        let more = checks.len() < AT_ONCE;
        tokio::select! {
            Some(sight) = sights.recv(), if more => match sight {
                Sight::Object(stored) => {
                    let store = store.clone();
                    checks.spawn(async move {
                        let verification = store.verify(&stored.key).await;
                        (stored, verification)
                    });
                }
                Sight::Odd(path, odd) => {
                    tally.bad += 1;
                    tally.say(bar, format_args!("bad  {path}: it is {odd} and not a file; remove it by hand"));
                }
                Sight::Unread(e) | Sight::Unchanged(e) => {
                    tally.unread += 1;
                    tally.say(bar, format_args!("unread  {e}"));
                }
                // Nothing is removed on the way.
                Sight::Removed(_) => {}
            },
            Some(checked) = checks.join_next() => {
                let (stored, verification) = checked.map_err(|e| Error::ended_early("a check", e))?;
                bar.inc(stored.size);
                note(store, &mut tally, bar, &stored, verification?, repair).await;
            }
            else => break,
        }
    }
    walk.await
        .map_err(|e| Error::ended_early("the walk", e))??;
    Ok(tally)
}

async fn note(
    store: &Store,
    tally: &mut Tally,
    bar: &ProgressBar,
    stored: &Stored,
    verification: Verification,
    repair: Repair,
) {
    let path = &stored.path;
    match verification {
        Verification::Gone => return,
        Verification::Unread(why) => {
            tally.unread += 1;
            return tally.say(bar, format_args!("unread  {path}: {why}"));
        }
        Verification::Odd(odd) => {
            tally.bad += 1;
            return tally.say(
                bar,
                format_args!("bad  {path}: it is {odd} and not a file; remove it by hand"),
            );
        }
        Verification::Good => {}
        Verification::Bad(flaw) => {
            tally.bad += 1;
            tally.say(bar, format_args!("bad  {path}: {}", flaw.why));
            match repair {
                Repair::No => {}
                Repair::Yes => match store.remove_flawed(&stored.key, &flaw).await {
                    Ok(Removal::Removed) => tally.dropped += 1,
                    Ok(Removal::Gone) => {}
                    Ok(Removal::Replaced | Removal::Written) => tally.say(
                        bar,
                        format_args!(
                            "kept  {path}: it has been changed since it was read; run this again"
                        ),
                    ),
                    Err(e) => tally.say(bar, format_args!("kept  {path}: {e}")),
                },
            }
        }
    }
    tally.objects += 1;
    tally.bytes += stored.size;
}
