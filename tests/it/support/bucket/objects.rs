//! What the server in this process keeps: buckets of objects, and uploads whose parts are still coming.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard},
    time::SystemTime,
};

use bytes::Bytes;

use crate::support::sha256;

/// A list has no more entries than this, so that a client has to ask for the next ones.
const PAGE: usize = 50;

/// An object, as of one write.
#[derive(Clone)]
pub(super) struct Object {
    pub(super) bytes: Bytes,
    pub(super) etag: String,
    pub(super) modified: SystemTime,
}

impl Object {
    pub(super) fn new(bytes: Bytes) -> Object {
        Object {
            etag: sha256(&bytes)[..32].to_owned(),
            bytes,
            modified: SystemTime::now(),
        }
    }
}

/// An upload whose parts are coming, by their numbers.
struct Upload {
    bucket: String,
    key: String,
    parts: BTreeMap<i32, Bytes>,
}

/// A piece of a list, in order.
pub(super) enum Listed {
    Object(String, Object),
    /// All objects whose keys begin with it.
    Prefix(String),
}

#[derive(Default)]
pub(super) struct Objects {
    buckets: Mutex<HashMap<String, BTreeMap<String, Object>>>,
    uploads: Mutex<HashMap<String, Upload>>,
}

impl Objects {
    pub(super) fn make_bucket(&self, name: &str) {
        self.buckets().entry(name.to_owned()).or_default();
    }

    pub(super) fn has_bucket(&self, name: &str) -> bool {
        self.buckets().contains_key(name)
    }

    /// The object; none when there isn't one, or no such bucket.
    pub(super) fn get(&self, bucket: &str, key: &str) -> Option<Object> {
        self.buckets().get(bucket)?.get(key).cloned()
    }

    /// Replaces whatever is there. None when there is no such bucket.
    pub(super) fn put(&self, bucket: &str, key: &str, object: Object) -> Option<()> {
        let mut buckets = self.buckets();
        buckets.get_mut(bucket)?.insert(key.to_owned(), object);
        Some(())
    }

    pub(super) fn remove(&self, bucket: &str, key: &str) {
        if let Some(objects) = self.buckets().get_mut(bucket) {
            objects.remove(key);
        }
    }

    /// The next entries after `after`, and whether more follow. None when there is no such bucket.
    pub(super) fn list(
        &self,
        bucket: &str,
        prefix: &str,
        delimiter: Option<&str>,
        after: &str,
        most: usize,
    ) -> Option<(Vec<Listed>, bool)> {
        let buckets = self.buckets();
        let mut found: Vec<Listed> = Vec::new();
        for (key, object) in buckets.get(bucket)?.range(prefix.to_owned()..) {
            let Some(rest) = key.strip_prefix(prefix) else {
                break;
            };
            let end = delimiter.and_then(|delimiter| Some(rest.find(delimiter)? + delimiter.len()));
            let entry = match end {
                Some(end) => Listed::Prefix(key[..prefix.len() + end].to_owned()),
                None => Listed::Object(key.clone(), object.clone()),
            };
            let is_known = found.last().is_some_and(|last| last.name() == entry.name());
            if is_known || entry.name() <= after {
                continue;
            }
            if found.len() == most.min(PAGE) {
                return Some((found, true));
            }
            found.push(entry);
        }
        Some((found, false))
    }

    pub(super) fn begin_upload(&self, bucket: &str, key: &str) -> String {
        let id = format!("{:032x}", fastrand::u128(..));
        let upload = Upload {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            parts: BTreeMap::new(),
        };
        self.uploads().insert(id.clone(), upload);
        id
    }

    /// None when there is no such upload.
    pub(super) fn add_part(&self, upload: &str, number: i32, bytes: Bytes) -> Option<()> {
        self.uploads().get_mut(upload)?.parts.insert(number, bytes);
        Some(())
    }

    /// Makes an object of these parts; none when there is no such upload, or not all of them.
    pub(super) fn complete(&self, upload: &str, numbers: &[i32]) -> Option<Object> {
        let mut uploads = self.uploads();
        let found = uploads.get(upload)?;
        let parts = numbers.iter().map(|number| found.parts.get(number));
        let parts = parts.collect::<Option<Vec<_>>>()?;
        let object = Object::new(parts.iter().flat_map(|part| part.iter()).copied().collect());
        self.put(&found.bucket, &found.key, object.clone())?;
        uploads.remove(upload);
        Some(object)
    }

    pub(super) fn abort(&self, upload: &str) {
        self.uploads().remove(upload);
    }

    /// How many uploads were begun and not ended.
    pub(super) fn open_uploads(&self) -> usize {
        self.uploads().len()
    }

    fn buckets(&self) -> MutexGuard<'_, HashMap<String, BTreeMap<String, Object>>> {
        self.buckets.lock().expect("the buckets' lock")
    }

    fn uploads(&self) -> MutexGuard<'_, HashMap<String, Upload>> {
        self.uploads.lock().expect("the uploads' lock")
    }
}

impl Listed {
    pub(super) fn name(&self) -> &str {
        match self {
            Listed::Object(name, _) | Listed::Prefix(name) => name,
        }
    }
}
