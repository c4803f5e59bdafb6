//! [`LicenseRules`]: under which licences crates may come in.

use spdx::LicenseItem;

use crate::domain::{AllowedLicense, License};

/// What holds for a crate whose licence nobody knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownLicense {
    /// It may come in.
    #[default]
    Allow,
    /// It may not.
    Deny,
}

/// Under which licences crates may come in. Under all, as it begins.
#[derive(Clone, Debug, Default)]
pub struct LicenseRules {
    /// These; all that are known when there are none.
    pub allow: Vec<AllowedLicense>,
    /// And what of the others.
    pub unknown: UnknownLicense,
}

impl LicenseRules {
    /// Whether they let everything in, so that nobody has to know a licence.
    pub fn allow_all(&self) -> bool {
        self.allow.is_empty() && self.unknown == UnknownLicense::Allow
    }

    /// Whether a crate under `license` may come in. Of `A OR B` one has to be allowed, of `A AND B` both. A licence that SPDX doesn't know, in an expression or
    /// alone, counts as unknown, as do a licence file and none at all.
    pub fn allow(&self, license: &License) -> bool {
        match license.expression() {
            None => self.unknown == UnknownLicense::Allow,
            Some(expression) => expression.evaluate(|wanted| {
                let is_listed = self.allow.iter().any(|allowed| allowed.satisfies(wanted));
                is_listed
                    || match wanted.license {
                        LicenseItem::Spdx { .. } => self.allow.is_empty(),
                        LicenseItem::Other(_) => self.unknown == UnknownLicense::Allow,
                    }
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules(allow: &[&str], unknown: UnknownLicense) -> LicenseRules {
        let allow = allow.iter().map(|text| text.parse().expect(text)).collect();
        LicenseRules { allow, unknown }
    }

    #[test]
    fn old_and_new_forms_are_held_against_the_list() {
        let list = [
            "MIT",
            "Apache-2.0",
            "Apache-2.0 WITH LLVM-exception",
            "GPL-3.0",
        ];
        let rules = rules(&list, UnknownLicense::Deny);
        for (expression, allowed) in [
            ("MIT", true),
            ("MIT/Apache-2.0", true),
            ("Apache-2.0/GPL-2.0", true),
            ("MIT OR GPL-2.0-only", true),
            ("MIT AND GPL-2.0-only", false),
            ("(MIT OR GPL-2.0-only) AND Apache-2.0", true),
            ("MIT or Apache-2.0", true),
            ("Apache 2.0", true),
            ("Apache-2", true),
            ("mit", true),
            ("Apache-2.0+", true),
            ("Apache-1.1+", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0 WITH GCC-exception-2.0", false),
            ("MIT WITH Own-exception", false),
            ("GPL-3.0", true),
            ("GPL-3.0-only", true),
            ("GPL-3.0-or-later", false),
            ("GPL-3.0+", false),
            ("GPL-2.0", false),
            ("MPL-2.0", false),
            ("MIT OR Custom", true),
            ("MIT AND Custom", false),
            ("Custom", false),
            ("non-standard", false),
            ("see LICENSE", false),
            ("MIT OR", false),
            ("", false),
        ] {
            let license = License::Expression(expression.into());
            assert_eq!(rules.allow(&license), allowed, "{expression}");
        }
        assert!(!rules.allow(&License::None) && !rules.allow(&License::File("LICENSE".into())));
    }

    #[test]
    fn what_nobody_knows_is_a_matter_of_its_own() {
        let expression = |text: &str| License::Expression(text.into());
        let lax = rules(&["MIT"], UnknownLicense::Allow);
        for license in [
            License::None,
            License::File("LICENSE".into()),
            expression("Custom"),
            expression("MIT AND Custom"),
            expression("?"),
        ] {
            assert!(lax.allow(&license), "{license}");
        }
        assert!(!lax.allow(&expression("GPL-3.0 AND Custom")));
        let any = rules(&[], UnknownLicense::Deny);
        assert!(any.allow(&expression("GPL-3.0")) && !any.allow(&expression("Custom")));
        assert!(!any.allow_all() && LicenseRules::default().allow_all());
        assert!(LicenseRules::default().allow(&License::None));
    }

    fn expression() -> impl Strategy<Value = String> {
        let words = [
            "MIT",
            "Apache-2.0",
            "GPL-3.0",
            "Custom",
            "AND",
            "OR",
            "WITH",
            "LLVM-exception",
            "(",
            ")",
            "+",
            "/",
            "LicenseRef-x",
            "AdditionRef-y",
            "ä",
            "Apache 2",
        ];
        let word = proptest::sample::select(words.to_vec());
        let glue = proptest::sample::select(vec!["", " "]);
        proptest::collection::vec((word, glue), 0..12).prop_map(|all| {
            all.into_iter()
                .map(|(word, glue)| format!("{word}{glue}"))
                .collect()
        })
    }

    proptest! {
        /// Whatever a stranger calls a licence, there is an answer, and a longer list never lets less in.
        #[test]
        fn any_expression_has_an_answer(text in prop_oneof![expression(), ".{0,40}"], known in any::<bool>()) {
            let license = License::of_manifest(Some(&text), None);
            let unknown = if known { UnknownLicense::Allow } else { UnknownLicense::Deny };
            let fewer = rules(&["MIT"], unknown).allow(&license);
            let more = rules(&["MIT", "Apache-2.0"], unknown).allow(&license);
            prop_assert!(more || !fewer, "{}", text);
        }
    }
}
