//! The audit log: who got which crate, one JSON line each.
//!
//! [`Event`] is what is known of one of them. [`Recorder`] takes it on the way of a request, without waiting for anything; a thread of its own writes it to a
//! file that is rotated by its size. [`Reader`] reads that file and its predecessors.

mod event;
mod log;
mod read;
mod recorder;

pub use event::{AuditedFile, Delivery, Event, Verdict};
pub use log::Rotation;
pub use read::{Reader, Record};
pub use recorder::{Duty, Recorder, Unwritable};
