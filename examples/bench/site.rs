//! [`Site`]: the recorded files as they are served, by their paths: a folder whose layout is that of the URLs, with gzip twins beside the index files.

use std::{
    collections::HashMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use crate_mirror::domain::{IndexFile, IndexPath, Sha256};
use crate_mirror::store::StoreRecord;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, header};
use walkdir::WalkDir;

use crate::Result;

/// What the name of a gzip twin ends in, as nginx's `gzip_static` has it.
const TWIN: &str = ".gz";
/// Files up to this size get no twin, as at the mirror.
const COMPRESS_ABOVE: usize = 1 << 10;

/// All files, in memory.
pub(crate) struct Site(HashMap<String, File>);

/// A file that is served.
pub(crate) struct File {
    whole: Bytes,
    gzip: Option<Bytes>,
    /// Weak, as crates.io's are.
    pub(crate) etag: String,
    /// What crates.io says with it.
    pub(crate) headers: HeaderMap,
}

impl File {
    /// What goes to a client that takes gzip or doesn't.
    pub(crate) fn body(&self, accepts_gzip: bool) -> &Bytes {
        self.gzip
            .as_ref()
            .filter(|_| accepts_gzip)
            .unwrap_or(&self.whole)
    }

    /// Whether such a client gets it gzipped.
    pub(crate) fn is_gzipped(&self, accepts_gzip: bool) -> bool {
        accepts_gzip && self.gzip.is_some()
    }
}

impl Site {
    /// Reads what is below `www`.
    pub(crate) fn load(www: &Path) -> Result<Self> {
        let mut files = HashMap::new();
        for path in files_below(www)? {
            let url = format!("/{}", relative(&path, www)?);
            if url.ends_with(TWIN) {
                continue;
            }
            let twin = PathBuf::from(format!("{}{TWIN}", path.display()));
            let whole = read(&path)?;
            let etag = format!("W/\"{}\"", &Sha256::of(&whole).to_string()[..32]);
            let gzip = fs::read(twin).ok().map(Bytes::from);
            let file = File {
                headers: headers(&url, &etag),
                whole,
                gzip,
                etag,
            };
            files.insert(url, file);
        }
        Ok(Self(files))
    }

    /// The file at that path.
    pub(crate) fn get(&self, path: &str) -> Option<&File> {
        self.0.get(path)
    }

    /// The paths that begin with `prefix`, in order.
    pub(crate) fn paths(&self, prefix: &str) -> Vec<&str> {
        let all = self.0.keys().map(String::as_str);
        let mut found: Vec<_> = all.filter(|path| path.starts_with(prefix)).collect();
        found.sort_unstable();
        found
    }

    /// Of the files whose path begins with `prefix`, the one whose size is nearest.
    pub(crate) fn nearest(&self, prefix: &str, size: usize) -> Option<&str> {
        let distance = |path: &&str| self.0[*path].whole.len().abs_diff(size);
        self.paths(prefix).into_iter().min_by_key(distance)
    }
}

fn headers(url: &str, etag: &str) -> HeaderMap {
    let is_index = url.starts_with("/index/");
    let (kind, control) = match is_index {
        true => ("text/plain", "public, max-age=600"),
        false => ("application/gzip", "public, max-age=31536000, immutable"),
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(control));
    if let Ok(etag) = HeaderValue::from_str(etag) {
        headers.insert(header::ETAG, etag);
    }
    if is_index {
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    headers
}

/// Writes what a mirror has stored of its default registry below `www`, as that registry serves it.
pub(crate) fn export(store: &Path, www: &Path) -> Result<()> {
    let (index, crates) = (
        store.join("crates-io/index"),
        store.join("crates-io/crates"),
    );
    for path in files_below(&index)? {
        let record = StoreRecord::decode(read(&path)?)
            .map_err(|e| format!("{} is no index record: {e}", path.display()))?;
        let relative = relative(&path, &index)?;
        write(&www.join("index").join(&relative), &record.body)?;
        let parsed = IndexPath::parse(&relative)
            .and_then(|path| IndexFile::parse(path, record.body))
            .map_err(|e| format!("{}: {e}", path.display()))?;
        let stored = crates.join(&relative);
        for version in parsed.versions() {
            let number = version.version();
            let file = format!("{number}.{}.crate", version.sha256).to_lowercase();
            if let Ok(bytes) = fs::read(stored.join(file)) {
                let url = format!("api/v1/crates/{}/{number}/download", parsed.name());
                write(&www.join(url), &bytes)?;
            }
        }
    }
    // So that whoever serves files serves one; the others make their own, because it names who serves it.
    write(
        &www.join("index/config.json"),
        br#"{"dl":"http://127.0.0.1:12345/api/v1/crates"}"#,
    )
}

/// Writes a file and, if it is an index file of some size, its twin.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let fault = |e: std::io::Error| format!("{} can't be written: {e}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(fault)?;
    }
    fs::write(path, bytes).map_err(fault)?;
    let is_crate = path.file_name().is_some_and(|name| name == "download");
    if is_crate || bytes.len() <= COMPRESS_ABOVE {
        return Ok(());
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let twin = encoder.write_all(bytes).and_then(|()| encoder.finish());
    let twin_path = format!("{}{TWIN}", path.display());
    twin.and_then(|twin| fs::write(twin_path, twin))
        .map_err(fault)
}

fn read(path: &Path) -> Result<Bytes> {
    let bytes = fs::read(path).map_err(|e| format!("{} can't be read: {e}", path.display()))?;
    Ok(bytes.into())
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in WalkDir::new(folder) {
        let entry = entry.map_err(|e| format!("{} can't be read: {e}", folder.display()))?;
        if entry.file_type().is_file() {
            files.push(entry.into_path());
        }
    }
    Ok(files)
}

fn relative(path: &Path, folder: &Path) -> Result<String> {
    let relative = path.strip_prefix(folder).ok().and_then(Path::to_str);
    relative
        .map(str::to_owned)
        .ok_or_else(|| format!("{} has no usable name", path.display()))
}
