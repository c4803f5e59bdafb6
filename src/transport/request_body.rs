//! [`RequestBody`]: what a client sends behind a request's head, for the few requests that have something to send.

use std::{future::poll_fn, pin::Pin};

use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;

use crate::error::{Error, Result};

/// A request's body. Nothing of it is read before it is asked for, and what isn't asked for never is.
pub struct RequestBody(Incoming);

impl RequestBody {
    /// What hyper has of it; nothing where nothing comes.
    pub(super) fn of(body: Incoming) -> Option<Self> {
        (!body.is_end_stream()).then_some(Self(body))
    }

    /// The next bytes of it; `None` after its end.
    ///
    /// # Errors
    /// [`Kind::BadRequest`](crate::error::Kind::BadRequest) when it breaks off, which nobody hears of.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        loop {
            let frame = poll_fn(|context| Pin::new(&mut self.0).poll_frame(context)).await?;
            match frame {
                // Trailers mean nothing here.
                Ok(frame) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Some(Ok(bytes));
                    }
                }
                Err(e) => {
                    let said = "the request's body breaks off";
                    return Some(Err(Error::bad_request(said).with_source(e)));
                }
            }
        }
    }
}
