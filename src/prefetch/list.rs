//! [`List`]: what somebody asks for, read from arguments: Cargo.lock files, folders with such files, requests, and files with requests.

use std::{
    collections::{HashMap, HashSet},
    fmt::Display,
    fs::File,
    io::{self, ErrorKind, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use walkdir::{DirEntry, WalkDir};

use super::{
    missing::Missing,
    toolchains::{ToolchainWish, ToolchainWishes},
};
use crate::{
    config::Origins,
    domain::{
        CrateRequest, Lockfile, MissedRequest, Selected,
        lockfile::{Foreign, Skipped, without_mark},
        toolchain::PinnedToolchain,
    },
    error::{Error, Result},
};

/// No Cargo.lock and no list is larger; those of the largest projects have under 1 MB.
const MAX_FILE: u64 = 64 << 20;

/// What somebody asks for.
#[derive(Debug, Default)]
pub struct List {
    /// Cargo.lock files, each with its path.
    pub lockfiles: Vec<(Arc<str>, Lockfile)>,
    /// Crates that were asked for by name.
    pub requests: Vec<CrateRequest>,
    /// Toolchains, or parts of some, each with who asks for it.
    pub toolchains: ToolchainWishes,
    /// The files read so far: a Cargo.lock and the folder it is in may both be given.
    seen: HashSet<PathBuf>,
}

/// What no registry here has, of what a list asks for.
#[derive(Debug, Default)]
pub struct Aside {
    /// Packages of registries that aren't this mirror's: a build from it lacks them.
    pub strange: Vec<Missing>,
    /// Packages that come from no registry, each as `name@version` with the reason.
    pub named: Vec<(String, String)>,
    /// How many packages are parts of the projects themselves or lie beside them.
    pub paths: usize,
    /// The positions of the above in `strange` and `named`. No reason is in both, so one map is enough.
    seen: HashMap<(String, String), usize>,
}

impl List {
    /// What these Cargo.lock files need, each with where it is.
    pub fn of(lockfiles: Vec<(Arc<str>, Lockfile)>) -> Self {
        Self {
            lockfiles,
            ..Self::default()
        }
    }

    /// Reads all arguments; `-` is `input`. What exists as a file or folder is that, whatever it is called; everything else is a name.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) with the argument, the line if it has lines, and what is wrong.
    pub fn read(arguments: &[String], mut input: impl Read) -> Result<Self> {
        let mut list = Self::default();
        for argument in arguments {
            let path = Path::new(argument);
            match argument.as_str() {
                "-" => {
                    let text = text_of("standard input", &mut input)?;
                    list.add_text("standard input", &text)?;
                }
                _ if path.is_dir() => list.add_folder(path)?,
                _ if path.exists() => list.add_file(path)?,
                name if self::toolchain(name).is_some() => {
                    let wish = self::toolchain(name);
                    let by: Arc<str> = name.into();
                    list.toolchains.extend(wish.map(|wish| (by, wish)));
                }
                name => {
                    let request = CrateRequest::parse(name).map_err(|e| {
                        Error::config(format!(
                            "{name:?} is no file or folder, and as the name of a crate it is wrong: {e}"
                        ))
                        .with_source(e)
                    })?;
                    list.requests.push(request);
                }
            }
        }
        Ok(list)
    }

    /// Every Cargo.lock below `folder`.
    fn add_folder(&mut self, folder: &Path) -> Result<()> {
        let mut found = false;
        for entry in WalkDir::new(folder).into_iter().filter_entry(worth_a_look) {
            let entry = entry.map_err(|e| {
                Error::config(format!("{} can't be searched: {e}", folder.display())).with_source(e)
            })?;
            if entry.file_name() == "Cargo.lock" && entry.file_type().is_file() {
                self.add_file(entry.path())?;
                found = true;
            }
        }
        if !found {
            let folder = folder.display().to_string();
            let hint = match CrateRequest::parse(&folder) {
                Ok(_) => format!("; the crate of that name is written crates-io:{folder}"),
                Err(_) => String::new(),
            };
            return Err(Error::config(format!(
                "there is no Cargo.lock in the folder {folder} or below{hint}"
            )));
        }
        Ok(())
    }

    fn add_file(&mut self, path: &Path) -> Result<()> {
        if !self.seen.insert(path.canonicalize().unwrap_or_default()) {
            return Ok(());
        }
        let shown = path.display().to_string();
        if path.extension().is_some_and(|ext| ext == "lock") {
            self.lockfiles.push((shown.into(), lockfile(path)?));
            return Ok(());
        }
        let text = read(path)?;
        let name = path.file_name().and_then(|name| name.to_str());
        if name.is_some_and(PinnedToolchain::is_named) {
            let pinned = PinnedToolchain::parse(&text)
                .map_err(|why| Error::config(format!("{shown}: {why}")))?;
            let wish = ToolchainWish::Toolchain(pinned);
            self.toolchains.push((shown.into(), wish));
            return Ok(());
        }
        self.add_text(&shown, &text)
    }

    /// A Cargo.lock under another name, or names, a line each.
    fn add_text(&mut self, place: &str, text: &str) -> Result<()> {
        if without_mark(text)
            .lines()
            .any(|line| line.trim_end() == "[[package]]")
        {
            let lockfile = Lockfile::parse(text);
            let lockfile = lockfile.map_err(|e| misread(place, e))?;
            self.lockfiles.push((place.into(), lockfile));
            return Ok(());
        }
        for (at, line) in without_mark(text).lines().enumerate() {
            // No request has a `#` in it.
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            if let Some(wish) = toolchain(line) {
                self.toolchains.push((place.into(), wish));
                continue;
            }
            let request = CrateRequest::parse(line)
                .map_err(|e| misread(format_args!("{place}, line {}", at + 1), e))?;
            self.requests.push(request);
        }
        Ok(())
    }

    /// What the Cargo.lock files need of our registries, each file once, and what they need from elsewhere.
    pub fn selected(&self, origins: &Origins) -> (Vec<Selected>, Aside) {
        let (mut selected, mut aside) = (Vec::<Selected>::new(), Aside::default());
        let mut places = HashMap::new();
        for (place, lockfile) in &self.lockfiles {
            for locked in &lockfile.packages {
                let Some(registry) = origins.registry(&locked.source) else {
                    let what = format!("{}@{}", locked.id.name, locked.id.version);
                    let why = format!("{} is no registry of this mirror", locked.source);
                    aside.lack(what, why, place);
                    continue;
                };
                let at = *places
                    .entry((registry, locked.id, locked.sha256))
                    .or_insert(selected.len());
                match selected.get_mut(at) {
                    Some(known) => known.by.push(place.clone()),
                    None => selected.push(Selected {
                        registry,
                        id: locked.id,
                        sha256: locked.sha256,
                        by: vec![place.clone()],
                    }),
                }
            }
            for Skipped { name, version, why } in &lockfile.skipped {
                let what = format!("{name}@{version}");
                match why {
                    Foreign::Path => aside.paths += 1,
                    Foreign::Git(_) | Foreign::Replaced => aside.skip(what, why.to_string()),
                    Foreign::Unknown(_) => aside.lack(what, why.to_string(), place),
                }
            }
        }
        (selected, aside)
    }
}

impl Aside {
    /// Adds what another list has aside.
    pub fn add(&mut self, other: Self) {
        self.paths += other.paths;
        for (what, why) in other.named {
            self.skip(what, why);
        }
        for Missing { what, why, by } in other.strange {
            for place in &by {
                self.lack(what.clone(), why.clone(), place);
            }
        }
    }

    fn skip(&mut self, what: String, why: String) {
        let entry = (what, why);
        if !self.seen.contains_key(&entry) {
            self.seen.insert(entry.clone(), self.named.len());
            self.named.push(entry);
        }
    }

    fn lack(&mut self, what: String, why: String, place: &Arc<str>) {
        let entry = (what, why);
        let known = self.seen.get(&entry);
        match known.and_then(|at| self.strange.get_mut(*at)) {
            Some(known) => known.by.push(place.clone()),
            None => {
                self.seen.insert(entry.clone(), self.strange.len());
                let ((what, why), by) = (entry, vec![place.clone()]);
                self.strange.push(Missing { what, why, by });
            }
        }
    }
}

/// What a line as `crate-mirror wanted` prints it asks for of toolchains; nothing for any other line.
fn toolchain(line: &str) -> Option<ToolchainWish> {
    match MissedRequest::parse(line)? {
        MissedRequest::Toolchain(missed) => Some(ToolchainWish::of_missed(missed)),
        MissedRequest::Crate(_) => None,
    }
}

/// The Cargo.lock at `path`.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) with the path when it can't be read or isn't one.
pub fn lockfile(path: &Path) -> Result<Lockfile> {
    let text = read(path)?;
    Lockfile::parse(&text).map_err(|e| misread(path.display(), e))
}

/// What is wrong with the text at that place.
fn misread(place: impl Display, why: Error) -> Error {
    Error::config(format!("{place}: {why}")).with_source(why)
}

fn unreadable(place: &str, why: io::Error) -> Error {
    Error::config(format!("{place} can't be read: {why}")).with_source(why)
}

fn read(path: &Path) -> Result<String> {
    let place = path.display().to_string();
    let file = File::open(path);
    let file = file.map_err(|e| unreadable(&place, e))?;
    text_of(&place, file)
}

fn text_of(place: &str, from: impl Read) -> Result<String> {
    let mut text = String::new();
    match from.take(MAX_FILE + 1).read_to_string(&mut text) {
        Ok(length) if length as u64 > MAX_FILE => Err(Error::config(format!(
            "{place} is larger than any Cargo.lock or list of crates"
        ))),
        Ok(_) => Ok(text),
        Err(e) if e.kind() == ErrorKind::InvalidData => {
            Err(Error::config(format!("{place} is no text")).with_source(e))
        }
        Err(e) => Err(unreadable(place, e)),
    }
}

/// What cargo builds and what git keeps is passed over: crates unpacked there have a Cargo.lock of their own that nobody builds from.
fn worth_a_look(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    entry.depth() == 0 || !entry.file_type().is_dir() || (name != "target" && name != ".git")
}
