//! Verifying: a stored object read and checked against its key, and removed only when it was read whole and is wrong.

use std::io::{self, Read};

use super::{
    backend::{OpenObject, Opening},
    blocking::blocking,
    handle::Store,
    odd::Odd,
    record::StoreRecord,
    removal::Removal,
    version::ObjectVersion,
};
use crate::{
    domain::{Hasher, Key, Sha256},
    error::Result,
};

/// What a check of a stored object found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verification {
    /// It is what its key says.
    Good,
    /// It was read to its end and isn't.
    Bad(Flaw),
    /// It couldn't be read to its end, for this reason: nobody knows what it is.
    Unread(String),
    /// There is something in its place that is no file.
    Odd(Odd),
    /// It vanished meanwhile: evicted, or dropped by a running mirror.
    Gone,
}

/// What is wrong with which file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// What is wrong with it.
    pub why: String,
    version: ObjectVersion,
}

impl Store {
    /// Reads the object under `key` and checks it: a file against the checksum in its name, a record against its own header and for being what its
    /// key says. Takes little memory however large the object.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::error::Kind::Internal) when the check panics.
    pub async fn verify(&self, key: &Key) -> Result<Verification> {
        let (key, path, backend) = (*key, key.path(), self.backend.clone());
        blocking(move || match backend.bulk().open(&path) {
            Ok(Opening::Object(object)) => check(&key, object),
            Ok(Opening::Odd(odd)) => Verification::Odd(odd),
            Ok(Opening::Nothing) => Verification::Gone,
            Err(e) => unread(&e),
        })
        .await
    }

    /// Removes the very file in which a check has found a flaw. One that has been put into its place since stays, as does one that has been changed.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage refuses.
    pub async fn remove_flawed(&self, key: &Key, flaw: &Flaw) -> Result<Removal> {
        let removed = self.backend.remove(&key.path(), &flaw.version).await;
        self.note_written(removed)
    }
}

fn check(key: &Key, mut object: OpenObject) -> Verification {
    let flaw = flaw(key, &mut object.bytes, object.size);
    match judged(flaw, object.version) {
        // What somebody writes to while it is read was never read whole.
        Verification::Bad(_) if !object.bytes.is_unchanged() => {
            Verification::Unread("it was changed while it was read".to_owned())
        }
        found @ (Verification::Bad(_)
        | Verification::Good
        | Verification::Unread(_)
        | Verification::Odd(_)
        | Verification::Gone) => found,
    }
}

fn judged(found: io::Result<Option<String>>, version: ObjectVersion) -> Verification {
    match found {
        Ok(None) => Verification::Good,
        Ok(Some(why)) => Verification::Bad(Flaw { why, version }),
        Err(e) => unread(&e),
    }
}

fn unread(error: &io::Error) -> Verification {
    Verification::Unread(error.to_string())
}

/// What is wrong with an object of `size` bytes; nothing if it is what its key says.
fn flaw(key: &Key, bytes: impl Read, size: u64) -> io::Result<Option<String>> {
    match key {
        Key::File(key) => {
            let actual = digest(bytes)?;
            Ok((actual != key.sha256()).then(|| format!("its checksum is {actual}")))
        }
        Key::Record(key) => {
            if let Err(why) = StoreRecord::fits(size) {
                return Ok(Some(why));
            }
            let mut record = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
            let mut bytes = bytes.take(StoreRecord::MAX_SIZE + 1);
            bytes.read_to_end(&mut record)?;
            let decoded = StoreRecord::decode(record.into());
            Ok(decoded.and_then(|record| record.fits_to(key)).err())
        }
    }
}

/// The digest of all that can be read.
pub(crate) fn digest(mut bytes: impl Read) -> io::Result<Sha256> {
    let mut hasher = Hasher::default();
    let mut block = vec![0; 128 << 10];
    loop {
        match bytes.read(&mut block)? {
            0 => return Ok(hasher.finish()),
            length => hasher.update(&block[..length]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf, sync::Arc, time::SystemTime};

    use super::*;
    use crate::{
        domain::{CrateId, CrateKey, RegistryName},
        metrics::Metrics,
        store::FolderSettings,
    };

    /// A disk that fails after a while.
    struct Failing(usize);

    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.0.min(buffer.len());
            self.0 -= length;
            match length {
                0 => Err(io::Error::from_raw_os_error(5)),
                length => Ok(length),
            }
        }
    }

    fn key(content: &str) -> Key {
        Key::from(CrateKey {
            registry: RegistryName::crates_io(),
            id: CrateId::parse("serde", "1.0.0").expect("valid"),
            sha256: Sha256::of(content.as_bytes()),
        })
    }

    /// A store with a bad file under that key, and where that file is.
    fn bad(key: &Key) -> (tempfile::TempDir, Store, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let metrics = Arc::new(Metrics::new());
        let settings = FolderSettings::new(folder.path(), false);
        let store = Store::open(settings, metrics, SystemTime::now());
        let file = folder.path().join(key.path());
        fs::create_dir_all(file.parent().expect("a folder")).expect("folders");
        fs::write(&file, "bad").expect("a file");
        (folder, store.expect("a store"), file)
    }

    async fn flaw_of(store: &Store, key: &Key) -> Flaw {
        match store.verify(key).await.expect("a check") {
            Verification::Bad(flaw) => flaw,
            other => panic!("{other:?}"),
        }
    }

    /// It used to be as bad as a wrong checksum.
    #[test]
    fn what_cannot_be_read_to_its_end_is_unread_and_not_bad() {
        let failed = flaw(&key("content"), Failing(200_000), 300_000);
        assert!(matches!(
            judged(failed, ObjectVersion::new("")),
            Verification::Unread(_)
        ));
    }

    #[tokio::test]
    async fn what_is_bad_is_removed() {
        let key = key("content");
        let (_folder, store, file) = bad(&key);
        let flaw = flaw_of(&store, &key).await;
        let removed = store.remove_flawed(&key, &flaw).await;
        assert_eq!(removed.expect("removed"), Removal::Removed);
        assert!(!file.exists());
    }

    /// A running mirror had put a good one there meanwhile, and that was removed.
    #[tokio::test]
    async fn a_good_file_that_has_come_meanwhile_stays() {
        let key = key("content");
        let (folder, store, file) = bad(&key);
        let flaw = flaw_of(&store, &key).await;
        let good = folder.path().join("good");
        fs::write(&good, "content").expect("a file");
        fs::rename(good, &file).expect("renamed");
        let removed = store.remove_flawed(&key, &flaw).await;
        assert_eq!(removed.expect("looked at"), Removal::Replaced);
        assert_eq!(
            store.verify(&key).await.expect("a check"),
            Verification::Good
        );
    }
}
