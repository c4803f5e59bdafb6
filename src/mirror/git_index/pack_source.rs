//! [`PackSource`]: a pack, made chunk by chunk as its client takes it.

use std::sync::Arc;

use flate2::Crc;

use super::{
    folder::Difference, object_log::ObjectLog, plan::PackPlan, reading::compressed,
    repository::CONFIG,
};
use crate::{
    error::{Error, Result},
    git::{IndexedObject, ObjectId, ObjectKind, PackTrailer, header},
};

/// A chunk is of about so many bytes.
pub const CHUNK: usize = 64 << 10;

/// A pack that is being sent.
pub struct PackSource {
    plan: PackPlan,
    log: Arc<ObjectLog>,
    /// What comes next.
    step: PackStep,
    trailer: PackTrailer,
    /// How many objects haven't begun.
    left: u64,
    /// What of the log is still to be copied.
    run: Run,
    /// How many bytes have been made.
    made: u64,
    /// Where each object is, where somebody wants to know.
    index: Option<PackIndexing>,
}

/// The objects of a pack so far, and the checksum of the last of them.
#[derive(Default)]
struct PackIndexing {
    objects: Vec<IndexedObject>,
    crc: Crc,
}

impl PackIndexing {
    /// Another object begins there.
    fn begin(&mut self, id: ObjectId, offset: u64) {
        self.end();
        self.objects.push(IndexedObject {
            id,
            offset,
            crc32: 0,
        });
    }

    /// The last one is over.
    fn end(&mut self) {
        if let Some(last) = self.objects.last_mut() {
            last.crc32 = self.crc.sum();
        }
        self.crc.reset();
    }
}

/// Neighbours in the log, which are copied at once.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    offset: u64,
    length: u64,
}

/// What comes next.
enum PackStep {
    Header,
    Commits(usize),
    Roots(usize),
    Config,
    /// The first state's files and folders.
    First(Difference),
    /// What has changed in later ones.
    Later(usize),
    Trailer,
    Nothing,
}

impl PackSource {
    /// The pack of this plan.
    pub fn new(plan: PackPlan) -> Self {
        let log = plan.repository.tip.content.log.clone();
        let log = plan
            .commits
            .last()
            .map_or(log, |last| last.content.log.clone());
        Self {
            left: plan.objects,
            log,
            plan,
            step: PackStep::Header,
            trailer: PackTrailer::default(),
            run: Run::default(),
            made: 0,
            index: None,
        }
    }

    /// The same, noting where each object is.
    #[must_use]
    pub fn indexed(self) -> Self {
        let index = Some(PackIndexing::default());
        Self { index, ..self }
    }

    /// Where each object of the pack is, as far as that was noted, and what the pack ends with. To be asked after its end.
    pub fn index(self) -> (Vec<IndexedObject>, ObjectId) {
        let objects = self.index.map_or_else(Vec::new, |index| index.objects);
        (objects, self.trailer.finish())
    }

    /// The next bytes of it; none after its end. Blocks.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when they can't be read.
    pub fn next_chunk(&mut self) -> Result<Option<Vec<u8>>> {
        let mut chunk = Vec::with_capacity(CHUNK + 1024);
        while chunk.len() < CHUNK {
            let room = CHUNK - chunk.len();
            if self.run.length > 0 {
                self.copy(room, &mut chunk)?;
            } else if !self.step(&mut chunk)? {
                break;
            }
        }
        Ok((!chunk.is_empty()).then_some(chunk))
    }

    /// Copies some of what is to be copied.
    fn copy(&mut self, room: usize, chunk: &mut Vec<u8>) -> Result<()> {
        let Run { offset, length } = self.run;
        let part = usize::try_from(length).unwrap_or(usize::MAX).min(room);
        let start = chunk.len();
        self.log.copy(offset, part, chunk)?;
        self.note(&chunk[start..]);
        self.run = Run {
            offset: offset + part as u64,
            length: length - part as u64,
        };
        Ok(())
    }

    /// Takes a step; false at the end.
    fn step(&mut self, chunk: &mut Vec<u8>) -> Result<bool> {
        let plan = &self.plan;
        let (made, next) = match &mut self.step {
            PackStep::Header => {
                let objects = u32::try_from(plan.objects)
                    .map_err(|_| Error::internal("a pack of more objects than it can have"))?;
                let header = header(objects);
                self.trailer.update(&header);
                self.made = header.len() as u64;
                chunk.extend_from_slice(&header);
                self.step = PackStep::Commits(0);
                return Ok(true);
            }
            PackStep::Commits(at) => match plan.commits.get(*at) {
                Some(commit) => (
                    Some((commit.id, compressed(ObjectKind::Commit, &commit.bytes)?)),
                    PackStep::Commits(*at + 1),
                ),
                None => (None, PackStep::Roots(0)),
            },
            PackStep::Roots(at) => match plan.roots.get(*at) {
                Some(commit) => {
                    let config = (CONFIG, plan.repository.config_id);
                    let root = commit.content.top.content(Some(config));
                    let root = compressed(ObjectKind::Tree, &root)?;
                    (Some((commit.root, root)), PackStep::Roots(*at + 1))
                }
                None => (None, PackStep::Config),
            },
            PackStep::Config => {
                let config = &plan.repository.config;
                let config = match plan.with_config {
                    true => Some((
                        plan.repository.config_id,
                        compressed(ObjectKind::Blob, config)?,
                    )),
                    false => None,
                };
                (config, PackStep::First(plan.first()))
            }
            PackStep::First(first) => match first.next() {
                Some(id) => return self.begin(&id),
                None => (None, PackStep::Later(0)),
            },
            PackStep::Later(at) => match plan.later.get(*at) {
                Some(id) => {
                    let id = *id;
                    *at += 1;
                    return self.begin(&id);
                }
                None => (None, PackStep::Trailer),
            },
            PackStep::Trailer => {
                if self.left != 0 {
                    return Err(Error::internal("a pack has fewer objects than it says"));
                }
                if let Some(index) = &mut self.index {
                    index.end();
                }
                chunk.extend_from_slice(self.trailer.clone().finish().as_bytes());
                self.step = PackStep::Nothing;
                return Ok(true);
            }
            PackStep::Nothing => return Ok(false),
        };
        self.step = next;
        if let Some((id, made)) = made {
            self.count(id)?;
            self.note(&made);
            chunk.extend_from_slice(&made);
        }
        Ok(true)
    }

    /// Has an object of the log copied next, and with it those behind it.
    fn begin(&mut self, id: &ObjectId) -> Result<bool> {
        self.count(*id)?;
        let place = self.log.place(id)?;
        self.run = Run {
            offset: place.offset,
            length: u64::from(place.length),
        };
        Ok(true)
    }

    /// An object begins.
    fn count(&mut self, id: ObjectId) -> Result<()> {
        let left = self.left.checked_sub(1);
        self.left = left.ok_or_else(|| Error::internal("a pack has more objects than it says"))?;
        if let Some(index) = &mut self.index {
            index.begin(id, self.made);
        }
        Ok(())
    }

    /// These bytes of an object were made.
    fn note(&mut self, bytes: &[u8]) {
        self.trailer.update(bytes);
        self.made += bytes.len() as u64;
        if let Some(index) = &mut self.index {
            index.crc.update(bytes);
        }
    }
}
