//! Access: who asks, shown by a token or a JSON web token, and whether they may.
//!
//! The way of a request: [`TrustedProxies`] say where it comes from, [`Presented`] is the token it carries, and [`Authenticator`] gives an [`AccessDecision`], which for
//! the next request on the same connection is [`LastAdmitted`]. What that is in HTTP is the business of the layer above.

mod authenticator;
mod authorization;
mod digest;
mod forwarded;
pub mod jwt;
mod last_admitted;
mod open;
mod same;
pub mod token_file;
mod tokens;
mod wrong_tokens;

pub use authenticator::{AccessDecision, Authenticator, TokenFault, TokenSource};
pub use authorization::{Malformed, Presented, token_in_path};
pub use digest::{TokenDigest, new_token};
pub use forwarded::{Forwarded, TrustedProxies};
pub use last_admitted::LastAdmitted;
pub use open::{AccessFollower, open, read_keys};
pub use tokens::{Grant, TokenName, TokenTable, Tokens, storable};
pub use wrong_tokens::WrongTokens;
