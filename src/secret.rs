//! [`Secret`]: text that nobody may read in a log, an error or a page: a token, a password, a key.

use zeroize::Zeroizing;

/// Secret text. It is wiped from memory when it is dropped. It has no `Debug` and no `Display` and can't be serialised, so that printing it by mistake
/// doesn't compile:
///
/// ```compile_fail
/// let secret = crate_mirror::secret::Secret::new("hunter2".to_owned());
/// println!("{secret:?}");
/// ```
/// ```compile_fail
/// let secret = crate_mirror::secret::Secret::new("hunter2".to_owned());
/// println!("{secret}");
/// ```
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes over `text`.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text, for the one place that needs it: a header, or standard output when it is made.
    pub fn expose(&self) -> &str {
        &self.0
    }
}
