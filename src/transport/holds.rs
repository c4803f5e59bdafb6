//! [`Holds`]: what a stream holds itself of the bytes that pass through it. A plain socket holds nothing: the system does.

/// What a stream holds itself.
pub(super) trait Holds {
    /// Bytes that were written to it and that the system hasn't taken.
    fn unsent(&self) -> usize {
        0
    }

    /// Bytes that have come and can't be read yet.
    fn unread(&self) -> usize {
        0
    }
}

#[cfg(test)]
impl Holds for tokio::io::DuplexStream {}
