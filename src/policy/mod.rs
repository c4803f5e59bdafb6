//! Policy: which versions may be picked, and what an index file looks like to those who mustn't pick the others. Pure: facts in, answers out.

pub mod advisories;
mod licenses;
mod manifest;
mod render;
mod validity;

pub use licenses::{LicenseRules, UnknownLicense};
pub use manifest::{ManifestReader, license_in};
pub use render::render;
pub use validity::{RulesVersion, Validity};
