//! RustSec's format: TOML in a fenced block, then Markdown (<https://github.com/rustsec/advisory-db/blob/main/EXAMPLE_ADVISORY.md>).
//!
//! Read here with `toml`, `semver` and `cvss`, and not by the crate `rustsec`: that one gives up a whole database for one bad file, keeps every description
//! in memory, reads no OSV, refuses versions that overlap, and would bring nine packages where these bring one.

use semver::VersionReq;
use serde::Deserialize;

use super::{
    advisory::{Advisory, Affected},
    details::{self, broken},
    interval::Interval,
    text,
};
use crate::{
    domain::CrateName,
    error::{Error, Result},
};

/// Reads one file of RustSec's format; `None` for what isn't about a crate, or was withdrawn.
///
/// A version that neither `patched` nor `unaffected` matches is hit; without `[versions]` that is every version. What isn't needed to decide anything (a date,
/// a score, a link) may be missing or odd.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) with what is wrong, in one line.
pub fn parse_rustsec(markdown: &str) -> Result<Option<Advisory>> {
    let (front, body) = split(markdown)?;
    let front: Front = toml::from_str(front).map_err(|e| broken(e.message()))?;
    let Metadata {
        id,
        package,
        date,
        url,
        aliases,
        categories,
        informational,
        cvss,
        withdrawn,
        collection,
    } = front.advisory;
    let id = text::id(&id).ok_or_else(|| broken("its id is none"))?;
    let package = CrateName::parse(&package)
        .map_err(|e| broken(e.message()))?
        .folded();
    // The other collection is about the compiler and its libraries, which share names with crates.
    let is_other = collection.is_some_and(|collection| collection != "crates");
    if is_other || withdrawn.is_some() {
        return Ok(None);
    }
    let kinds = details::kinds(
        informational.as_deref(),
        categories.iter().map(String::as_str),
    );
    Ok(Some(Advisory {
        id,
        package,
        aliases: details::aliases(aliases.iter().map(String::as_str)),
        date: date.as_deref().and_then(details::date),
        title: text::title(heading(body)),
        kinds,
        cvss: cvss.as_deref().and_then(details::score),
        url: url.as_deref().and_then(text::url),
        affected: Affected::AllBut {
            patched: intervals(&front.versions.patched)?,
            unaffected: intervals(&front.versions.unaffected)?,
        },
    }))
}

#[derive(Deserialize)]
struct Front {
    advisory: Metadata,
    #[serde(default)]
    versions: Versions,
}

#[derive(Deserialize)]
struct Metadata {
    id: String,
    package: String,
    date: Option<String>,
    url: Option<String>,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    categories: Vec<String>,
    informational: Option<String>,
    cvss: Option<String>,
    withdrawn: Option<String>,
    collection: Option<String>,
}

#[derive(Default, Deserialize)]
struct Versions {
    #[serde(default)]
    patched: Vec<String>,
    #[serde(default)]
    unaffected: Vec<String>,
}

/// The TOML, and the Markdown after it.
fn split(markdown: &str) -> Result<(&str, &str)> {
    let unfenced = || -> Option<(&str, &str)> {
        let markdown = markdown.trim_start_matches('\u{feff}').trim_start();
        let toml = markdown.strip_prefix("```toml")?;
        let (toml, markdown) = toml.split_once("\n```")?;
        Some((toml.trim_end(), markdown))
    };
    unfenced()
        .ok_or_else(|| broken("it doesn't begin with a block of TOML between ```toml and ```"))
}

fn heading(markdown: &str) -> &str {
    let mut lines = markdown.lines().map(str::trim);
    let heading = lines.find_map(|line| line.strip_prefix("# "));
    heading.unwrap_or_default()
}

fn intervals(requirements: &[String]) -> Result<Box<[Interval]>> {
    if requirements.len() > details::MOST_INTERVALS {
        return Err(broken("it has more requirements than any advisory"));
    }
    let parse = |text: &String| {
        let requirement = VersionReq::parse(text);
        let interval = requirement.as_ref().map(Interval::from);
        interval.map_err(|e| broken(&format!("{:?} says no versions: {e}", text::title(text))))
    };
    requirements.iter().map(parse).collect::<Result<_, Error>>()
}

#[cfg(test)]
mod tests {
    use semver::Version;

    use super::*;
    use crate::domain::CvssScore;

    fn advisory(front: &str, versions: &str) -> String {
        format!(
            "```toml\n[advisory]\nid = \"RUSTSEC-2024-0001\"\npackage = \"Some_Crate\"\ndate = \"2024-02-29\"\n{front}\n[versions]\n{versions}\n```\n\n# It does *this*\n\nAt length.\n"
        )
    }

    fn parse(front: &str, versions: &str) -> Advisory {
        let read = parse_rustsec(&advisory(front, versions)).expect("well-formed");
        read.expect("about a crate")
    }

    fn hits(advisory: &Advisory, version: &str) -> bool {
        advisory.hits(&Version::parse(version).expect(version))
    }

    #[test]
    fn what_is_neither_patched_nor_unaffected_is_hit() {
        let versions =
            "patched = [\">= 1.5.1, < 1.6.0\", \">= 1.6.3\"]\nunaffected = [\"< 0.3.0\"]";
        let advisory = parse("", versions);
        for (version, hit, patched) in [
            ("0.2.9", false, false),
            ("0.3.0-alpha", false, false),
            ("0.3.0", true, false),
            ("1.5.1-rc.1", true, false),
            ("1.5.1", false, true),
            ("1.5.9", false, true),
            ("1.6.0", true, false),
            ("1.6.3-rc.1", true, false),
            ("1.6.3+build", false, true),
            ("2.0.0-rc.1", false, true),
        ] {
            assert_eq!(hits(&advisory, version), hit, "{version}");
            let version = Version::parse(version).expect(version);
            assert_eq!(advisory.is_patched_in(&version), patched, "{version}");
        }
        assert!(
            hits(&parse("", "patched = []"), "0.0.0-0"),
            "nothing is well"
        );
    }

    #[test]
    fn what_it_says_of_itself_is_read() {
        let front = "aliases = [\"CVE-2024-1\", \"no id\"]\nurl = \"https://example.com/1\"\ncategories = [\"crypto-failure\"]\ncvss = \"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H\"";
        let advisory = parse(front, "patched = []");
        assert_eq!(&*advisory.id, "RUSTSEC-2024-0001");
        assert_eq!(advisory.package.as_str(), "some-crate");
        assert_eq!(&*advisory.title, "It does *this*");
        assert_eq!(advisory.aliases.len(), 1);
        assert_eq!(advisory.cvss, CvssScore::new(9.8));
        let date = humantime::format_rfc3339_seconds(advisory.date.expect("a date")).to_string();
        assert_eq!(date, "2024-02-29T00:00:00Z");
        assert_eq!(advisory.url.as_deref(), Some("https://example.com/1"));
        assert_eq!(advisory.kinds.to_string(), "vulnerability");
    }

    #[test]
    fn all_versions_of_the_scoring_system_are_understood() {
        for (vector, score) in [
            ("CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", Some(10.0)),
            ("CVSS:3.1/AV:L/AC:H/PR:L/UI:R/S:U/C:L/I:N/A:N", Some(2.2)),
            (
                "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N",
                Some(9.3),
            ),
            ("CVSS:9.9/AV:N", None),
            ("CVSS:3.1/", None),
            ("", None),
        ] {
            let advisory = parse(&format!("cvss = \"{vector}\""), "patched = []");
            assert_eq!(advisory.cvss, score.and_then(CvssScore::new), "{vector}");
        }
    }

    #[test]
    fn its_words_make_its_kinds() {
        for (front, kinds) in [
            ("", "vulnerability"),
            ("informational = \"unsound\"", "unsound"),
            ("informational = \"unmaintained\"", "unmaintained"),
            ("informational = \"notice\"", "notice"),
            ("informational = \"something-new\"", "notice"),
            ("categories = [\"malicious\"]", "malicious, vulnerability"),
            (
                "informational = \"notice\"\ncategories = [\"malicious\"]",
                "malicious, vulnerability, notice",
            ),
        ] {
            assert_eq!(
                parse(front, "patched = []").kinds.to_string(),
                kinds,
                "{front}"
            );
        }
    }

    #[test]
    fn withdrawn_ones_and_those_about_the_compiler_do_not_count() {
        for front in ["withdrawn = \"2024-03-01\"", "collection = \"rust\""] {
            let read = parse_rustsec(&advisory(front, "patched = []"));
            assert_eq!(read.expect("well-formed"), None, "{front}");
        }
        assert!(
            parse_rustsec(&advisory("collection = \"crates\"", "patched = []"))
                .expect("well-formed")
                .is_some()
        );
    }

    #[test]
    fn line_ends_of_another_system_and_a_missing_heading_do_no_harm() {
        let text = advisory("", "patched = [\">=1\"]").replace('\n', "\r\n");
        assert!(parse_rustsec(&text).expect("well-formed").is_some());
        let (front, _) = text.split_once("\r\n\r\n# ").expect("a body");
        let read = parse_rustsec(front).expect("well-formed");
        assert_eq!(&*read.expect("about a crate").title, "");
    }

    #[test]
    fn what_is_broken_is_said_in_one_line() {
        let deep = format!("x = {}1{}", "[".repeat(100_000), "]".repeat(100_000));
        let tables = format!("x = {}1{}", "{ a = ".repeat(100_000), " }".repeat(100_000));
        let dotted = format!("{} = 1", vec!["a"; 100_000].join("."));
        for text in [
            "".to_owned(),
            "# No TOML".to_owned(),
            "```toml\n[advisory]".to_owned(),
            "```toml\n```".to_owned(),
            advisory("", "patched = [\"soon\"]"),
            advisory("", "patched = \"1\""),
            advisory("cvss = 9", "patched = []"),
            advisory("id = \"again\"", "patched = []"),
            advisory(&deep, "patched = []"),
            advisory(&tables, "patched = []"),
            advisory(&dotted, "patched = []"),
            advisory("", "patched = []").replace("Some_Crate", "../../etc/passwd"),
            advisory("", "patched = []").replace("RUSTSEC-2024-0001", "../x"),
        ] {
            let said = parse_rustsec(&text).expect_err("broken").to_string();
            assert!(!said.contains('\n') && said.len() < 300, "{said}");
        }
    }
}
