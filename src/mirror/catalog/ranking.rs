//! [`Ranking`]: the best of what was found, however much that is.

use std::collections::BinaryHeap;

use super::names::Fit;

/// The best of what was found: of more than fit into it, the worst ones go, whatever order they come in.
#[derive(Debug)]
pub(super) struct Ranking {
    most: usize,
    /// The worst of them on top.
    best: BinaryHeap<Ranked>,
    /// How many were found.
    found: usize,
}

/// Something that was found. Of the same rank, the name that comes first in the alphabet does.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ranked {
    rank: Rank,
    name: Box<str>,
}

/// What comes first: better fits before worse ones, what is stored before what is only known, short names before long ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) found: FoundIn,
    pub(super) is_only_known: bool,
    pub(super) length: usize,
}

/// Where the words were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FoundIn {
    /// In the name.
    Name(Fit),
    /// In the description, at least one of them.
    Description,
}

impl Ranking {
    /// What one place of it takes at most, in bytes: a name of 64, and what holds it.
    pub(super) const OF_ONE: usize = size_of::<Ranked>() + 64 + 32;

    /// An empty one for so many.
    pub(super) fn of(most: usize) -> Self {
        Self {
            most,
            best: BinaryHeap::new(),
            found: 0,
        }
    }

    /// Takes what was found, if it is among the best so far.
    pub(super) fn take(&mut self, rank: Rank, name: &str) {
        self.found += 1;
        if self.best.len() >= self.most {
            let is_worse = |worst: &Ranked| (rank, name) >= (worst.rank, &*worst.name);
            if self.best.peek().is_none_or(is_worse) {
                return;
            }
            self.best.pop();
        }
        let name = name.into();
        self.best.push(Ranked { rank, name });
    }

    /// The names, the best first, and how many were found.
    pub(super) fn finish(self) -> (Vec<Box<str>>, usize) {
        let best = self.best.into_sorted_vec().into_iter();
        (best.map(|ranked| ranked.name).collect(), self.found)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rank(length: usize) -> Rank {
        Rank {
            found: FoundIn::Name(Fit::Part),
            is_only_known: true,
            length,
        }
    }

    proptest! {
        #[test]
        fn the_best_are_kept_in_whatever_order_they_come(all in prop::collection::vec("[a-z]{1,6}", 0..60), most in 0_usize..20) {
            let mut ranking = Ranking::of(most);
            for name in &all {
                ranking.take(rank(name.len()), name);
            }
            let mut sorted = all.clone();
            sorted.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
            sorted.truncate(most);
            let (best, found) = ranking.finish();
            prop_assert_eq!(best.iter().map(|name| name.to_string()).collect::<Vec<_>>(), sorted);
            prop_assert_eq!(found, all.len());
        }
    }
}
