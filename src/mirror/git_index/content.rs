//! [`StateContent`]: one state of an index, whatever its config.json says.

use std::{fs::File, sync::Arc};

use super::{
    folder::{Difference, GitFolder},
    object_log::ObjectLog,
};
use crate::error::Result;

/// So many states follow one on the other. A clone carries all of them; then a new first one is made, which has no parent.
pub(super) const IN_A_CHAIN: u64 = 64;
/// A chain ends too when what has changed in it is as much as all there is; but for small indexes not before so many objects.
const CHANGES_AT_LEAST: u64 = 1_000;

/// And when its log has grown by so many bytes, or by as many as it had.
const GROWTH_AT_LEAST: u64 = 64 << 20;

/// One state of an index.
pub(super) struct StateContent {
    /// How many there were before.
    pub(super) serial: u64,
    /// The serial of the first of its chain, which is in one log.
    pub(super) chain: u64,
    /// How many objects have changed since then.
    changed: u64,
    /// How many bytes the log had then.
    log_length: u64,
    /// Everything but config.json.
    pub(super) top: Arc<GitFolder>,
    /// How many index files there are.
    pub(super) files: usize,
    /// When the last of them changed, in seconds since 1970.
    pub(super) modified: u64,
    /// Where its objects are. One chain is in one log.
    pub(super) log: Arc<ObjectLog>,
}

impl StateContent {
    /// How many objects have changed since the first of its chain.
    pub(super) fn changed(&self) -> u64 {
        self.changed
    }

    /// The state with these files after `before`; a new chain goes into a new log made by `scratch` when most of the old one isn't of use any more. Blocks.
    pub(super) fn after(
        before: Option<&Arc<Self>>,
        (top, files, modified): (Arc<GitFolder>, usize, u64),
        log: Arc<ObjectLog>,
        scratch: impl FnOnce() -> Result<File>,
    ) -> Self {
        let Some(before) = before else {
            return Self {
                serial: 0,
                chain: 0,
                changed: 0,
                log_length: log.length(),
                top,
                files,
                modified,
                log,
            };
        };
        let serial = before.serial + 1;
        let changed = before.changed + count(Difference::of(&top, Some(&before.top)));
        let limit = CHANGES_AT_LEAST.max(before.files as u64);
        let growth = log.length().saturating_sub(before.log_length);
        let goes_on = serial - before.chain < IN_A_CHAIN
            && changed <= limit
            && growth <= GROWTH_AT_LEAST.max(before.log_length);
        let log = match goes_on {
            true => log,
            // Without room for a new one the old one is gone on with.
            false => tidied(&log, &top, scratch).unwrap_or(log),
        };
        Self {
            serial,
            chain: if goes_on { before.chain } else { serial },
            changed: if goes_on { changed } else { 0 },
            log_length: match goes_on {
                true => before.log_length,
                false => log.length(),
            },
            top,
            files,
            modified: modified.max(before.modified),
            log,
        }
    }
}

pub(super) fn count(difference: Difference) -> u64 {
    difference.count() as u64
}

/// The log, or a new one with only what is below `top` if that is less than half of it, by objects or by bytes. Blocks.
fn tidied(
    log: &Arc<ObjectLog>,
    top: &Arc<GitFolder>,
    scratch: impl FnOnce() -> Result<File>,
) -> Result<Arc<ObjectLog>> {
    let (mut of_use, mut bytes_of_use) = (0, 0);
    for id in Difference::of(top, None) {
        of_use += 1;
        bytes_of_use += u64::from(log.place(&id)?.length);
    }
    let is_small = (log.objects() as u64) < 2 * of_use + CHANGES_AT_LEAST;
    if is_small && log.length() < 2 * bytes_of_use + GROWTH_AT_LEAST {
        return Ok(log.clone());
    }
    let new = ObjectLog::new(scratch()?);
    let mut entry = Vec::new();
    for id in Difference::of(top, None) {
        let place = log.place(&id)?;
        entry.clear();
        log.copy(place.offset, place.length as usize, &mut entry)?;
        new.append([(id, &entry[..])])?;
    }
    Ok(Arc::new(new))
}
