//! [`Refusals`]: what the rules refused lately, for who wonders why something isn't offered.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use crate::domain::{RegistryName, View};

/// So many of each registry are remembered, so that none takes the places of another: less than 64 KB, for a sentence has at most 512 characters.
const MOST: usize = 50;

/// What the rules refused lately, the last of it at the end.
#[derive(Default)]
pub(in crate::mirror) struct Refusals(Mutex<VecDeque<Refusal>>);

/// Something that the rules refused, or would have refused if they were enforced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// In which registry.
    pub registry: RegistryName,
    /// As seen where.
    pub view: View,
    /// What: a crate, or a crate and its version.
    pub what: Box<str>,
    /// Which rule decided.
    pub rule: Arc<str>,
    /// Why, as a sentence without a full stop; nothing where it was let in all the same.
    pub sentence: Option<Box<str>>,
    /// When last.
    pub at: SystemTime,
    /// How often since it was first remembered.
    pub count: u64,
}

impl Refusals {
    /// Notes one. The same thing refused again is one that was refused more often.
    pub(in crate::mirror) fn note(&self, refusal: Refusal) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |known: &Refusal| {
            known.what == refusal.what
                && known.registry == refusal.registry
                && known.view == refusal.view
                && known.rule == refusal.rule
                && known.sentence.is_some() == refusal.sentence.is_some()
        };
        let before = all.iter().position(is_it);
        let before = before.and_then(|place| all.remove(place));
        let is_of_it = |known: &Refusal| known.registry == refusal.registry;
        if all.iter().filter(|known| is_of_it(known)).count() == MOST
            && let Some(oldest) = all.iter().position(is_of_it)
        {
            all.remove(oldest);
        }
        let count = refusal.count + before.map_or(0, |before| before.count);
        all.push_back(Refusal { count, ..refusal });
    }

    /// All that are remembered, the last one first.
    pub(in crate::mirror) fn lately(&self) -> Vec<Refusal> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(what: &str) -> Refusal {
        Refusal {
            registry: RegistryName::crates_io(),
            view: View::Usual,
            what: what.into(),
            rule: "rule".into(),
            sentence: Some("it is denied".into()),
            at: SystemTime::UNIX_EPOCH,
            count: 1,
        }
    }

    #[test]
    fn what_is_refused_again_is_remembered_once_and_there_is_an_end_to_it() {
        let refusals = Refusals::default();
        for number in 0..1_000 {
            refusals.note(refusal(&format!("a {number}")));
            refusals.note(refusal("b"));
        }
        let lately = refusals.lately();
        assert_eq!(lately.len(), MOST);
        assert_eq!((&*lately[0].what, lately[0].count), ("b", 1_000));
        assert_eq!(&*lately[1].what, "a 999");
        let internal = RegistryName::parse("internal").expect("a name");
        refusals.note(Refusal {
            registry: internal,
            ..refusal("c")
        });
        assert_eq!(refusals.lately().len(), MOST + 1, "of another registry");
        refusals.note(Refusal {
            sentence: None,
            ..refusal("b")
        });
        assert_eq!(refusals.lately()[0].count, 1, "let in is another thing");
    }
}
