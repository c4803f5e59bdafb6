//! [`LentAdmit`]: who takes an object, in whichever tier it is found: what was lent to a tier that fails is taken back and lent to the next.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::store::backend::{Admit, CheckVerdict, TakeBytes};

/// An [`Admit`] that can be taken back. Cheap to clone.
#[derive(Clone)]
pub(super) struct LentAdmit(Arc<Mutex<Lent>>);

enum Lent {
    /// Nobody has found anything yet.
    Unasked(Admit),
    /// There is memory for an object of so many bytes, which haven't come.
    Admitted(u64, TakeBytes),
    /// Its bytes were taken, or there is no memory for it.
    Over,
}

impl LentAdmit {
    pub(super) fn new(admit: Admit) -> Self {
        Self(Arc::new(Mutex::new(Lent::Unasked(admit))))
    }

    /// For one tier. A disk that hangs may ask, and give bytes, when nobody waits for it any more: then it is told that there is no memory, and its bytes are
    /// dropped.
    pub(super) fn lend(&self) -> Admit {
        let this = self.clone();
        Box::new(move |size| this.admit(size))
    }

    fn admit(&self, size: u64) -> Option<TakeBytes> {
        let Lent::Unasked(admit) = self.replace(Lent::Over) else {
            return None;
        };
        let take = admit(size)?;
        self.replace(Lent::Admitted(size, take));
        let this = self.clone();
        Some(Box::new(move |bytes| this.take(bytes)))
    }

    fn take(&self, bytes: Bytes) -> CheckVerdict {
        match self.replace(Lent::Over) {
            Lent::Admitted(_, take) => take(bytes),
            Lent::Unasked(_) | Lent::Over => CheckVerdict::Wrong,
        }
    }

    /// What the tier that it was lent to has left of it; nothing when that has taken an object, or there was no memory for the one it has.
    pub(super) fn take_back(&self) -> Option<Admit> {
        match self.replace(Lent::Over) {
            Lent::Unasked(admit) => Some(admit),
            // What there is memory for has so many bytes.
            Lent::Admitted(size, take) => {
                Some(Box::new(move |other| (other == size).then_some(take)))
            }
            Lent::Over => None,
        }
    }

    fn replace(&self, lent: Lent) -> Lent {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *held, lent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lent() -> (LentAdmit, Arc<Mutex<Vec<Bytes>>>) {
        let taken = Arc::<Mutex<Vec<Bytes>>>::default();
        let into = taken.clone();
        let admit: Admit = Box::new(move |size| {
            let take: TakeBytes = Box::new(move |bytes| {
                into.lock().expect("no panic").push(bytes);
                CheckVerdict::Good
            });
            (size < 100).then_some(take)
        });
        (LentAdmit::new(admit), taken)
    }

    #[test]
    fn what_one_tier_failed_to_read_the_next_one_gives() {
        let (lent, taken) = lent();
        let late = lent.lend()(3).expect("memory");
        let next = lent.take_back().expect("not taken");
        let take = next(3).expect("the same memory");
        assert_eq!(take("new".into()), CheckVerdict::Good);
        assert_eq!(late("old".into()), CheckVerdict::Wrong, "nobody waits");
        assert_eq!(*taken.lock().expect("no panic"), ["new"]);
    }

    #[test]
    fn what_was_taken_or_too_large_is_not_lent_again() {
        let (first, _) = lent();
        let take = first.lend()(3).expect("memory");
        take("new".into());
        assert!(first.take_back().is_none());
        let (second, _) = lent();
        assert!(second.lend()(100).is_none());
        assert!(second.take_back().is_none());
        let (third, _) = lent();
        let _late = third.lend()(3).expect("memory");
        assert!(third.take_back().expect("not taken")(4).is_none());
    }
}
