//! Offline, the resolver only picks what can be downloaded: every hidden version is shown as yanked, and no other byte of its index file changes.

use bytes::Bytes;
use crate_mirror::{
    domain::{CrateName, IndexFile, IndexPath, Version},
    policy::render,
};
use proptest::prelude::*;

/// What a line may have for `yanked` when the version isn't yanked.
const NOT_YANKED: [&str; 4] = [
    "",
    r#""yanked":false"#,
    r#" "yank\u0065d" : false "#,
    r#""yanked":	null"#,
];
const YANKED: &str = r#""yanked":true"#;

/// Other text that looks like the field, for an implementation that searches in place of parsing.
const DECOYS: [&str; 5] = [
    r#""features":{"yanked":["dep:yanked"],"\"yanked\":false":[]}"#,
    r#""deps":[{"name":"yanked","req":"^1","yanked":false}]"#,
    r#""description":"} {\"yanked\":false,""#,
    r#""later":[[{"yanked":null}],1.50,-0.0e+5,"ä \ud83e\udd80"]"#,
    r#" "links" : null "#,
];

/// A version's line with these fields in any order, and whether it is yanked.
fn line(number: usize) -> impl Strategy<Value = String> {
    let known = [
        r#""name":"odd""#.to_owned(),
        format!(r#""vers":"1.0.{number}""#),
        format!(r#""cksum":"{}""#, "ab".repeat(32)),
    ];
    let not = prop::sample::select(&NOT_YANKED[..]);
    let yanked = prop_oneof![4 => not, 1 => Just(YANKED)];
    let decoys = prop::sample::subsequence(&DECOYS[..], 0..=DECOYS.len());
    let fields = (yanked, decoys).prop_map(move |(yanked, decoys)| {
        let mut fields = known.to_vec();
        fields.extend(decoys.into_iter().map(str::to_owned));
        fields.extend((!yanked.is_empty()).then(|| yanked.to_owned()));
        fields
    });
    let spaces = prop::sample::select(&["", " ", "\t "][..]);
    (fields.prop_shuffle(), spaces.clone(), spaces).prop_map(|(fields, before, after)| {
        format!("{before}{{{after}{}{before}}}{after}", fields.join(","))
    })
}

/// What stands between versions: nothing, blank lines, and what nobody can read.
fn between() -> impl Strategy<Value = &'static str> {
    prop::sample::select(
        &[
            "",
            "",
            "\n",
            "not JSON, \"yanked\":false\n",
            "{\"name\":\"odd\",\"vers\":\"none\",\"yanked\":false}\r\n",
        ][..],
    )
}

fn body() -> impl Strategy<Value = String> {
    let lines: Vec<_> = (0..6)
        .map(|n| {
            (
                line(n),
                between(),
                prop::sample::select(&["\n", "\r\n"][..]),
            )
        })
        .collect();
    (lines, any::<bool>()).prop_map(|(lines, whole)| {
        let lines = lines
            .into_iter()
            .map(|(line, between, end)| format!("{between}{line}{end}"));
        let body: String = lines.collect();
        let cut = body.trim_end_matches(['\r', '\n']);
        if whole { body.clone() } else { cut.to_owned() }
    })
}

fn parse(body: &str) -> IndexFile {
    let path = IndexPath::of(CrateName::parse("odd").expect("a name"));
    IndexFile::parse(path, Bytes::copy_from_slice(body.as_bytes())).expect("an index file")
}

fn number(version: &Version) -> usize {
    let text = version.version().as_str();
    text.rsplit('.')
        .next()
        .expect("a number")
        .parse()
        .expect("a number")
}

fn lines(body: &str) -> Vec<&str> {
    body.split_inclusive('\n').collect()
}

/// Whether one is the other with `yanked` set and nothing else changed.
fn only_yanks(before: &str, after: &str) -> bool {
    let edits = [
        ("false", "true"),
        ("null", "true"),
        ("", ",\"yanked\":true"),
    ];
    edits.iter().any(|(old, new)| {
        let places = (0..=before.len()).filter(|&at| before.is_char_boundary(at));
        let mut edited = places.filter_map(|at| {
            let rest = before[at..].strip_prefix(old)?;
            Some(before[..at].to_owned() + new + rest)
        });
        edited.any(|edited| edited == after)
    })
}

proptest! {
    #[test]
    fn exactly_the_hidden_versions_are_yanked_and_nothing_else_changes(body in body(), hidden: [bool; 6]) {
        let file = parse(&body);
        prop_assert_eq!(file.versions().len(), 6);
        let is_hidden = |version: &Version| hidden[number(version)];
        let changed = file.versions().iter().filter(|v| is_hidden(v) && !v.yanked).count();
        let Some(rendered) = render(&file, is_hidden) else {
            prop_assert_eq!(changed, 0);
            return Ok(());
        };
        let rendered = std::str::from_utf8(&rendered).expect("UTF-8");
        let after = parse(rendered);
        for (was, is) in file.versions().iter().zip(after.versions()) {
            prop_assert_eq!(was.version(), is.version());
            prop_assert_eq!(was.sha256, is.sha256);
            prop_assert_eq!(is.yanked, was.yanked || is_hidden(was));
        }
        let (before, after) = (lines(&body), lines(rendered));
        prop_assert_eq!(before.len(), after.len());
        let mut edited = 0;
        for (before, after) in before.iter().zip(&after).filter(|(b, a)| b != a) {
            prop_assert!(only_yanks(before, after), "{before}{after}");
            edited += 1;
        }
        prop_assert_eq!(edited, changed);
    }
}

#[test]
fn where_nothing_is_hidden_nothing_is_made() {
    let line = Bytes::from(
        r#"{"name":"odd","vers":"1.0.0","cksum":"<","yanked":true}"#.replace('<', &"ab".repeat(32)),
    );
    let file = parse(std::str::from_utf8(&line).expect("UTF-8"));
    assert_eq!(render(&file, |_| false), None);
    assert_eq!(render(&file, |_| true), None, "it is yanked already");
}
