//! [`Holder`]: the credential in use, and how another one comes in its place: once for all who wait, and not again and again.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::time::{Instant, timeout_at};

use super::{carried::Carried, command, form::Form, source::Source};
use crate::{
    domain::RegistryName,
    error::{Error, Result},
    secret::Secret,
};

/// How often a source is asked anew at most, when what it gave was refused or it gave nothing.
const PAUSE: Duration = Duration::from_secs(10);
/// How long anybody waits for a source.
const PATIENCE: Duration = command::LIMIT.saturating_add(Duration::from_secs(1));

/// A credential.
pub(super) struct Held {
    secret: Secret,
    /// Which one it is: each new one has a higher number.
    number: u64,
}

impl Held {
    /// Which one it is.
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

/// The credential in use and where it comes from.
pub(super) struct Holder {
    registry: RegistryName,
    form: Arc<Form>,
    source: Source,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Arc<Held>>,
    /// When its time is over, if that ends.
    good_until: Option<Instant>,
    asking: Option<Asking>,
    /// When the source was asked last.
    asked: Option<Instant>,
    /// Why it gave nothing then.
    failure: Option<Error>,
}

/// A source that is being asked, by whoever waits for it.
type Asking = Shared<BoxFuture<'static, Result<Arc<Held>>>>;

impl Holder {
    pub(super) fn new(registry: RegistryName, form: Form, source: Source) -> Self {
        let held = source.first().map(|secret| Held { secret, number: 0 });
        let state = State {
            held: held.map(Arc::new),
            good_until: source.good_for().map(|time| Instant::now() + time),
            ..State::default()
        };
        Self {
            registry,
            form: Arc::new(form),
            source,
            state: Mutex::new(state),
        }
    }

    /// The credential in use. When its time is over the source is asked; when that gives nothing, the old one stays in use.
    ///
    /// # Errors
    /// [`Kind::UpstreamUnavailable`](crate::error::Kind::UpstreamUnavailable) when there never was one.
    pub(super) async fn get(self: &Arc<Self>) -> Result<Arc<Held>> {
        let (old, asking) = {
            let mut state = self.lock();
            let now = Instant::now();
            let is_good = state.good_until.is_none_or(|until| now < until);
            let held = state.held.clone();
            if let Some(held) = held.clone().filter(|_| is_good) {
                return Ok(held);
            }
            let has_failed = state.failure.clone().filter(|_| state.is_recent(now));
            match (has_failed, &held) {
                (Some(_), Some(old)) => return Ok(old.clone()),
                (Some(failure), None) => return Err(failure),
                (None, _) => {}
            }
            (held, self.asking(&mut state, now))
        };
        match (self.wait(asking).await, old) {
            (Ok(held), _) => Ok(held),
            (Err(_), Some(old)) => Ok(old),
            (Err(e), None) => Err(e),
        }
    }

    /// Another one in place of `refused`: the one that has come meanwhile, or what the source gives now if that is another one. The source isn't asked when it
    /// was a short while ago.
    pub(super) async fn instead_of(self: &Arc<Self>, refused: u64) -> Option<Arc<Held>> {
        let asking = {
            let mut state = self.lock();
            let now = Instant::now();
            let held = state.held.clone()?;
            if held.number != refused {
                return Some(held);
            }
            let may_ask = match &self.source {
                Source::Fixed(_) => false,
                // That costs next to nothing.
                Source::File(..) => true,
                Source::Command(..) => !state.is_recent(now),
            };
            if state.asking.is_none() && !may_ask {
                return None;
            }
            self.asking(&mut state, now)
        };
        let other = self.wait(asking).await.ok()?;
        (other.number != refused).then_some(other)
    }

    /// Joins who asks the source already, or begins to.
    fn asking(self: &Arc<Self>, state: &mut State, now: Instant) -> (Asking, Instant) {
        if let (Some(asking), Some(since)) = (&state.asking, state.asked) {
            return (asking.clone(), since + PATIENCE);
        }
        state.asked = Some(now);
        // A task of its own: whoever began it may go away, and the others wait for it all the same.
        let holder = self.clone();
        let task = tokio::spawn(async move {
            let obtained = holder.source.obtain(&holder.form).await;
            holder.end(obtained)
        });
        let holder = self.clone();
        let asking = async move {
            match task.await {
                Ok(ended) => ended,
                Err(e) => holder.end(Err(Error::ended_early("asking for it", e))),
            }
        };
        let asking = asking.boxed().shared();
        state.asking = Some(asking.clone());
        (asking, now + PATIENCE)
    }

    async fn wait(&self, (asking, until): (Asking, Instant)) -> Result<Arc<Held>> {
        let waited = timeout_at(until, asking).await;
        waited.unwrap_or_else(|_| Err(self.nothing().because("its source doesn't answer in time")))
    }

    /// Notes what came of asking the source.
    fn end(&self, obtained: Result<Secret>) -> Result<Arc<Held>> {
        let mut state = self.lock();
        state.asking = None;
        let secret = match obtained {
            Ok(secret) => secret,
            Err(why) => {
                let failure = self.nothing().caused_by(why);
                let stays = match state.held {
                    Some(_) => "; the one before it stays in use",
                    None => "",
                };
                tracing::error!("{failure}{stays}");
                state.failure = Some(failure.clone());
                return Err(failure);
            }
        };
        state.failure = None;
        state.good_until = self.source.good_for().map(|time| Instant::now() + time);
        if let Some(held) = &state.held
            && held.secret.expose() == secret.expose()
        {
            return Ok(held.clone());
        }
        let number = state.held.as_ref().map_or(0, |held| held.number + 1);
        let held = Arc::new(Held { secret, number });
        state.held = Some(held.clone());
        tracing::debug!("the registry {} has a new credential", self.registry);
        Ok(held)
    }

    fn nothing(&self) -> Error {
        let registry = self.registry;
        Error::upstream_unavailable(format!(
            "this mirror can't get at its credential for {registry}; ask whoever runs it to look into its log"
        ))
    }

    /// `held` as one request carries it.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::error::Kind::Internal) when it doesn't fit into a header, which is looked after when it comes.
    pub(super) fn carried(&self, held: &Held) -> Result<Carried> {
        let value = self.form.value(&held.secret);
        let value = value.ok_or_else(|| Error::internal("a credential fits into no header"))?;
        Ok(Carried::new(self.form.header(), value, held.number))
    }

    /// What it is and where it comes from, for people.
    pub(super) fn described(&self) -> String {
        format!("{}, {}", self.form.name(), self.source.described())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_recent(&self, now: Instant) -> bool {
        self.asked.is_some_and(|asked| now < asked + PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::config::credential::{CommandLine, CredentialForm};

    const TTL: Duration = Duration::from_secs(3600);

    /// What is in `folder`, printed by a command that writes down that it was run.
    fn printed(folder: &Path) -> Arc<Holder> {
        let script = "echo >> runs; cat token || exit 1";
        let script = format!("cd {} && {{ {script}; }}", folder.display());
        let command = CommandLine {
            program: "/bin/sh".to_owned(),
            arguments: vec!["-c".to_owned(), script],
        };
        let name = RegistryName::crates_io();
        let form = Form::new(&CredentialForm::Raw);
        Arc::new(Holder::new(name, form, Source::Command(command, TTL)))
    }

    fn runs(folder: &Path) -> usize {
        let runs = fs::read_to_string(folder.join("runs"));
        runs.map_or(0, |runs| runs.lines().count())
    }

    fn write(folder: &Path, token: &str) {
        fs::write(folder.join("token"), token).expect("written");
    }

    /// Time goes on by so much at once. It isn't paused while commands run: it would jump to the end of their time.
    async fn later(time: Duration) {
        tokio::time::pause();
        tokio::time::advance(time).await;
        tokio::time::resume();
    }

    async fn text(holder: &Arc<Holder>) -> (u64, String) {
        let held = holder.get().await.expect("a credential");
        (held.number, held.secret.expose().to_owned())
    }

    #[tokio::test]
    async fn a_refused_one_is_asked_for_once_more_and_only_then_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        write(folder, "old");
        let holder = printed(folder);
        assert_eq!(text(&holder).await, (0, "old".to_owned()));
        write(folder, "new");
        assert!(holder.instead_of(0).await.is_none(), "it was run just now");
        later(PAUSE).await;
        let (one, other) = tokio::join!(holder.instead_of(0), holder.instead_of(0));
        let [one, other] = [one, other].map(|held| held.expect("another one").number);
        assert_eq!((one, other, runs(folder)), (1, 1, 2));
        // Who comes late with the old one gets the one that has come meanwhile.
        assert_eq!(holder.instead_of(0).await.expect("the new one").number, 1);
        assert_eq!(runs(folder), 2);
        // It has no other one.
        later(PAUSE).await;
        for _ in 0..3 {
            assert!(holder.instead_of(1).await.is_none());
        }
        assert_eq!(runs(folder), 3);
        assert_eq!(text(&holder).await, (1, "new".to_owned()));
    }

    #[tokio::test]
    async fn after_its_time_there_is_another_one_or_the_old_one_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        write(folder, "one");
        let holder = printed(folder);
        assert_eq!(text(&holder).await.1, "one");
        write(folder, "two");
        later(TTL - Duration::from_secs(30)).await;
        assert_eq!(text(&holder).await.1, "one");
        later(Duration::from_secs(31)).await;
        assert_eq!(text(&holder).await.1, "two");
        assert_eq!(runs(folder), 2);
        fs::remove_file(folder.join("token")).expect("removed");
        later(TTL).await;
        for _ in 0..3 {
            assert_eq!(text(&holder).await.1, "two");
        }
        assert_eq!(runs(folder), 3, "it is left alone for a while");
        write(folder, "three");
        later(PAUSE).await;
        assert_eq!(text(&holder).await.1, "three");
    }

    #[tokio::test]
    async fn without_any_it_is_an_error_that_stays_for_a_while() {
        let folder = tempfile::tempdir().expect("a folder");
        let holder = printed(folder.path());
        for _ in 0..3 {
            assert!(holder.get().await.is_err());
        }
        assert_eq!(runs(folder.path()), 1);
        write(folder.path(), "here");
        later(PAUSE).await;
        assert_eq!(text(&holder).await.1, "here");
    }
}
