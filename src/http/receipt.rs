//! [`Receipt`]: what is written into the audit log when a crate is handed out; and [`Ledger`], which keeps the log.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc, time::SystemTime};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::StatusCode;

use super::{respond::Answer, route::Verb};
use crate::{
    audit::{AuditedFile, Delivery, Event, Recorder, Unwritable, Verdict},
    domain::{FileKey, Outcome, Principal, RegistryName},
    error::{Error, Kind, Result},
    mirror::{Clearance, FileBody, FileLink, Found},
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

/// What is handed out, as the log says it.
pub(super) struct HandedOut {
    key: FileKey,
    outcome: Outcome,
    clearance: Clearance,
}

impl HandedOut {
    /// What was found.
    pub(super) fn of(found: &Found<FileBody>) -> Self {
        Self {
            key: *found.value.key(),
            outcome: found.outcome,
            clearance: found.value.clearance().clone(),
        }
    }

    /// What a client is sent to.
    pub(super) fn at(found: &Found<FileLink>) -> Self {
        Self {
            key: *found.value.key(),
            outcome: found.outcome,
            clearance: found.value.clearance().clone(),
        }
    }
}

impl From<FileKey> for AuditedFile {
    fn from(key: FileKey) -> Self {
        match key {
            FileKey::Crate(key) => Self::Crate(key.id),
            FileKey::Toolchain(key) => Self::Toolchain(key.item),
        }
    }
}

/// Whether an answer with this status gives its client a crate, or the way to one. 304 is for who has it.
fn hands_out(status: StatusCode) -> bool {
    status.is_success() || status == StatusCode::FOUND
}

/// The answer, once it is written down what it hands out.
///
/// # Errors
/// [`Kind::Overloaded`] when that has to be written down and can't be.
pub(super) fn signed(
    answer: Answer,
    receipt: Option<Receipt>,
    handed_out: HandedOut,
) -> Result<Answer> {
    let Some(receipt) = receipt.filter(|_| hands_out(answer.status)) else {
        return Ok(answer);
    };
    let HandedOut {
        key,
        outcome,
        clearance,
    } = handed_out;
    let delivery = Delivery::Answered {
        file: key.into(),
        sha256: Some(key.sha256()),
        outcome,
        verdict: match clearance {
            Clearance::Clear => Verdict::Allowed,
            Clearance::Warned(advisories) => Verdict::Warned(advisories),
            Clearance::WouldDeny(rule) => Verdict::WouldDeny(rule),
        },
    };
    match receipt.record(key.registry(), delivery) {
        Ok(()) => Ok(answer),
        Err(_) => Err(Error::new(
            Kind::Overloaded,
            "this mirror hands out nothing that it can't write down (`audit.required`), and its audit log can't be written at the moment; try again later",
        )),
    }
}

/// The error, once it is written down if it is a refusal by the rules.
pub(super) fn refused(
    error: Error,
    receipt: Option<Receipt>,
    registry: RegistryName,
    file: AuditedFile,
) -> Error {
    if let (Some(receipt), Some(rule)) = (receipt, error.rule()) {
        let delivery = Delivery::Answered {
            file,
            sha256: None,
            outcome: Outcome::Denied,
            verdict: Verdict::Denied(rule.clone()),
        };
        // It is refused whether it can be written down or not.
        let _ = receipt.record(registry, delivery);
    }
    error
}

impl Receipt {
    fn record(self, registry: RegistryName, delivery: Delivery) -> Result<(), Unwritable> {
        self.recorder.record(Event {
            time: self.time,
            who: self.who,
            address: self.address,
            registry: Some(registry),
            delivery,
        })
    }
}
