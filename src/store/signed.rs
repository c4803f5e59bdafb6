//! [`Signed`]: what a client may do with a URL that is signed for it.

/// What a signed URL is for. A signature holds for one method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// Getting the object.
    Get,
    /// Asking how large it is.
    Head,
}
