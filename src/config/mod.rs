//! [`Config`]: what the operator wrote, typed. Defaults, then mirror.toml, then the environment, then flags; unknown keys are errors.

pub mod access;
mod bucket;
mod connection;
pub mod credential;
mod load;
mod origins;
pub mod policy;
mod policy_file;
mod registries;
pub mod sections;
mod settings;
pub mod tls;
mod toolchains;
pub mod traces;
pub mod units;

pub use bucket::{BucketAt, ServiceUrl, StoreSize};
pub use connection::{ClientCertificate, Contact, ProxySetting};
pub use load::{DEFAULT_FILE, Flags, file, load, load_with_policy, parse, policy_text};
pub use origins::Origins;
pub use registries::RegistrySettings;
pub use settings::Config;
pub use toolchains::{ToolchainSettings, WarmToolchain};
pub use units::{BaseUrl, Origin};

/// The checked-in mirror.toml: every key with its default, commented. A test holds it against the defaults.
pub const DOCUMENTED: &str = include_str!("../../mirror.toml");
