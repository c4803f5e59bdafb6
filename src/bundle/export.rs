//! Exporting: what was collected, as bundles and manifests on a disk. Whatever happens, no file of the final name is half a one.

use std::{
    fs::{self, File},
    io::{self, BufWriter},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use super::{
    collect::Contents,
    entry::{BundleEntry, Entries},
    manifest::{self, Head},
    observer::Observer,
    sign::SigningKey,
    write::{unwritable, write},
};
use crate::{
    error::{Error, Result},
    store::{Store, set_readable},
};

/// What is made of what was collected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// One bundle of this name, and its manifest beside it.
    Bundle(PathBuf),
    /// Bundles named `NAME.1.tar.zst` and so on after this one, and one manifest of all of them.
    Parts(PathBuf),
    /// A manifest alone.
    Manifest(PathBuf),
    /// One bundle, on standard output.
    Stdout,
}

impl Output {
    /// Checks, before hours are spent on it, that the files it names can be put there: into a folder, and in place of nothing but files.
    ///
    /// # Errors
    /// With what is in the way.
    pub fn check(&self) -> Result<(), UnwritablePath> {
        let paths = match self {
            Self::Stdout => Vec::new(),
            Self::Manifest(path) => vec![path.clone()],
            Self::Bundle(path) => vec![path.clone(), manifest_of(path)],
            Self::Parts(path) => vec![part_of(path, 1), manifest_of(path)],
        };
        for path in paths {
            let wrong = |why| {
                let path = path.clone();
                Err(UnwritablePath { path, why })
            };
            if path.file_name().is_none() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
                return wrong("it is no file's name");
            }
            if !folder_of(&path).is_dir() {
                return wrong("there is no such folder to put it in");
            }
            match fs::metadata(&path) {
                Ok(meta) if meta.is_dir() => return wrong("it is a folder"),
                Ok(meta) if !meta.is_file() => return wrong("it is not a file"),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(())
    }
}

/// A path at which no file can be put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnwritablePath {
    /// The path.
    pub path: PathBuf,
    /// What is wrong with it, in half a sentence.
    pub why: &'static str,
}

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedFile {
    /// Its path.
    pub path: PathBuf,
    /// How large it is.
    pub bytes: u64,
}

/// Writes bundles and their manifest; with a `key`, signed ones.
///
/// # Errors
/// [`Kind::Store`](crate::error::Kind::Store) when something can't be written, or when an object has vanished since it was collected.
pub fn export(
    store: &Store,
    mut contents: Contents,
    output: &Output,
    key: Option<&SigningKey>,
    observer: &Observer<'_>,
) -> Result<Vec<ExportedFile>> {
    (observer.total)(contents.entries.bytes);
    let Contents {
        entries,
        records,
        parts,
        ..
    } = &mut contents;
    let mut written = Vec::new();
    let named: Vec<_> = match output {
        Output::Manifest(_) => Vec::new(),
        Output::Stdout => {
            for part in parts.iter() {
                write(
                    store,
                    entries,
                    records,
                    part,
                    key,
                    observer,
                    io::stdout().lock(),
                )?;
            }
            return Ok(written);
        }
        Output::Bundle(path) => parts.iter().map(|part| (path.clone(), part)).collect(),
        Output::Parts(path) => {
            let names = (1..).map(|number| part_of(path, number));
            names.zip(parts.iter()).collect()
        }
    };
    for (path, part) in named {
        let write = |file: &mut BufWriter<NamedTempFile>| {
            write(store, entries, records, part, key, observer, file)
        };
        written.push(atomically(&path, write)?);
    }
    if let Output::Parts(path) = output {
        let later = (written.len() as u64 + 1..).map(|number| part_of(path, number));
        for old in later.take_while(|part| part.exists()) {
            tracing::warn!(
                "{} is of an earlier export and none of these parts; remove it",
                old.display()
            );
        }
    }
    let path = match output {
        Output::Manifest(path) => path.clone(),
        Output::Bundle(path) | Output::Parts(path) => manifest_of(path),
        Output::Stdout => return Ok(written),
    };
    let (head, mut all) = together(store, &mut contents)?;
    let lines = 0..all.length();
    let count = all.count;
    let mut text = manifest::bytes(&head, &mut all, lines, count)?;
    written.push(atomically(&path, |file| {
        io::copy(&mut text, file).map(drop).map_err(unwritable)
    })?);
    Ok(written)
}

/// The manifest of all parts; what is in more than one of them is in it once.
fn together(store: &Store, contents: &mut Contents) -> Result<(Head, Entries)> {
    let mut head = Head::new(None, Default::default());
    for part in &contents.parts {
        // Both are written alike, so that their order is that of time.
        head.created = head.created.max(part.head.created.clone());
        head.registries.extend(part.head.registries.clone());
        head.attached.extend(part.head.attached.clone());
    }
    let mut all = Entries::new(store.scratch()?);
    let mut last: Option<BundleEntry> = None;
    for entry in contents.entries.read(0..contents.entries.length())? {
        let entry = entry?;
        if last
            .as_ref()
            .is_none_or(|last| last.position() < entry.position())
        {
            all.push(&entry)?;
            last = Some(entry);
        }
    }
    Ok((head, all))
}

const EXTENSIONS: [&str; 3] = [".tar.zst", ".tzst", ".zst"];

/// What a bundle's name ends with.
fn extension(path: &Path) -> &'static str {
    let name = path.to_string_lossy();
    let mut known = EXTENSIONS.into_iter();
    known.find(|end| name.ends_with(end)).unwrap_or("")
}

fn part_of(path: &Path, number: u64) -> PathBuf {
    beside(path, &format!(".{number}{}", extension(path)))
}

fn manifest_of(path: &Path) -> PathBuf {
    beside(path, ".manifest.json")
}

/// The folder that a path names a file in.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// The name of another file of this bundle: `end` in place of the extension.
fn beside(path: &Path, end: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(extension(path)).unwrap_or(&name);
    path.with_file_name(format!("{stem}{end}"))
}

/// Fills a file under another name, brings it to the disk and then gives it its own.
fn atomically(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<NamedTempFile>) -> Result<()>,
) -> Result<ExportedFile> {
    let failed = |e: io::Error| {
        Error::store(format!("{} can't be written: {e}", path.display())).with_source(e)
    };
    let folder = folder_of(path);
    let mut name = tempfile::Builder::new();
    let file = name.prefix(".").suffix(".part").tempfile_in(folder);
    let mut file = BufWriter::with_capacity(256 << 10, file.map_err(failed)?);
    fill(&mut file)?;
    let file = file.into_inner().map_err(|e| failed(e.into_error()))?;
    let finish = || {
        set_readable(&file)?;
        file.as_file().sync_all()?;
        let bytes = file.as_file().metadata()?.len();
        file.persist(path).map_err(|e| e.error)?;
        File::open(folder)?.sync_all()?;
        Ok(bytes)
    };
    let bytes = finish().map_err(failed)?;
    let path = path.to_owned();
    Ok(ExportedFile { path, bytes })
}
