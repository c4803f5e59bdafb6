//! The mark of change in a bucket: an object that is replaced, looked at now and then and never on somebody's way.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::requests::Requests;
use crate::{error::Result, store::mark::Mark};

/// The object; no key makes this path, because no registry's name starts with a dot.
pub(super) const MARK: &str = ".changed";
/// A look costs a request; with one so often, an import is seen within 15 s whatever else takes its time.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What was seen of the mark.
pub(super) struct ChangeMarks {
    requests: Requests,
    seen: AtomicU64,
    next_look: Mutex<Option<Instant>>,
}

impl ChangeMarks {
    pub(super) fn new(requests: Requests) -> Arc<Self> {
        Arc::new(Self {
            requests,
            seen: AtomicU64::new(Mark::NONE.number()),
            next_look: Mutex::default(),
        })
    }

    /// The mark as it was seen last. If that is a while ago, somebody looks; only the first look of all is waited for.
    pub(super) async fn current(self: &Arc<Self>) -> Mark {
        match self.due(Instant::now()) {
            Due::Not => {}
            Due::First => self.look().await,
            Due::Again => {
                let this = self.clone();
                tokio::spawn(async move { this.look().await });
            }
        }
        Mark::numbered(self.seen.load(Ordering::Acquire))
    }

    fn due(&self, now: Instant) -> Due {
        let mut next = self
            .next_look
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let due = match *next {
            None => Due::First,
            Some(at) if at <= now => Due::Again,
            Some(_) => return Due::Not,
        };
        *next = Some(now + LOOK_EVERY);
        due
    }

    async fn look(&self) {
        let Ok(found) = self.requests.head(MARK).await else {
            // For all we know nothing has changed.
            return;
        };
        let mark = found.map_or(Mark::NONE, |meta| {
            let mut hasher = DefaultHasher::new();
            (meta.e_tag, meta.last_modified.timestamp_millis()).hash(&mut hasher);
            Mark::of(hasher.finish())
        });
        self.seen.store(mark.number(), Ordering::Release);
    }

    /// Puts a new object into the mark's place.
    pub(super) async fn announce(&self) -> Result<()> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let when = since.unwrap_or_default().as_nanos();
        let text = format!(
            "An import has added to this store; a running mirror looks again. {when} {}\n",
            fastrand::u64(..)
        );
        self.requests.put(MARK, text.into()).await?;
        self.look().await;
        Ok(())
    }
}

/// Whether it is time to look.
enum Due {
    Not,
    First,
    Again,
}
