//! tokens.toml on disk: read whole, and changed in one step.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

use super::tokens::Tokens;
use crate::{
    error::{Error, Kind, Result},
    follow::read_bounded,
};

/// The largest file that is read: some fifty thousand tokens.
const LARGEST: u64 = 8 << 20;

/// Reads the tokens in the file at `path`; `None` when there is no such file.
///
/// # Errors
/// [`Kind::Config`] with the path and what is wrong with it.
pub fn read(path: &Path) -> Result<Option<Tokens>> {
    let text = match read_bounded(path, LARGEST) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(broken(path, &e).with_source(e)),
    };
    let text = String::from_utf8(text)
        .map_err(|e| broken(path, &"it is not UTF-8").with_source(e.utf8_error()))?;
    let tokens = Tokens::parse(&text).map_err(|e| broken(path, &e).with_source(e))?;
    Ok(Some(tokens))
}

fn broken(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::config(format!("`access.tokens`: {}: {why}", path.display()))
}

/// Changes the file at `path`, which is made when there is none, in one step: who reads it sees it as it was or as it will be. Others who change it at
/// the same moment take their turn.
///
/// # Errors
/// Those of `change`; [`Kind::Config`] when the file as it is can't be understood; [`Kind::Store`] when it can't be written.
pub fn change<T>(path: &Path, change: impl FnOnce(&mut Tokens) -> Result<T>) -> Result<T> {
    // The file itself where a link leads to it: the link stays one.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = folder_of(&path);
    let written = |e: io::Error| {
        let path = path.display();
        Error::new(Kind::Store, format!("{path} can't be written: {e}")).with_source(e)
    };
    let opened = File::open(&folder).map_err(written)?;
    // Where there are no locks (some network mounts), two at once are left to chance.
    let _turn = opened.lock();
    let mut tokens = read(&path)?.unwrap_or_default();
    let changed = change(&mut tokens)?;
    replace(&path, &folder, tokens.render()?.as_bytes()).map_err(written)?;
    Ok(changed)
}

fn folder_of(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    folder.unwrap_or(Path::new(".")).to_owned()
}

/// Puts a file with this content, which only its owner may read, in place of the one at `path`. Whoever owned that one owns the new one too, as far as the system
/// lets us: root may make tokens for a mirror that isn't root.
fn replace(path: &Path, folder: &Path, content: &[u8]) -> io::Result<()> {
    // Made with mode 0600.
    let mut file = tempfile::Builder::new()
        .prefix(".tokens")
        .tempfile_in(folder)?;
    file.write_all(content)?;
    #[cfg(unix)]
    if let Ok(before) = fs::metadata(path) {
        use std::os::unix::fs::{MetadataExt, fchown};
        let _ = fchown(file.as_file(), Some(before.uid()), Some(before.gid()));
    }
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{
        digest::TokenDigest,
        tokens::{Grant, TokenName},
    };

    fn add(path: &Path, name: &str) -> Result<()> {
        change(path, |tokens| {
            let grant = Grant {
                sha256: TokenDigest::of(name),
                expires: None,
                registries: Vec::new(),
            };
            tokens.tokens.insert(TokenName::parse(name)?, grant);
            Ok(())
        })
    }

    fn names(path: &Path) -> Vec<String> {
        let tokens = read(path).expect("a file").expect("there is one");
        tokens.tokens.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn only_its_owner_may_read_it_and_nothing_else_is_left() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tokens.toml");
        assert!(read(&path).expect("no error").is_none());
        add(&path, "ci").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("set");
        add(&path, "dev").expect("written");
        assert_eq!(names(&path), ["ci", "dev"]);
        let mode = fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn what_cannot_be_understood_is_not_written_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tokens.toml");
        fs::write(&path, "not = \"ours\"\n").expect("a file");
        let error = add(&path, "ci").expect_err("not ours");
        assert_eq!(error.kind(), Kind::Config);
        assert_eq!(
            fs::read_to_string(&path).expect("a file"),
            "not = \"ours\"\n"
        );
    }

    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().expect("a folder");
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        add(&real, "ci").expect("written");
        std::os::unix::fs::symlink(&real, &link).expect("a link");
        add(&link, "dev").expect("written");
        assert_eq!(names(&real), ["ci", "dev"]);
        assert!(fs::symlink_metadata(&link).expect("a link").is_symlink());
    }

    #[test]
    fn those_who_add_at_the_same_moment_lose_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tokens.toml");
        std::thread::scope(|scope| {
            for n in 0..8 {
                let path = &path;
                scope.spawn(move || add(path, &format!("t{n}")).expect("written"));
            }
        });
        assert_eq!(names(&path).len(), 8);
    }

    #[test]
    fn a_file_that_is_too_large_or_a_folder_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = read(folder.path()).expect_err("a folder").to_string();
        assert!(error.contains("folder"), "{error}");
        let path = folder.path().join("tokens.toml");
        let file = File::create(&path).expect("a file");
        file.set_len(LARGEST + 1).expect("a hole");
        let error = read(&path).expect_err("too large").to_string();
        assert!(error.contains("larger than 8.0 MiB"), "{error}");
    }
}
