//! [`Outcome`]: where an answer came from, as the `x-cache` header says it.

/// Where an answer came from. Cargo prints it when a request fails; metrics count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// From memory or the store, with no upstream contact.
    Hit,
    /// From the store, after upstream said that it is still current.
    Revalidated,
    /// From upstream, or not at all because upstream failed.
    Miss,
    /// From the store although it is due for a check, because upstream failed or is slow.
    Stale,
    /// There is no such thing.
    Absent,
    /// It isn't here, or no longer whole, and there is no upstream to ask.
    Offline,
    /// The rules about what may come in refuse it.
    Denied,
    /// Elsewhere: the client is sent to where the store keeps it.
    Redirect,
}

impl Outcome {
    /// Every outcome, for what must be prepared per outcome.
    pub const ALL: [Self; 8] = [
        Self::Hit,
        Self::Revalidated,
        Self::Miss,
        Self::Stale,
        Self::Absent,
        Self::Offline,
        Self::Denied,
        Self::Redirect,
    ];

    /// The word used in `x-cache`, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Revalidated => "revalidated",
            Self::Miss => "miss",
            Self::Stale => "stale",
            Self::Absent => "absent",
            Self::Offline => "offline",
            Self::Denied => "denied",
            Self::Redirect => "redirect",
        }
    }
}
