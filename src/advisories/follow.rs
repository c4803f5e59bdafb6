//! [`AdvisoriesFollower`]: a database of advisories that is looked at again and again.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::watch;

use super::{
    database::{Database, gather},
    failed::unusable,
    tree::{self, Fingerprint},
};
use crate::{
    error::{Error, Result},
    follow::Looks,
    metrics::Metrics,
};

/// How often a database is looked at. It is read when it has looked the same twice, so that who reads it while it is written doesn't see half of it, and after the
/// third look in any case: a change is in force within fifteen seconds.
pub const LOOK_EVERY: Duration = Duration::from_secs(4);
const LOOKS: u32 = 3;
/// What was written less than this before it was read may be written again without looking different: clocks of file systems are that coarse.
const COARSE: Duration = Duration::from_secs(2);

/// Reads the database at `path`, and makes what follows it. The receiver has the advisories in force, and learns of others. Blocks.
///
/// # Errors
/// Those of [`Database::read`]: without a database nothing would be kept out, so a mirror doesn't start without the one it was told of.
pub fn open(
    path: &Path,
    metrics: Arc<Metrics>,
    now: SystemTime,
) -> Result<(watch::Receiver<Arc<Database>>, AdvisoriesFollower)> {
    let look = tree::look(path).map_err(|e| unusable(path, &e))?;
    let gathered = gather(path).map_err(|e| unusable(path, &e))?;
    let database = Database::of(gathered, look.as_of, now);
    let (count, crates) = (database.advisories.len(), database.advisories.crates());
    tracing::info!(
        "{count} advisories about {crates} crates are in force, from {}",
        path.display()
    );
    let (sender, receiver) = watch::channel(Arc::new(database));
    let follower = AdvisoriesFollower {
        path: path.to_owned(),
        look,
        is_settled: is_settled(look, now),
        changing: None,
        failed: None,
        trouble: None,
        sender,
        metrics,
    };
    follower.measure(now);
    Ok((receiver, follower))
}

/// A database that is followed.
pub struct AdvisoriesFollower {
    path: PathBuf,
    /// How it looked when it was read.
    look: Fingerprint,
    /// Whether it can't have changed since without looking different.
    is_settled: bool,
    /// How it looked the last time, when that was different, and for how many looks it has been.
    changing: Option<(Fingerprint, u32)>,
    /// How it looked when it couldn't be read the last time, which isn't tried again until it looks different.
    failed: Option<Fingerprint>,
    /// What was said of it last, so that it isn't said every few seconds.
    trouble: Option<String>,
    sender: watch::Sender<Arc<Database>>,
    metrics: Arc<Metrics>,
}

impl AdvisoriesFollower {
    /// Follows it until this is dropped.
    pub async fn run(self) {
        let looks = Looks::every(LOOK_EVERY);
        let what = "the database of advisories is";
        looks.have_look(what, self, Self::look).await;
    }

    /// Looks at it, and reads it if it has changed. What can't be read leaves what was read before in force. Blocks.
    pub fn look(&mut self, now: SystemTime) {
        if let Err(e) = self.try_look(now) {
            self.complain(&e);
        }
        self.measure(now);
    }

    fn try_look(&mut self, now: SystemTime) -> Result<()> {
        let look = tree::look(&self.path)?;
        let is_read = look == self.look && self.is_settled;
        if is_read || (self.failed == Some(look) && is_settled(look, now)) {
            self.changing = None;
            if is_read {
                self.recovered();
            }
            return Ok(());
        }
        let looks = match self.changing {
            Some((before, looks)) if before != look => looks + 1,
            Some(_) => LOOKS,
            None => 1,
        };
        // One that looks as it did when it was read can only have changed unseen: there is nothing to wait for.
        if look != self.look && looks < LOOKS {
            self.changing = Some((look, looks));
            return Ok(());
        }
        self.changing = None;
        self.failed = Some(look);
        let gathered = gather(&self.path)?;
        (self.look, self.failed) = (look, None);
        self.is_settled = is_settled(look, now);
        self.recovered();
        self.publish(Database::of(gathered, look.as_of, now));
        Ok(())
    }

    fn recovered(&mut self) {
        if self.trouble.take().is_some() {
            tracing::info!("the database of advisories can be read again");
        }
    }

    fn publish(&self, database: Database) {
        self.sender.send_modify(|current| {
            let is_new = *database.advisories != *current.advisories;
            let (before, count) = (current.advisories.len(), database.advisories.len());
            if is_new {
                tracing::info!("{count} advisories are in force now, {before} before");
            }
            *current = Arc::new(Database {
                // What says the same is the same: nobody has to do anything anew.
                advisories: match is_new {
                    true => database.advisories,
                    false => current.advisories.clone(),
                },
                generation: current.generation + u64::from(is_new),
                ..database
            });
        });
    }

    fn complain(&mut self, e: &Error) {
        let trouble = unusable(&self.path, e).message().to_owned();
        if self.trouble.as_ref() != Some(&trouble) {
            let count = self.sender.borrow().advisories.len();
            tracing::error!(
                "{trouble}; the {count} advisories that were read before stay in force"
            );
            self.trouble = Some(trouble);
        }
    }

    fn measure(&self, now: SystemTime) {
        let database = self.sender.borrow().clone();
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let age = i64::try_from(database.age(now).as_secs()).unwrap_or(i64::MAX);
        let metrics = &self.metrics;
        metrics.advisories.set(number(database.advisories.len()));
        metrics.advisories_age.set(age);
        metrics
            .advisories_passed_over
            .set(number(database.unreadable));
        metrics
            .advisories_unreadable
            .set(i64::from(self.trouble.is_some()));
    }
}

fn is_settled(look: Fingerprint, now: SystemTime) -> bool {
    // What is from the future stays so for longer than anybody writes to it.
    now.duration_since(look.as_of)
        .map_or(true, |age| age > COARSE)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::domain::CrateName;

    /// Far enough on that what is written now is settled.
    fn later() -> SystemTime {
        SystemTime::now() + Duration::from_secs(10)
    }

    fn put(folder: &Path, name: &str, text: &str) {
        let path = folder
            .join("crates")
            .join(name)
            .join("RUSTSEC-2024-0001.md");
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    fn advisory(name: &str) -> String {
        format!("```toml\n[advisory]\nid = \"RUSTSEC-2024-0001\"\npackage = \"{name}\"\n```\n")
    }

    struct Trial {
        folder: tempfile::TempDir,
        follower: AdvisoriesFollower,
        receiver: watch::Receiver<Arc<Database>>,
        metrics: Arc<Metrics>,
    }

    impl Trial {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            put(folder.path(), "one", &advisory("one"));
            let metrics = Arc::new(Metrics::new());
            let opened = open(folder.path(), metrics.clone(), later());
            let (receiver, follower) = opened.expect("a database");
            Self {
                folder,
                follower,
                receiver,
                metrics,
            }
        }

        fn path(&self) -> &Path {
            self.folder.path()
        }

        /// Looks as often as it takes to read a change.
        fn look(&mut self) -> Arc<Database> {
            for _ in 0..LOOKS {
                self.follower.look(later());
            }
            self.receiver.borrow().clone()
        }

        fn has(&self, name: &str) -> bool {
            let name = CrateName::parse(name).expect("a name");
            !self.receiver.borrow().advisories.of(name).is_empty()
        }
    }

    #[test]
    fn a_change_is_read_when_the_folder_has_come_to_rest() {
        let mut followed = Trial::new();
        assert_eq!(followed.look().generation, 1);
        put(followed.path(), "two", &advisory("two"));
        followed.follower.look(later());
        assert!(!followed.has("two"), "it may be half written");
        followed.follower.look(later());
        assert!(followed.has("two"));
        assert_eq!(followed.look().generation, 2);
        assert_eq!(followed.metrics.advisories.get(), 2);
    }

    #[test]
    fn a_folder_that_never_rests_is_read_all_the_same() {
        let mut followed = Trial::new();
        for n in 0..LOOKS {
            put(followed.path(), &format!("more-{n}"), &advisory("more"));
            followed.follower.look(later());
        }
        assert!(followed.has("more"));
        assert!(LOOK_EVERY * LOOKS < Duration::from_secs(15));
    }

    #[test]
    fn what_says_the_same_is_no_news() {
        let mut followed = Trial::new();
        put(followed.path(), "one", &format!("{}\n", advisory("one")));
        let before = followed.receiver.borrow().advisories.clone();
        let database = followed.look();
        assert_eq!(database.generation, 1);
        assert!(Arc::ptr_eq(&before, &database.advisories));
    }

    #[test]
    fn a_broken_file_is_passed_over_and_the_others_count() {
        let mut followed = Trial::new();
        put(followed.path(), "two", "broken");
        put(followed.path(), "three", &advisory("three"));
        let database = followed.look();
        assert_eq!((database.files, database.unreadable), (3, 1));
        assert!(followed.has("one") && followed.has("three"));
        assert_eq!(followed.metrics.advisories_passed_over.get(), 1);
        assert_eq!(followed.metrics.advisories_unreadable.get(), 0);
    }

    #[test]
    fn what_is_gone_or_empty_stays_in_force_until_there_is_another() {
        let mut followed = Trial::new();
        let crates = followed.path().join("crates");
        let aside = followed.path().join(".crates");
        fs::rename(&crates, &aside).expect("renamed");
        assert_eq!(followed.look().generation, 1);
        assert!(followed.has("one"), "an empty folder");
        assert_eq!(followed.metrics.advisories_unreadable.get(), 1);
        put(followed.path(), "one", "broken");
        followed.look();
        assert!(followed.has("one"), "nothing but broken files");
        fs::remove_dir_all(&crates).expect("removed");
        fs::rename(&aside, &crates).expect("renamed");
        followed.look();
        assert_eq!(followed.metrics.advisories_unreadable.get(), 0);
        let path = followed.path().to_owned();
        fs::remove_dir_all(&path).expect("removed");
        followed.look();
        assert!(followed.has("one"), "no folder");
        assert_eq!(followed.metrics.advisories_unreadable.get(), 1);
        put(&path, "two", &advisory("two"));
        assert_eq!(followed.look().generation, 2);
        assert!(followed.has("two") && !followed.has("one"));
        assert_eq!(followed.metrics.advisories_unreadable.get(), 0);
    }

    #[test]
    fn the_age_is_that_of_the_last_write() {
        let mut followed = Trial::new();
        let file = followed.path().join("crates/one/RUSTSEC-2024-0001.md");
        let file = fs::File::open(file).expect("a file");
        let then = SystemTime::now() - Duration::from_secs(1_000);
        file.set_modified(then).expect("set");
        followed.look();
        assert!(followed.metrics.advisories_age.get() >= 1_000);
        let before = SystemTime::UNIX_EPOCH;
        assert_eq!(followed.receiver.borrow().age(before), Duration::ZERO);
    }

    #[test]
    fn no_database_to_begin_with_is_said_with_its_path() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        fs::write(&file, "no archive").expect("a file");
        for path in [folder.path(), &folder.path().join("none"), &file] {
            let error = Database::read(path, later()).expect_err("none").to_string();
            assert!(error.contains(&path.display().to_string()), "{error}");
            assert!(error.contains("policy.advisories.path"), "{error}");
        }
    }
}
