//! [`RustupRelease`]: which rustup is the newest.

use serde::Deserialize;

use super::path::RustupVersion;

/// What `release-stable.toml` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RustupRelease {
    /// The version of rustup.
    pub version: RustupVersion,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ReleaseFile {
    schema_version: String,
    version: String,
}

impl RustupRelease {
    /// How many bytes such a file may have.
    pub const MAX_LEN: usize = 4 << 10;

    /// Reads it.
    ///
    /// # Errors
    /// The end of a sentence that says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > Self::MAX_LEN {
            return Err(format!("it has more than {} bytes", Self::MAX_LEN));
        }
        let wrong = || "it doesn't say which rustup is the newest".to_owned();
        let text = std::str::from_utf8(bytes).map_err(|_| wrong())?;
        let file: ReleaseFile = toml::from_str(text).map_err(|_| wrong())?;
        let version = RustupVersion::parse(&file.version).filter(|_| file.schema_version == "1");
        version.map(|version| Self { version }).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_a_version() {
        let read = RustupRelease::parse(b"schema-version = '1'\nversion = '1.28.2'\n");
        assert_eq!(read.expect("a release").version.as_str(), "1.28.2");
        for no in [
            "",
            "<html>",
            "version = '1.28.2'",
            "schema-version = '1'\nversion = '../1'",
            "schema-version = '2'\nversion = '1.28.2'",
        ] {
            assert!(RustupRelease::parse(no.as_bytes()).is_err(), "{no:?}");
        }
    }
}
