//! `evict`: the store made smaller by hand, also beside a running mirror.

use std::{collections::HashSet, process::ExitCode, time::SystemTime};

use bytesize::ByteSize;

use super::{interrupt, say::Lines};
use crate::{
    app,
    config::{self, Flags},
    error::{Error, Result},
    mirror::{Target, evict},
};

/// Removes what was used least recently until at most `to` (`store.max_size` if not said) is left, and what is older than `store.max_age`; of a bucket, what was
/// written longest ago until at most `to` is left. Exit code 1
/// when a part of the store couldn't be counted, or something couldn't be removed.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when the settings or the store can't be used.
pub async fn run(flags: &Flags, to: Option<&str>) -> Result<ExitCode> {
    let config = config::load(flags)?;
    let size = match to {
        Some(text) => text.parse::<ByteSize>().map(|size| size.0).map_err(|_| {
            Error::config(format!(
                "--to {text:?} is not a size; allowed is one such as 10GiB"
            ))
        })?,
        None if config.store.bucket.is_some() => {
            return Err(Error::config(
                "`store.max_size` and `store.max_age` are of the folder in front of `store.bucket`, which a mirror keeps within them by itself; say with --to how small the bucket is to be, or give it a lifecycle rule, which is the way to keep it within an age",
            ));
        }
        None => config.store.max_size.get(),
    };
    // When something in a bucket was used last isn't known, only when it was written.
    let age = config.store.max_age.map(|age| *age);
    let age = age.filter(|_| config.store.bucket.is_none());
    let oldest = age.and_then(|age| SystemTime::now().checked_sub(age));
    let store = app::existing_store(&config).await?;
    let evicted = store.clone();
    let evicting = async move { evict(&evicted, Target { size, oldest }, HashSet::new()).await };
    let Some(done) = interrupt::until_told(evicting).await? else {
        // It may have removed something.
        store.announce_change().await?;
        return Ok(interrupt::told(
            "the store may still be larger than it was to be; run it again",
        ));
    };
    if done.objects > 0 {
        store.announce_change().await?;
    }
    let mut lines = Lines::default();
    for trouble in &done.troubles.first {
        lines.say(format_args!("failed  {trouble}"));
    }
    lines.say(format_args!(
        "{} objects of {} removed, {} left{}",
        done.objects,
        ByteSize(done.bytes).display().iec(),
        ByteSize(done.left).display().iec(),
        match done.troubles.count {
            0 => String::new(),
            count => format!("; {count} files or folders couldn't be counted or removed"),
        }
    ));
    Ok(lines.end(match done.troubles.count {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }))
}
