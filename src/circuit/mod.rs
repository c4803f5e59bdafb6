//! Circuit breakers: whether what is on the other side of a network is asked, a registry's host or a bucket, and after which failures it isn't.

mod circuits;
mod failures;

pub use circuits::{Circuit, HostCircuit, HostFailure};

pub(crate) use circuits::{CircuitPass, Circuits, HostNote};
pub(crate) use failures::{Failure, Resource};
