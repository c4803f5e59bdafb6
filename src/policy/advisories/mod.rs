//! Advisories: what is known against versions of crates. Read from files elsewhere (`crate::advisories`); here is what they say.

mod advisory;
mod details;
mod interval;
mod osv;
mod rustsec;
mod set;
mod text;

pub use advisory::Advisory;
pub use osv::parse_osv;
pub use rustsec::parse_rustsec;
pub use set::Advisories;
