//! What must hold of advisories, of whichever format, and of licences.

use crate_mirror::{
    domain::{AdvisoryMatcher, CrateId, License},
    policy::{
        LicenseRules,
        advisories::{Advisories, Advisory, parse_osv, parse_rustsec},
        manifest_in,
    },
};
use semver::Version;

/// Any file is an advisory, several, or said in one line to be none; what is read is bounded and of one mind.
pub fn advisory(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let rustsec = parse_rustsec(&text).map(|read| read.into_iter().collect());
    for read in [rustsec, parse_osv(input)] {
        match read {
            Ok(read) => all(read),
            Err(e) => assert!(
                !e.message().contains('\n') && e.message().len() < 1_000,
                "{e}"
            ),
        }
    }
    if let Ok(matcher) = text.parse::<AdvisoryMatcher>() {
        let again = matcher.to_string().parse::<AdvisoryMatcher>();
        assert_eq!(again.expect("as it was written"), matcher);
    }
    let license = License::of_manifest(Some(&text), None);
    LicenseRules::default().allow(&license);
    assert!(license.to_string().len() <= License::MAX_LEN);
    if let Ok(id) = CrateId::parse("a", "1.0.0") {
        manifest_in(input, &id);
    }
}

/// How many advisories a file comes to.
pub fn advisories_in(input: &[u8]) -> usize {
    let rustsec = std::str::from_utf8(input)
        .ok()
        .and_then(|text| parse_rustsec(text).ok());
    rustsec.flatten().iter().count() + parse_osv(input).map_or(0, |read| read.len())
}

fn all(read: Vec<Advisory>) {
    for advisory in &read {
        sane(advisory);
    }
    let count = read.len();
    let set: Advisories = read.clone().into_iter().collect();
    assert!(set.len() <= count);
    for advisory in &read {
        assert!(
            set.of(advisory.package)
                .iter()
                .any(|known| **known == *advisory)
        );
    }
    let twice: Advisories = read.clone().into_iter().chain(read).collect();
    assert_eq!(twice.len(), set.len(), "what is there twice counts once");
}

fn sane(advisory: &Advisory) {
    assert_eq!(advisory.package, advisory.package.folded());
    assert!(advisory.id.len() <= 64 && advisory.title.len() <= 160 && advisory.aliases.len() <= 16);
    let texts = [&advisory.id, &advisory.title]
        .into_iter()
        .chain(&advisory.url);
    for text in texts.chain(&advisory.aliases) {
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
    for version in [
        "0.0.0-0",
        "0.1.0",
        "1.0.0-rc.1",
        "1.0.0",
        "1.2.3+b",
        "18446744073709551615.0.0",
    ] {
        let version = Version::parse(version).expect("a version");
        assert!(
            !(advisory.hits(&version) && advisory.is_patched_in(&version)),
            "{version} of {advisory:?}"
        );
    }
}
