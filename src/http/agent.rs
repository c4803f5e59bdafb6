//! [`Agent`]: the program that asks, by its `User-Agent`. Some versions of cargo can't be upgraded to HTTP/2.

use semver::Version;

/// The program that asks, by its `User-Agent` (RFC 9110, section 10.1.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Agent {
    /// Cargo of this version.
    Cargo(Version),
    /// Something that calls itself cargo, with a version that can't be parsed.
    UnknownCargo,
    /// Anything else.
    Other,
}

/// The first cargo that can be upgraded. Its libcurl (8.3) puts no other transfer onto a connection that is still being upgraded. Older ones do, and those
/// transfers ended in stream errors, partial files and wrong checksums.
const FIRST_TO_UPGRADE: Version = Version::new(1, 74, 0);

impl Agent {
    /// Parses a `User-Agent`. Older releases of cargo send `cargo 1.74.1 (4c66d18ab 2023-11-20)`, newer ones `cargo/1.80.1 (376290515 2024-07-16)`.
    pub fn parse(user_agent: &[u8]) -> Self {
        let Some((name, rest)) = user_agent.split_at_checked(b"cargo".len()) else {
            return Self::Other;
        };
        // `cargo-audit/0.21` is another program.
        let goes_on = |b: &u8| b.is_ascii_alphabetic() || b"-_".contains(b);
        if !name.eq_ignore_ascii_case(b"cargo") || rest.first().is_some_and(goes_on) {
            return Self::Other;
        }
        match rest {
            [b'/' | b' ', version @ ..] => {
                let end = version.iter().position(|b| *b == b' ');
                let version = std::str::from_utf8(&version[..end.unwrap_or(version.len())]);
                let version = version.ok().and_then(|v| Version::parse(v).ok());
                version.map_or(Self::UnknownCargo, Self::Cargo)
            }
            _ => Self::UnknownCargo,
        }
    }

    /// Whether it can be upgraded to HTTP/2. A cargo of unknown version isn't: HTTP/1.1 works with every one.
    pub fn takes_upgrade(&self) -> bool {
        match self {
            // As SemVer orders them: 1.74.0-nightly is before 1.74.0.
            Self::Cargo(version) => *version >= FIRST_TO_UPGRADE,
            Self::UnknownCargo => false,
            Self::Other => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn takes_upgrade(user_agent: &str) -> bool {
        Agent::parse(user_agent.as_bytes()).takes_upgrade()
    }

    /// When they were upgraded, cargos up to 1.71 fetched a hundred packages without trouble in 2 of 24 runs only.
    #[test]
    fn no_cargo_before_1_74_is_upgraded() {
        for (user_agent, expected) in [
            ("cargo 1.68.2 (6feb7c9cf 2023-03-26)", false),
            ("cargo 1.70.0 (ec8a8a0ca 2023-04-25)", false),
            ("cargo 1.73.0 (9c4383fb5 2023-08-26)", false),
            ("cargo 1.73.0-nightly (45782b6b8 2023-07-05)", false),
            ("cargo 1.74.0-nightly (d5336f813 2023-09-22)", false),
            ("cargo 1.74.0 (ecb9851af 2023-10-18)", true),
            ("cargo 1.74.1 (ecb9851af 2023-10-18)", true),
            ("cargo 1.75.0-nightly (6fa6fdc76 2023-10-10)", true),
            ("cargo/1.80.1 (376290515 2024-07-16)", true),
            ("cargo/1.100.0-beta.1 (0 2027-01-01)", true),
            ("cargo/1.70.0", false),
            ("cargo 2.0.0", true),
            ("Cargo/1.80.1", true),
            ("CARGO/1.60.1", false),
        ] {
            assert_eq!(takes_upgrade(user_agent), expected, "{user_agent}");
        }
    }

    #[test]
    fn a_cargo_that_cannot_be_read_is_not_upgraded() {
        for user_agent in [
            "cargo",
            "cargo ",
            "cargo/",
            "cargo/unknown",
            "cargo 1.80",
            "cargo  1.80.1",
            "cargo/01.80.1",
            "cargo/v1.80.1",
            "cargo/1.80.1(a)",
            "cargo\t1.80.1",
            "cargo1.80.1",
            "cargo (1.80.1)",
            "cargo/99999999999999999999.0.0",
        ] {
            let agent = Agent::parse(user_agent.as_bytes());
            assert_eq!(agent, Agent::UnknownCargo, "{user_agent}");
        }
        assert_eq!(Agent::parse(b"cargo/\xff"), Agent::UnknownCargo);
    }

    #[test]
    fn who_is_not_cargo_is_upgraded() {
        for user_agent in [
            "",
            "carg",
            "curl/7.88.1",
            "cargo-audit/0.21.0",
            "cargo_x 1.60.0",
            "cargoes/1",
            "crates-index/3",
            "Mozilla/5.0 cargo/1.60.0",
        ] {
            assert_eq!(
                Agent::parse(user_agent.as_bytes()),
                Agent::Other,
                "{user_agent}"
            );
        }
    }

    proptest! {
        #[test]
        fn the_version_decides_however_it_is_written(
            major in 0..3_u64, minor in 0..150_u64, patch in 0..30_u64,
            rest in prop_oneof![Just(""), Just("-nightly"), Just("-beta.3"), Just("+build")],
            separator in prop_oneof![Just(' '), Just('/')],
            comment in prop_oneof![Just(String::new()), Just(" (376290515 2024-07-16)".to_owned()), " [ -~]{0,20}"],
        ) {
            let old = (major, minor) < (1, 74);
            let early = (major, minor, patch) == (1, 74, 0) && rest.starts_with('-');
            let user_agent = format!("cargo{separator}{major}.{minor}.{patch}{rest}{comment}");
            prop_assert_eq!(takes_upgrade(&user_agent), !old && !early, "{}", user_agent);
        }

        /// Whatever follows the name: a version is only found if it is written there.
        #[test]
        fn what_calls_itself_cargo_is_cargo_or_unknown(rest: Vec<u8>) {
            let user_agent = [b"cargo/", &rest[..]].concat();
            match Agent::parse(&user_agent) {
                Agent::Cargo(version) => {
                    let written = version.to_string();
                    prop_assert!(rest.starts_with(written.as_bytes()), "{:?}", version);
                }
                Agent::UnknownCargo => {}
                Agent::Other => prop_assert!(false, "{:?}", user_agent),
            }
        }

        #[test]
        fn nothing_at_all_makes_it_panic(user_agent: Vec<u8>) {
            let agent = Agent::parse(&user_agent);
            let calls_itself_cargo = user_agent.to_ascii_lowercase().starts_with(b"cargo");
            prop_assert!(calls_itself_cargo || agent == Agent::Other);
        }
    }
}
