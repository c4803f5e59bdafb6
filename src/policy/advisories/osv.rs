//! OSV's format: JSON (<https://ossf.github.io/osv-schema/>), as RustSec, GitHub and ossf/malicious-packages publish it.

use std::{cmp::Ordering, collections::BTreeMap, ops::Bound};

use semver::Version;
use serde::Deserialize;
use serde_json::Value;

use super::{
    advisory::{Advisory, Affected},
    details::{self, broken},
    interval::Interval,
    text,
};
use crate::{
    domain::{AdvisoryKinds, CrateName, CvssScore},
    error::Result,
};

/// The ecosystem whose packages are crates.
const CRATES_IO: &str = "crates.io";

/// Reads one file of OSV's format: an advisory for each crate that it is about. None for other ecosystems, and none when it was withdrawn.
///
/// What is hit is hit by a range or listed by its version. Where neither is said of a crate, all its versions are hit. `limit`, which can only excuse versions,
/// isn't looked at.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) with what is wrong, in one line.
pub fn parse_osv(json: &[u8]) -> Result<Vec<Advisory>> {
    let file: File =
        serde_json::from_slice(json).map_err(|e| broken(&e.to_string()).with_source(e))?;
    let id = text::id(&file.id).ok_or_else(|| broken("its id is none"))?;
    if file.withdrawn.is_some() {
        return Ok(Vec::new());
    }
    let mut crates = BTreeMap::<CrateName, Found>::new();
    for affected in file.affected.iter().flatten() {
        let Some(package) = &affected.package else {
            continue;
        };
        // A suffix may name a registry of the ecosystem.
        if package.ecosystem.split(':').next() != Some(CRATES_IO) {
            continue;
        }
        let name = CrateName::parse(&package.name).map_err(|e| broken(e.message()))?;
        crates.entry(name.folded()).or_default().add(affected)?;
    }
    let general = General::of(&id, &file);
    let all = crates.into_iter();
    Ok(all
        .map(|(package, found)| general.advisory(&id, package, found))
        .collect())
}

#[derive(Deserialize)]
struct File {
    id: String,
    published: Option<String>,
    /// A time; whatever stands here, it was withdrawn.
    withdrawn: Option<Value>,
    aliases: Option<Vec<String>>,
    summary: Option<String>,
    details: Option<String>,
    severity: Option<Vec<Severity>>,
    affected: Option<Vec<AffectedPackage>>,
    references: Option<Vec<Reference>>,
    database_specific: Option<Value>,
}

#[derive(Deserialize)]
struct Severity {
    score: Option<String>,
}

#[derive(Deserialize)]
struct Reference {
    #[serde(rename = "type")]
    kind: Option<String>,
    url: Option<String>,
}

#[derive(Deserialize)]
struct AffectedPackage {
    package: Option<Package>,
    severity: Option<Vec<Severity>>,
    ranges: Option<Vec<Range>>,
    versions: Option<Vec<String>>,
    database_specific: Option<Value>,
    ecosystem_specific: Option<Value>,
}

#[derive(Deserialize)]
struct Package {
    ecosystem: String,
    name: String,
}

#[derive(Deserialize)]
struct Range {
    #[serde(rename = "type")]
    kind: String,
    events: Option<Vec<Event>>,
}

#[derive(Deserialize)]
struct Event {
    introduced: Option<String>,
    fixed: Option<String>,
    last_affected: Option<String>,
}

/// What a file says of one crate, in as many entries as it likes.
#[derive(Default)]
struct Found {
    hit: Vec<Interval>,
    patched: Vec<Interval>,
    listed: Vec<Version>,
    /// What is said of it beside the versions.
    kinds: AdvisoryKinds,
    cvss: Option<CvssScore>,
}

impl Found {
    fn add(&mut self, affected: &AffectedPackage) -> Result<()> {
        let ranges = affected.ranges.iter().flatten();
        // The third type is commits, of which the versions here know nothing.
        let mut ranges = ranges
            .filter(|range| matches!(range.kind.as_str(), "SEMVER" | "ECOSYSTEM"))
            .peekable();
        let versions = affected.versions.as_deref().unwrap_or_default();
        if ranges.peek().is_none() && versions.is_empty() {
            self.hit.push(Interval::ALL);
        }
        for range in ranges {
            self.add_range(range.events.as_deref().unwrap_or_default())?;
        }
        // What is no version by semver can't be a crate's.
        let versions = versions.iter().filter_map(|v| Version::parse(v).ok());
        self.listed.extend(versions);
        let intervals = self.hit.len() + self.patched.len();
        if intervals > details::MOST_INTERVALS || self.listed.len() > details::MOST_VERSIONS {
            return Err(broken("it names more versions than any crate has"));
        }
        let specific = affected.database_specific.iter();
        for value in specific.chain(&affected.ecosystem_specific) {
            self.kinds = self.kinds.and(kinds_in(value));
            self.cvss = self.cvss.max(score_in(value));
        }
        self.cvss = self.cvss.max(worst(affected.severity.as_deref()));
        Ok(())
    }

    fn add_range(&mut self, events: &[Event]) -> Result<()> {
        let mut events = events
            .iter()
            .flat_map(turns)
            .collect::<Result<Vec<Turn>>>()?;
        // It begins somewhere: at the first version, when it doesn't say where.
        if !events.iter().any(|turn| turn.kind == TurnKind::Introduced) {
            events.push(Turn {
                at: None,
                kind: TurnKind::Introduced,
            });
        }
        events.sort_by(Turn::cmp);
        let mut state = State::Before;
        for Turn { at, kind } in events {
            let next = at.clone().map_or(Bound::Unbounded, Bound::Included);
            let until = at.clone().map_or(Bound::Unbounded, Bound::Excluded);
            state = match (kind, state) {
                (TurnKind::Introduced, State::Hit(start)) => State::Hit(start),
                (TurnKind::Introduced, State::Patched(start)) => {
                    let end = until;
                    self.patched.push(Interval { start, end });
                    State::Hit(next)
                }
                (TurnKind::Introduced, State::Before) => State::Hit(next),
                (TurnKind::Fixed, State::Hit(start)) => {
                    let end = until;
                    self.hit.push(Interval { start, end });
                    State::Patched(next)
                }
                (TurnKind::LastAffected, State::Hit(start)) => {
                    let end = next;
                    self.hit.push(Interval { start, end });
                    State::Before
                }
                (TurnKind::Fixed | TurnKind::LastAffected, other) => other,
            };
        }
        let end = Bound::Unbounded;
        match state {
            State::Hit(start) => self.hit.push(Interval { start, end }),
            State::Patched(start) => self.patched.push(Interval { start, end }),
            State::Before => {}
        }
        Ok(())
    }
}

/// Where on its way through the versions a range is.
enum State {
    /// Where it isn't hit, and nothing has been mended.
    Before,
    /// Hit since then.
    Hit(Bound<Version>),
    /// Mended since then.
    Patched(Bound<Version>),
}

/// A place among the versions where something begins or ends; none is before all of them.
struct Turn {
    at: Option<Version>,
    kind: TurnKind,
}

/// In the order in which they count at one version: what was mended in it can have come back in it, and it can be the only one that was hit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum TurnKind {
    Fixed,
    Introduced,
    LastAffected,
}

impl Turn {
    fn cmp(&self, other: &Self) -> Ordering {
        let place = match (&self.at, &other.at) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(a), Some(b)) => a.cmp_precedence(b),
        };
        place.then(self.kind.cmp(&other.kind))
    }
}

fn turns(event: &Event) -> impl Iterator<Item = Result<Turn>> {
    let all = [
        (TurnKind::Introduced, &event.introduced),
        (TurnKind::Fixed, &event.fixed),
        (TurnKind::LastAffected, &event.last_affected),
    ];
    all.into_iter().filter_map(|(kind, text)| {
        let text = text.as_deref()?;
        // `0` is the format's own word for the beginning.
        let is_beginning = kind == TurnKind::Introduced && text == "0";
        let at = match is_beginning {
            true => None,
            false => match version(text) {
                Some(version) => Some(version),
                None => {
                    let said = text::title(text);
                    return Some(Err(broken(&format!("{said:?} is no version"))));
                }
            },
        };
        Some(Ok(Turn { at, kind }))
    })
}

/// A version, of which the last numbers may be missing when they are zero.
fn version(text: &str) -> Option<Version> {
    let parsed = Version::parse(text).ok();
    parsed.or_else(|| match text.split('.').count() {
        1 => Version::parse(&format!("{text}.0.0")).ok(),
        2 => Version::parse(&format!("{text}.0")).ok(),
        _ => None,
    })
}

/// What a file says of all its crates.
struct General {
    kinds: AdvisoryKinds,
    cvss: Option<CvssScore>,
    aliases: Box<[Box<str>]>,
    date: Option<std::time::SystemTime>,
    title: Box<str>,
    url: Option<Box<str>>,
}

impl General {
    fn of(id: &str, file: &File) -> Self {
        let specific = file.database_specific.as_ref();
        let mut kinds = specific.map(kinds_in).unwrap_or_default();
        // The identifiers of ossf/malicious-packages.
        if id.starts_with("MAL-") {
            kinds = details::malicious(kinds);
        }
        let said = file
            .summary
            .as_deref()
            .filter(|summary| !summary.is_empty());
        let first = || {
            file.details
                .as_deref()?
                .lines()
                .find(|l| !l.trim().is_empty())
        };
        let references = || file.references.iter().flatten();
        let is_advisory = |r: &&Reference| r.kind.as_deref() == Some("ADVISORY");
        let link = |r: &Reference| text::url(r.url.as_deref()?);
        Self {
            kinds,
            cvss: worst(file.severity.as_deref()).max(specific.and_then(score_in)),
            aliases: details::aliases(file.aliases.iter().flatten().map(String::as_str)),
            date: file.published.as_deref().and_then(details::date),
            title: text::title(said.or_else(first).unwrap_or_default()),
            url: references()
                .filter(is_advisory)
                .chain(references())
                .find_map(link),
        }
    }

    fn advisory(&self, id: &str, package: CrateName, mut found: Found) -> Advisory {
        found.listed.sort_unstable_by(Version::cmp_precedence);
        found.listed.dedup_by(|a, b| a.cmp_precedence(b).is_eq());
        let kinds = self.kinds.and(found.kinds);
        Advisory {
            id: id.into(),
            package,
            aliases: self.aliases.clone(),
            date: self.date,
            title: self.title.clone(),
            kinds: match kinds.is_empty() {
                true => details::kinds(None, []),
                false => kinds,
            },
            cvss: self.cvss.max(found.cvss),
            url: self.url.clone(),
            affected: Affected::Only {
                hit: found.hit.into(),
                patched: found.patched.into(),
                listed: found.listed.into(),
            },
        }
    }
}

/// What a database's own words make of it: RustSec's `informational` and `categories`, GitHub's weakness "embedded malicious code". Empty when it says nothing.
fn kinds_in(specific: &Value) -> AdvisoryKinds {
    let strings = |key: &str| {
        let list = specific.get(key).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str)
    };
    let informational = specific.get("informational").and_then(Value::as_str);
    let kinds = match informational {
        Some(word) => details::kinds(Some(word), []),
        None => AdvisoryKinds::default(),
    };
    let is_malicious = strings("categories").any(|c| c == "malicious")
        || strings("cwe_ids").any(|c| c == "CWE-506");
    match is_malicious {
        true => details::malicious(kinds),
        false => kinds,
    }
}

fn score_in(specific: &Value) -> Option<CvssScore> {
    details::score(specific.get("cvss")?.as_str()?)
}

fn worst(severity: Option<&[Severity]>) -> Option<CvssScore> {
    let vectors = severity.into_iter().flatten();
    let vectors = vectors.filter_map(|severity| severity.score.as_deref());
    vectors.filter_map(details::score).max()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parse(affected: Value) -> Vec<Advisory> {
        parse_with(json!({}), affected)
    }

    /// A file that is about `affected`, with more in it.
    fn parse_with(more: Value, affected: Value) -> Vec<Advisory> {
        let mut file = json!({
            "schema_version": "1.7.3", "id": "GHSA-1", "modified": "2024-03-01T00:00:00Z",
            "published": "2024-02-29T12:00:00Z", "summary": "It does this", "affected": affected,
        });
        let more = more.as_object().expect("an object").clone();
        file.as_object_mut().expect("an object").extend(more);
        parse_osv(file.to_string().as_bytes()).expect("well-formed")
    }

    fn affected(more: Value) -> Value {
        let mut affected = json!({ "package": { "ecosystem": "crates.io", "name": "some_crate" } });
        let more = more.as_object().expect("an object").clone();
        affected.as_object_mut().expect("an object").extend(more);
        affected
    }

    fn range(events: Value) -> Value {
        affected(json!({ "ranges": [{ "type": "SEMVER", "events": events }] }))
    }

    fn one(affected: Value) -> Advisory {
        let mut all = parse(json!([affected]));
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    fn version(text: &str) -> Version {
        Version::parse(text).expect(text)
    }

    #[test]
    fn events_say_what_is_hit_and_what_is_mended() {
        let advisory = one(range(json!([
            { "fixed": "1.2.0" }, { "introduced": "0" }, { "introduced": "2.0.0-0" }, { "last_affected": "2.1.0" }, { "introduced": "3.0.0" },
        ])));
        for (text, hit, patched) in [
            ("0.0.0-0", true, false),
            ("1.2.0-rc.1", true, false),
            ("1.2.0", false, true),
            ("1.9.9", false, true),
            ("2.0.0-alpha", true, false),
            ("2.1.0", true, false),
            ("2.1.1-rc.1", false, false),
            ("2.5.0", false, false),
            ("3.0.0", true, false),
        ] {
            assert_eq!(advisory.hits(&version(text)), hit, "{text}");
            assert_eq!(advisory.is_patched_in(&version(text)), patched, "{text}");
        }
    }

    #[test]
    fn one_version_alone_can_be_hit() {
        let advisory = one(range(
            json!([{ "introduced": "1.0.1" }, { "last_affected": "1.0.1" }]),
        ));
        assert!(advisory.hits(&version("1.0.1")) && advisory.hits(&version("1.0.1+x")));
        assert!(!advisory.hits(&version("1.0.0")) && !advisory.hits(&version("1.0.2")));
        let listed = one(affected(json!({ "versions": ["1.0.1", "not one"] })));
        assert!(listed.hits(&version("1.0.1")) && !listed.hits(&version("1.0.2")));
    }

    #[test]
    fn where_no_versions_are_said_all_are_hit() {
        for affected in [
            affected(json!({})),
            affected(json!({ "ranges": null, "versions": null })),
            affected(json!({ "versions": [] })),
            affected(json!({ "ranges": [{ "type": "GIT", "events": [{ "introduced": "0" }] }] })),
            range(json!([])),
            range(json!([{ "introduced": "0" }])),
        ] {
            assert!(one(affected.clone()).hits(&version("1.0.0")), "{affected}");
        }
        let advisory = one(range(json!([{ "fixed": "1.2" }])));
        assert!(advisory.hits(&version("1.1.0")) && !advisory.hits(&version("1.2.0")));
    }

    #[test]
    fn each_crate_has_its_own_and_entries_for_one_add_up() {
        let second = json!({ "package": { "ecosystem": "crates.io", "name": "other" }, "versions": ["1.0.0"] });
        let foreign = json!({ "package": { "ecosystem": "npm", "name": "@x/y" } });
        let more = json!({ "package": { "ecosystem": "crates.io", "name": "Some-Crate" }, "versions": ["9.0.0"] });
        let first = range(json!([{ "introduced": "1.0.0" }, { "fixed": "1.1.0" }]));
        let all = parse(json!([first, second, foreign, more, { "package": null }]));
        let names: Vec<_> = all.iter().map(|a| a.package.as_str()).collect();
        assert_eq!(names, ["other", "some-crate"]);
        assert!(all[1].hits(&version("1.0.5")) && all[1].hits(&version("9.0.0")));
        assert!(!all[1].hits(&version("2.0.0")));
    }

    #[test]
    fn its_words_make_its_kinds() {
        let everything = affected(json!({}));
        for (more, specific, kinds) in [
            (json!({}), json!({}), "vulnerability"),
            (
                json!({ "id": "MAL-2025-1" }),
                json!({}),
                "malicious, vulnerability",
            ),
            (
                json!({}),
                json!({ "informational": "unsound", "categories": [] }),
                "unsound",
            ),
            (
                json!({}),
                json!({ "informational": null, "categories": ["malicious"] }),
                "malicious, vulnerability",
            ),
            (
                json!({ "database_specific": { "cwe_ids": ["CWE-506"] } }),
                json!({}),
                "malicious, vulnerability",
            ),
            (
                json!({ "database_specific": 7 }),
                json!("odd"),
                "vulnerability",
            ),
        ] {
            let mut affected = everything.clone();
            affected["database_specific"] = specific;
            assert_eq!(
                parse_with(more, json!([affected]))[0].kinds.to_string(),
                kinds
            );
        }
    }

    #[test]
    fn the_worst_score_counts_wherever_it_stands() {
        let high = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H";
        let low =
            json!([{ "type": "CVSS_V3", "score": "CVSS:3.1/AV:L/AC:H/PR:L/UI:R/S:U/C:L/I:N/A:N" }]);
        let odd = json!([{ "type": "Ubuntu", "score": "medium" }, { "type": "CVSS_V3" }]);
        let both = json!([{ "type": "CVSS_V4", "score": high }, low[0]]);
        let specific = affected(json!({ "database_specific": { "cvss": high } }));
        let own = affected(json!({ "severity": both }));
        let plain = affected(json!({}));
        for (severity, affected, score) in [
            (low.clone(), plain.clone(), Some(2.2)),
            (both.clone(), plain.clone(), Some(9.8)),
            (low.clone(), specific, Some(9.8)),
            (low, own, Some(9.8)),
            (odd, plain.clone(), None),
            (Value::Null, plain, None),
        ] {
            let all = parse_with(json!({ "severity": severity }), json!([affected]));
            assert_eq!(all[0].cvss, score.and_then(CvssScore::new), "{severity}");
        }
    }

    #[test]
    fn withdrawn_ones_and_other_ecosystems_do_not_count() {
        let withdrawn = json!({ "withdrawn": "2024-03-01T00:00:00Z" });
        assert!(parse_with(withdrawn, json!([affected(json!({}))])).is_empty());
        assert_eq!(
            parse_with(json!({ "withdrawn": null }), json!([affected(json!({}))])).len(),
            1
        );
        assert!(parse(Value::Null).is_empty());
    }

    #[test]
    fn a_title_and_a_link_are_found_where_there_are_some() {
        let more = json!({
            "summary": "", "details": "\n\n  First line\nsecond",
            "references": [{ "type": "WEB", "url": "https://example.com/web" }, { "type": "ADVISORY", "url": "https://example.com/advisory" }],
        });
        let all = parse_with(more, json!([affected(json!({}))]));
        assert_eq!(&*all[0].title, "First line");
        assert_eq!(all[0].url.as_deref(), Some("https://example.com/advisory"));
    }

    #[test]
    fn what_is_broken_is_said_in_one_line() {
        let deep = format!(
            "{{\"id\": \"X-1\", \"affected\": {}1{}}}",
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        let unknown = format!(
            "{{\"id\": \"X-1\", \"other\": {}1{}}}",
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        let bad_name = json!({ "id": "X-1", "affected": [{ "package": { "ecosystem": "crates.io", "name": "../x" } }] });
        let bad_id = json!({ "id": "X 1", "affected": [] });
        let bad_version =
            json!({ "id": "X-1", "affected": [range(json!([{ "introduced": "soon" }]))] });
        for text in [
            String::new(),
            "{}".to_owned(),
            "[]".to_owned(),
            deep,
            bad_name.to_string(),
            bad_id.to_string(),
            bad_version.to_string(),
        ] {
            let said = parse_osv(text.as_bytes()).expect_err("broken").to_string();
            assert!(!said.contains('\n') && said.len() < 300, "{said}");
        }
        let read = parse_osv(unknown.as_bytes()).expect("what isn't known is passed over");
        assert!(read.is_empty(), "{read:?}");
    }

    proptest! {
        /// The format's own algorithm: go through the events in order, and see whether it is hit at the version.
        #[test]
        fn intervals_are_what_the_formats_algorithm_says(
            marks in proptest::collection::btree_map((0_u64..4, 0_u64..4), 0..3_u8, 1..8),
            at in (0_u64..5, 0_u64..5),
        ) {
            let events: Vec<_> = marks.iter().map(|((a, b), kind)| {
                let version = format!("{a}.{b}.0");
                match kind {
                    0 => json!({ "introduced": version }),
                    1 => json!({ "fixed": version }),
                    _ => json!({ "last_affected": version }),
                }
            }).collect();
            prop_assume!(marks.values().any(|kind| *kind == 0));
            let mut is_hit = false;
            for (mark, kind) in &marks {
                match kind {
                    0 if at >= *mark => is_hit = true,
                    1 if at >= *mark => is_hit = false,
                    2 if at > *mark => is_hit = false,
                    _ => {}
                }
            }
            let advisory = one(range(json!(events)));
            let version = Version::new(at.0, at.1, 0);
            prop_assert_eq!(advisory.hits(&version), is_hit);
            prop_assert!(!(advisory.is_patched_in(&version) && is_hit));
        }
    }
}
