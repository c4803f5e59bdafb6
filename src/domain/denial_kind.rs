//! [`DenialKind`]: what kind of rule keeps something out, as metrics, logs and pages call it.

/// The kinds of rules about what may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DenialKind {
    /// The content of a version was another one before.
    Changed,
    /// Published after the day that is looked at.
    Day,
    /// A rule of the operator's (`policy.rules`).
    Rule,
    /// An advisory (`policy.advisories`).
    Advisory,
    /// A licence, or that none is known (`policy.licenses`).
    License,
    /// Too young, or without a date (`policy.cooldown`).
    Cooldown,
    /// No rule lets it in, and without one nothing comes in (`policy.default`).
    Default,
    /// A toolchain of a channel that isn't handed out (`toolchains.channels`).
    Channel,
}

impl DenialKind {
    /// Every kind, for what must be prepared for each.
    pub const ALL: [Self; 8] = [
        Self::Changed,
        Self::Day,
        Self::Rule,
        Self::Advisory,
        Self::License,
        Self::Cooldown,
        Self::Default,
        Self::Channel,
    ];

    /// The word that metrics and tables use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Day => "day",
            Self::Rule => "rule",
            Self::Advisory => "advisory",
            Self::License => "license",
            Self::Cooldown => "cooldown",
            Self::Default => "default",
            Self::Channel => "channel",
        }
    }
}
