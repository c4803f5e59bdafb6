//! [`PinnedToolchain`]: what a `rust-toolchain.toml` says that a project is built with.

use serde::Deserialize;

use super::{channel::ToolchainName, path::TargetTriple};

/// What a project is built with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinnedToolchain {
    /// Which toolchain.
    pub name: ToolchainName,
    /// The machine it runs on, if the file says so.
    pub host: Option<TargetTriple>,
    /// The profile, if the file says so.
    pub profile: Option<String>,
    /// More components.
    pub components: Vec<String>,
    /// More targets.
    pub targets: Vec<String>,
}

#[derive(Deserialize)]
struct PinFile {
    toolchain: PinTable,
}

#[derive(Deserialize)]
struct PinTable {
    channel: Option<String>,
    path: Option<String>,
    #[serde(default)]
    components: Vec<String>,
    #[serde(default)]
    targets: Vec<String>,
    profile: Option<String>,
}

impl PinnedToolchain {
    /// How many bytes such a file may have.
    pub const MAX_LEN: u64 = 64 << 10;

    /// Whether a file of this name says what a project is built with.
    pub fn is_named(file: &str) -> bool {
        matches!(file, "rust-toolchain" | "rust-toolchain.toml")
    }

    /// A toolchain by its name, perhaps with a host's triple at its end.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn named(text: &str) -> Result<Self, String> {
        let no_name = || {
            format!(
                "{text:?} is not a toolchain of a distribution host: those are `stable`, `beta`, `nightly`, a release such as `1.95.0`, and these with a date, such as `nightly-2026-11-01`"
            )
        };
        let (name, host) = ToolchainName::parse_with_host(text).ok_or_else(no_name)?;
        let host = match host {
            Some(host) => Some(TargetTriple::parse(host).ok_or_else(no_name)?),
            None => None,
        };
        Ok(Self {
            name,
            host,
            profile: None,
            components: Vec::new(),
            targets: Vec::new(),
        })
    }

    /// Reads a `rust-toolchain.toml`, or a `rust-toolchain` of the old form, which is one line with a name.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let is_line = !trimmed.is_empty() && !trimmed.contains(['\n', '=', '[']);
        if is_line {
            return Self::named(trimmed);
        }
        let file: PinFile = toml::from_str(text).map_err(|e| {
            let said = e.message().to_owned();
            format!("it is no rust-toolchain.toml: {said}")
        })?;
        let table = file.toolchain;
        let channel = match (table.channel, table.path) {
            (Some(channel), _) => channel,
            (None, Some(_)) => {
                return Err(
                    "it names a toolchain by its path, which comes from no distribution host"
                        .into(),
                );
            }
            (None, None) => return Err("it names no channel".into()),
        };
        Ok(Self {
            profile: table.profile,
            components: table.components,
            targets: table.targets,
            ..Self::named(&channel)?
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let old = PinnedToolchain::parse("nightly-2026-11-01\n").expect("a toolchain");
        assert_eq!(old.name.to_string(), "nightly-2026-11-01");
        let new = "[toolchain]\nchannel = \"1.95.0-x86_64-pc-windows-msvc\"\ncomponents = [\"clippy\"]\ntargets = [\"wasm32-wasip1\"]\nprofile = \"minimal\"\n";
        let new = PinnedToolchain::parse(new).expect("a toolchain");
        assert_eq!(new.name.to_string(), "1.95.0");
        assert_eq!(new.host.expect("a host").as_str(), "x86_64-pc-windows-msvc");
        assert_eq!((new.components.len(), new.targets.len()), (1, 1));
        assert_eq!(new.profile.as_deref(), Some("minimal"));
        for no in [
            "",
            "my-own",
            "[toolchain]\npath = \"/x\"\n",
            "[toolchain]\n",
            "[toolchain]\nchannel = 1\n",
            "channel = \"stable\"\n",
        ] {
            assert!(PinnedToolchain::parse(no).is_err(), "{no:?}");
        }
    }
}
