//! What must hold of rules and what they decide: see `checks.rs`.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use crate_mirror::{
    config,
    domain::{CrateName, History, IndexFile, IndexPath, RegistryName, View},
    policy::{Candidate, Known, Policy, RulesVersion, refusal},
};

/// Whatever settings say and an index file has in it, the index offers what the download hands out and nothing else, what is said to hold until a time holds until
/// then, and a refusal is a sentence that cargo prints whole.
///
/// The input is a mirror.toml, then a line `---`, then the index file of the crate `a`.
pub fn policy(input: &[u8]) {
    decided(input);
}

/// How many versions were denied; `None` when the input is no settings and no index file.
pub fn decided(input: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(input).ok()?;
    let (settings, index) = text.split_once("\n---\n")?;
    let config = config::parse(settings).ok()?;
    let name = CrateName::parse("a").ok()?;
    let body = Bytes::copy_from_slice(index.as_bytes());
    let file = IndexFile::parse(IndexPath::of(name), body).ok()?;
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let history = History::after(None, &file, now);
    let known = Known {
        file: &file,
        history: &history,
        modified_at: now,
    };
    let policy = Policy::new(
        &config.policy,
        &config.views,
        Arc::default(),
        RulesVersion(7),
    );
    let registry = RegistryName::crates_io();
    let views = policy.views().map(View::Named).chain([View::Usual]);
    let mut denied = 0;
    for view in views.collect::<Vec<_>>() {
        let rules = policy.of_crate(registry, file.name(), view, now);
        let ruling = rules.rule(known);
        for (place, version) in file.versions().iter().enumerate() {
            let candidate = Candidate::listed(version, known).expect("a version");
            let denial = rules.decide(&candidate, Some(known)).denial;
            let is_denied = denial.as_ref().is_some_and(|d| rules.is_enforced(d));
            assert_eq!(
                ruling.hidden.contains(place),
                is_denied,
                "{}",
                version.version()
            );
            if let Some(denial) = denial {
                denied += 1;
                let what = format!("a {}", version.version());
                let sentence = refusal(registry, &what, &denial, &rules, Some(known));
                assert!(sentence.chars().count() < 512, "{sentence}");
                assert!(!sentence.chars().any(char::is_control), "{sentence:?}");
            }
        }
        let until = ruling.validity.until.filter(|until| *until > now);
        let later = until.map_or(now + Duration::from_secs(1 << 32), |until| {
            until - Duration::from_nanos(1)
        });
        let then = policy.of_crate(registry, file.name(), view, later);
        assert_eq!(then.rule(known).hidden, ruling.hidden);
        assert_eq!(
            then.crate_denial().is_some(),
            rules.crate_denial().is_some()
        );
    }
    Some(denied)
}
