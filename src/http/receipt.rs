//! [`Receipt`]: what is written into the audit log when a crate is handed out; and [`Ledger`], which keeps the log.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc, time::SystemTime};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::{respond::Answer, route::Verb};
use crate::{
    audit::{Delivery, Event, Recorder, Verdict},
    domain::{CrateKey, Outcome, Principal, RegistryName},
    error::{Error, Kind, Result},
};

/// So many refusals a minute are written down. Who has no token could otherwise fill the log, and have it forget who got what.
const REFUSALS_A_MINUTE: NonZeroU32 = NonZeroU32::new(600).expect("more than none");

/// Where it is written down who got what.
pub(super) struct Ledger {
    recorder: Arc<Recorder>,
    refusals: DefaultDirectRateLimiter,
}

impl Ledger {
    pub(super) fn new(recorder: Arc<Recorder>) -> Self {
        Self {
            recorder,
            refusals: RateLimiter::direct(Quota::per_minute(REFUSALS_A_MINUTE)),
        }
    }

    /// What will have to be written down when a crate is handed out to who asks for it this way; nothing when that isn't what is asked for.
    pub(super) fn receipt(
        &self,
        verb: Verb,
        who: Option<&Principal>,
        address: IpAddr,
        time: SystemTime,
    ) -> Option<Receipt> {
        let receipt = || Receipt {
            recorder: self.recorder.clone(),
            who: who.cloned().unwrap_or(Principal::Anonymous),
            address,
            time,
        };
        match verb {
            Verb::Get => Some(receipt()),
            Verb::Head => None,
        }
    }

    /// Writes down that a crate of `registry` was refused to somebody who may not ask.
    pub(super) fn refused(
        &self,
        address: IpAddr,
        registry: Option<RegistryName>,
        time: SystemTime,
    ) {
        if self.refusals.check().is_err() {
            return;
        }
        let event = Event {
            time,
            who: Principal::Anonymous,
            address,
            registry,
            delivery: Delivery::Refused,
        };
        // It is refused whether it can be written down or not.
        let _ = self.recorder.record(event);
    }
}

/// What will have to be written down of a request for a crate.
pub(super) struct Receipt {
    recorder: Arc<Recorder>,
    who: Principal,
    address: IpAddr,
    time: SystemTime,
}

/// The answer, once it is written down what it hands out.
///
/// # Errors
/// [`Kind::Overloaded`] when that has to be written down and can't be.
pub(super) fn signed(
    answer: Answer,
    receipt: Option<Receipt>,
    key: &CrateKey,
    outcome: Outcome,
) -> Result<Answer> {
    let Some(receipt) = receipt.filter(|_| answer.status.is_success()) else {
        return Ok(answer);
    };
    let event = Event {
        time: receipt.time,
        who: receipt.who,
        address: receipt.address,
        registry: Some(key.registry),
        delivery: Delivery::Answered {
            id: key.id,
            sha256: Some(key.sha256),
            outcome,
            verdict: Verdict::Allowed,
        },
    };
    match receipt.recorder.record(event) {
        Ok(()) => Ok(answer),
        Err(_) => Err(Error::new(
            Kind::Overloaded,
            "this mirror hands out nothing that it can't write down (`audit.required`), and its audit log can't be written at the moment; try again later",
        )),
    }
}
