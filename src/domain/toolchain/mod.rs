//! What rustup asks a distribution host for: channels, manifests, components, and rustup itself. A path is one of these, or there is nothing under it.

mod channel;
mod lines;
mod manifest;
mod path;
mod pins;
mod release;
mod sums;

pub use channel::{Channel, ChannelPattern, ToolchainName};
pub use lines::{TomlEvent, TomlLines};
pub use manifest::{ManifestHashes, ToolchainManifest, ToolchainTarget};
pub(in crate::domain) use path::ToolchainObject;
pub use path::{
    ComponentFile, ComponentName, InitFile, InitRelease, ManifestName, RustupVersion, TargetTriple,
    ToolchainDocument, ToolchainItem, ToolchainKey, ToolchainPath,
};
pub use pins::PinnedToolchain;
pub use release::RustupRelease;
pub use sums::SumFile;
