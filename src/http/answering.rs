//! [`Answering`]: an answer that is there, or on its way.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http::Response;

use super::body::Body;

/// An answer that is there, or on its way.
#[expect(
    clippy::large_enum_variant,
    reason = "boxed, what is there at once would cost each hit an allocation"
)]
pub enum Answering {
    /// There; taken once.
    Now(Option<Response<Body>>),
    /// On its way.
    Later(Pin<Box<dyn Future<Output = Response<Body>> + Send>>),
}

impl Answering {
    /// One that is there.
    pub(super) fn now(answer: Response<Body>) -> Self {
        Self::Now(Some(answer))
    }
}

impl Future for Answering {
    type Output = Response<Body>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Now(answer) => match answer.take() {
                Some(answer) => Poll::Ready(answer),
                // Polled again after its end, which no caller may do.
                None => Poll::Pending,
            },
            Self::Later(answer) => answer.as_mut().poll(context),
        }
    }
}
