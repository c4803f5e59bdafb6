//! `/policy`: the rules about what may come in, in words, and what they refused lately.

use std::{fmt::Write, time::SystemTime};

use maud::html;

use super::{
    request::PageRequest,
    shell::{Here, Shell},
    words::age,
};
use crate::{domain::ViewName, mirror::Refusal};

/// What there is to say of the rules.
pub(super) struct RulesPage<'a> {
    /// As seen where, in words.
    pub(super) of: String,
    /// A sentence each.
    pub(super) said: Vec<String>,
    /// What was refused, the last first.
    pub(super) refused: Vec<Refusal>,
    /// Views of the same registry, which have rules of their own.
    pub(super) views: Vec<ViewName>,
    pub(super) request: &'a PageRequest,
    pub(super) now: SystemTime,
}

pub(super) fn page(rules: &RulesPage<'_>) -> String {
    let links = &rules.request.links;
    let body = html! {
        h1 { "What may come in" }
        p class="soft" { "The rules " (rules.of) ", in the order in which they decide. A version that they deny is shown as yanked, so that cargo doesn't pick it, and who asks for it by name is told why." }
        section aria-labelledby="rules" {
            h2 id="rules" { "The rules" }
            ol { @for sentence in &rules.said { li { (sentence) } } }
            @if !rules.views.is_empty() {
                p { "Other rules hold in the views " @for view in &rules.views { a href={ (links) "/views/" (view) "/policy" } { (view) } " " } "of the same registry." }
            }
        }
        section aria-labelledby="refused" {
            h2 id="refused" { "Refused lately" }
            @if rules.refused.is_empty() { p class="soft" { "Nothing since the start." } }
            ul class="plain" {
                @for refusal in &rules.refused {
                    li class="wrap" {
                        a href={ (links) "/registries/" (refusal.registry) "/crates/" (crate_of(refusal)) } { (refusal.what) }
                        " " span class="soft" { "of " (refusal.registry) ", " (age(refusal.at, rules.now)) " ago" @if refusal.count > 1 { ", " (refusal.count) " times" } }
                        br;
                        @match &refusal.sentence {
                            Some(sentence) => { (sentence) "." }
                            None => { "Let in, as the policy is only tried; rule " (refusal.rule) " would have refused it." }
                        }
                    }
                }
            }
        }
    };
    Shell {
        title: "Policy",
        request: rules.request,
        here: Here::Policy,
        body,
    }
    .render()
}

pub(super) fn text(rules: &RulesPage<'_>) -> String {
    let mut text = format!(
        "The rules {}, in the order in which they decide:\n\n",
        rules.of
    );
    for sentence in &rules.said {
        let _ = writeln!(text, "- {sentence}");
    }
    for view in &rules.views {
        let _ = writeln!(
            text,
            "\nOther rules hold in view {view}: /views/{view}/policy"
        );
    }
    text.push_str("\nRefused lately:\n\n");
    for refusal in &rules.refused {
        let (what, registry) = (&refusal.what, refusal.registry);
        let ago = age(refusal.at, rules.now);
        let said = match &refusal.sentence {
            Some(sentence) => sentence.to_string(),
            None => format!(
                "let in, as the policy is only tried; rule {} would have refused it",
                refusal.rule
            ),
        };
        let times = refusal.count;
        let _ = writeln!(
            text,
            "- {what} of {registry}, {ago} ago, {times} times: {said}"
        );
    }
    if rules.refused.is_empty() {
        text.push_str("nothing since the start\n");
    }
    text
}

/// The crate of what was refused: what stands before the version.
fn crate_of(refusal: &Refusal) -> &str {
    let what = &*refusal.what;
    what.split_once([' ', '@']).map_or(what, |(name, _)| name)
}
