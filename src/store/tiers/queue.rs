//! [`Queue`]: what is still to be written into the bucket: bounded, each object once, in the order in which they came.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::future::{BoxFuture, ready};
use tokio::time::Instant;

use crate::{
    error::Result,
    store::{blocks::Blocks, spool::SpooledBlocks},
};

/// So many objects may wait. One that is in the folder takes only what its path takes.
const MOST: usize = 20_000;
/// So many bytes may wait in memory, because there is no folder or it fails. They are leased by whoever made them.
const MEMORY: u64 = 16 << 20;
/// So many files may wait outside of the folder.
const FILES: usize = 64;
/// An object that has failed so often while others were written isn't tried again.
const FAILURES: u32 = 5;
/// How long the bucket is left alone after a failed write; doubled with each that fails, up to the second.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Where an object's bytes are until they are in the bucket. Cheap to clone.
#[derive(Clone)]
pub(super) enum QueuedBytes {
    /// In the folder, from which they are read when their turn comes: what is there then is the newest.
    Folder,
    Memory(Pieces),
    File {
        blocks: Arc<SpooledBlocks>,
        length: u64,
    },
}

/// An object in memory.
#[derive(Clone)]
pub(super) struct Pieces(pub(super) Vec<Bytes>);

impl Pieces {
    pub(super) fn length(&self) -> u64 {
        self.0.iter().map(|piece| piece.len() as u64).sum()
    }
}

impl Blocks for Pieces {
    fn read(&self, offset: u64, most: usize) -> BoxFuture<'_, Result<Bytes>> {
        let (mut skip, mut block) = (offset, BytesMut::new());
        for piece in &self.0 {
            let start = skip.min(piece.len() as u64);
            skip -= start;
            let rest = &piece[start as usize..];
            let part = rest.len().min(most - block.len());
            block.extend_from_slice(&rest[..part]);
        }
        Box::pin(ready(Ok(block.freeze())))
    }
}

/// An object that waits.
pub(super) struct Waiting {
    pub(super) path: String,
    pub(super) held: QueuedBytes,
    failures: u32,
    /// How many writes had succeeded when it failed last.
    successes: u64,
}

/// What there is to do.
pub(super) enum Work {
    Write(Waiting),
    /// Nothing before that time.
    Pause(Instant),
    /// Nothing.
    None,
}

/// What becomes of an object that was to be written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is tried again.
    Waits,
    /// It is given up.
    Lost,
}

/// What waits.
#[derive(Default)]
pub(super) struct Queue {
    order: VecDeque<String>,
    waiting: HashMap<String, Waiting>,
    under_way: HashMap<String, QueuedBytes>,
    memory: u64,
    files: usize,
    successes: u64,
    pause: Option<(Instant, Duration)>,
}

impl QueuedBytes {
    fn memory(&self) -> u64 {
        match self {
            Self::Memory(pieces) => pieces.length(),
            Self::Folder | Self::File { .. } => 0,
        }
    }

    /// How many bytes it has; none of what is in the folder.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Folder => 0,
            Self::Memory(pieces) => pieces.length(),
            Self::File { length, .. } => *length,
        }
    }

    fn files(&self) -> usize {
        match self {
            Self::File { .. } => 1,
            Self::Folder | Self::Memory(_) => 0,
        }
    }
}

impl Queue {
    /// Has an object written; it takes the place of what waits under the same path.
    pub(super) fn add(&mut self, path: &str, held: QueuedBytes) -> Fate {
        let waiting = Waiting {
            path: path.to_owned(),
            held,
            failures: 0,
            successes: self.successes,
        };
        self.put(waiting, Place::End)
    }

    fn put(&mut self, waiting: Waiting, place: Place) -> Fate {
        let path = waiting.path.clone();
        let before = self.take_out(&path);
        let fits = self.waiting.len() < MOST
            && self.memory + waiting.held.memory() <= MEMORY
            && self.files + waiting.held.files() <= FILES;
        if !fits {
            if before {
                self.order.retain(|other| *other != path);
            }
            return Fate::Lost;
        }
        self.memory += waiting.held.memory();
        self.files += waiting.held.files();
        self.waiting.insert(path.clone(), waiting);
        match (before, place) {
            (true, _) => {}
            (false, Place::End) => self.order.push_back(path),
            (false, Place::Front) => self.order.push_front(path),
        }
        Fate::Waits
    }

    /// Takes out what waits under a path; its place in the order stays.
    fn take_out(&mut self, path: &str) -> bool {
        match self.waiting.remove(path) {
            Some(before) => {
                self.let_go(&before.held);
                true
            }
            None => false,
        }
    }

    fn let_go(&mut self, held: &QueuedBytes) {
        self.memory -= held.memory();
        self.files -= held.files();
    }

    /// What is to be written next; of one path, one write is under way at a time.
    pub(super) fn next(&mut self, now: Instant) -> Work {
        if let Some((until, _)) = self.pause
            && now < until
            && !self.waiting.is_empty()
        {
            return Work::Pause(until);
        }
        let free = self
            .order
            .iter()
            .position(|path| !self.under_way.contains_key(path));
        let Some(path) = free.and_then(|place| self.order.remove(place)) else {
            return Work::None;
        };
        let Some(waiting) = self.waiting.remove(&path) else {
            return Work::None;
        };
        self.let_go(&waiting.held);
        self.under_way.insert(path, waiting.held.clone());
        Work::Write(waiting)
    }

    /// A write has come to its end.
    pub(super) fn written(&mut self, path: &str) {
        self.under_way.remove(path);
        self.successes += 1;
        self.pause = None;
    }

    /// A write has failed, or wasn't tried.
    pub(super) fn failed(&mut self, mut waiting: Waiting, now: Instant) -> Fate {
        self.under_way.remove(&waiting.path);
        let length = match self.pause {
            Some((until, length)) if now >= until => (length * 2).min(LONGEST_PAUSE),
            Some((_, length)) => length,
            None => FIRST_PAUSE,
        };
        self.pause = Some((now + length, length));
        if self.waiting.contains_key(&waiting.path) {
            // Something newer has come meanwhile.
            return Fate::Waits;
        }
        if self.successes > waiting.successes {
            waiting.successes = self.successes;
            waiting.failures += 1;
        }
        match waiting.failures < FAILURES {
            true => self.put(waiting, Place::Front),
            false => Fate::Lost,
        }
    }

    /// The newest bytes under a path that aren't in the bucket yet.
    pub(super) fn held(&self, path: &str) -> Option<QueuedBytes> {
        let waiting = self.waiting.get(path).map(|waiting| &waiting.held);
        waiting.or_else(|| self.under_way.get(path)).cloned()
    }

    /// The paths of all that is in the folder.
    pub(super) fn in_folder(&self) -> Vec<String> {
        let waiting = self.waiting.iter().map(|(path, w)| (path, &w.held));
        let all = waiting.chain(&self.under_way);
        let in_folder = all.filter(|(_, held)| matches!(held, QueuedBytes::Folder));
        in_folder.map(|(path, _)| path.clone()).collect()
    }

    /// How many objects wait, with those that are under way.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.under_way.len()
    }

    /// Whether writing was given up for a while.
    pub(super) fn is_paused(&self, now: Instant) -> bool {
        self.pause.is_some_and(|(until, _)| now < until)
    }
}

/// Where in the order something goes.
enum Place {
    Front,
    End,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(queue: &mut Queue, now: Instant) -> Option<Waiting> {
        match queue.next(now) {
            Work::Write(waiting) => Some(waiting),
            Work::Pause(_) | Work::None => None,
        }
    }

    #[tokio::test]
    async fn of_one_object_one_write_is_under_way_and_the_newest_comes_last() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for _ in 0..3 {
            assert_eq!(queue.add("a", QueuedBytes::Folder), Fate::Waits);
        }
        let first = next(&mut queue, now).expect("a");
        queue.add("a", QueuedBytes::Folder);
        assert!(next(&mut queue, now).is_none(), "it is under way");
        queue.written(&first.path);
        assert_eq!(next(&mut queue, now).map(|w| w.path).as_deref(), Some("a"));
        queue.written("a");
        assert_eq!(queue.len(), 0);
    }

    #[tokio::test]
    async fn what_may_wait_is_bounded_and_what_is_too_much_is_told() {
        let mut queue = Queue::default();
        let half = || {
            let bytes = Bytes::from(vec![0; MEMORY as usize / 2]);
            QueuedBytes::Memory(Pieces(vec![bytes]))
        };
        assert_eq!(queue.add("a", half()), Fate::Waits);
        assert_eq!(queue.add("b", half()), Fate::Waits);
        assert_eq!(queue.add("b", half()), Fate::Waits, "in its own place");
        assert_eq!(queue.add("c", half()), Fate::Lost);
        for n in queue.len()..MOST {
            assert_eq!(queue.add(&n.to_string(), QueuedBytes::Folder), Fate::Waits);
        }
        assert_eq!(queue.add("d", QueuedBytes::Folder), Fate::Lost);
        let now = Instant::now();
        while let Some(waiting) = next(&mut queue, now) {
            queue.written(&waiting.path);
        }
        assert_eq!((queue.len(), queue.memory), (0, 0));
    }

    #[tokio::test]
    async fn a_bucket_that_fails_is_left_alone_ever_longer_and_nothing_is_lost() {
        let (mut queue, mut now) = (Queue::default(), Instant::now());
        queue.add("a", QueuedBytes::Folder);
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            let waiting = next(&mut queue, now).expect("due");
            assert_eq!(queue.failed(waiting, now), Fate::Waits);
            let pause = Duration::from_secs(pause);
            assert!(next(&mut queue, now + pause - Duration::from_millis(1)).is_none());
            assert!(queue.is_paused(now));
            now += pause;
        }
        let waiting = next(&mut queue, now).expect("due");
        queue.written(&waiting.path);
        assert!(!queue.is_paused(now));
    }

    /// One object that the bucket doesn't take would be tried for ever.
    #[tokio::test]
    async fn one_that_fails_while_others_are_written_is_given_up() {
        let (mut queue, mut now) = (Queue::default(), Instant::now());
        queue.add("bad", QueuedBytes::Folder);
        for tries in 1..=FAILURES {
            queue.add("good", QueuedBytes::Folder);
            // The bad one stands in front.
            let bad = next(&mut queue, now).expect("due");
            let good = next(&mut queue, now).expect("due");
            queue.written(&good.path);
            let expected = match tries < FAILURES {
                true => Fate::Waits,
                false => Fate::Lost,
            };
            assert_eq!(queue.failed(bad, now), expected, "{tries}");
            now += LONGEST_PAUSE;
        }
        assert_eq!(queue.len(), 0);
    }
}
