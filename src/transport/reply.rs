//! [`Reply`]: what hyper is given for a request.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use http::{HeaderValue, Response, StatusCode, header};

use super::service::Service;

/// What hyper is given for a request.
pub(super) enum Reply<S: Service> {
    /// 101, after which the connection goes on in HTTP/2. Taken once.
    SwitchingProtocols(Option<Response<S::Body>>),
    /// What the service answers.
    Answer(S::Answer),
}

impl<S: Service> Reply<S> {
    /// That the connection goes on in HTTP/2.
    pub(super) fn switching_protocols() -> Self {
        let mut response = Response::new(S::Body::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("h2c"));
        Self::SwitchingProtocols(Some(response))
    }
}

impl<S: Service> Future for Reply<S> {
    type Output = Result<Response<S::Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::SwitchingProtocols(response) => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                // Polled again after its end, which no caller may do.
                None => Poll::Pending,
            },
            Self::Answer(answer) => Pin::new(answer).poll(context).map(Ok),
        }
    }
}
