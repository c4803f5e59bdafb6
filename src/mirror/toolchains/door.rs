//! [`Channels`]: which channels may be asked for; and [`ChannelPass`], leave for a file of theirs.

use std::sync::Arc;

use crate::{
    domain::{
        DenialKind, FileKey,
        toolchain::{
            ChannelPattern, ComponentFile, ManifestName, ToolchainDocument, ToolchainKey,
            ToolchainName,
        },
    },
    error::{Error, Kind, Result},
    mirror::{
        files::{Clearance, Leave},
        shared::Shared,
    },
};

/// What a refusal names as its rule.
const RULE: &str = "toolchains.channels";

/// Which channels may be asked for.
pub(super) struct Channels {
    allowed: Vec<ChannelPattern>,
    shared: Arc<Shared>,
}

/// Leave for one file to go out: its checksum was told by a manifest that may be asked for, or by the `.sha256` beside it.
pub(super) struct ChannelPass(ToolchainKey);

impl ChannelPass {
    /// Leave for the file whose checksum was told.
    pub(super) fn of(key: ToolchainKey) -> Self {
        Self(key)
    }
}

impl Leave for ChannelPass {
    fn key(&self) -> FileKey {
        self.0.into()
    }

    fn clearance(self) -> Result<Clearance> {
        Ok(Clearance::Clear)
    }
}

impl Channels {
    pub(super) fn new(allowed: Vec<ChannelPattern>, shared: Arc<Shared>) -> Self {
        Self { allowed, shared }
    }

    /// Whether all may be asked for.
    pub(super) fn are_all(&self) -> bool {
        self.allowed.iter().any(ChannelPattern::is_all)
    }

    /// Whether a manifest may be asked for.
    pub(super) fn allow(&self, name: &ManifestName) -> bool {
        let ManifestName { day, channel } = *name;
        let name = ToolchainName { channel, day };
        self.allowed.iter().any(|pattern| pattern.matches(&name))
    }

    /// Whether a document may be asked for.
    ///
    /// # Errors
    /// [`Kind::Denied`] when not.
    pub(super) fn admit_document(&self, document: &ToolchainDocument) -> Result<()> {
        match document {
            ToolchainDocument::Manifest(name) if !self.allow(name) => {
                let ManifestName { day, channel } = *name;
                let name = ToolchainName { channel, day };
                Err(self.refused(&format!("the toolchain {name}")))
            }
            ToolchainDocument::Manifest(_)
            | ToolchainDocument::RustupRelease
            | ToolchainDocument::InitSum(_) => Ok(()),
        }
    }

    /// The manifests of its day that are the likeliest to name a component and may be asked for. Others that may be asked for can name it, too: that of `1.95`.
    pub(super) fn likely_of(&self, file: &ComponentFile) -> Vec<ManifestName> {
        let day = Some(file.day);
        let names = file.name.channels().into_iter();
        let names = names.map(|channel| ManifestName { day, channel });
        names.filter(|name| self.allow(name)).collect()
    }

    /// Counts an answer if it is a refusal of a channel: once, however often it was found out.
    pub(super) fn count(&self, answer: &Error) {
        if answer.rule().is_some_and(|rule| &**rule == RULE) {
            self.shared.metrics.policy_denied(DenialKind::Channel);
        }
    }

    /// What to say of what only channels have that may not be asked for.
    pub(super) fn refused(&self, what: &str) -> Error {
        let allowed: Vec<_> = self.allowed.iter().map(ChannelPattern::as_str).collect();
        let allowed = match allowed.is_empty() {
            true => "none".to_owned(),
            false => allowed.join(", "),
        };
        Error::new(
            Kind::Denied,
            format!("this mirror doesn't hand out {what}; of channels `{RULE}` allows {allowed}"),
        )
        .by_rule(RULE.into())
    }
}
