//! [`Service`]: what answers the requests that come in here; and [`Request`], what it is given.

use std::net::IpAddr;

use http::{HeaderMap, Response, request::Parts as Head};

use super::{
    chunk::UnsentChunk, h2c::Offer, in_flight::InFlight, peer::Peer, request_body::RequestBody,
    scheme::Scheme,
};
use crate::error::Error;

/// A request as it came, and how.
pub struct Request {
    /// Its method, URL and headers.
    pub head: Head,
    /// What comes behind these, if anything does.
    pub body: Option<RequestBody>,
    /// Who sent it.
    pub client: IpAddr,
    /// Who that is by its certificate, if it has shown one that counts.
    pub peer: Option<Peer>,
    /// How the client came here.
    pub scheme: Scheme,
    /// To be kept until the answer is out.
    pub in_flight: InFlight,
}

/// What answers requests.
pub trait Service: Send + Sync + 'static {
    /// An answer's body. The default one is empty, and nobody counts it.
    type Body: http_body::Body<Data = UnsentChunk, Error = Error> + Default + Send + Unpin + 'static;

    /// An answer that is there or on its way. Not boxed by itself, so that one that is there costs no allocation.
    type Answer: Future<Output = Response<Self::Body>> + Send + Unpin + 'static;

    /// What the service remembers of a connection from one request to the next. There may be thousands: each leases as much as this has in size, so that
    /// whatever grows has to be leased by itself.
    type Remembered: Default + Send + Sync;

    /// Answers a request. Every failure is an answer, too.
    fn answer(&self, request: Request, remembered: &Self::Remembered) -> Self::Answer;

    /// Whether the client that makes this offer, with these headers, is let go on in HTTP/2.
    fn accepts_upgrade(&self, headers: &HeaderMap, offer: &Offer) -> bool;
}
