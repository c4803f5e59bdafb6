//! Toolchains: which files one has by its manifest, whether they are here, and fetched if not.

use std::sync::{Arc, atomic::Ordering};

use super::{
    missing::Missing, parallel, patience::Tries, prefetcher::Prefetcher, readiness::CheckDepth,
};
use crate::{
    domain::{
        FileKey, Key, MissedRequest, MissedToolchain, Outcome, Sha256,
        toolchain::{
            ComponentFile, InitFile, InitRelease, ManifestName, PinnedToolchain, RustupRelease,
            SumFile, TargetTriple, ToolchainDocument, ToolchainItem, ToolchainKey,
            ToolchainManifest, ToolchainName, ToolchainPath, ToolchainTarget,
        },
    },
    error::{Error, Kind, Result},
    mirror::ToolchainAnswer,
    store::{Store, Verification},
};

/// So many files are fetched at once, as rustup itself does it; each may have a hundred megabytes.
const AT_ONCE: usize = 4;
/// What a manifest takes beside its text while it is read whole, a multiple of that.
const READ_WHOLE: u64 = 2;
/// The profile that rustup takes where none is said.
const PROFILE: &str = "default";

/// Something of toolchains that somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolchainWish {
    /// What a project is built with.
    Toolchain(PinnedToolchain),
    /// One file of one.
    File(ComponentFile),
    /// rustup itself: the newest, or that one.
    Rustup(Option<InitFile>),
}

/// What is asked for, each with who asks for it.
pub type ToolchainWishes = Vec<(Arc<str>, ToolchainWish)>;

impl ToolchainWish {
    /// What was missed.
    pub fn of_missed(missed: MissedToolchain) -> Self {
        match missed {
            MissedToolchain::Channel(name) => Self::Toolchain(PinnedToolchain {
                name,
                host: None,
                profile: None,
                components: Vec::new(),
                targets: Vec::new(),
            }),
            MissedToolchain::File(file) => Self::File(file),
            MissedToolchain::Rustup => Self::Rustup(None),
            MissedToolchain::Init(file) => Self::Rustup(Some(file)),
        }
    }
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct ToolchainReport {
    /// How many files came from upstream.
    pub fetched: u64,
    /// How many were here already.
    pub here: u64,
    /// What couldn't be had.
    pub missing: Vec<Missing>,
    /// What else should be known.
    pub notes: Vec<String>,
    /// What is here now.
    pub kept: Vec<Key>,
}

/// The files that `pinned` has by its manifest, for `host` where it names none.
///
/// # Errors
/// [`Kind::Absent`] with what the release doesn't have.
pub fn files_of(
    manifest: &[u8],
    pinned: &PinnedToolchain,
    host: &TargetTriple,
) -> Result<Vec<(ComponentFile, Sha256)>> {
    let wrong = |why: String| Error::absent(format!("{}: {why}", pinned.name));
    let text =
        std::str::from_utf8(manifest).map_err(|_| wrong("its manifest is no text".into()))?;
    let read = ToolchainManifest::parse(text).map_err(wrong)?;
    let target = ToolchainTarget {
        host: pinned.host.as_ref().unwrap_or(host).to_string(),
        profile: pinned.profile.clone().unwrap_or_else(|| PROFILE.to_owned()),
        components: pinned.components.clone(),
        targets: pinned.targets.clone(),
    };
    read.files_of(&target).map_err(wrong)
}

/// The triple of the machine that this runs on.
///
/// # Errors
/// [`Kind::Config`] when it isn't known.
pub fn this_machine() -> Result<TargetTriple> {
    let architecture = std::env::consts::ARCH;
    let system = match std::env::consts::OS {
        "linux" if cfg!(target_env = "musl") => "unknown-linux-musl",
        "linux" => "unknown-linux-gnu",
        "macos" => "apple-darwin",
        "windows" if cfg!(target_env = "gnu") => "pc-windows-gnu",
        "windows" => "pc-windows-msvc",
        "freebsd" => "unknown-freebsd",
        "netbsd" => "unknown-netbsd",
        _ => "",
    };
    TargetTriple::parse(&format!("{architecture}-{system}")).ok_or_else(|| {
        Error::config(
            "what this machine is called by rustup isn't known; write the host behind the toolchain's name, as in stable-x86_64-unknown-linux-gnu",
        )
    })
}

impl Prefetcher {
    /// Fetches what isn't here of what is asked for, each wish with who asks for it; with a toolchain comes the newest rustup for its host.
    ///
    /// # Errors
    /// [`Kind::Internal`] when a task panics; what can't be had is in the report.
    pub async fn toolchains(
        &self,
        wishes: ToolchainWishes,
        host: &TargetTriple,
    ) -> Result<ToolchainReport> {
        let mut report = ToolchainReport::default();
        let (mut files, mut hosts, mut inits) = (Vec::new(), Vec::new(), Vec::new());
        for (by, wish) in wishes {
            match wish {
                ToolchainWish::Toolchain(pinned) => {
                    let what = format!("toolchains:{}", pinned.name);
                    match self.manifest(&pinned, &mut report).await {
                        Ok(manifest) => match self.chosen(manifest, &pinned, host).await {
                            Ok(of) => {
                                let of = of.into_iter();
                                files.extend(of.map(|(file, sha256)| WantedFile {
                                    item: ToolchainItem::Component(file),
                                    sha256: Some(sha256),
                                    by: by.clone(),
                                }));
                                hosts.push(*pinned.host.as_ref().unwrap_or(host));
                            }
                            Err(e) => report.lacks(what, &e, &by),
                        },
                        Err(e) => report.lacks(what, &e, &by),
                    }
                }
                ToolchainWish::File(file) => files.push(WantedFile {
                    item: ToolchainItem::Component(file),
                    sha256: None,
                    by,
                }),
                ToolchainWish::Rustup(None) => hosts.push(*host),
                ToolchainWish::Rustup(Some(file)) => match file.release {
                    InitRelease::Newest => hosts.push(file.target),
                    InitRelease::Version(_) => inits.push((file, by)),
                },
            }
        }
        hosts.sort_unstable();
        hosts.dedup();
        files.extend(self.rustups(hosts, &mut report).await);
        for (file, by) in inits {
            match self.init(file, by.clone(), &mut report).await {
                Ok(wanted) => files.push(wanted),
                Err(e) => {
                    let what = MissedRequest::of_toolchain(&ToolchainPath::Init(file));
                    report.lacks(what.to_string(), &e, &by);
                }
            }
        }
        // Of two that want the same file, one with its checksum stays.
        files.sort_by_key(|wanted| (wanted.item.path_of().path(), wanted.sha256.is_none()));
        files.dedup_by_key(|wanted| wanted.item);
        let progress = self.progress().clone();
        progress
            .total
            .fetch_add(files.len() as u64, Ordering::Relaxed);
        let work = |wanted: WantedFile| {
            let this = self.clone();
            async move {
                let got = this.item(&wanted).await;
                this.progress().done.fetch_add(1, Ordering::Relaxed);
                (wanted, got)
            }
        };
        let at_once = self.at_once.min(AT_ONCE);
        for (WantedFile { item, by, .. }, got) in parallel::each(files, at_once, work).await? {
            match got {
                Ok((key, Outcome::Miss)) => {
                    report.fetched += 1;
                    report.kept.push(key.into());
                }
                Ok((key, _)) => {
                    report.here += 1;
                    report.kept.push(key.into());
                }
                Err(e) => {
                    let what = MissedRequest::of_toolchain(&item.path_of()).to_string();
                    report.lacks(what, &e, &by);
                }
            }
        }
        Ok(report)
    }

    /// The files that a toolchain has by its manifest, which is read whole for this moment, beside the threads that serve.
    async fn chosen(
        &self,
        manifest: bytes::Bytes,
        pinned: &PinnedToolchain,
        host: &TargetTriple,
    ) -> Result<Vec<(ComponentFile, Sha256)>> {
        let needed = READ_WHOLE * manifest.len() as u64;
        let lease = self.mirror.make_room(needed).ok_or_else(|| {
            let name = &pinned.name;
            Error::new(
                Kind::Overloaded,
                format!("there is no memory for the manifest of {name} at the moment"),
            )
        })?;
        let (pinned, host) = (pinned.clone(), *host);
        let read = move || {
            let _held = lease;
            files_of(&manifest, &pinned, &host)
        };
        let read = tokio::task::spawn_blocking(read).await;
        read.map_err(|e| Error::ended_early("reading a manifest", e))?
    }

    /// The manifest of a toolchain, as fresh as upstream has it.
    async fn manifest(
        &self,
        pinned: &PinnedToolchain,
        report: &mut ToolchainReport,
    ) -> Result<bytes::Bytes> {
        let mut tries = Tries::default();
        loop {
            let found = self
                .mirror
                .toolchain_manifest(&pinned.name, (self.clock)())
                .await;
            match found {
                Err(e) if self.patience.again(&mut tries, &e).await => {}
                done => {
                    let manifest = self.patience.settle(tries, done)?;
                    let ToolchainName { channel, day } = pinned.name;
                    let document = ToolchainDocument::Manifest(ManifestName { day, channel });
                    report.kept.push(document.into());
                    return Ok(manifest);
                }
            }
        }
    }

    /// The newest rustup for these hosts, under both of its names: who has one asks for it by its version, who has none for the newest. A distribution host without rustup
    /// keeps nobody from having its toolchains.
    async fn rustups(
        &self,
        hosts: Vec<TargetTriple>,
        report: &mut ToolchainReport,
    ) -> Vec<WantedFile> {
        if hosts.is_empty() {
            return Vec::new();
        }
        let by: Arc<str> = "rustup".into();
        let release = match self.text(&ToolchainPath::RustupRelease).await {
            Ok(text) => RustupRelease::parse(&text).ok(),
            Err(e) => {
                report
                    .notes
                    .push(format!("rustup itself isn't fetched: {e}"));
                return Vec::new();
            }
        };
        report.kept.push(ToolchainDocument::RustupRelease.into());
        let mut items = Vec::new();
        for target in hosts {
            let versions = release.map(|release| InitRelease::Version(release.version));
            for release in versions.into_iter().chain([InitRelease::Newest]) {
                let file = InitFile { release, target };
                match self.init(file, by.clone(), report).await {
                    Ok(wanted) => items.push(wanted),
                    Err(e) => report.notes.push(format!("{file} isn't fetched: {e}")),
                }
            }
        }
        items
    }

    /// A rustup-init, by its checksum, which is fetched here.
    async fn init(
        &self,
        file: InitFile,
        by: Arc<str>,
        report: &mut ToolchainReport,
    ) -> Result<WantedFile> {
        let text = self.text(&ToolchainPath::InitSum(file)).await?;
        report.kept.push(ToolchainDocument::InitSum(file).into());
        Ok(WantedFile {
            item: ToolchainItem::Init(file),
            sha256: SumFile::parse(&text).ok().map(|sum| sum.sha256),
            by,
        })
    }

    /// A text of rustup's.
    async fn text(&self, path: &ToolchainPath) -> Result<bytes::Bytes> {
        let mut tries = Tries::default();
        loop {
            let found = self.mirror.toolchain_unasked(path, (self.clock)()).await;
            match found {
                Err(e) if self.patience.again(&mut tries, &e).await => {}
                done => {
                    return match self.patience.settle(tries, done)?.value {
                        ToolchainAnswer::Text(text) => Ok(text.bytes),
                        ToolchainAnswer::File(_) => Err(Error::internal("a text is a file")),
                    };
                }
            }
        }
    }

    /// One file, fetched if it isn't here.
    async fn item(&self, wanted: &WantedFile) -> Result<(ToolchainKey, Outcome)> {
        let mut tries = Tries::default();
        loop {
            match self.try_item(wanted).await {
                Err(e) if self.patience.again(&mut tries, &e).await => {}
                done => return self.patience.settle(tries, done),
            }
        }
    }

    async fn try_item(&self, wanted: &WantedFile) -> Result<(ToolchainKey, Outcome)> {
        let (item, now) = (wanted.item, (self.clock)());
        if self.depth == CheckDepth::Glance {
            let store = self.mirror.store();
            if let Some(key) = wanted.stored(store).await
                && let Ok(Some(1..)) = store.mark_used(&Key::from(key), now).await
            {
                return Ok((key, Outcome::Hit));
            }
        }
        let found = self.mirror.toolchain_unasked(&item.path_of(), now).await?;
        let (answer, outcome) = (found.value, found.outcome);
        let mut body = match answer {
            ToolchainAnswer::File(body) => body,
            ToolchainAnswer::Text(_) => return Err(Error::internal("a file is a text")),
        };
        let key = match *body.key() {
            FileKey::Toolchain(key) => key,
            FileKey::Crate(_) => return Err(Error::internal("a component is a crate")),
        };
        if body.whole().is_some() {
            return Ok((key, outcome));
        }
        let progress = self.progress();
        let expected = body.length().unwrap_or(0);
        progress.expected.fetch_add(expected, Ordering::Relaxed);
        while let Some(bytes) = body.next().await.transpose()? {
            let count = bytes.len() as u64;
            progress.passed.fetch_add(count, Ordering::Relaxed);
            if outcome == Outcome::Miss {
                progress.bytes.fetch_add(count, Ordering::Relaxed);
            }
        }
        Ok((key, outcome))
    }
}

/// A file that is wanted.
struct WantedFile {
    item: ToolchainItem,
    /// What it must hash to, where that is known: what rustup-init is the newest is another file tomorrow.
    sha256: Option<Sha256>,
    /// Who asks for it.
    by: Arc<str>,
}

impl WantedFile {
    /// Under which key the store has it, or would; none where the checksum isn't known and there isn't exactly one.
    async fn stored(&self, store: &Store) -> Option<ToolchainKey> {
        let item = self.item;
        if let Some(sha256) = self.sha256 {
            return Some(ToolchainKey { item, sha256 });
        }
        match store.toolchain_files(&item).await.ok()?[..] {
            [key] => Some(key),
            _ => None,
        }
    }
}

impl ToolchainReport {
    fn lacks(&mut self, what: String, why: &Error, by: &Arc<str>) {
        self.missing.push(Missing {
            what,
            why: why.to_string(),
            by: vec![by.clone()],
        });
    }

    /// Those of what was kept that the store hasn't: a full disk keeps nobody from being served, but whoever carries the store away has to know.
    pub async fn not_stored(&self, store: &Store) -> Vec<Missing> {
        let mut lost = Vec::new();
        for key in &self.kept {
            if !matches!(store.size_of(key).await, Ok(Some(_))) {
                lost.push(Missing {
                    what: key.path(),
                    why: "it was fetched, but the store didn't take it; the log says why".into(),
                    by: Vec::new(),
                });
            }
        }
        lost
    }
}

/// What the store lacks of what is asked for: whether rustup could install it from here with no network. And how many files were looked for.
///
/// # Errors
/// [`Kind::Store`] when the store can't be read.
pub async fn lacking_toolchains(
    store: &Store,
    wishes: &[(Arc<str>, ToolchainWish)],
    host: &TargetTriple,
    depth: CheckDepth,
) -> Result<(usize, Vec<Missing>)> {
    let (mut looked, mut missing) = (0, Vec::new());
    for (by, wish) in wishes {
        let mut lacks = |what: String, why: String| {
            missing.push(Missing {
                what,
                why,
                by: vec![by.clone()],
            });
        };
        let files = match wish {
            ToolchainWish::Toolchain(pinned) => {
                looked += 1;
                let what = format!("toolchains:{}", pinned.name);
                match stored_files(store, pinned, host).await {
                    Ok(files) => files,
                    Err(e) if e.kind() == Kind::Store => return Err(e),
                    Err(e) => {
                        lacks(what, e.to_string());
                        continue;
                    }
                }
            }
            ToolchainWish::File(file) => {
                let item = ToolchainItem::Component(*file);
                looked += 1;
                if store.toolchain_files(&item).await?.is_empty() {
                    let what = MissedRequest::of_toolchain(&item.path_of()).to_string();
                    lacks(what, "it isn't here".to_owned());
                }
                continue;
            }
            ToolchainWish::Rustup(wanted) => {
                looked += 1;
                let file = wanted.unwrap_or(InitFile {
                    release: InitRelease::Newest,
                    target: *host,
                });
                match stored_init(store, file).await? {
                    Some(key) => vec![key],
                    None => {
                        let what = MissedRequest::of_toolchain(&ToolchainPath::Init(file));
                        lacks(what.to_string(), "its checksum isn't here".to_owned());
                        continue;
                    }
                }
            }
        };
        for key in files {
            looked += 1;
            let why = match (store.size_of(&Key::from(key)).await?, depth) {
                (None, _) => Some("it isn't here".to_owned()),
                (Some(_), CheckDepth::Glance) => None,
                (Some(_), CheckDepth::Whole) => match store.verify(&Key::from(key)).await? {
                    Verification::Good => None,
                    Verification::Bad(flaw) => Some(format!("it is bad: {}", flaw.why)),
                    Verification::Unread(why) => Some(format!("it can't be read: {why}")),
                    Verification::Odd(odd) => Some(format!("it is {odd} and not a file")),
                    Verification::Gone => Some("it isn't here".to_owned()),
                },
            };
            if let Some(why) = why {
                let what = MissedRequest::of_toolchain(&key.item.path_of()).to_string();
                lacks(what, why);
            }
        }
    }
    Ok((looked, missing))
}

/// A rustup-init by its stored checksum, whether the file is stored or not; none when the checksum isn't here.
///
/// # Errors
/// [`Kind::Store`] when the store can't be read.
pub async fn stored_init(store: &Store, file: InitFile) -> Result<Option<ToolchainKey>> {
    let sum = match store.peek_record(ToolchainDocument::InitSum(file)).await {
        Err(e) if e.kind() == Kind::Corrupt => None,
        found => found?,
    };
    let sum = sum.and_then(|record| SumFile::parse(&record.body).ok());
    Ok(sum.map(|sum| ToolchainKey {
        item: ToolchainItem::Init(file),
        sha256: sum.sha256,
    }))
}

/// The files that a toolchain has by its stored manifest, whether they are stored or not.
///
/// # Errors
/// [`Kind::Absent`] when there is no manifest, or the release doesn't have what is asked for; [`Kind::Store`] when the store can't be read.
pub async fn stored_files(
    store: &Store,
    pinned: &PinnedToolchain,
    host: &TargetTriple,
) -> Result<Vec<ToolchainKey>> {
    let ToolchainName { channel, day } = pinned.name;
    let manifest = match store
        .newest_manifest(&ManifestName { day, channel })
        .await?
    {
        Some((_, record)) => record.body,
        None => {
            return Err(Error::absent(format!(
                "the manifest of {} isn't here",
                pinned.name
            )));
        }
    };
    let files = files_of(&manifest, pinned, host)?.into_iter();
    let key = |(file, sha256)| ToolchainKey {
        item: ToolchainItem::Component(file),
        sha256,
    };
    Ok(files.map(key).collect())
}
