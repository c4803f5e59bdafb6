//! A package as a test describes it: its manifest, its files and its index line.
//!
//! The language is cargo-test-support's. What comes out is real: a `.crate` that cargo unpacks and
//! builds, and a line in the form crates.io writes. File and line agree unless the test asks for a
//! lie (`checksum`, `raw_line`).

mod archive;
mod line;
mod manifest;

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// One version of one crate.
#[derive(Clone, Debug)]
pub struct Package {
    name: String,
    version: String,
    deps: Vec<Dep>,
    features: BTreeMap<String, Vec<String>>,
    yanked: bool,
    rust_version: Option<String>,
    pubtime: Option<String>,
    format: Option<u32>,
    fields: Vec<(String, Value)>,
    checksum: Option<String>,
    raw_line: Option<String>,
    files: BTreeMap<String, Vec<u8>>,
}

/// What a package needs, as both the manifest and the index line state it.
#[derive(Clone, Debug)]
struct Dep {
    name: String,
    req: String,
    kind: Kind,
    optional: bool,
    target: Option<String>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Normal,
    Dev,
    Build,
}

impl Package {
    pub fn new(name: &str, version: &str) -> Package {
        let source = format!(
            "//! {name}, made up for a test.\n\n\
             pub fn version() -> &'static str {{\n    \"{version}\"\n}}\n"
        );
        Package {
            name: name.to_owned(),
            version: version.to_owned(),
            deps: Vec::new(),
            features: BTreeMap::new(),
            yanked: false,
            rust_version: None,
            pubtime: None,
            format: None,
            fields: Vec::new(),
            checksum: None,
            raw_line: None,
            files: BTreeMap::from([("src/lib.rs".to_owned(), source.into_bytes())]),
        }
    }

    pub fn dep(self, name: &str, req: &str) -> Package {
        self.needs(name, req, Kind::Normal, false, None)
    }

    pub fn dev_dep(self, name: &str, req: &str) -> Package {
        self.needs(name, req, Kind::Dev, false, None)
    }

    pub fn build_dep(self, name: &str, req: &str) -> Package {
        self.needs(name, req, Kind::Build, false, None)
    }

    pub fn optional_dep(self, name: &str, req: &str) -> Package {
        self.needs(name, req, Kind::Normal, true, None)
    }

    /// A dependency of one platform: `target` is a triple or `cfg(…)`.
    pub fn target_dep(self, target: &str, name: &str, req: &str) -> Package {
        self.needs(name, req, Kind::Normal, false, Some(target))
    }

    fn needs(
        mut self,
        name: &str,
        req: &str,
        kind: Kind,
        optional: bool,
        target: Option<&str>,
    ) -> Package {
        self.deps.push(Dep {
            name: name.to_owned(),
            req: req.to_owned(),
            kind,
            optional,
            target: target.map(str::to_owned),
        });
        self
    }

    /// A feature and what it turns on. One that uses `dep:` or `?/` goes to `features2`, as on
    /// crates.io.
    pub fn feature(mut self, name: &str, enables: &[&str]) -> Package {
        let enables = enables.iter().map(|feature| (*feature).to_owned());
        self.features.insert(name.to_owned(), enables.collect());
        self
    }

    pub fn yanked(mut self, yanked: bool) -> Package {
        self.yanked = yanked;
        self
    }

    pub fn rust_version(mut self, version: &str) -> Package {
        self.rust_version = Some(version.to_owned());
        self
    }

    /// When it was published, `YYYY-MM-DDTHH:MM:SSZ`. Without it the line has no `pubtime`.
    pub fn pubtime(mut self, time: &str) -> Package {
        self.pubtime = Some(time.to_owned());
        self
    }

    /// The index format, `v`. Without it there is none, or 2 where `features2` needs it.
    pub fn v(mut self, format: u32) -> Package {
        self.format = Some(format);
        self
    }

    /// One more field at the end of the index line.
    pub fn field(mut self, name: &str, value: Value) -> Package {
        self.fields.push((name.to_owned(), value));
        self
    }

    /// A `cksum` that isn't the file's.
    pub fn checksum(mut self, checksum: &str) -> Package {
        self.checksum = Some(checksum.to_owned());
        self
    }

    /// This index line, verbatim, in place of the generated one.
    pub fn raw_line(mut self, line: &str) -> Package {
        self.raw_line = Some(line.to_owned());
        self
    }

    /// A file of the package; `src/lib.rs` and `Cargo.toml` replace the generated ones.
    pub fn file(mut self, path: &str, content: &str) -> Package {
        self.files.insert(path.to_owned(), content.into());
        self
    }

    /// A file of `size` bytes that doesn't compress, so that the `.crate` is a little larger than that.
    /// The bytes depend on name and version alone.
    pub fn payload(mut self, size: usize) -> Package {
        let noise = archive::noise(&format!("{} {}", self.name, self.version), size);
        self.files.insert("payload.bin".to_owned(), noise);
        self
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn version(&self) -> &str {
        &self.version
    }

    /// The `.crate` file. Packing is deterministic: equal packages give equal bytes.
    pub fn crate_file(&self) -> Vec<u8> {
        archive::pack(self)
    }

    /// The index line without its newline. It packs the file for the checksum.
    pub fn index_line(&self) -> String {
        self.line_for(&self.crate_file())
    }

    /// The index line for a file that is packed already.
    pub(super) fn line_for(&self, file: &[u8]) -> String {
        match &self.raw_line {
            Some(line) => line.clone(),
            None => line::render(self, &self.checksum_of(file)),
        }
    }

    /// The checksum the index tells for that file.
    pub(super) fn checksum_of(&self, file: &[u8]) -> String {
        self.checksum.clone().unwrap_or_else(|| sha256(file))
    }
}

/// The SHA-256 of some bytes as the index writes it: lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write;
    Sha256::digest(bytes)
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a String takes everything");
            hex
        })
}

/// The folder an index file or a crate lives in: `1`, `2`, `3/a`, `ab/cd`. Case is kept.
pub fn prefix(name: &str) -> String {
    match name.len() {
        1 => "1".to_owned(),
        2 => "2".to_owned(),
        3 => format!("3/{}", &name[..1]),
        _ => format!("{}/{}", &name[..2], &name[2..4]),
    }
}

/// Where the index keeps a crate, below its root: `se/rd/serde`, all lower case.
pub fn index_path(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    format!("{}/{name}", prefix(&name))
}
