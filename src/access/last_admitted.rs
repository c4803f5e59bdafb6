//! [`LastAdmitted`]: who was admitted last on a connection, and by which header.
//!
//! A client sends the same header with every request of a connection. To hash its token and to look that up takes longer than to see that it is the same
//! header as before.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use zeroize::{Zeroize, Zeroizing};

use super::{same::same, tokens::TokenEntry};
use crate::domain::{Principal, RegistryName};

/// The longest header that is remembered, in bytes. A token of ours has 51, or some 80 as the password of a short name. JSON web tokens are longer, and are
/// looked up each time.
const ROOM: usize = 192;

/// Who was admitted last on a connection by a token of the tokens file, and by which header: one, in room that is always there. What counts is what a request
/// carries, so that many may share a connection, as behind a proxy; only who asks alone is spared the look-up.
pub struct LastAdmitted(Mutex<Memory>);

struct Memory {
    /// The header's value and zeros. Filled where it is, so that nowhere else is a copy of it, and wiped when it is dropped.
    header: Zeroizing<[u8; ROOM]>,
    length: usize,
    admitted: Option<Admitted>,
}

/// As what somebody was admitted.
struct Admitted {
    /// Of the tokens that there were.
    generation: u64,
    entry: Arc<TokenEntry>,
    /// The entry's, in memory of its own: what all connections count their clones on goes from core to core with each request.
    principal: Principal,
}

impl Default for LastAdmitted {
    fn default() -> Self {
        Self(Mutex::new(Memory {
            header: Zeroizing::new([0; ROOM]),
            length: 0,
            admitted: None,
        }))
    }
}

impl fmt::Debug for LastAdmitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LastAdmitted")
    }
}

impl LastAdmitted {
    /// Who is admitted to `registry` by `header`, if it is the one that was admitted last, the tokens are still those of `generation`, and its own is good for
    /// that registry at `now`. `None` says nothing: it is to be looked up.
    pub(super) fn recall(
        &self,
        header: &[u8],
        generation: u64,
        registry: Option<RegistryName>,
        now: SystemTime,
    ) -> Option<Principal> {
        let memory = self.lock();
        let admitted = memory.admitted.as_ref()?;
        let grant = &admitted.entry.grant;
        let counts = admitted.generation == generation
            && grant.includes(registry)
            && !grant.is_expired(now)
            && same(&memory.header[..memory.length], header);
        counts.then(|| admitted.principal.clone())
    }

    /// Remembers that `header` was admitted, by the token of `entry`, which was found when the tokens were those of `generation` or later ones.
    pub(super) fn remember(&self, header: &[u8], generation: u64, entry: &Arc<TokenEntry>) {
        let length = header.len();
        if length > ROOM {
            return;
        }
        let mut memory = self.lock();
        memory.header[length..].zeroize();
        memory.header[..length].copy_from_slice(header);
        memory.length = length;
        memory.admitted = Some(Admitted {
            generation,
            entry: entry.clone(),
            principal: entry.principal.apart(),
        });
    }

    /// Only ever one task at a time uses a connection, so nobody waits here.
    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::access::{digest::TokenDigest, tokens::Grant};

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn entry(name: &str, expires: Option<u64>, registries: &[RegistryName]) -> Arc<TokenEntry> {
        Arc::new(TokenEntry {
            grant: Grant {
                sha256: TokenDigest::of(name),
                expires: expires.map(at),
                registries: registries.to_vec(),
            },
            principal: Principal::token(name),
        })
    }

    fn recalled(last: &LastAdmitted, header: &str, generation: u64, now: u64) -> Option<String> {
        let who = last.recall(header.as_bytes(), generation, None, at(now));
        who.map(|who| who.to_string())
    }

    #[test]
    fn only_the_last_header_is_known_and_only_while_nothing_has_changed() {
        let last = LastAdmitted::default();
        assert_eq!(recalled(&last, "", 0, 0), None);
        last.remember(b"one", 7, &entry("first", Some(100), &[]));
        assert_eq!(recalled(&last, "one", 7, 99).as_deref(), Some("first"));
        for (header, generation, now) in [
            ("one", 8, 99),
            ("one", 7, 100),
            ("", 7, 99),
            ("on", 7, 99),
            ("onf", 7, 99),
            ("one ", 7, 99),
            ("one\0", 7, 99),
        ] {
            assert_eq!(recalled(&last, header, generation, now), None, "{header:?}");
        }
        last.remember(b"two", 7, &entry("second", None, &[]));
        assert_eq!(recalled(&last, "one", 7, 99), None);
        assert_eq!(recalled(&last, "two", 7, 1_000).as_deref(), Some("second"));
    }

    #[test]
    fn it_is_for_the_registries_of_its_token() {
        let registry = |name| RegistryName::parse(name).expect("a name");
        let (inner, other) = (registry("inner"), registry("other"));
        let last = LastAdmitted::default();
        last.remember(b"one", 0, &entry("first", None, &[inner]));
        let is_known = |of| last.recall(b"one", 0, of, at(0)).is_some();
        assert!(is_known(Some(inner)) && is_known(None));
        assert!(!is_known(Some(other)));
    }

    /// It is leased with each connection, of which there may be thousands.
    #[test]
    fn it_has_room_for_one_header_of_some_length_and_keeps_nothing_of_another() {
        assert!(size_of::<LastAdmitted>() <= 256);
        let last = LastAdmitted::default();
        last.remember(&[b'a'; ROOM], 0, &entry("first", None, &[]));
        assert!(recalled(&last, &"a".repeat(ROOM), 0, 0).is_some());
        last.remember(&[b'b'; ROOM + 1], 0, &entry("second", None, &[]));
        assert!(recalled(&last, &"b".repeat(ROOM + 1), 0, 0).is_none());
        last.remember(b"c", 0, &entry("third", None, &[]));
        assert!(last.lock().header[1..].iter().all(|byte| *byte == 0));
    }

    /// Two connections with the same token counted their clones of its name at the same place in memory.
    #[test]
    fn the_name_is_its_own() {
        let last = LastAdmitted::default();
        let entry = entry("first", None, &[]);
        last.remember(b"one", 0, &entry);
        let recalled = last.recall(b"one", 0, None, at(0)).expect("known");
        assert_eq!(recalled, entry.principal);
        let is_shared = match (&recalled, &entry.principal) {
            (Principal::Named(one), Principal::Named(other)) => Arc::ptr_eq(one, other),
            (Principal::Anonymous | Principal::Named(_), _) => true,
        };
        assert!(!is_shared);
    }
}
