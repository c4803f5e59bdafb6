//! The nouns of the field, parsed once at the edge into types that can't be wrong.
//!
//! No IO, no clock, no async: time comes in as a parameter, bytes come in as slices.

mod advisory;
mod checksum;
mod day;
mod dependencies;
mod dl;
pub mod freshness;
mod history;
mod index_file;
mod index_path;
mod key;
mod license;
pub mod lockfile;
mod loggable;
mod missed_request;
mod name;
mod one_line;
mod outcome;
mod pattern;
mod principal;
mod registry;
pub mod request;
mod selected;
mod tar_stream;
mod validators;
mod version;
mod version_range;
mod view;

pub use advisory::{AdvisoryKind, AdvisoryKinds, AdvisoryMatcher, CvssScore};
pub use checksum::{Hasher, Sha256};
pub use day::Day;
pub use dependencies::Dependency;
pub use dl::DownloadTemplate;
pub use history::{Before, History, Remembered};
pub use index_file::{Changes, IndexFile, Measure, Version};
pub use index_path::{IndexPath, Prefix};
pub use key::{CrateKey, IndexKey, Key, license_path};
pub use license::{AllowedLicense, License};
pub use lockfile::Lockfile;
pub use loggable::{TOKEN_IN_PATH, loggable_path, loggable_text, loggable_url, may_hold_secret};
pub use missed_request::MissedRequest;
pub use name::CrateName;
pub use one_line::one_line;
pub use outcome::Outcome;
pub use pattern::NamePattern;
pub use principal::Principal;
pub use registry::RegistryName;
pub use request::CrateRequest;
pub use selected::{Selected, SelectedFile};
pub use tar_stream::{TarChoice, TarProgress, TarStream, TarVisitor};
pub use validators::{Precondition, Validators};
pub use version::{CrateId, CrateVersion};
pub use version_range::VersionRange;
pub use view::{View, ViewName};
