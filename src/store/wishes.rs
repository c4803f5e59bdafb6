//! Wishes: what clients asked an offline mirror for in vain, one small file each, so that they outlive restarts and two mirrors may share a folder.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsStr,
    fs,
    io::{self, Read, Write},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use super::{
    Backend, Store, Touch, blocking, failed,
    fs::{Folder, set_readable},
    place::{self, Place},
};
use crate::{
    domain::{CrateVersion, IndexKey, Wish},
    error::Result,
};

/// Where they are; no registry can be called so.
const FOLDER: &str = ".wanted";
/// So many are kept: a client may ask for anything.
const MOST: usize = 10_000;
/// A wish noted so lately isn't noted again.
const NOTED_FOR: Duration = Duration::from_secs(60);
/// A wish that nobody had for so long is forgotten: it was a typing error, or the project has been given up.
const KEPT_FOR: Duration = Duration::from_secs(90 * 24 * 3600);

/// What was noted lately, so that a build that fails again and again costs the disk nothing.
#[derive(Default)]
pub(super) struct Lately(Mutex<HashMap<String, (Wish, Instant)>>);

/// A wish as it was found.
struct Noted {
    folded: String,
    wish: Wish,
    /// When it was noted last.
    at: SystemTime,
}

impl Lately {
    /// Whether `wish` is to be noted now; if so, it counts as done. Of more than can be remembered, those noted longest ago make room.
    fn is_due(&self, folded: &str, wish: Wish, now: Instant) -> bool {
        let is_late = |at: &Instant| now.duration_since(*at) < NOTED_FOR;
        let mut noted = self.lock();
        if noted.len() >= MOST && !noted.contains_key(folded) {
            noted.retain(|_, (_, at)| is_late(at));
        }
        let known = noted.get(folded);
        let due = known.map_or(noted.len() < MOST, |(_, at)| !is_late(at));
        if due {
            noted.insert(folded.to_owned(), (wish, now));
        }
        due
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Wish, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Notes that a client asked for something in vain, at `now`. A wish in another spelling is the same; beyond ten thousand no more are taken.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when it can't be written down.
    pub async fn note_wish(&self, wish: Wish, now: SystemTime) -> Result<()> {
        let folded = wish.folded();
        if !self.lately.is_due(&folded, wish, Instant::now()) {
            return Ok(());
        }
        match &self.backend {
            // What was noted lately is all there is.
            Backend::Memory(_) => Ok(()),
            Backend::Fs(folder) => {
                let folder = folder.clone();
                let text = format!("{}:{}", wish.registry, in_registry(&wish));
                let path = format!("{FOLDER}/{folded}");
                let at = folder.root().join(&path);
                let note = move |_: &_| {
                    write(&folder, &folded, &text, now).map_err(|e| failed("writing", &at, &e))
                };
                self.disk.run(Touch::Save, &path, note).await
            }
        }
    }

    /// What was asked for in vain and still isn't here, in the order of its text. What has come meanwhile is forgotten, and what nobody has asked for
    /// again in the ninety days before `now`; in a store that can't be written to, it is only left out.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be read.
    pub async fn wishes(&self, now: SystemTime) -> Result<Vec<Wish>> {
        let mut open = BTreeMap::new();
        for Noted { folded, wish, at } in self.noted().await? {
            let age = now.duration_since(at).unwrap_or_default();
            match age > KEPT_FOR || self.has(&wish).await? {
                true => {
                    let _ = self.forget(folded).await;
                }
                false => {
                    open.insert(wish.to_string(), wish);
                }
            }
        }
        Ok(open.into_values().collect())
    }

    /// Forgets these; who asks for them again has them noted again.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be written.
    pub async fn forget_wishes(&self, wishes: &[Wish]) -> Result<()> {
        for wish in wishes {
            self.forget(wish.folded()).await?;
        }
        Ok(())
    }

    async fn noted(&self) -> Result<Vec<Noted>> {
        match &self.backend {
            Backend::Memory(_) => {
                let noted = self.lately.lock();
                let noted = noted.iter().map(|(folded, (wish, at))| Noted {
                    folded: folded.clone(),
                    wish: *wish,
                    at: SystemTime::now() - at.elapsed(),
                });
                Ok(noted.collect())
            }
            Backend::Fs(folder) => {
                let folder = folder.clone();
                blocking(move || read(&folder)).await?
            }
        }
    }

    /// Whether what was wished for is here, under whichever spelling: cargo tries them all, and those that aren't the registry's never come.
    async fn has(&self, wish: &Wish) -> Result<bool> {
        for name in std::iter::once(wish.name).chain(wish.name.spellings()) {
            let key = IndexKey::new(wish.registry, name);
            let here = match &wish.version {
                None => self.has_index(&key).await?,
                Some(version) => self.has_version(&key, version).await?,
            };
            if here {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn has_version(&self, key: &IndexKey, version: &CrateVersion) -> Result<bool> {
        let stored = self.crates_of(key).await?;
        let wanted = version.as_str();
        // Paths are in lower case, and with them what keys read from there say.
        let is_it = |stored: &str| stored.eq_ignore_ascii_case(wanted);
        Ok(stored.iter().any(|key| is_it(key.id.version.as_str())))
    }

    async fn forget(&self, folded: String) -> Result<()> {
        self.lately.lock().remove(&folded);
        if let Backend::Fs(folder) = &self.backend {
            let (folder, path) = (folder.clone(), format!("{FOLDER}/{folded}"));
            let at = path.clone();
            let remove = move |_: &_| folder.remove(&at);
            return self.disk.run(Touch::Remove, &path, remove).await;
        }
        Ok(())
    }
}

/// The wish without its registry: files name every registry, crates.io too, so that which one is the default doesn't matter.
fn in_registry(wish: &Wish) -> String {
    match &wish.version {
        Some(version) => format!("{}@{version}", wish.name),
        None => wish.name.to_string(),
    }
}

/// Writes the wish down, or marks it as still wished for if it is written down.
fn write(folder: &Arc<Folder>, folded: &str, text: &str, now: SystemTime) -> io::Result<()> {
    let wanted = folder.root().join(FOLDER);
    match place::open(&wanted.join(folded))? {
        Place::File(opened) => return opened.file.set_modified(now),
        Place::Odd(odd) => return Err(odd.error()),
        Place::Empty => {}
    }
    fs::create_dir_all(&wanted)?;
    if fs::read_dir(&wanted)?.count() >= MOST {
        return Ok(());
    }
    let mut file = folder.temporary()?;
    file.write_all(text.as_bytes())?;
    set_readable(&file)?;
    file.as_file().set_modified(now)?;
    match file.persist_noclobber(wanted.join(folded)) {
        Err(e) if e.error.kind() != io::ErrorKind::AlreadyExists => Err(e.error),
        _ => Ok(()),
    }
}

fn read(folder: &Arc<Folder>) -> Result<Vec<Noted>> {
    let wanted = folder.root().join(FOLDER);
    let unread = |path: &Path, e: &io::Error| failed("reading", path, e);
    let entries = match fs::read_dir(&wanted) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(unread(&wanted, &e)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| unread(&wanted, &e))?.path();
        found.extend(read_one(&path).map_err(|e| unread(&path, &e))?);
    }
    Ok(found)
}

/// The wish in a file; what isn't ours, or has been forgotten meanwhile, is none.
fn read_one(path: &Path) -> io::Result<Option<Noted>> {
    let name = path.file_name().and_then(OsStr::to_str);
    let Some(folded) = name.filter(|name| Wish::parse(name).is_some()) else {
        return Ok(None);
    };
    let opened = match place::open(path)? {
        Place::File(opened) => opened,
        Place::Odd(odd) => return Err(odd.error()),
        Place::Empty => return Ok(None),
    };
    let at = opened.meta.modified()?;
    let mut text = String::new();
    // No wish is longer.
    match opened.file.take(1 << 10).read_to_string(&mut text) {
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::InvalidData => return Ok(None),
        Err(e) => return Err(e),
    }
    let wish = Wish::parse(&text).filter(|wish| wish.folded() == folded);
    let folded = folded.to_owned();
    Ok(wish.map(|wish| Noted { folded, wish, at }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::RegistryName, metrics::Metrics};

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn wish(text: &str) -> Wish {
        Wish::parse(text).expect(text)
    }

    /// One crawler must not keep the mirror from noting what builds lack, until it is started again.
    #[test]
    fn what_was_noted_long_ago_makes_room() {
        let (lately, start) = (Lately::default(), Instant::now());
        let due = |n: usize, at| {
            let text = format!("a{n}");
            lately.is_due(&text, wish(&text), at)
        };
        assert!((0..MOST).all(|n| due(n, start)));
        assert!(!due(MOST, start), "no more than that at once");
        assert!(due(MOST, start + NOTED_FOR));
        assert!(!due(MOST, start + NOTED_FOR), "just noted");
    }

    #[tokio::test]
    async fn a_wish_is_kept_as_long_as_somebody_has_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let now = SystemTime::now();
        let open = || Store::open(folder.path(), false, Arc::new(Metrics::new()), now);
        let store = open().expect("a store");
        for text in ["serde", "sedre", "internal:a@1.0.0"] {
            store.note_wish(wish(text), now).await.expect("noted");
        }
        // Another process: this one would remember.
        let later = open().expect("a store");
        let serde = wish("serde");
        later.note_wish(serde, now + 60 * DAY).await.expect("noted");
        assert_eq!(store.wishes(now + 89 * DAY).await.expect("three").len(), 3);
        let left = store.wishes(now + 91 * DAY).await.expect("one");
        assert_eq!(left, [serde]);
        assert_eq!(store.wishes(now).await.expect("one"), [serde], "forgotten");
        store.forget_wishes(&left).await.expect("forgotten");
        assert_eq!(store.wishes(now).await.expect("none"), []);
    }

    #[tokio::test]
    async fn every_wish_can_be_read_by_whoever_may_read_the_folder() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let now = SystemTime::now();
        let store = Store::open(folder.path(), false, Arc::new(Metrics::new()), now);
        let store = store.expect("a store");
        store.note_wish(wish("serde"), now).await.expect("noted");
        let noted = folder.path().join(FOLDER).join("crates-io:serde");
        let mode = fs::metadata(&noted).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        fs::remove_file(&noted).expect("removed");
        fs::create_dir(&noted).expect("something that can't be read");
        let error = store.wishes(now).await.expect_err("said").to_string();
        assert!(error.contains("crates-io:serde"), "{error}");
    }

    #[tokio::test]
    async fn what_is_here_under_another_spelling_is_no_longer_wanted() {
        let store = Store::in_memory(Arc::new(Metrics::new()));
        let now = SystemTime::now();
        for text in ["foo_bar", "foo_bar@1.0.0", "foo_bar@2.0.0"] {
            store.note_wish(wish(text), now).await.expect("noted");
        }
        let id = crate::domain::CrateId::parse("foo-bar", "1.0.0").expect("valid");
        let registry = RegistryName::crates_io();
        let sha256 = crate::domain::Sha256::of(b"");
        let key = crate::domain::CrateKey {
            registry,
            id,
            sha256,
        };
        store.save_crate(&key, "".into()).await.expect("stored");
        let left = store.wishes(now).await.expect("two");
        assert_eq!(left, [wish("foo_bar"), wish("foo_bar@2.0.0")]);
    }
}
