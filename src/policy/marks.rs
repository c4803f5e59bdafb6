//! [`Marks`]: some of an index file's versions.

/// Some versions of an index file, by their place in its list. One bit each; nothing where none is marked, which is most often so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks(Option<Box<[u64]>>);

impl Marks {
    /// Those of so many places for which `is_marked` says so.
    pub fn of(places: usize, mut is_marked: impl FnMut(usize) -> bool) -> Self {
        let mut marks = Self::default();
        for place in 0..places {
            if is_marked(place) {
                let bits = marks
                    .0
                    .get_or_insert_with(|| vec![0; places.div_ceil(64)].into());
                bits[place / 64] |= 1 << (place % 64);
            }
        }
        marks
    }

    /// Whether the version in this place is marked.
    pub fn contains(&self, place: usize) -> bool {
        let word = self.0.as_ref().and_then(|bits| bits.get(place / 64));
        word.is_some_and(|word| word >> (place % 64) & 1 == 1)
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// How many are.
    pub fn count(&self) -> usize {
        let words = self.0.iter().flatten();
        words.map(|word| word.count_ones() as usize).sum()
    }

    /// About how many bytes of memory this takes beside itself.
    pub fn size(&self) -> usize {
        self.0.as_ref().map_or(0, |bits| size_of_val::<[u64]>(bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_marked_is_found() {
        let marks = Marks::of(130, |place| place % 64 == 1);
        assert!(marks.contains(1) && marks.contains(129) && !marks.contains(2));
        assert!(!marks.contains(1000));
        assert_eq!(marks.count(), 3);
        assert!(Marks::of(130, |_| false).is_empty());
    }
}
