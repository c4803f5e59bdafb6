//! [`PageRequest`]: everything that a page depends on beside the mirror itself.

use std::fmt;

use crate::{
    domain::{CrateName, Sha256},
    http::{
        query::SearchQuery,
        readable::Readable,
        route::{ApiCall, Place},
    },
};

/// Everything that a page depends on beside the mirror itself: who asks for the same within a moment gets the same.
#[derive(Clone)]
pub(in crate::http) struct PageRequest {
    /// What it is about.
    pub(in crate::http) subject: Subject,
    /// How it is read.
    pub(in crate::http) form: PageForm,
    /// The URL that clients paste, without a final slash.
    pub(in crate::http) base: Box<str>,
    /// What links on this server begin with: a path without a final slash.
    pub(in crate::http) links: Box<str>,
    /// What may stand on it, where it is about more than one registry.
    pub(in crate::http) readable: Readable,
}

/// By what a page is found again: all of the request, and of its URLs, in which a token may stand, no more than a hash.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PageKey {
    subject: Subject,
    form: PageForm,
    readable: Readable,
    urls: Sha256,
}

/// Without the URLs: a token may stand in them.
impl fmt::Debug for PageRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("PageRequest");
        shown.field("subject", &self.subject);
        shown.field("form", &self.form);
        shown.finish_non_exhaustive()
    }
}

/// Which pages stand in line with each other: those that others wait for mustn't keep anybody from seeing what this mirror does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageQueue {
    /// What the mirror knows of itself, which takes no waiting.
    Own,
    /// What the store has to be asked for.
    Store,
    /// A crate, for which upstream may have to be asked.
    Crate,
    /// A search, which may have to wait for upstream's.
    Search,
}

impl PageRequest {
    /// A request without what makes no difference to its page, so that it isn't made more than once: a client can send any `Host`.
    pub(in crate::http) fn new(
        subject: Subject,
        form: PageForm,
        base: Box<str>,
        links: Box<str>,
        readable: Readable,
    ) -> Self {
        let shows_base = match subject {
            Subject::HowTo | Subject::Home => true,
            Subject::Figures
            | Subject::Crate { .. }
            | Subject::Search { .. }
            | Subject::Policy { .. }
            | Subject::Wanted
            | Subject::Toolchains
            | Subject::Api { .. } => false,
        };
        let has_links = match form {
            PageForm::Html => true,
            PageForm::Text | PageForm::Json => false,
        };
        Self {
            subject,
            form,
            base: if shows_base { base } else { "".into() },
            links: if has_links { links } else { "".into() },
            readable,
        }
    }

    pub(super) fn key(&self) -> PageKey {
        // No URL has a blank in it.
        let urls = format!("{} {}", self.base, self.links);
        PageKey {
            subject: self.subject.clone(),
            form: self.form,
            readable: self.readable.clone(),
            urls: Sha256::of(urls.as_bytes()),
        }
    }

    /// With which pages it stands in line.
    pub(super) fn line(&self) -> PageQueue {
        match &self.subject {
            Subject::HowTo | Subject::Home | Subject::Figures | Subject::Policy { .. } => {
                PageQueue::Own
            }
            Subject::Wanted | Subject::Toolchains => PageQueue::Store,
            Subject::Crate { .. } => PageQueue::Crate,
            Subject::Search { .. } => PageQueue::Search,
            Subject::Api { call, .. } => match call {
                ApiCall::Search => PageQueue::Search,
                ApiCall::Crate(_)
                | ApiCall::Versions(_)
                | ApiCall::Version(_)
                | ApiCall::Dependencies(_)
                | ApiCall::Owners
                | ApiCall::Other => PageQueue::Crate,
            },
        }
    }
}

/// What a page is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::http) enum Subject {
    /// How to use the mirror, and nothing else.
    HowTo,
    /// The same, and what it does now.
    Home,
    /// The figures alone.
    Figures,
    /// A crate.
    Crate {
        /// In which registry.
        place: Place,
        /// Which one.
        name: CrateName,
    },
    /// A search.
    Search {
        /// In which registry.
        place: Place,
        /// For what.
        query: SearchQuery,
    },
    /// The rules.
    Policy {
        /// As seen where.
        place: Place,
    },
    /// What was asked for in vain.
    Wanted,
    /// Which toolchains are here.
    Toolchains,
    /// An answer of the web API.
    Api {
        /// In which registry.
        place: Place,
        /// What of it.
        call: ApiCall,
        /// What is searched for, if anything is.
        query: SearchQuery,
    },
}

/// How a page is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::http) enum PageForm {
    /// In a browser.
    Html,
    /// In a terminal.
    Text,
    /// By a program.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `/t/TOKEN/` is where links begin for who shows a token so.
    #[test]
    fn a_token_in_a_path_is_not_printed_with_what_was_asked_for() {
        let request = PageRequest {
            subject: Subject::Home,
            form: PageForm::Html,
            base: "http://mirror/t/cm_secret".into(),
            links: "/t/cm_secret".into(),
            readable: Readable::All,
        };
        let printed = format!("{request:?}");
        assert!(
            printed.contains("Home") && !printed.contains("cm_secret"),
            "{printed}"
        );
    }
}
