//! `import`: what is in bundles, added to the store.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytesize::ByteSize;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use super::{
    attachments, bar,
    interrupt::{self, Completion, Stop},
    say,
};
use crate::{
    app,
    bundle::{self, Imported, NotPublicKey, Observer, PublicKey},
    config::{self, Config, Flags},
    error::{Error, Result},
    metrics::Metrics,
    store::Store,
};

/// What `import` is told.
#[derive(clap::Args, Clone, Debug)]
pub struct ImportOptions {
    /// The bundles, in the order in which they were made; `-` is standard input.
    #[arg(required = true, value_name = "BUNDLE")]
    bundles: Vec<PathBuf>,
    /// Take only what this minisign key has signed: a file, or the key itself.
    #[arg(long, value_name = "PUBKEY")]
    require_signature: Option<String>,
    /// Also take the rules that a bundle has (`export --policy`), in place of those in `policy.file`: they could loosen what holds here.
    #[arg(long, requires = "require_signature")]
    with_policy: bool,
}

/// Imports one bundle after the other. A running mirror is told, also when one of them is refused half-way or a signal ends it: what came before is
/// kept. Exit code 1 after a signal.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when the settings, the store or the key can't be used,
/// [`Kind::BadRequest`](crate::error::Kind::BadRequest) when a bundle is refused, [`Kind::Store`](crate::error::Kind::Store) when the store can't be written.
pub async fn run(flags: &Flags, options: &ImportOptions) -> Result<ExitCode> {
    let config = config::load(flags)?;
    let key = options.require_signature.as_deref();
    let key = key.map(public_key).transpose()?;
    if options.with_policy {
        attachments::policy_file(&config)?;
    }
    let store = app::open_store(&config, &Arc::new(Metrics::new())).await?;
    let started = Instant::now();
    let (bundles, importing) = (options.bundles.clone(), store.clone());
    let work = move |stop| {
        let mut done = Imported::default();
        let ended = import_all(&bundles, key.as_ref(), &importing, &mut done, &stop);
        (done, ended)
    };
    let ended = interrupt::blocking(work).await?;
    let (Completion::Done((done, _)) | Completion::Interrupted((done, _))) = &ended;
    let told = match done.written {
        0 => Ok(()),
        _ => store.announce_change().await,
    };
    warn_of_unknown(&config, done);
    let summary = summary(done, started.elapsed());
    let failed = match ended {
        // It may have come to its end all the same. Whoever started it may have stopped reading.
        Completion::Done((done, Ok(()))) | Completion::Interrupted((done, Ok(()))) => {
            let _ = writeln!(io::stdout(), "{summary}");
            for attachment in &done.attachments {
                let now = SystemTime::now();
                let takes_policy = options.with_policy;
                let said = attachments::place(flags, &config, attachment, takes_policy, now)?;
                let _ = writeln!(io::stdout(), "{said}");
            }
            return told.map(|()| ExitCode::SUCCESS);
        }
        Completion::Done((_, Err(wrong))) => {
            say::aside(format_args!("{summary}, and then something was wrong"));
            Err(wrong)
        }
        Completion::Interrupted((_, Err(_))) => {
            say::aside(summary);
            let how_to_go_on = "what has come whole is stored, and running it again goes on there";
            Ok(interrupt::told(how_to_go_on))
        }
    };
    if let Err(e) = told {
        tracing::error!("a running mirror isn't told of what was imported: {e}");
    }
    failed
}

/// What `--require-signature` says: a file with a key, or the key itself.
fn public_key(text: &str) -> Result<PublicKey> {
    PublicKey::parse(text).map_err(|e| {
        let what = match e {
            NotPublicKey::File => "is not a public key",
            NotPublicKey::Text => "is neither a file nor a public key",
        };
        Error::config(format!(
            "--require-signature: {text:?} {what}; it takes minisign.pub, or the line in it that starts with RW"
        ))
    })
}

fn summary(done: &Imported, took: Duration) -> String {
    format!(
        "{} entries of {} written, {} were there, in {:.1} s",
        done.written,
        ByteSize(done.bytes).display().iec(),
        done.skipped,
        took.as_secs_f64()
    )
}

fn import_all(
    bundles: &[PathBuf],
    key: Option<&PublicKey>,
    store: &Store,
    done: &mut Imported,
    stop: &Stop,
) -> Result<()> {
    for path in bundles {
        let progress = bar::unknown("reading");
        let observer = Observer {
            total: &|bytes| bar::know(&progress, bytes),
            bytes: &|bytes| progress.inc(bytes),
            say: &|line| progress.suspend(|| say::aside(line)),
            is_over: &|| stop.is_set(),
        };
        let source = Patient {
            file: open(path)?,
            stop,
        };
        let imported = bundle::import(source, key, store, SystemTime::now(), &observer, done);
        progress.finish_and_clear();
        imported.map_err(|e| {
            let said = format!("the bundle {}: {e}", path.display());
            Error::new(e.kind(), said).with_source(e)
        })?;
    }
    Ok(())
}

fn open(path: &Path) -> Result<File> {
    let opened = match path == Path::new("-") {
        // Without the buffer before it, whose bytes nobody could wait for.
        true => io::stdin().as_fd().try_clone_to_owned().map(File::from),
        false => File::open(path),
    };
    opened.map_err(|e| {
        Error::bad_request(format!("the bundle {} can't be read: {e}", path.display()))
            .with_source(e)
    })
}

/// A file, or a pipe that somebody fills slowly or not at all: whoever waits for it can be stopped.
struct Patient<'a> {
    file: File,
    stop: &'a Stop,
}

/// How long it takes to notice.
const LOOK_UP_EVERY: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

impl Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.stop.is_set() {
                return Err(io::Error::other("the import was ended"));
            }
            let mut source = [PollFd::new(&self.file, PollFlags::IN)];
            match poll(&mut source, Some(&LOOK_UP_EVERY)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return self.file.read(buffer),
                Err(e) => return Err(e.into()),
            }
        }
    }
}

/// Entries of a registry that has no settings here are stored all the same: the settings may come later.
fn warn_of_unknown(config: &Config, done: &Imported) {
    let known = |name: &str| config.registries.keys().any(|known| known.as_str() == name);
    for name in done.registries.iter().filter(|name| !known(name)) {
        tracing::warn!(
            "the bundle has crates of the registry {name}, which are not served until the settings have [registries.{name}]"
        );
    }
}
