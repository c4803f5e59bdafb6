//! [`HowTo`]: one way of using the mirror, and what there is to say of it.

use crate::{http::authentication::Authentication, mirror::Mirror};

/// What is offered, and where: everything that ways of using the mirror are told from.
#[derive(Clone, Copy)]
pub(in crate::http::pages) struct Offering<'a> {
    pub(in crate::http::pages) mirror: &'a Mirror,
    /// The URL for clients, without a final slash.
    pub(in crate::http::pages) base: &'a str,
    pub(in crate::http::pages) authentication: &'a Authentication,
}

/// One way of using the mirror.
pub(in crate::http::pages) struct HowTo {
    /// What it is called, in two words or three.
    pub(in crate::http::pages) title: &'static str,
    /// What there is to say of it, a sentence each.
    pub(in crate::http::pages) said: Vec<String>,
    /// What to paste, and where.
    pub(in crate::http::pages) blocks: Vec<Block>,
    /// The same for who reads it in a terminal, with a line feed at the end. All of these make one page, from which lines that look like settings of cargo
    /// (`[TABLE]`, `KEY = VALUE`) are pasted as one file: no other line may look so.
    pub(in crate::http::pages) text: String,
}

/// Something to paste.
pub(in crate::http::pages) struct Block {
    /// Where it goes.
    pub(in crate::http::pages) place: &'static str,
    pub(in crate::http::pages) text: String,
}
