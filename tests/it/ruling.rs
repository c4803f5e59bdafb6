//! What the rules decide, whatever they are and whatever is published: the index never offers what the download refuses, and refuses nothing that it offers.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use crate_mirror::{
    config,
    domain::{CrateName, Day, History, IndexFile, IndexPath, RegistryName, Sha256, View, ViewName},
    policy::{
        Candidate, CrateRules, Known, Policy, RulesVersion, Ruling,
        advisories::{Advisories, parse_rustsec},
        render_places,
    },
};
use proptest::prelude::*;

const VERSIONS: [&str; 8] = [
    "0.1.0",
    "0.1.1",
    "1.0.0",
    "1.0.1-rc.1",
    "1.0.1",
    "1.2.0",
    "2.0.0-a",
    "2.0.0",
];
const NOW: u64 = 1_800_000_000;
/// Added to an age, it is one of a yanked version.
const YANKED: u64 = 1_000_000;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// What is published: which versions, when each (before [`NOW`]), and which are yanked.
fn published() -> impl Strategy<Value = (IndexFile, History)> {
    let version = (
        prop::option::of(0_u64..40_000),
        any::<bool>(),
        any::<bool>(),
    );
    let versions = prop::collection::vec(prop::option::of(version), VERSIONS.len());
    versions.prop_filter_map("none", |versions| {
        let mut lines = String::new();
        let mut before = String::new();
        for (number, version) in VERSIONS.iter().zip(&versions) {
            let Some((age, yanked, changed)) = version else {
                continue;
            };
            let pubtime = age.map_or(String::new(), |age| {
                let time = humantime::format_rfc3339_seconds(at(NOW - age));
                format!(",\"pubtime\":\"{time}\"")
            });
            let line = |content: &str| {
                format!(
                    "{{\"name\":\"a\",\"vers\":\"{number}\",\"cksum\":\"{}\",\"yanked\":{yanked}{pubtime}}}\n",
                    Sha256::of(content.as_bytes())
                )
            };
            lines += &line("now");
            before += &line(if *changed && *yanked { "before" } else { "now" });
        }
        let path = IndexPath::of(CrateName::parse("a").ok()?);
        let file = IndexFile::parse(path, Bytes::from(lines)).ok()?;
        let before = IndexFile::parse(path, Bytes::from(before)).ok()?;
        let nothing = History::after(None, &before, at(NOW - 20_000));
        let known = crate_mirror::domain::Before {
            file: &before,
            history: &nothing,
            checked_at: at(NOW - 10_000),
            modified_at: at(NOW - 20_000),
            gone: false,
        };
        let history = History::after(Some(known), &file, at(NOW - 5_000));
        Some((file, history))
    })
}

fn range() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "*",
        ">=1",
        "<1",
        "=1.0.0",
        ">=1.0.1-rc.1, <2",
        "^0.1",
        "2",
    ])
    .prop_map(str::to_owned)
}

/// A rule as TOML.
fn rule() -> impl Strategy<Value = String> {
    let action = prop_oneof![
        Just("action = \"allow\"".to_owned()),
        Just("action = \"deny\"".to_owned()),
        (0_u32..30_000).prop_map(|wait| format!("cooldown = \"{wait}s\"")),
    ];
    let name = prop::sample::select(vec!["a", "*", "?", "b", "A*"]);
    let until = prop::option::of(prop::sample::select(vec![
        "2027-01-15",
        "2027-01-16",
        "2020-01-01",
    ]));
    (name, prop::option::of(range()), action, until).prop_map(|(name, range, action, until)| {
        let range = range.map_or(String::new(), |range| format!("versions = \"{range}\"\n"));
        let until = until.map_or(String::new(), |until| format!("until = \"{until}\"\n"));
        format!("[[policy.rules]]\ncrates = [\"{name}\"]\n{range}{until}{action}\n")
    })
}

fn settings() -> impl Strategy<Value = (String, Vec<String>)> {
    let keys = (
        prop::sample::select(vec!["enforce", "report"]),
        prop::sample::select(vec!["allow", "deny"]),
        0_u32..30_000,
        prop::sample::select(vec!["first-seen", "allow", "deny"]),
        any::<bool>(),
        prop::sample::select(vec!["[]", "[\"malicious\"]", "[\"vulnerability\"]"]),
    );
    let keys = keys.prop_map(|(mode, default, cooldown, undated, fixes, deny)| {
        format!(
            "[policy]\nmode = \"{mode}\"\ndefault = \"{default}\"\ncooldown = \"{cooldown}s\"\nundated = \"{undated}\"\nfixes_skip_cooldown = {fixes}\n[policy.advisories]\ndeny = {deny}\n"
        )
    });
    (keys, prop::collection::vec(rule(), 0..4))
}

fn advisories() -> impl Strategy<Value = Arc<Advisories>> {
    let advisory = (range(), any::<bool>());
    prop::collection::vec(advisory, 0..3).prop_map(|all| {
        let all = all.into_iter().enumerate();
        let parsed = all.filter_map(|(number, (patched, malicious))| {
            let categories = if malicious { "[\"malicious\"]" } else { "[]" };
            let text = format!(
                "```toml\n[advisory]\nid = \"RUSTSEC-2026-{number:04}\"\npackage = \"a\"\ndate = \"2026-01-01\"\ncategories = {categories}\n[versions]\npatched = [\"{}\"]\n```\n# A title\n",
                if patched == "*" { ">=3" } else { &patched }
            );
            parse_rustsec(&text).ok().flatten()
        });
        Arc::new(parsed.collect())
    })
}

fn policy(toml: &str, rules: &[String], advisories: &Arc<Advisories>) -> Policy {
    let text = format!("{toml}{}", rules.concat());
    let config = config::parse(&text).expect(&text);
    Policy::new(
        &config.policy,
        &config.views,
        advisories.clone(),
        RulesVersion(1),
    )
}

fn view() -> impl Strategy<Value = View> {
    let days = vec!["2027-01-14", "2027-01-15", "2020-01-01"];
    let day =
        prop::sample::select(days).prop_map(|day| View::AsOf(Day::parse(day).expect("a day")));
    prop_oneof![3 => Just(View::Usual), 1 => day]
}

fn of_a(policy: &Policy, view: View, now: SystemTime) -> CrateRules<'_> {
    let name = CrateName::parse("a").expect("a name");
    policy.of_crate(RegistryName::crates_io(), name, view, now)
}

fn ruling(policy: &Policy, known: Known<'_>, view: View, now: SystemTime) -> Ruling {
    of_a(policy, view, now).rule(known)
}

/// The versions that may be picked, by the index or by the download.
fn allowed(policy: &Policy, known: Known<'_>, view: View, now: SystemTime) -> Vec<bool> {
    let rules = of_a(policy, view, now);
    let is_open = rules
        .crate_denial()
        .is_none_or(|denial| !rules.is_enforced(&denial));
    let versions = known.file.versions().iter();
    let decide = |version| {
        let candidate = Candidate::listed(version, known).expect("a version");
        let denial = rules.decide(&candidate, Some(known)).denial;
        is_open && denial.is_none_or(|denial| !rules.is_enforced(&denial))
    };
    versions.map(decide).collect()
}

proptest! {
    #[test]
    fn the_index_offers_exactly_what_the_download_hands_out(
        (file, history) in published(),
        (toml, rules) in settings(),
        advisories in advisories(),
        view in view(),
    ) {
        let policy = policy(&toml, &rules, &advisories);
        let known = Known { file: &file, history: &history, modified_at: at(NOW - 5_000) };
        let ruling = ruling(&policy, known, view, at(NOW));
        let allowed = allowed(&policy, known, view, at(NOW));
        for (place, allowed) in allowed.iter().enumerate() {
            let is_offered = !ruling.crate_is_denied && !ruling.hidden.contains(place);
            prop_assert_eq!(is_offered, *allowed, "{:?}", file.versions()[place]);
            // What a hit passes without a closer look.
            prop_assert!(!ruling.hidden.contains(place) || ruling.noted.contains(place));
        }
        // No other byte changes.
        let shown = render_places(&file, |place| ruling.hidden.contains(place));
        if let Some(shown) = shown {
            let line = |body: &[u8]| String::from_utf8_lossy(body).replace("\"yanked\":true", "\"yanked\":false");
            prop_assert_eq!(line(&shown), line(file.body()));
        }
    }

    #[test]
    fn the_same_holds_until_it_is_said_to_change(
        (file, history) in published(),
        (toml, rules) in settings(),
        advisories in advisories(),
        view in view(),
        later in 0_u64..200_000,
    ) {
        let policy = policy(&toml, &rules, &advisories);
        let known = Known { file: &file, history: &history, modified_at: at(NOW - 5_000) };
        let first = ruling(&policy, known, view, at(NOW));
        prop_assert_eq!(&first, &ruling(&policy, known, view, at(NOW)), "facts and time decide");
        let then = at(NOW + later);
        if first.validity.holds(policy.version(), then) {
            let then = ruling(&policy, known, view, then);
            prop_assert_eq!(first.hidden, then.hidden);
            prop_assert_eq!(first.noted, then.noted);
            prop_assert_eq!(first.crate_is_denied, then.crate_is_denied);
        }
    }

    #[test]
    fn one_more_rule_that_denies_makes_nothing_available(
        (file, history) in published(),
        (toml, rules) in settings(),
        advisories in advisories(),
        view in view(),
        range in prop::option::of(range()),
        place in 0_usize..5,
    ) {
        let known = Known { file: &file, history: &history, modified_at: at(NOW - 5_000) };
        let before = allowed(&policy(&toml, &rules, &advisories), known, view, at(NOW));
        let versions = range.map_or(String::new(), |range| format!("versions = \"{range}\"\n"));
        let deny = format!("[[policy.rules]]\ncrates = [\"a\"]\n{versions}action = \"deny\"\n");
        let mut more = rules.clone();
        more.insert(place.min(rules.len()), deny);
        let after = allowed(&policy(&toml, &more, &advisories), known, view, at(NOW));
        for (before, after) in before.iter().zip(&after) {
            prop_assert!(*before || !*after);
        }
    }
}

/// A fix must not wait, and what comes after it must: a hijacked release is named as patched by every advisory before it.
#[test]
fn a_fix_comes_at_once_until_there_is_one_that_has_waited() {
    let advisory = "```toml\n[advisory]\nid = \"RUSTSEC-2026-0001\"\npackage = \"a\"\ndate = \"2026-01-01\"\n[versions]\npatched = [\">=1.0.1\"]\n```\n# A hole\n";
    let advisory = parse_rustsec(advisory)
        .expect("an advisory")
        .expect("of a crate");
    let advisories: Arc<Advisories> = Arc::new([advisory].into_iter().collect());
    let toml = "[policy]\ncooldown = \"10000s\"\n[policy.advisories]\ndeny = []\n";
    let policy = policy(toml, &[], &advisories);
    let offered = |versions: &[(&str, u64)]| {
        let line = |(version, age): &(&str, u64)| {
            let (age, yanked) = (age % YANKED, *age >= YANKED);
            let time = humantime::format_rfc3339_seconds(at(NOW - age));
            format!(
                "{{\"name\":\"a\",\"vers\":\"{version}\",\"cksum\":\"{}\",\"pubtime\":\"{time}\",\"yanked\":{yanked}}}",
                Sha256::of(b"a")
            )
        };
        let lines: Vec<_> = versions.iter().map(line).collect();
        let path = IndexPath::of(CrateName::parse("a").expect("a name"));
        let file = IndexFile::parse(path, lines.join("\n").into()).expect("an index file");
        let history = History::default();
        let known = Known {
            file: &file,
            history: &history,
            modified_at: at(NOW),
        };
        let allowed = allowed(&policy, known, View::Usual, at(NOW));
        let all = file.versions().iter().zip(allowed);
        let all = all.filter(|(version, allowed)| *allowed && !version.yanked);
        all.map(|(v, _)| v.version().as_str().to_owned())
            .collect::<Vec<_>>()
    };
    let old = ("1.0.0", 90_000);
    assert_eq!(offered(&[old, ("1.0.1", 10)]), ["1.0.0", "1.0.1"]);
    // Not a fix of anything that is there.
    assert_eq!(offered(&[("1.0.1", 90_000), ("1.0.2", 10)]), ["1.0.1"]);
    // There is one that has waited: the next one waits.
    let ripe = ("1.0.1", 20_000);
    assert_eq!(offered(&[old, ripe, ("1.0.2", 10)]), ["1.0.0", "1.0.1"]);
    // Yanked, it has waited all the same: whoever may yank could make way for what comes next.
    let yanked = ("1.0.1", YANKED + 20_000);
    assert_eq!(offered(&[old, yanked, ("1.1.0", 10)]), ["1.0.0"]);
    // Nobody who is hit waits for a new range, where the old one has been mended.
    assert_eq!(offered(&[old, ripe, ("2.0.0", 10)]), ["1.0.0", "1.0.1"]);
    // Of another range it is no use.
    assert_eq!(
        offered(&[old, ("0.9.0", 90_000), ("2.0.0", 10)]),
        ["0.9.0", "1.0.0", "2.0.0"]
    );
}

/// A request that came in for a view before the settings lost it must not see the registry without its rules, least of all where rules are only tried.
#[test]
fn a_view_that_is_gone_lets_nothing_in_whatever_the_mode() {
    let line = format!(
        "{{\"name\":\"a\",\"vers\":\"1.0.0\",\"cksum\":\"{}\"}}\n",
        Sha256::of(b"a")
    );
    let path = IndexPath::of(CrateName::parse("a").expect("a name"));
    let file = IndexFile::parse(path, line.into()).expect("an index file");
    let history = History::default();
    let known = Known {
        file: &file,
        history: &history,
        modified_at: at(NOW),
    };
    let gone = View::Named(ViewName::parse("gone").expect("a name"));
    for mode in ["enforce", "report"] {
        let toml = format!("[policy]\nmode = \"{mode}\"\n[views.lts]\ncooldown = \"0s\"\n");
        let policy = policy(&toml, &[], &Arc::default());
        assert_eq!(allowed(&policy, known, gone, at(NOW)), [false], "{mode}");
        let ruling = ruling(&policy, known, gone, at(NOW));
        assert!(
            ruling.crate_is_denied && ruling.hidden.contains(0),
            "{mode}"
        );
        assert!(policy.may_hide(gone), "memory for what is shown instead");
    }
}
