//! [`ToolchainSettings`]: whether and how toolchains are mirrored, beside crates.

use serde::{Deserialize, Deserializer, de};

use super::units::{BaseUrl, Span};
use crate::{
    domain::toolchain::{ChannelPattern, PinnedToolchain},
    error::{Error, Result},
};

const SECOND: u64 = 1_000;
const DAY: u64 = 86_400 * SECOND;

/// Rust's own distribution host.
const UPSTREAM: &str = "https://static.rust-lang.org";

/// `[toolchains]`: what rustup asks for.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ToolchainSettings {
    /// Whether it is answered.
    pub enabled: bool,
    /// The distribution host.
    pub upstream: BaseUrl,
    /// How long channel names and the newest rustup are served without asking upstream.
    pub fresh_for: Span<0, { 365 * DAY }>,
    /// Which channels may be asked for.
    pub channels: Vec<ChannelPattern>,
}

impl Default for ToolchainSettings {
    fn default() -> Self {
        Self {
            enabled: false,
            upstream: BaseUrl::parse(UPSTREAM).expect("a literal URL"),
            fresh_for: Span::millis(600 * SECOND),
            channels: vec![ChannelPattern::all()],
        }
    }
}

impl ToolchainSettings {
    /// Whether they make sense as a whole.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when they don't.
    pub(super) fn check(&self) -> Result<()> {
        if self.channels.is_empty() {
            return Err(Error::config(
                "`toolchains.channels` is empty, so that no toolchain could be handed out; allowed are names and patterns such as [\"stable\", \"1.*\"], or [\"*\"] for all",
            ));
        }
        if self.upstream.has_user() {
            return Err(Error::config(
                "`toolchains.upstream` has a user in it, and distribution hosts know none; write it without",
            ));
        }
        Ok(())
    }
}

/// A toolchain that is kept here although nobody asks: its name, perhaps with the machine it runs on, `stable-x86_64-pc-windows-msvc`.
#[derive(Clone, Debug)]
pub struct WarmToolchain(pub PinnedToolchain);

impl<'de> Deserialize<'de> for WarmToolchain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        PinnedToolchain::named(&text)
            .map(Self)
            .map_err(de::Error::custom)
    }
}
