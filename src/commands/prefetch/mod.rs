//! `prefetch`: the store filled before anyone asks.

mod bar;
mod deps;
mod summary;

use std::{
    collections::HashSet,
    num::NonZeroUsize,
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};

use clap::Args;
use tokio_util::sync::CancellationToken;

use self::summary::Summary;
use super::interrupt::{self, Signals};
use crate::{
    app::{self, App},
    config::{
        self, Config, Flags,
        access::{AccessSettings, AuditSettings},
        units::Span,
    },
    domain::{
        Lockfile, Selected, SelectedFile,
        request::{Selector, parse_date},
        toolchain::PinnedToolchain,
    },
    error::{Error, Result},
    metrics::Metrics,
    mirror::{GzipVariants, Mirror},
    prefetch::{
        List, Missing, Prefetcher, Report, Selection, ToolchainReport, ToolchainWish,
        ToolchainWishes, lockfile, readiness::CheckDepth, stored_index_files, this_machine,
    },
    store::Store,
};

/// So many things are asked for at once, if `upstream.max_concurrent` allows.
const MOST_AT_ONCE: u32 = 64;
/// Writes may take as long as the disk needs.
const WRITES: u64 = 3_600_000;
/// Unless somebody wants it to end.
const INTERRUPTED_WRITES: Duration = Duration::from_secs(2);

/// What to fetch.
#[derive(Args, Clone, Debug, Default)]
pub struct PrefetchOptions {
    /// Cargo.lock files, folders to search for them, crates, files with a crate a line (# begins a comment), or - for standard input. A crate is
    /// written serde, serde@1.0.200 or serde@^1.0, with a registry's name and a colon before it if it isn't crates.io's. What exists as a file
    /// or folder is taken as that; crates-io:serde is always the crate. A rust-toolchain.toml or rust-toolchain file is the toolchain that it names.
    #[arg(value_name = "WHAT")]
    what: Vec<String>,
    /// Also what the crates given by name depend on, as the installed cargo resolves it (with their default features).
    #[arg(long)]
    deps: bool,
    /// Of crates given by name, all versions (that are meant); without this, the newest.
    #[arg(long, group = "range")]
    all_versions: bool,
    /// Of crates given by name, the newest N versions.
    #[arg(long, group = "range", value_name = "N")]
    latest: Option<NonZeroUsize>,
    /// Of crates given by name, the versions published since, such as 2026-11-01.
    #[arg(long, group = "range", value_name = "DATE")]
    since: Option<String>,
    /// Refresh the index files of all crates that are stored.
    #[arg(long)]
    update: bool,
    /// A toolchain for rustup: stable, 1.95.0, nightly-2026-11-01, with a host behind it if that isn't this machine, as in
    /// stable-x86_64-pc-windows-msvc. May be given more than once, as the three that follow, which are for each of them.
    #[arg(long, value_name = "CHANNEL")]
    toolchain: Vec<String>,
    /// A target whose standard library is to be there.
    #[arg(long, value_name = "T", requires = "toolchain")]
    target: Vec<String>,
    /// A component more than the profile has, such as rust-src.
    #[arg(long, value_name = "C", requires = "toolchain")]
    component: Vec<String>,
    /// rustup's profile: minimal, default or complete; default when none is said.
    #[arg(long, value_name = "P", requires = "toolchain")]
    profile: Vec<String>,
}

/// Fetches what isn't stored yet and says what came of it. Exit code 1 when anything is missing.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when the settings, the store or what is asked for can't be used.
pub async fn run(flags: &Flags, options: &PrefetchOptions) -> Result<ExitCode> {
    let config = config::load(flags)?;
    if config.offline.enabled {
        return Err(Error::config(
            "prefetch asks upstream, which `offline.enabled` forbids; run it where upstream can be reached",
        ));
    }
    let selector = options.selector()?;
    let list = options.list(&config)?;
    let started = Instant::now();
    let mut config = config;
    if !list.toolchains.is_empty() {
        // Who names some wants them, whether this machine serves them or another.
        config.toolchains.enabled = true;
    }
    let run = Run::begin(config, options).await?;
    let mut signals = Signals::listen()?;
    let stop = CancellationToken::new();
    let mut running = tokio::spawn(run.all(list, selector, options.clone(), stop.clone()));
    let early = |e| Error::ended_early("the prefetch", e);
    let ended = tokio::select! {
        done = &mut running => done,
        () = signals.next() => {
            stop.cancel();
            tokio::select! {
                done = running => done,
                () = signals.next() => return Err(interrupt::at_once()),
            }
        }
    };
    match ended.map_err(early)?? {
        Some(summary) => Ok(summary.print(started.elapsed())),
        None => Ok(interrupt::told(
            "what was fetched is stored, and running it again goes on there",
        )),
    }
}

impl PrefetchOptions {
    fn selector(&self) -> Result<Selector> {
        if self.all_versions {
            return Ok(Selector::All);
        }
        if let Some(most) = self.latest {
            return Ok(Selector::Latest(most.get()));
        }
        match &self.since {
            Some(date) => parse_date(date)
                .map(Selector::Since)
                .map_err(|e| Error::config(format!("--since: {e}")).with_source(e)),
            None => Ok(Selector::Newest),
        }
    }

    /// What is asked for; without any word of it, what the settings name.
    fn list(&self, config: &Config) -> Result<List> {
        let configured = &config.prefetch.lockfiles;
        if !self.what.is_empty() || self.update || !self.toolchain.is_empty() {
            let mut list = List::read(&self.what, std::io::stdin())?;
            list.toolchains.extend(self.toolchains()?);
            return Ok(list);
        }
        if configured.is_empty() && config.prefetch.toolchains.is_empty() {
            return Err(Error::config(
                "nothing to prefetch: name Cargo.lock files, folders or crates, or say --toolchain or --update, or set `prefetch.lockfiles` or `prefetch.toolchains`",
            ));
        }
        let mut list = List::default();
        for path in configured {
            let read = lockfile(&path.0)?;
            let shown = path.0.display().to_string();
            list.lockfiles.push((shown.into(), read));
        }
        let by: Arc<str> = "prefetch.toolchains".into();
        let named = config.prefetch.toolchains.iter();
        let named = named.map(|named| (by.clone(), ToolchainWish::Toolchain(named.0.clone())));
        list.toolchains.extend(named);
        Ok(list)
    }

    /// The toolchains that are named, each with all that is said beside.
    fn toolchains(&self) -> Result<ToolchainWishes> {
        let mut wishes = Vec::new();
        for name in &self.toolchain {
            let pinned = PinnedToolchain::named(name)
                .map_err(|why| Error::config(format!("--toolchain: {why}")))?;
            let mut profiles: Vec<_> = self.profile.iter().cloned().map(Some).collect();
            if profiles.is_empty() {
                profiles.push(None);
            }
            for profile in profiles {
                let pinned = PinnedToolchain {
                    profile,
                    components: self.component.clone(),
                    targets: self.target.clone(),
                    ..pinned.clone()
                };
                let wish = ToolchainWish::Toolchain(pinned);
                wishes.push((format!("--toolchain {name}").into(), wish));
            }
        }
        Ok(wishes)
    }
}

/// A mirror that works for one run.
struct Run {
    config: Config,
    store: Store,
    mirror: Mirror,
    /// It listens only if cargo has to ask it.
    app: Option<App>,
    prefetch: Prefetcher,
}

impl Run {
    async fn begin(mut config: Config, options: &PrefetchOptions) -> Result<Self> {
        // Nobody here would rather have an old copy soon.
        config.freshness.patience = Span::millis(u64::MAX);
        if options.update {
            config.freshness.fresh_for = Span::millis(0);
        }
        // What is named is what it is today.
        config.toolchains.fresh_for = Span::millis(0);
        config.server.listen.0 = ([127, 0, 0, 1], 0).into();
        config.server.shutdown_grace = Span::millis(WRITES);
        let metrics = Arc::new(Metrics::new());
        let store = app::open_store(&config, &metrics).await?;
        let mut served = config.clone();
        served.server.public_url = None;
        served.prefetch.lockfiles.clear();
        served.prefetch.toolchains.clear();
        // Nobody asks but this command and the cargo that it runs, on an address of this machine.
        served.access = AccessSettings::default();
        served.audit = AuditSettings::default();
        served.server.admin_listen = None;
        // cargo asks for what it depends on, file after file; who has a Cargo.lock knows already.
        served.read_ahead.enabled &= options.deps;
        let (mirror, app) = if options.deps {
            let app = App::start_with(served, store.clone(), metrics).await?;
            (app.mirror().clone(), Some(app))
        } else {
            let mirror = app::mirror(served, store.clone(), metrics, GzipVariants::Never)?;
            (mirror, None)
        };
        let at_once = config.upstream.max_concurrent.get().min(MOST_AT_ONCE);
        let (at_once, clock) = (at_once as usize, SystemTime::now);
        let prefetch = Prefetcher::new(mirror.clone(), at_once, CheckDepth::Whole, clock);
        Ok(Self {
            config,
            store,
            mirror,
            app,
            prefetch,
        })
    }

    /// All that was asked for, until it is written; or, when `stop` is cancelled before, what has come until then, which is nothing to report.
    async fn all(
        self,
        list: List,
        selector: Selector,
        options: PrefetchOptions,
        stop: CancellationToken,
    ) -> Result<Option<Summary>> {
        let bar = bar::Bar::of(self.prefetch.progress());
        let gathered = self.gather(list, selector, &options, &stop).await;
        drop(bar);
        if stop.is_cancelled() {
            self.mirror.close(INTERRUPTED_WRITES).await;
            if self.store.written() > 0 {
                self.store.announce_change().await?;
            }
            return Ok(None);
        }
        let mut summary = gathered?;
        match self.app {
            Some(app) => app.stop().await,
            None => self.mirror.close(Duration::from_millis(WRITES)).await,
        }
        // That is the size of the folder in front of a bucket.
        let max_size = match self.config.store.bucket {
            None => self.config.store.max_size.get(),
            Some(_) => u64::MAX,
        };
        summary.confirm(&self.store, max_size).await;
        Ok(Some(summary))
    }

    /// What came of all that was asked for, before it is certain that it is written.
    async fn gather(
        &self,
        mut list: List,
        selector: Selector,
        options: &PrefetchOptions,
        stop: &CancellationToken,
    ) -> Result<Summary> {
        let updated = match options.update {
            true => Some(unless(stop, self.update()).await?),
            false => None,
        };
        let requests = std::mem::take(&mut list.requests);
        let Selection {
            selected: named,
            mut missing,
            notes,
        } = unless(stop, self.prefetch.select(requests, selector)).await?;
        let origins = self.config.origins();
        let (mut selected, mut aside) = list.selected(origins);
        let mut known: HashSet<_> = selected.iter().map(Selected::file).collect();
        selected.extend(new(named.clone(), &mut known));
        let mut files = unless(stop, self.prefetch.fetch(selected)).await?;
        if let Some(app) = &self.app {
            // Of those by name the files are here now, and their own Cargo.lock in them.
            let (lockfiles, unresolved) = self.dependencies(app.base_url(), named, stop).await?;
            let (more, mut elsewhere) = List::of(lockfiles).selected(origins);
            let more = new(more, &mut known).collect();
            files.add(unless(stop, self.prefetch.fetch(more)).await?);
            missing.extend(unresolved);
            // The projects in there are nobody's.
            elsewhere.paths = 0;
            aside.add(elsewhere);
        }
        missing.append(&mut aside.strange);
        let mut notes = notes;
        let toolchains = std::mem::take(&mut list.toolchains);
        let toolchains = match toolchains.is_empty() {
            true => ToolchainReport::default(),
            false => {
                let host = this_machine()?;
                unless(stop, self.prefetch.toolchains(toolchains, &host)).await?
            }
        };
        notes.extend(toolchains.notes.iter().cloned());
        let bytes = self.prefetch.progress().bytes.load(Ordering::Relaxed);
        Ok(Summary {
            toolchains,
            updated,
            files,
            bytes,
            aside,
            missing,
            notes,
            too_large: None,
        })
    }

    /// What these depend on: as cargo resolves it today, and as the Cargo.lock inside them has it, which `cargo install --locked` takes.
    async fn dependencies(
        &self,
        base: &str,
        named: Vec<Selected>,
        stop: &CancellationToken,
    ) -> Result<(Vec<(Arc<str>, Lockfile)>, Vec<Missing>)> {
        let resolved = deps::resolve(&self.config, base, named.clone(), stop);
        let (mut lockfiles, mut missing) = resolved.await?;
        let (packaged, unreadable) = unless(stop, self.prefetch.packaged(named)).await?;
        lockfiles.extend(packaged);
        missing.extend(unreadable);
        Ok((lockfiles, missing))
    }

    async fn update(&self) -> Result<Report> {
        let registries = self.mirror.registries().collect();
        let keys = stored_index_files(&self.store, registries).await?;
        self.prefetch.refresh(keys).await
    }
}

/// What `work` comes to, unless `stop` is cancelled before.
async fn unless<T>(stop: &CancellationToken, work: impl Future<Output = Result<T>>) -> Result<T> {
    let done = stop.run_until_cancelled(work).await;
    done.unwrap_or_else(|| Err(Error::cancelled("the prefetch was ended")))
}

/// Those of the files that aren't known, and are from now on.
fn new(files: Vec<Selected>, known: &mut HashSet<SelectedFile>) -> impl Iterator<Item = Selected> {
    let files = files.into_iter();
    files.filter(|selected| known.insert(selected.file()))
}
