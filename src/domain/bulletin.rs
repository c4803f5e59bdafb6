//! [`Bulletin`]: which index files one mirror has had confirmed lately, for others that share its store.

use std::{
    fmt::Write,
    time::{Duration, SystemTime},
};

use super::{
    checksum::Sha256,
    key::{IndexKey, Key},
};

/// The version of the written form; of others nothing is taken.
const BEGINNING: &str = "crate-mirror bulletin 1 ";

/// That upstream said of an index file's body at some time that it is current.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirmation {
    /// Of which index file.
    pub key: IndexKey,
    /// Of which body.
    pub sha256: Sha256,
    /// When, by the clock of who asked; in milliseconds.
    pub at: SystemTime,
}

/// What one mirror tells the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bulletin(pub Vec<Confirmation>);

impl Bulletin {
    /// So many confirmations are written and read, in the order in which they are there.
    pub const MOST: usize = 8192;
    /// No written form is longer, in bytes.
    pub const LARGEST: u64 = 4 << 20;

    /// The written form: a line with the checksum of what follows, and a line for each confirmation.
    pub fn written(&self) -> String {
        let mut lines = String::new();
        for Confirmation { key, sha256, at } in self.0.iter().take(Self::MOST) {
            let since = at.duration_since(SystemTime::UNIX_EPOCH);
            let millis = since.unwrap_or_default().as_millis();
            // Into memory it always succeeds.
            let _ = writeln!(lines, "{millis} {sha256} {}", key.path());
        }
        format!("{BEGINNING}{}\n{lines}", Sha256::of(lines.as_bytes()))
    }

    /// Reads the written form; `None` when it is another one, or damaged.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (sha256, lines) = text.strip_prefix(BEGINNING)?.split_once('\n')?;
        if Sha256::parse(sha256).ok()? != Sha256::of(lines.as_bytes()) {
            return None;
        }
        let lines = lines.lines().take(Self::MOST);
        lines.map(confirmation).collect::<Option<_>>().map(Self)
    }
}

fn confirmation(line: &str) -> Option<Confirmation> {
    let mut parts = line.splitn(3, ' ');
    let millis = parts.next()?.parse().ok()?;
    let sha256 = Sha256::parse(parts.next()?).ok()?;
    let key = *Key::from_path(parts.next()?)?.index()?;
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis))?;
    Some(Confirmation { key, sha256, at })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{CrateName, RegistryName};

    fn confirmations(names: Vec<(String, u32)>) -> Bulletin {
        let one = |(name, millis): (String, u32)| {
            let name = CrateName::parse(&name).expect("valid");
            Confirmation {
                key: IndexKey::new(RegistryName::crates_io(), name),
                sha256: Sha256::of(name.as_str().as_bytes()),
                at: SystemTime::UNIX_EPOCH + Duration::from_millis(millis.into()),
            }
        };
        Bulletin(names.into_iter().map(one).collect())
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_no_damage_gets_through(
            names in proptest::collection::vec(("[a-zA-Z][a-zA-Z0-9_-]{0,20}", any::<u32>()), 0..8),
            place in any::<prop::sample::Index>(),
            bit in 0..8_u8,
        ) {
            let bulletin = confirmations(names);
            let written = bulletin.written().into_bytes();
            prop_assert_eq!(Bulletin::read(&written), Some(bulletin));
            let mut bad = written.clone();
            let place = place.index(bad.len());
            bad[place] ^= 1 << bit;
            // The checksum itself may be written in capitals.
            if !bad.eq_ignore_ascii_case(&written) {
                prop_assert_eq!(Bulletin::read(&bad), None);
            }
            prop_assert_eq!(Bulletin::read(&written[..place]), None);
        }

        #[test]
        fn no_input_is_too_much(bytes in any::<Vec<u8>>()) {
            let _ = Bulletin::read(&bytes);
        }
    }
}
