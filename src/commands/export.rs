//! `export`: what is stored, made into something that can be carried: bundles, or a folder that cargo reads without this program.

use std::{
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Instant, SystemTime},
};

use bytesize::ByteSize;
use clap::ValueEnum;

use super::{
    attachments, bar,
    export_git::{self, GitExport},
    interrupt::{self, Completion, Stop},
    say,
};
use crate::{
    app,
    bundle::{
        self, Attachment, Baseline, CollectError, Contents, ExportedFile, Layout, LeftOut,
        MAX_MANIFEST, Observer, OpenBaseline, Output, Plan, Scope, SecretKeyError, SelectedCrates,
        SelectedToolchains, SigningKey, ToolchainScope, Tree, UnwritablePath,
    },
    config::{self, BaseUrl, Config, Flags},
    domain::{
        Key, RegistryName, loggable_url,
        request::parse_date,
        toolchain::{
            InitFile, InitRelease, ManifestName, RustupRelease, TargetTriple, ToolchainDocument,
            ToolchainItem, ToolchainName,
        },
    },
    error::{Error, Kind, Result},
    metrics::Metrics,
    policy::Gate,
    prefetch::{
        List, Missing, ToolchainWish, ToolchainWishes, stored_files, stored_init, this_machine,
    },
    store::Store,
};

/// The variable with the password of the key that signs, for where nobody can be asked.
const PASSWORD: &str = "CRATE_MIRROR_SIGN_PASSWORD";
/// Less makes no sense on any medium, and the room beside the entries must not be most of it.
const LEAST_PART: u64 = 1 << 20;

/// What `export` is told.
#[derive(clap::Args, Clone, Debug)]
pub struct ExportOptions {
    /// Only what these Cargo.lock files need (a folder is searched for them), and the toolchains that rust-toolchain.toml files name; without any,
    /// everything that is stored.
    #[arg(value_name = "CARGO.LOCK")]
    lockfiles: Vec<String>,
    /// The bundle to write, such as bundle.tar.zst (`-` is standard output), or the folder.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Leave out what the other side has: what its manifest or an earlier bundle names, or what was stored before a day such as 2026-11-01. May be
    /// given more than once.
    #[arg(long, value_name = "MANIFEST|BUNDLE|DATE")]
    since: Vec<String>,
    /// Write bundles of at most this size, such as 4GiB, numbered from 1.
    #[arg(long, value_name = "SIZE")]
    split: Option<String>,
    /// Sign with this minisign secret key.
    #[arg(long, value_name = "KEYFILE")]
    sign: Option<PathBuf>,
    /// Write the manifest alone, for the other side to go on from.
    #[arg(long)]
    manifest_only: bool,
    /// Only toolchains: all that are stored.
    #[arg(long, conflicts_with = "lockfiles")]
    toolchains: bool,
    /// Carry the database of advisories along (`policy.advisories.path`).
    #[arg(long)]
    advisories: bool,
    /// Carry the rules along (`[policy]` and `[views]`); an import takes them only from a signed bundle, with leave.
    #[arg(long)]
    policy: bool,
    /// What to make.
    #[arg(long, value_enum, default_value_t = Format::Bundle)]
    format: Format,
    /// With `--format static`: the URL under which the folder will be served. With `--format git`: that of the mirror from which crates are downloaded.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Only this registry; a folder shows one, the default one if none is said.
    #[arg(long, value_name = "NAME")]
    registry: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A file for `crate-mirror import`.
    Bundle,
    /// A folder that any web server can serve to cargo.
    Static,
    /// A folder that cargo reads itself, as a `local-registry`.
    LocalRegistry,
    /// The index as a bare git repository, for cargos that read no other.
    Git,
}

/// What there is to do, once all that was said makes sense.
struct Job {
    kind: Make,
    /// The toolchains that are asked for, each with who asks for it.
    wishes: ToolchainWishes,
    /// How many packages are of registries that aren't this mirror's.
    strange: u64,
}

enum Make {
    Bundle(Plan, Vec<Baseline>, Output, Option<SigningKey>),
    Tree(Tree),
}

/// Exports what is stored and good. Exit code 1 when something of it was bad, or something that was asked for is missing, or when there
/// was nothing at all; all else is exported.
///
/// # Errors
/// [`Kind::Config`] when the settings, the store or the flags can't be used, [`Kind::Store`] when
/// something can't be read or written.
pub async fn run(flags: &Flags, options: &ExportOptions) -> Result<ExitCode> {
    let config = config::load(flags)?;
    if options.format == Format::Git {
        let export = options.git(&config)?;
        return export_git::run(config, export).await;
    }
    let job = options.job(flags, &config)?;
    let store = app::existing_store(&config).await?;
    let job = job.with_toolchains(&store).await?;
    let quiet = options.output == Path::new("-");
    match interrupt::blocking(move |stop| work(&store, job, quiet, &stop)).await? {
        Completion::Done(done) => done,
        // It may have come to its end all the same.
        Completion::Interrupted(Ok(code)) => Ok(code),
        Completion::Interrupted(Err(_)) => Ok(interrupt::told(
            "nothing half-written is left of the export; run it again",
        )),
    }
}

fn work(store: &Store, job: Job, to_stdout: bool, stop: &Stop) -> Result<ExitCode> {
    let started = Instant::now();
    let progress = bar::unknown("checking");
    let observer = Observer {
        total: &|bytes| bar::know(&progress, bytes),
        bytes: &|bytes| progress.inc(bytes),
        say: &|line| progress.suspend(|| say::aside(line)),
        is_over: &|| stop.is_set(),
    };
    // What was asked for by name is missed there.
    let is_selection = match &job.kind {
        Make::Bundle(Plan { scope, .. }, ..) | Make::Tree(Tree { scope, .. }) => {
            matches!(scope, Scope::Only(_))
        }
    };
    let may_be_empty = match &job.kind {
        Make::Bundle(plan, since, ..) => !since.is_empty() || !plan.attachments.is_empty(),
        Make::Tree(_) => false,
    };
    let (mut left_out, amount, summary, after) = match job.kind {
        Make::Bundle(plan, since, output, key) => {
            let contents = collected(store, &plan, &since, &observer)?;
            let (left_out, (entries, bytes)) = (contents.left_out, contents.size());
            let written = bundle::export(store, contents, &output, key.as_ref(), &observer)?;
            let mut what = format!("{entries} entries of {}", ByteSize(bytes).display().iec());
            for attachment in &plan.attachments {
                what += &format!(", with {}", attachment.kind);
            }
            (left_out, entries, what, list(&written))
        }
        Make::Tree(tree) => {
            let usage = usage(&tree);
            let made = bundle::plant(store, &tree, &observer)?;
            let bytes = ByteSize(made.bytes).display().iec();
            let (files, crates) = (made.index_files, made.crates);
            let what = format!("{files} index files and {crates} crates of {bytes}");
            let what = format!("{what} in {}", tree.folder.display());
            (made.left_out, files, what, usage)
        }
    };
    progress.finish_and_clear();
    left_out.missing += job.strange;
    let seconds = started.elapsed().as_secs_f64();
    let summary = format!("{summary}, in {seconds:.1} s{}{after}", said_of(left_out));
    // Whoever started it may have stopped reading.
    let _ = match to_stdout {
        true => writeln!(std::io::stderr(), "{summary}"),
        false => writeln!(std::io::stdout(), "{summary}"),
    };
    // There may be nothing new; that there is nothing at all is hardly what somebody wants to carry.
    let in_vain = amount == 0 && !may_be_empty;
    if in_vain {
        say::aside(
            "nothing of what was asked for is stored: what was written is empty; does `store.path` (`--store`) name the right folder?",
        );
    }
    let denied = if is_selection { left_out.denied } else { 0 };
    Ok(match left_out.bad + left_out.missing + denied {
        0 if !in_vain => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// What is to go of what is stored, without what the other side has since then.
fn collected(
    store: &Store,
    plan: &Plan,
    since: &[Baseline],
    observer: &Observer<'_>,
) -> Result<Contents> {
    let opened = since.iter().map(|since| known(store, since));
    let known = opened.collect::<Result<Vec<_>>>()?;
    bundle::collect(store, plan, known, observer).map_err(doesnt_fit)
}

/// What to say of something that doesn't fit into a bundle, or of what else went wrong.
fn doesnt_fit(e: CollectError) -> Error {
    match e {
        CollectError::EntryTooLarge { path, size } => Error::config(format!(
            "--split: {path} has {size} bytes, which is more than one part has room for; choose a larger size"
        )),
        CollectError::TooManyEntries(count) => Error::config(format!(
            "one bundle has room for a manifest of {MAX_MANIFEST} bytes, and {count} entries take more; use --split"
        )),
        CollectError::Failed(e) => e,
    }
}

fn known(store: &Store, since: &Baseline) -> Result<OpenBaseline> {
    since.open(store).map_err(|e| match since {
        Baseline::Time(_) => e,
        Baseline::File(path) => {
            let said = format!("--since {}: {e}", path.display());
            Error::new(e.kind(), said).with_source(e)
        }
    })
}

/// What to tell cargo of a folder.
fn usage(tree: &Tree) -> String {
    let source = match &tree.layout {
        Layout::Static(url) => {
            let url = url.without_slash();
            format!("[registries.mirror]\nindex = \"sparse+{url}/\"")
        }
        Layout::LocalRegistry => {
            format!("[source.mirror]\nlocal-registry = {:?}", tree.folder)
        }
    };
    format!(
        "\nTo use it, put this into .cargo/config.toml:\n\n[source.crates-io]\nreplace-with = \"mirror\"\n\n{source}"
    )
}

fn list(written: &[ExportedFile]) -> String {
    let file = |file: &ExportedFile| {
        let size = ByteSize(file.bytes).display().iec();
        format!("\n  {} ({size})", file.path.display())
    };
    written.iter().map(file).collect()
}

fn said_of(left_out: LeftOut) -> String {
    let mut said = String::new();
    for (count, what) in [
        (
            left_out.bad,
            "bad and left out (`crate-mirror verify --repair` drops them)",
        ),
        (left_out.missing, "missing"),
        (left_out.unlisted, "crates left out that no index lists"),
        (left_out.denied, "crates left out that the rules keep out"),
    ] {
        if count > 0 {
            said += &format!(", {count} {what}");
        }
    }
    said
}

/// The rules as they are now.
fn gate(config: &Config) -> Result<Gate> {
    let rules = app::PolicySource::open(config, &Arc::new(Metrics::new()))?;
    Ok(Gate::new(rules.policy(), SystemTime::now()))
}

impl Job {
    /// With what the toolchains that are asked for consist of, by what is stored of them.
    async fn with_toolchains(mut self, store: &Store) -> Result<Self> {
        if self.wishes.is_empty() {
            return Ok(self);
        }
        let host = this_machine()?;
        let mut selected = SelectedToolchains::default();
        for (by, wish) in &self.wishes {
            match chosen(store, wish, &host, &mut selected).await {
                Ok(()) => {}
                Err(e) if e.kind() == Kind::Store => return Err(e),
                Err(e) => {
                    self.strange += 1;
                    say::aside(format_args!("missing  {by}: {e}"));
                }
            }
        }
        if let Make::Bundle(plan, ..) = &mut self.kind {
            plan.toolchains = ToolchainScope::Only(selected);
        }
        Ok(self)
    }
}

/// Adds what a toolchain consists of, and the newest rustup for its host if that is here.
async fn chosen(
    store: &Store,
    wish: &ToolchainWish,
    host: &TargetTriple,
    selected: &mut SelectedToolchains,
) -> Result<()> {
    let target = match wish {
        ToolchainWish::Toolchain(pinned) => {
            let ToolchainName { channel, day } = pinned.name;
            let name = ManifestName { day, channel };
            for key in stored_files(store, pinned, host).await? {
                selected.add_file(&key);
                // Under its day, too: so its files can be checked for as long as they are there.
                if let ToolchainItem::Component(file) = key.item {
                    let day = Some(file.day);
                    let dated = ManifestName { day, channel };
                    let manifests = store.toolchain_manifests(day).await?;
                    if manifests.iter().any(|manifest| manifest.name == dated) {
                        selected.add_document(&ToolchainDocument::Manifest(dated));
                    }
                }
            }
            if let Some((found, _)) = store.newest_manifest(&name).await? {
                selected.add_document(&ToolchainDocument::Manifest(found));
            }
            *pinned.host.as_ref().unwrap_or(host)
        }
        ToolchainWish::File(file) => {
            let item = ToolchainItem::Component(*file);
            for key in store.toolchain_files(&item).await? {
                selected.add_file(&key);
            }
            for manifest in store.toolchain_manifests(Some(file.day)).await? {
                selected.add_document(&ToolchainDocument::Manifest(manifest.name));
            }
            return Ok(());
        }
        ToolchainWish::Rustup(None) => *host,
        ToolchainWish::Rustup(Some(file)) => match file.release {
            InitRelease::Newest => file.target,
            InitRelease::Version(_) => {
                return match choose_init(store, *file, selected).await? {
                    true => Ok(()),
                    false => Err(Error::absent(format!("{file} isn't here"))),
                };
            }
        },
    };
    let release = ToolchainDocument::RustupRelease;
    let Some(record) = store.peek_record(release).await? else {
        return Ok(());
    };
    selected.add_document(&release);
    let version = RustupRelease::parse(&record.body).ok();
    let version = version.map(|newest| InitRelease::Version(newest.version));
    for release in version.into_iter().chain([InitRelease::Newest]) {
        choose_init(store, InitFile { release, target }, selected).await?;
    }
    Ok(())
}

/// Adds a rustup-init with its checksum, if both are here; whether they are.
async fn choose_init(
    store: &Store,
    file: InitFile,
    selected: &mut SelectedToolchains,
) -> Result<bool> {
    let Some(key) = stored_init(store, file).await? else {
        return Ok(false);
    };
    let is_here = store.size_of(&Key::from(key)).await?.is_some();
    if is_here {
        selected.add_document(&ToolchainDocument::InitSum(file));
        selected.add_file(&key);
    }
    Ok(is_here)
}

impl ExportOptions {
    fn job(&self, flags: &Flags, config: &Config) -> Result<Job> {
        let registry = self.registry(config)?;
        let (scope, wishes, strange) = self.scope(config)?;
        if self.format == Format::Bundle {
            if self.url.is_some() {
                return Err(Error::config(
                    "--url goes with --format static and git only",
                ));
            }
            let is_theirs = registry.is_none_or(|name| name == RegistryName::toolchains());
            let toolchains = match self.lockfiles.is_empty() && is_theirs {
                true => ToolchainScope::Everything(config.toolchains.channels.clone()),
                false => ToolchainScope::Nothing,
            };
            let plan = Plan {
                scope,
                registry,
                toolchains,
                limit: self.split.as_deref().map(part_size).transpose()?,
                indexes: indexes(config),
                attachments: self.attachments(flags, config)?,
                gate: Some(gate(config)?),
            };
            let output = self.output()?;
            output.check().map_err(|UnwritablePath { path, why }| {
                let path = path.display();
                Error::config(format!(
                    "--output: {path} can't be written: {why}; name a file, or `-` for standard output"
                ))
            })?;
            let since = self.since.iter().map(|text| baseline(text)).collect();
            let kind = Make::Bundle(plan, since, output, self.key()?);
            return Ok(Job {
                kind,
                wishes,
                strange,
            });
        }
        self.is_for_folder()?;
        if !wishes.is_empty() {
            return Err(Error::config(
                "a rust-toolchain.toml goes with bundles, not with folders",
            ));
        }
        let default = config.registries.iter().find(|(_, r)| r.default);
        let registry = registry.or(default.map(|(name, _)| *name));
        let kind = Make::Tree(Tree {
            folder: self.output.clone(),
            layout: self.layout()?,
            registry: registry.unwrap_or_else(RegistryName::crates_io),
            scope,
            gate: Some(gate(config)?),
        });
        Ok(Job {
            kind,
            wishes,
            strange,
        })
    }

    /// The index as a repository, if nothing is said that doesn't go with that.
    fn git(&self, config: &Config) -> Result<GitExport> {
        self.is_for_folder()?;
        if !self.lockfiles.is_empty() {
            return Err(Error::config(
                "--format git writes the index as this mirror has it: leave out the Cargo.lock files",
            ));
        }
        if self.output == Path::new("-") {
            return Err(Error::config("--format git needs a folder to write to"));
        }
        Ok(GitExport {
            folder: self.output.clone(),
            registry: self.registry(config)?,
            url: self.url()?,
        })
    }

    /// Whether what is said goes with folders.
    fn is_for_folder(&self) -> Result<()> {
        let bundles_only = [
            ("--since", !self.since.is_empty()),
            ("--split", self.split.is_some()),
            ("--sign", self.sign.is_some()),
            ("--manifest-only", self.manifest_only),
            ("--advisories", self.advisories),
            ("--policy", self.policy),
            ("--toolchains", self.toolchains),
        ];
        if let Some((flag, _)) = bundles_only.iter().find(|(_, said)| *said) {
            return Err(Error::config(format!(
                "{flag} goes with bundles, not with folders"
            )));
        }
        Ok(())
    }

    /// What goes beside the crates.
    fn attachments(&self, flags: &Flags, config: &Config) -> Result<Vec<Attachment>> {
        if self.manifest_only && (self.advisories || self.policy) {
            return Err(Error::config(
                "--manifest-only carries nothing: leave out --advisories and --policy",
            ));
        }
        let mut attachments = Vec::new();
        if self.advisories {
            attachments.push(attachments::advisories(config, SystemTime::now())?);
        }
        if self.policy {
            attachments.push(attachments::policy(flags)?);
        }
        Ok(attachments)
    }

    fn url(&self) -> Result<Option<BaseUrl>> {
        let url = self.url.as_deref().map(|text| {
            BaseUrl::parse(text).ok_or_else(|| {
                Error::config(format!(
                    "--url {text:?} is not an http or https URL without `?` and `#`, such as https://host/path"
                ))
            })
        });
        url.transpose()
    }

    fn layout(&self) -> Result<Layout> {
        match (self.format, self.url()?) {
            (Format::Static, Some(url)) => Ok(Layout::Static(url)),
            (Format::Static, None) => Err(Error::config(
                "--format static needs --url, the URL under which the folder will be served: cargo is told where the crates are",
            )),
            (_, None) => Ok(Layout::LocalRegistry),
            (_, Some(_)) => Err(Error::config("--url goes with --format static only")),
        }
    }

    fn output(&self) -> Result<Output> {
        let file = self.output.clone();
        let is_stdout = file == Path::new("-");
        match (is_stdout, self.manifest_only, self.split.is_some()) {
            (_, true, true) => Err(Error::config("a manifest isn't split: leave out --split")),
            (true, false, true) => Err(Error::config("standard output isn't split: name a file")),
            (true, true, _) => Err(Error::config("--manifest-only needs a file to write to")),
            (false, true, false) => Ok(Output::Manifest(file)),
            (false, false, true) => Ok(Output::Parts(file)),
            (false, false, false) => Ok(Output::Bundle(file)),
            (true, false, false) if std::io::stdout().is_terminal() => Err(Error::config(
                "a bundle is nothing for a terminal: name a file, or pipe it somewhere",
            )),
            (true, false, false) => Ok(Output::Stdout),
        }
    }

    fn key(&self) -> Result<Option<SigningKey>> {
        let Some(file) = &self.sign else {
            return Ok(None);
        };
        if self.manifest_only {
            return Err(Error::config(
                "--manifest-only isn't signed: leave out --sign",
            ));
        }
        let password = || {
            match std::env::var(PASSWORD) {
            Ok(password) => Ok(password),
            Err(_) => rpassword::prompt_password(format!("Password of {}: ", file.display()))
                .map_err(|e| {
                    Error::config(format!(
                        "--sign: the password of {} can't be asked for: {e}; {PASSWORD} may hold it",
                        file.display()
                    ))
                    .with_source(e)
                }),
        }
        };
        match SigningKey::load(file, password) {
            Ok(key) => Ok(Some(key)),
            Err(SecretKeyError::Password(e)) => Err(e),
            Err(SecretKeyError::Unusable(e)) => {
                let (file, why) = (file.display(), e.message());
                let said = format!(
                    "--sign: {file} {why}; it takes the secret key that `minisign -G` makes"
                );
                Err(e.clone().reworded(said))
            }
        }
    }

    fn registry(&self, config: &Config) -> Result<Option<RegistryName>> {
        let Some(text) = &self.registry else {
            return Ok(None);
        };
        let known = config.registries.keys().find(|name| name.as_str() == text);
        // One that isn't configured may be stored all the same.
        known
            .copied()
            .map_or_else(
                || {
                    RegistryName::parse(text)
                        .map_err(|e| Error::config(format!("--registry: {e}")).with_source(e))
                },
                Ok,
            )
            .map(Some)
    }

    /// What is asked for, and how much of it is of registries that aren't this mirror's.
    fn scope(&self, config: &Config) -> Result<(Scope, ToolchainWishes, u64)> {
        if self.toolchains {
            return Ok((Scope::Only(SelectedCrates::default()), Vec::new(), 0));
        }
        if self.lockfiles.is_empty() {
            return Ok((Scope::Everything, Vec::new(), 0));
        }
        let list = List::read(&self.lockfiles, std::io::stdin())?;
        if let Some(name) = list.requests.first() {
            return Err(Error::config(format!(
                "{name} is the name of a crate; export takes Cargo.lock files and folders with such files"
            )));
        }
        let (selected, aside) = list.selected(config.origins());
        for Missing { what, why, .. } in &aside.strange {
            say::aside(format_args!("missing  {what}: {why}"));
        }
        for (what, why) in &aside.named {
            say::aside(format_args!("skipped  {what}: {why}"));
        }
        let mut crates = SelectedCrates::default();
        for selected in selected {
            crates.add(selected);
        }
        let strange = aside.strange.len() as u64;
        Ok((Scope::Only(crates), list.toolchains, strange))
    }
}

/// What `--since` says: a date (`2026-11-01`, which is its midnight in UTC), a time (`2026-11-01T12:00:00Z`) or a file's path.
fn baseline(text: &str) -> Baseline {
    match parse_date(text) {
        Ok(time) => Baseline::Time(time),
        Err(_) => Baseline::File(text.into()),
    }
}

fn part_size(text: &str) -> Result<u64> {
    let size = text.parse::<ByteSize>().ok();
    let size = size.map(|size| size.0).filter(|&size| size >= LEAST_PART);
    size.ok_or_else(|| {
        Error::config(format!(
            "--split {text:?} is not a size; allowed is one such as 4GiB, at least 1MiB"
        ))
    })
}

/// Where the registries' indexes are, without what may only be known here.
fn indexes(config: &Config) -> std::collections::BTreeMap<RegistryName, String> {
    let index = |(name, registry): (&RegistryName, &crate::config::RegistrySettings)| {
        (*name, loggable_url(registry.index.as_url()))
    };
    config.registries.iter().map(index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_names_the_option_that_helps() {
        let said = |e| doesnt_fit(e).to_string();
        assert!(said(CollectError::TooManyEntries(3)).contains("use --split"));
        let (path, size) = ("a".to_owned(), 7);
        let large = said(CollectError::EntryTooLarge { path, size });
        assert!(large.starts_with("--split: a has 7 bytes"), "{large}");
    }
}
