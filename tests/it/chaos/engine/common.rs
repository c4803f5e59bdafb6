//! What several mirrors have in common: a bucket, and a way to it that is as bad as upstream's.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
    time::Duration,
};

use bytes::Bytes;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{World, process::Settings, reign::Reign, shelf::Shelf};
use crate::support::{Bucket, Relay};

const PREFIX: &str = "mirror";
/// How often somebody looks what is in the bucket.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub(super) struct Common {
    pub(super) bucket: Bucket,
    pub(super) way: Relay,
    /// What somebody has seen there. Nothing of it may ever be gone: nobody evicts.
    seen: Mutex<BTreeSet<String>>,
}

impl Common {
    pub(super) async fn new() -> Common {
        let bucket = Bucket::new().await;
        Common {
            way: bucket.relay().await,
            bucket,
            seen: Mutex::default(),
        }
    }

    /// Lines of `[store]`.
    pub(super) fn settings(&self) -> String {
        let bucket = self.bucket.settings_over(&self.way, PREFIX);
        format!("{bucket}stall_timeout = \"500ms\"\n")
    }

    /// The paths of all objects, as they are in a folder.
    async fn paths(&self) -> BTreeSet<String> {
        let keys = self.bucket.stored().await.into_iter();
        let below =
            keys.filter_map(|key| Some(key.strip_prefix(PREFIX)?.strip_prefix('/')?.to_owned()));
        // The bucket's own marks.
        below.filter(|path| !path.starts_with('.')).collect()
    }

    fn see(&self, paths: BTreeSet<String>) {
        self.seen.lock().expect("what was seen").extend(paths);
    }
}

impl World {
    /// Looks again and again what is in the bucket.
    pub(super) async fn watch_bucket(&self, end: CancellationToken) {
        let Some(common) = &self.common else { return };
        while !end.is_cancelled() {
            common.see(common.paths().await);
            sleep(LOOK_EVERY).await;
        }
    }
}

impl Reign {
    /// In the end: what has ever been in the bucket is there, whole, and is served by a mirror that has nothing else.
    pub(super) async fn settle_on_bucket(&mut self) {
        let world = self.world.clone();
        let Some(common) = &world.common else { return };
        let paths = common.paths().await;
        for path in common
            .seen
            .lock()
            .expect("what was seen")
            .difference(&paths)
        {
            world
                .figures
                .lost(format!("{path} was in the bucket and is gone"));
        }
        let mut objects = BTreeMap::<String, Bytes>::new();
        for path in paths {
            let content = common.bucket.get(&format!("{PREFIX}/{path}")).await;
            objects.insert(path, content);
        }
        let shelf = Shelf::of(&objects);
        for damage in &shelf.damaged {
            world.figures.violation(format!("in the bucket, {damage}"));
        }
        self.judge_stored(&shelf).await;
        let stored = shelf.crates.len();
        self.shelf = shelf.into();
        world.upstream.stop().await;
        let settings = Settings::some(false, &mut self.rng);
        let running = self.program.start(settings).await;
        self.ask_for_stored(running.addr, usize::MAX).await;
        running.kill().await;
        world.figures.committed(stored);
    }
}
