//! Panics are contained: a request that meets a fault of ours gets an answer that says so, and nothing else is taken down.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use crate::error::{Error, Result};

/// What `work` comes to; a panic in it is an error like others. The panic hook has said where it happened.
pub(super) fn contained<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    std::panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(fault()))
}

/// The same for work that takes longer.
pub(super) fn survived<T>(
    work: impl Future<Output = Result<T>>,
) -> impl Future<Output = Result<T>> {
    let caught = AssertUnwindSafe(work).catch_unwind();
    caught.map(|caught| caught.unwrap_or_else(|_| Err(fault())))
}

fn fault() -> Error {
    Error::internal("this mirror has a fault; its log says more")
}

#[cfg(test)]
mod tests {
    use super::{
        super::respond::{Answer, ErrorForm},
        *,
    };
    use crate::error::Kind;

    /// A panic used to end the connection, and with it, over HTTP/2, every other request on it.
    #[tokio::test]
    async fn a_panic_is_an_answer_and_takes_nothing_else_down() {
        let error = survived::<()>(async { panic!("on purpose") }).await;
        let error = error.expect_err("a panic");
        assert_eq!(error.kind(), Kind::Internal);
        let answer = Answer::error(&error, ErrorForm::Text);
        assert_eq!(answer.status, http::StatusCode::INTERNAL_SERVER_ERROR);
        assert!(survived(async { Ok(()) }).await.is_ok());
        let error = contained::<()>(|| panic!("on purpose")).expect_err("a panic");
        assert_eq!(error.kind(), Kind::Internal);
    }
}
