//! Tiers as what jobs need: all of it is the bucket's, which has everything.

use std::{collections::BTreeSet, fs::File, io};

use super::{backend::Tiers, tier::Tier};
use crate::{
    error::Result,
    store::{
        backend::{Bulk, IncomingBytes, ObjectInfo, OpenObject, Opening},
        sight::{Links, Next, Sight},
    },
};

impl Bulk for Tiers {
    fn walk(&self, links: Links, visit: &mut dyn FnMut(Sight) -> Next) {
        self.bucket.walk(links, visit);
    }

    fn names(&self, folder: &str) -> Result<BTreeSet<String>> {
        self.bucket.names(folder)
    }

    fn info(&self, path: &str) -> Result<Option<ObjectInfo>> {
        self.bucket.info(path)
    }

    fn open(&self, path: &str) -> io::Result<Opening> {
        Ok(match self.bucket.open(path)? {
            Opening::Object(object) => Opening::Object(OpenObject {
                version: Tier::Bucket.mark(&object.version),
                ..object
            }),
            other @ (Opening::Odd(_) | Opening::Nothing) => other,
        })
    }

    fn incoming(&self) -> Result<Box<dyn IncomingBytes>> {
        self.bucket.incoming()
    }

    fn flush(&self) -> Result<()> {
        self.bucket.flush()
    }

    fn scratch(&self) -> Result<File> {
        self.bucket.scratch()
    }

    fn locate(&self, path: &str) -> String {
        self.bucket.locate(path)
    }
}
