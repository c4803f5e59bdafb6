//! The words that metrics have in their labels, as types: what is counted under a word that nobody knows is counted nowhere.

/// What a request asked for, as far as counting goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteLabel {
    /// A registry's config.json.
    ConfigJson,
    /// An index file.
    Index,
    /// A .crate file.
    Download,
    /// The web API, downloads apart.
    WebApi,
    /// The index as a git repository.
    Git,
    /// What rustup asks for.
    Toolchain,
    /// The server's own pages: health, metrics, status.
    Page,
    /// What isn't there.
    Unknown,
}

impl RouteLabel {
    pub(super) const ALL: [Self; 8] = [
        Self::ConfigJson,
        Self::Index,
        Self::Download,
        Self::WebApi,
        Self::Git,
        Self::Toolchain,
        Self::Page,
        Self::Unknown,
    ];

    /// The word used in metrics and traces.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConfigJson => "config",
            Self::Index => "index",
            Self::Download => "download",
            Self::WebApi => "api",
            Self::Git => "git",
            Self::Toolchain => "toolchain",
            Self::Page => "page",
            Self::Unknown => "unknown",
        }
    }

    /// Whether upstream would be asked for it if there were no mirror.
    pub(super) const fn is_mirrored(self) -> bool {
        match self {
            Self::Index | Self::Download | Self::Git | Self::Toolchain => true,
            Self::ConfigJson | Self::WebApi | Self::Page | Self::Unknown => false,
        }
    }
}

/// The protocol a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2, by prior knowledge or after an upgrade.
    Http2,
}

impl Protocol {
    pub(super) const ALL: [Self; 2] = [Self::Http1, Self::Http2];

    /// The protocol as logs and metrics write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }
}

/// How a TLS handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsHandshake {
    /// In a new session.
    Full,
    /// In one that the client had before.
    Resumed,
    /// The client spoke plain HTTP.
    Plain,
    /// The client took too long.
    Late,
    /// The client went away.
    Gone,
    /// There was no memory for what the client sent.
    NoMemory,
    /// The client's certificate isn't one that counts.
    Certificate,
    /// The client broke it off with an alert: it may not trust the server's certificate.
    Alert,
    /// What the client said made no sense, or it and the server have nothing in common.
    Protocol,
}

impl TlsHandshake {
    pub(super) const ALL: [Self; 9] = [
        Self::Full,
        Self::Resumed,
        Self::Plain,
        Self::Late,
        Self::Gone,
        Self::NoMemory,
        Self::Certificate,
        Self::Alert,
        Self::Protocol,
    ];

    /// The word used in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Resumed => "resumed",
            Self::Plain => "plain-http",
            Self::Late => "timeout",
            Self::Gone => "closed",
            Self::NoMemory => "no-memory",
            Self::Certificate => "certificate",
            Self::Alert => "alert",
            Self::Protocol => "protocol",
        }
    }
}

/// What is asked of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamKind {
    /// Its config.json.
    Config,
    /// An index file.
    Index,
    /// A .crate file.
    Crate,
    /// Its web API.
    WebApi,
    /// What says which files a toolchain has.
    Manifest,
    /// A file of a toolchain.
    Component,
}

impl UpstreamKind {
    /// The word used in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Index => "index",
            Self::Crate => "crate",
            Self::WebApi => "api",
            Self::Manifest => "manifest",
            Self::Component => "component",
        }
    }

    /// The statuses that are no surprise.
    pub(super) const fn usual_results(self) -> &'static [&'static str] {
        match self {
            Self::Index | Self::Manifest => &["200", "304", "404"],
            Self::Crate | Self::Component => &["200", "404"],
            Self::Config | Self::WebApi => &["200"],
        }
    }
}

/// What upstream did to versions that it had published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexChange {
    /// It took them back.
    Vanished,
    /// It gave them other content.
    Checksum,
    /// It deleted the crate, and let another one have the name.
    Replaced,
}

impl IndexChange {
    pub(super) const ALL: [Self; 3] = [Self::Vanished, Self::Checksum, Self::Replaced];

    /// The word used in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vanished => "vanished",
            Self::Checksum => "checksum",
            Self::Replaced => "replaced",
        }
    }
}
