//! Policy: which versions may come in, and what an index file looks like to those who mustn't pick the others. Pure: facts in, answers out.

pub mod advisories;
mod crate_rules;
mod denial;
mod gate;
mod licenses;
mod manifest;
mod marks;
mod render;
mod rules;
mod sentence;
mod validity;
mod words;

#[cfg(test)]
pub(crate) use crate_rules::DECISIONS;
pub use crate_rules::{Candidate, CrateRules, Decision, Known, Ruling};
pub use denial::{Cause, Denial, Since};
pub use gate::Gate;
pub use licenses::{LicenseRules, UnknownLicense};
pub use manifest::{ManifestReader, manifest_in};
pub use marks::Marks;
pub use render::{render, render_places};
pub use rules::Policy;
pub use sentence::{refusal, refusal_naming};
pub use validity::{RulesVersion, RulingValidity};
