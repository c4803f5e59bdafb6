//! `export`: what is stored, made into something that can be carried: bundles, or a folder that cargo reads without this program.

use std::{
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use bytesize::ByteSize;
use clap::ValueEnum;

use super::{
    bar,
    interrupt::{self, Ended, Stop},
    say,
};
use crate::{
    app,
    bundle::{
        self, Layout, Order, Output, Picks, Selection, SigningKey, Since, Tree, Trouble, Watch,
        Written,
    },
    config::{self, BaseUrl, Config, Flags},
    domain::RegistryName,
    error::{Error, Result},
    prefetch::{List, Missing},
    store::Store,
};

/// The variable with the password of the key that signs, for where nobody can be asked.
const PASSWORD: &str = "CRATE_MIRROR_SIGN_PASSWORD";
/// Less makes no sense on any medium, and the room beside the entries must not be most of it.
const LEAST_PART: u64 = 1 << 20;

/// What `export` is told.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Only what these Cargo.lock files need (a folder is searched for them); without any, everything that is stored.
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
    /// What to make.
    #[arg(long, value_enum, default_value_t = Format::Bundle)]
    format: Format,
    /// With `--format static`: the URL under which the folder will be served.
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
}

/// What there is to do, once all that was said makes sense.
struct Job {
    kind: Make,
    /// How many packages are of registries that aren't this mirror's.
    strange: u64,
}

enum Make {
    Bundle(Order, Output, Option<SigningKey>),
    Tree(Tree),
}

/// Exports what is stored and good. Exit code 1 when something of it was bad, or something that was asked for is missing, or when there
/// was nothing at all; all else is exported.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when the settings, the store or the flags can't be used, [`Kind::Store`](crate::error::Kind::Store) when
/// something can't be read or written.
pub async fn run(flags: &Flags, options: &Options) -> Result<ExitCode> {
    let config = config::load(flags)?;
    let job = options.job(&config)?;
    let store = app::existing_store(&config)?;
    let quiet = options.output == Path::new("-");
    match interrupt::blocking(move |stop| work(&store, job, quiet, &stop)).await? {
        Ended::Done(done) => done,
        // It may have come to its end all the same.
        Ended::Interrupted(Ok(code)) => Ok(code),
        Ended::Interrupted(Err(_)) => Ok(interrupt::told(
            "nothing half-written is left of the export; run it again",
        )),
    }
}

fn work(store: &Store, job: Job, to_stdout: bool, stop: &Stop) -> Result<ExitCode> {
    let started = Instant::now();
    let progress = bar::unknown("checking");
    let watch = Watch {
        total: &|bytes| bar::know(&progress, bytes),
        bytes: &|bytes| progress.inc(bytes),
        say: &|line| progress.suspend(|| say::aside(line)),
        is_over: &|| stop.is_set(),
    };
    let is_delta = matches!(&job.kind, Make::Bundle(order, ..) if !order.since.is_empty());
    let (mut trouble, amount, summary, after) = match job.kind {
        Make::Bundle(order, output, key) => {
            let picked = bundle::pick(store, &order, &watch)?;
            let (trouble, (entries, bytes)) = (picked.trouble, picked.size());
            let written = bundle::export(store, picked, &output, key.as_ref(), &watch)?;
            let what = format!("{entries} entries of {}", ByteSize(bytes).display().iec());
            (trouble, entries, what, list(&written))
        }
        Make::Tree(tree) => {
            let usage = usage(&tree);
            let made = bundle::plant(store, &tree, &watch)?;
            let bytes = ByteSize(made.bytes).display().iec();
            let (files, crates) = (made.index_files, made.crates);
            let what = format!("{files} index files and {crates} crates of {bytes}");
            let what = format!("{what} in {}", tree.folder.display());
            (made.trouble, files, what, usage)
        }
    };
    progress.finish_and_clear();
    trouble.missing += job.strange;
    let seconds = started.elapsed().as_secs_f64();
    let summary = format!("{summary}, in {seconds:.1} s{}{after}", said_of(trouble));
    // Whoever started it may have stopped reading.
    let _ = match to_stdout {
        true => writeln!(std::io::stderr(), "{summary}"),
        false => writeln!(std::io::stdout(), "{summary}"),
    };
    // There may be nothing new; that there is nothing at all is hardly what somebody wants to carry.
    let in_vain = amount == 0 && !is_delta;
    if in_vain {
        say::aside(
            "nothing of what was asked for is stored: what was written is empty; does `store.path` (`--store`) name the right folder?",
        );
    }
    Ok(match trouble.bad + trouble.missing {
        0 if !in_vain => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
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

fn list(written: &[Written]) -> String {
    let file = |file: &Written| {
        let size = ByteSize(file.bytes).display().iec();
        format!("\n  {} ({size})", file.path.display())
    };
    written.iter().map(file).collect()
}

fn said_of(trouble: Trouble) -> String {
    let mut said = String::new();
    for (count, what) in [
        (
            trouble.bad,
            "bad and left out (`crate-mirror verify --repair` drops them)",
        ),
        (trouble.missing, "missing"),
        (trouble.unlisted, "crates left out that no index lists"),
    ] {
        if count > 0 {
            said += &format!(", {count} {what}");
        }
    }
    said
}

impl Options {
    fn job(&self, config: &Config) -> Result<Job> {
        let registry = self.registry(config)?;
        let (selection, strange) = self.selection(config)?;
        if self.format == Format::Bundle {
            if self.url.is_some() {
                return Err(Error::config("--url goes with --format static only"));
            }
            let order = Order {
                selection,
                since: self.since.iter().map(|text| Since::parse(text)).collect(),
                registry,
                limit: self.split.as_deref().map(part_size).transpose()?,
                indexes: indexes(config),
            };
            let output = self.output()?;
            output.check()?;
            let kind = Make::Bundle(order, output, self.key()?);
            return Ok(Job { kind, strange });
        }
        let bundles_only = [
            ("--since", !self.since.is_empty()),
            ("--split", self.split.is_some()),
            ("--sign", self.sign.is_some()),
            ("--manifest-only", self.manifest_only),
        ];
        if let Some((flag, _)) = bundles_only.iter().find(|(_, said)| *said) {
            return Err(Error::config(format!(
                "{flag} goes with bundles, not with folders"
            )));
        }
        let default = config.registries.iter().find(|(_, r)| r.default);
        let registry = registry.or(default.map(|(name, _)| *name));
        let kind = Make::Tree(Tree {
            folder: self.output.clone(),
            layout: self.layout()?,
            registry: registry.unwrap_or_else(RegistryName::crates_io),
            selection,
        });
        Ok(Job { kind, strange })
    }

    fn layout(&self) -> Result<Layout> {
        let url = self.url.as_deref().map(|text| {
            BaseUrl::parse(text).ok_or_else(|| {
                Error::config(format!(
                    "--url {text:?} is not an http or https URL without `?` and `#`, such as https://host/path"
                ))
            })
        });
        match (self.format, url.transpose()?) {
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
                }),
        }
        };
        SigningKey::load(file, password).map(Some)
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
                || RegistryName::parse(text).map_err(|e| Error::config(format!("--registry: {e}"))),
                Ok,
            )
            .map(Some)
    }

    /// What is asked for, and how much of it is of registries that aren't this mirror's.
    fn selection(&self, config: &Config) -> Result<(Selection, u64)> {
        if self.lockfiles.is_empty() {
            return Ok((Selection::Whole, 0));
        }
        let list = List::read(&self.lockfiles, std::io::stdin())?;
        if let Some(name) = list.wanted.first() {
            return Err(Error::config(format!(
                "{name} is the name of a crate; export takes Cargo.lock files and folders with such files"
            )));
        }
        let (needed, aside) = list.needed(config.origins());
        for Missing { what, why, .. } in &aside.strange {
            say::aside(format_args!("missing  {what}: {why}"));
        }
        for (what, why) in &aside.named {
            say::aside(format_args!("skipped  {what}: {why}"));
        }
        let mut picks = Picks::default();
        for needed in needed {
            picks.add(needed.registry, needed.id, needed.sha256);
        }
        Ok((Selection::Wanted(picks), aside.strange.len() as u64))
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
    let index = |(name, registry): (&RegistryName, &crate::config::Registry)| {
        let mut url = registry.index.as_url().clone();
        let _ = (url.set_password(None), url.set_username(""));
        (*name, url.to_string())
    };
    config.registries.iter().map(index).collect()
}
