//! [`Credential`]: what this mirror shows to a registry that wants to know who asks, and to whom it is shown.

mod carried;
mod command;
mod form;
mod held;
mod source;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use url::Url;

pub(super) use self::carried::Carried;
use self::{
    form::Form,
    held::{Held, Holder},
    source::Source,
};
use crate::{
    config::{Origin, RegistrySettings},
    domain::RegistryName,
    error::{Error, Result},
};

/// So many refusals in a row, and the registry isn't asked for a while: servers block who keeps showing what they refuse.
const REFUSALS: u32 = 3;
/// For so long.
const PAUSE: Duration = Duration::from_secs(10);

/// The credential of a registry.
pub(super) struct Credential {
    holder: Arc<Holder>,
    /// Whom it may be shown to.
    origins: Vec<Origin>,
    refusals: Mutex<Refusals>,
}

/// The refusals since a registry took the credential last.
#[derive(Default)]
struct Refusals {
    count: u32,
    /// The last one: of which credential, when, and what to say of it.
    last: Option<(u64, Instant, Error)>,
}

impl Credential {
    /// That of the registry `name`, whose index is at `index`: as its table says, or as its URL does, out of which it is taken.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when a file or a variable that is to have it hasn't.
    pub(super) fn of(
        name: RegistryName,
        registry: &RegistrySettings,
        index: &mut Url,
    ) -> Result<Option<Self>> {
        let of_url = Form::of_url(index);
        let origin = Origin::of(index);
        let (holder, also) = match (&registry.credential, of_url) {
            (Some(said), _) => {
                let form = Form::new(&said.form);
                let source = Source::of(name, &said.source, &form)?;
                (Holder::new(name, form, source), said.also.as_slice())
            }
            (None, Some((form, password))) => {
                let source = Source::Fixed(password);
                (Holder::new(name, form, source), &[][..])
            }
            (None, None) => return Ok(None),
        };
        if !origin.is_safe() {
            tracing::warn!(
                "the credential of the registry {name} goes to {origin} over plain http, where everybody on the way can read it; an https URL in `registries.{name}.index` mends that"
            );
        }
        let origins = std::iter::once(origin).chain(also.iter().cloned());
        Ok(Some(Self {
            holder: Arc::new(holder),
            origins: origins.collect(),
            refusals: Mutex::default(),
        }))
    }

    /// The hosts that it may be shown to.
    pub(super) fn hosts(&self) -> impl Iterator<Item = String> {
        self.origins.iter().filter_map(Origin::host)
    }

    /// Whether it may be shown to who is asked for `url`.
    pub(super) fn is_for(&self, url: &Url) -> bool {
        self.origins.iter().any(|origin| origin.is_of(url))
    }

    /// The credential for one request.
    ///
    /// # Errors
    /// [`Kind::UpstreamRefused`](crate::error::Kind::UpstreamRefused) when the registry has refused it again and again a short while ago;
    /// [`Kind::UpstreamUnavailable`](crate::error::Kind::UpstreamUnavailable) when it can't be had.
    pub(super) async fn carried(&self) -> Result<Carried> {
        let held = self.holder.get().await?;
        if let Some(refused) = self.is_refused(&held) {
            return Err(refused);
        }
        self.holder.carried(&held)
    }

    /// Another one in place of one that was answered with 401, if its source has another one.
    pub(super) async fn instead_of(&self, refused: &Carried) -> Option<Carried> {
        let other = self.holder.instead_of(refused.number()).await?;
        self.holder.carried(&other).ok()
    }

    /// The registry has taken it.
    pub(super) fn was_taken(&self) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.count > 0 {
            *refusals = Refusals::default();
        }
    }

    /// The registry has refused it, which is told with `error`.
    pub(super) fn was_refused(&self, carried: &Carried, error: Error) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.count = refusals.count.saturating_add(1);
        refusals.last = Some((carried.number(), Instant::now(), error));
    }

    fn is_refused(&self, held: &Held) -> Option<Error> {
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, at, error) = refusals.last.as_ref()?;
        let is_it = *number == held.number() && refusals.count >= REFUSALS && at.elapsed() < PAUSE;
        is_it.then(|| error.clone())
    }

    /// What it is and where it comes from, for people: never what it is made of.
    pub(super) fn described(&self) -> String {
        self.holder.described()
    }
}
