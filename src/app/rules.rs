//! [`PolicySource`]: the policy, made of the settings and of the database of advisories, and kept in force while either changes.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    advisories::{self, Database},
    config::{
        Config,
        access::FilePath,
        policy::{PolicySettings, RuleSettings, Views},
    },
    domain::Day,
    error::{Error, Result},
    metrics::Metrics,
    mirror::Mirror,
    policy::{Policy, RulesVersion},
};

/// How often rules are looked at that end by themselves. They end without that; it is for who reads the log.
const LOOK_EVERY: Duration = Duration::from_secs(3_600);
/// So long before a rule ends the log says so.
const SOON: Duration = Duration::from_secs(7 * 24 * 3_600);

/// What the rules are made of.
pub struct PolicySource {
    settings: PolicySettings,
    views: Views,
    database: Option<FollowedDatabase>,
    /// The generation of the database that the policy was made of last.
    in_force: AtomicU64,
}

/// A database of advisories that is followed.
#[derive(Clone)]
struct FollowedDatabase {
    receiver: watch::Receiver<Arc<Database>>,
    /// Ends the following with the last rules that need it.
    _guard: Arc<DropGuard>,
}

impl PolicySource {
    /// Those that the settings say. A database of advisories is read, and followed until these are dropped. Blocks, and must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when the database can't be read.
    pub fn open(config: &Config, metrics: &Arc<Metrics>) -> Result<Self> {
        let path = config.policy.advisories.path.as_ref();
        let database = path.map(|path| follow(path, metrics)).transpose()?;
        Ok(Self::with(config, database))
    }

    fn with(config: &Config, database: Option<FollowedDatabase>) -> Self {
        Self {
            settings: config.policy.clone(),
            views: config.views.clone(),
            database,
            in_force: AtomicU64::default(),
        }
    }

    /// The policy that they come to now.
    pub fn policy(&self) -> Policy {
        let database = self.database();
        let generation = database.as_ref().map_or(0, |database| database.generation);
        self.in_force.store(generation, Ordering::Relaxed);
        let advisories = database.map(|database| database.advisories.clone());
        Policy::new(
            &self.settings,
            &self.views,
            advisories.unwrap_or_default(),
            RulesVersion::default(),
        )
    }

    /// The database of advisories that is in force, if there is one.
    pub fn database(&self) -> Option<Arc<Database>> {
        let database = self.database.as_ref();
        database.map(|followed| followed.receiver.borrow().clone())
    }

    /// All rules, with what they are called.
    fn labelled(&self) -> impl Iterator<Item = (String, &RuleSettings)> {
        let named = |prefix: String, rules: &'_ [RuleSettings]| {
            let label = |(number, rule): (usize, &RuleSettings)| match &rule.name {
                Some(name) => format!("{prefix}{}", name.0),
                None => format!("{prefix}{}", number + 1),
            };
            rules.iter().enumerate().map(label).collect::<Vec<_>>()
        };
        let usual = named(String::new(), &self.settings.rules);
        let usual = usual.into_iter().zip(&self.settings.rules);
        let views = self.views.iter().flat_map(move |(view, settings)| {
            let labels = named(format!("{view}/"), &settings.rules);
            labels.into_iter().zip(&settings.rules)
        });
        usual.chain(views)
    }
}

/// Reads a database and follows it.
fn follow(path: &FilePath, metrics: &Arc<Metrics>) -> Result<FollowedDatabase> {
    let (receiver, follower) = advisories::open(&path.0, metrics.clone(), SystemTime::now())?;
    let stop = CancellationToken::new();
    let guard = Arc::new(stop.clone().drop_guard());
    tokio::spawn(stop.run_until_cancelled_owned(follower.run()));
    Ok(FollowedDatabase {
        receiver,
        _guard: guard,
    })
}

/// Keeps the rules of a mirror in force.
pub(super) struct Enforcer {
    sender: watch::Sender<Arc<PolicySource>>,
    metrics: Arc<Metrics>,
}

impl Enforcer {
    /// Keeps these in force, which are already, until `stop` is cancelled.
    pub(super) fn start(
        rules: PolicySource,
        mirror: Mirror,
        metrics: Arc<Metrics>,
        stop: &CancellationToken,
    ) -> Self {
        let (sender, receiver) = watch::channel(Arc::new(rules));
        let kept = keep_in_force(mirror, receiver);
        tokio::spawn(stop.clone().run_until_cancelled_owned(kept));
        Self { sender, metrics }
    }

    /// From now on those of these settings are in force.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when they name a database of advisories that can't be read; then those before stay in force.
    pub(super) async fn replace(&self, config: &Config) -> Result<()> {
        let current = self.sender.borrow().clone();
        let before = current.settings.advisories.path.as_ref();
        let database = match &config.policy.advisories.path {
            None => None,
            Some(path) if before == Some(path) => current.database.clone(),
            Some(path) => {
                let (path, metrics) = (path.clone(), self.metrics.clone());
                let opened = tokio::task::spawn_blocking(move || follow(&path, &metrics)).await;
                let opened = opened.map_err(|e| Error::ended_early("reading the advisories", e))?;
                Some(opened?)
            }
        };
        let rules = PolicySource::with(config, database);
        self.sender.send_replace(Arc::new(rules));
        Ok(())
    }
}

/// Makes the policy anew whenever what it is made of changes.
async fn keep_in_force(mirror: Mirror, mut wanted: watch::Receiver<Arc<PolicySource>>) {
    let mut told = Told::new();
    let mut rules = wanted.borrow_and_update().clone();
    loop {
        tell_ends(&rules, &mut told, SystemTime::now());
        tokio::select! {
            changed = wanted.changed() => {
                if changed.is_err() {
                    return;
                }
                rules = wanted.borrow_and_update().clone();
                mirror.enforce(rules.policy());
                tracing::info!(rules = rules.settings.rules.len(), "the rules of the settings are in force");
            }
            () = changed(&rules) => mirror.enforce(rules.policy()),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Waits until there are other advisories than those that the policy was made of last; for ever where none are followed.
async fn changed(rules: &PolicySource) {
    let Some(followed) = &rules.database else {
        return std::future::pending().await;
    };
    let mut receiver = followed.receiver.clone();
    let in_force = rules.in_force.load(Ordering::Relaxed);
    let is_other = |database: &Arc<Database>| database.generation != in_force;
    if receiver.wait_for(is_other).await.is_err() {
        // Nobody follows it any more.
        std::future::pending().await
    }
}

/// What there is to say of the end of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Ending {
    /// It comes within [`SOON`].
    Soon,
    /// It has come.
    Over,
}

/// What was said of which rule already, each called by its name, and told apart by its `until` as well: another one is news.
type Told = HashSet<(String, Day, Ending)>;

/// Says once of each rule that it is about to end, and that it has.
fn tell_ends(rules: &PolicySource, told: &mut Told, now: SystemTime) {
    for (rule, until, ending) in endings(rules, told, now) {
        match ending {
            Ending::Over => {
                tracing::warn!(%rule, "a rule of the policy has ended: its `until` is {until}");
            }
            Ending::Soon => {
                tracing::warn!(%rule, "a rule of the policy ends within a week: its `until` is {until}");
            }
        }
    }
}

/// The rules that end soon or have ended and of which that wasn't `told` yet; from now on it is.
fn endings(rules: &PolicySource, told: &mut Told, now: SystemTime) -> Vec<(String, Day, Ending)> {
    let ends = rules.labelled().filter_map(|(label, rule)| {
        let until = rule.until?;
        let ending = match until.start() {
            ends if ends <= now => Ending::Over,
            ends if ends <= now + SOON => Ending::Soon,
            _ => return None,
        };
        Some((label, until, ending))
    });
    ends.filter(|end| told.insert(end.clone())).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use tokio::time::Instant;

    use super::*;
    use crate::{
        allowance::Allowance,
        config::{
            self,
            sections::{FreshnessSettings, OfflineIndex, ReadAheadSettings},
        },
        domain::{CrateName, RegistryName},
        mirror::{GzipVariants, Parts},
        store::Store,
    };

    fn at(day: &str) -> SystemTime {
        Day::parse(day).expect("a day").start()
    }

    /// Somebody who reads the log is to know before a crate comes in again, and when it does.
    #[test]
    fn the_end_of_a_rule_is_said_once_a_week_before_and_once_when_it_has_come() {
        let settings = "[[policy.rules]]\nname = \"freeze\"\ncrates = [\"a\"]\naction = \"deny\"\nuntil = \"2026-11-20\"\n\
            [[policy.rules]]\ncrates = [\"b\"]\naction = \"deny\"\n\
            [[policy.rules]]\ncrates = [\"c\"]\naction = \"deny\"\nuntil = \"2026-12-20\"\n\
            [views.lts]\nrules = [{ crates = [\"a\"], action = \"deny\", until = \"2026-11-21\" }]\n";
        let config = config::parse(settings).expect("settings");
        let (rules, mut told) = (PolicySource::with(&config, None), Told::new());
        let mut said = |now: SystemTime| {
            let ends = endings(&rules, &mut told, now).into_iter();
            ends.map(|(rule, until, ending)| format!("{rule} {until} {ending:?}"))
                .collect::<Vec<_>>()
        };
        let second = Duration::from_secs(1);
        assert_eq!(said(at("2026-11-13") - second), [""; 0]);
        assert_eq!(said(at("2026-11-13")), ["freeze 2026-11-20 Soon"]);
        assert_eq!(said(at("2026-11-13")), [""; 0], "once");
        assert_eq!(
            said(at("2026-11-20") - second),
            ["lts/1 2026-11-21 Soon"],
            "those of views too"
        );
        assert_eq!(said(at("2026-11-20")), ["freeze 2026-11-20 Over"]);
        assert_eq!(said(at("2026-11-20")), [""; 0], "once");
        // Who wasn't looking for a month hears of each what holds now.
        assert_eq!(
            said(at("2026-12-20")),
            ["3 2026-12-20 Over", "lts/1 2026-11-21 Over"]
        );
    }

    fn put(database: &Path, name: &str) {
        let folder = database.join("crates").join(name);
        fs::create_dir_all(&folder).expect("a folder");
        let text =
            format!("```toml\n[advisory]\nid = \"RUSTSEC-2026-0001\"\npackage = \"{name}\"\n```\n");
        fs::write(folder.join("RUSTSEC-2026-0001.md"), text).expect("a file");
    }

    fn mirror(rules: &PolicySource, metrics: &Arc<Metrics>) -> Mirror {
        Mirror::new(Parts {
            freshness: FreshnessSettings::default(),
            read_ahead: ReadAheadSettings::default(),
            memory_budget: 1 << 20,
            allowance: Allowance::new(1 << 20, 0),
            gzip: GzipVariants::Never,
            store: Store::in_memory(metrics.clone()),
            registries: Vec::new(),
            offline_index: OfflineIndex::default(),
            default: RegistryName::crates_io(),
            toolchains: None,
            policy: rules.policy(),
            metrics: metrics.clone(),
        })
    }

    /// By the clock of the looks, which no busy machine slows down: from the change to the policy that the mirror asks.
    #[tokio::test(start_paused = true)]
    async fn other_advisories_are_in_force_within_fifteen_seconds_also_where_the_folder_never_rests()
     {
        for rests in [true, false] {
            let folder = tempfile::tempdir().expect("a folder");
            put(folder.path(), "one");
            let settings = format!("[policy.advisories]\npath = {:?}\n", folder.path());
            let config = config::parse(&settings).expect("settings");
            let metrics = Arc::new(Metrics::new());
            let rules = PolicySource::open(&config, &metrics).expect("a database");
            let mirror = mirror(&rules, &metrics);
            let stop = CancellationToken::new();
            let enforcer = Enforcer::start(rules, mirror.clone(), metrics, &stop);
            let is_known = |name: &str| {
                let name = CrateName::parse(name).expect("a name");
                !mirror.policy().advisories().of(name).is_empty()
            };
            assert!(is_known("one") && !is_known("two"));
            let before = mirror.policy().version();
            // Just after a look.
            tokio::time::sleep(advisories::LOOK_EVERY + Duration::from_millis(1)).await;
            put(folder.path(), "two");
            let (changed, mut more) = (Instant::now(), 0);
            while !is_known("two") {
                let waited = changed.elapsed();
                assert!(waited < Duration::from_secs(15), "rests: {rests}");
                tokio::time::sleep(Duration::from_millis(500)).await;
                if !rests {
                    more += 1;
                    put(folder.path(), &format!("more-{more}"));
                }
            }
            assert_ne!(
                mirror.policy().version(),
                before,
                "renditions are made anew"
            );
            drop(enforcer);
            stop.cancel();
        }
    }
}
