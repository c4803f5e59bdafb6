//! Wishes: what clients asked an offline mirror for in vain, one small file each, so that they outlive restarts and two mirrors may share a folder.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{Backend, Store, blocking, failed, fs::Folder};
use crate::{
    domain::{IndexKey, Wish},
    error::Result,
};

/// Where they are; no registry can be called so.
const FOLDER: &str = ".wanted";
/// So many are kept: a client may ask for anything.
const MOST: usize = 10_000;
/// A wish noted so lately isn't noted again.
const NOTED_FOR: Duration = Duration::from_secs(60);

/// What was noted lately, so that a build that fails again and again costs the disk nothing.
#[derive(Default)]
pub(super) struct Lately(Mutex<HashMap<String, (Wish, Instant)>>);

impl Lately {
    /// Whether `wish` is to be noted now; if so, it counts as done.
    fn is_due(&self, folded: &str, wish: Wish, now: Instant) -> bool {
        let mut noted = self.lock();
        let known = noted.get(folded);
        let due = known.map_or(noted.len() < MOST, |(_, at)| {
            now.duration_since(*at) >= NOTED_FOR
        });
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
    /// Notes what a client asked for in vain. A wish in another spelling is the same; beyond ten thousand no more are taken.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when it can't be written down.
    pub async fn note_wish(&self, wish: Wish) -> Result<()> {
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
                let path = folder.root().join(FOLDER).join(&folded);
                blocking(move || {
                    write(&folder, &folded, &text).map_err(|e| failed("writing", &path, &e))
                })
                .await?
            }
        }
    }

    /// What was asked for in vain and still isn't here, in the order of its text. What has come meanwhile is forgotten.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be read.
    pub async fn wishes(&self) -> Result<Vec<Wish>> {
        let noted = match &self.backend {
            Backend::Memory(_) => {
                let noted = self.lately.lock();
                noted
                    .iter()
                    .map(|(k, (wish, _))| (k.clone(), *wish))
                    .collect()
            }
            Backend::Fs(folder) => {
                let (folder, path) = (folder.clone(), folder.root().join(FOLDER));
                blocking(move || read(&folder).map_err(|e| failed("reading", &path, &e))).await??
            }
        };
        let mut open = BTreeMap::new();
        for (folded, wish) in noted {
            match self.has(&wish).await? {
                true => self.forget(folded).await?,
                false => {
                    open.insert(wish.to_string(), wish);
                }
            }
        }
        Ok(open.into_values().collect())
    }

    async fn has(&self, wish: &Wish) -> Result<bool> {
        let key = IndexKey::new(wish.registry, wish.name);
        let Some(version) = wish.version else {
            return self.has_index(&key).await;
        };
        let stored = self.crates_of(&key).await?;
        let wanted = version.as_str();
        // Paths are in lower case, and with them what keys read from there say.
        let is_it = |stored: &str| stored.eq_ignore_ascii_case(wanted);
        Ok(stored.iter().any(|key| is_it(key.id.version.as_str())))
    }

    async fn forget(&self, folded: String) -> Result<()> {
        self.lately.lock().remove(&folded);
        if let Backend::Fs(folder) = &self.backend {
            return folder.remove(format!("{FOLDER}/{folded}")).await;
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

fn write(folder: &Arc<Folder>, folded: &str, text: &str) -> io::Result<()> {
    let wanted = folder.root().join(FOLDER);
    fs::create_dir_all(&wanted)?;
    if fs::read_dir(&wanted)?.count() >= MOST {
        return Ok(());
    }
    let mut file = folder.temporary()?;
    file.write_all(text.as_bytes())?;
    match file.persist_noclobber(wanted.join(folded)) {
        Err(e) if e.error.kind() != io::ErrorKind::AlreadyExists => Err(e.error),
        _ => Ok(()),
    }
}

fn read(folder: &Arc<Folder>) -> io::Result<Vec<(String, Wish)>> {
    let entries = match fs::read_dir(folder.root().join(FOLDER)) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().into_string().ok();
        let wish = fs::read_to_string(entry.path())
            .ok()
            .and_then(|text| Wish::parse(&text));
        // What isn't ours is left alone.
        found.extend(name.zip(wish).filter(|(name, wish)| *name == wish.folded()));
    }
    Ok(found)
}
