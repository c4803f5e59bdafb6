//! [`Status`]: what a mirror does now, as figures that are made at most once a second for all who ask. Requests for crates have no part in it.

mod figures;
mod troubles;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

pub use figures::{
    AdvisoryFigures, AuditFigures, BucketFigures, CensusFigures, CertificateFigures,
    DistributionFigures, FailureFigures, Figures, HostFigures, KindFigures, MemoryFigures,
    MinuteFigures, NearFigures, RefusalFigures, RegistryFigures, RequestFigures, StaleFigures,
    StoreFigures, StoredFigures, StoredToolchainFigures,
};

use self::troubles::troubles;
use crate::{domain::RegistryName, last_hour::LastHour, mirror::Mirror};

/// How long figures are good for all who ask.
pub const A_MOMENT: Duration = Duration::from_secs(1);

/// What a mirror does now.
pub struct Status {
    mirror: Mirror,
    last_hour: Arc<LastHour>,
    started: SystemTime,
    last: Mutex<Option<Made>>,
}

struct Made {
    at: SystemTime,
    figures: Arc<Figures>,
}

impl Status {
    /// That of `mirror`, which was started then.
    pub fn new(mirror: Mirror, last_hour: Arc<LastHour>, started: SystemTime) -> Self {
        Self {
            mirror,
            last_hour,
            started,
            last: Mutex::default(),
        }
    }

    /// The figures of this second. Who asks while they are being made waits for them; that takes a look at each object in memory, some milliseconds.
    pub fn figures(&self, now: SystemTime) -> Arc<Figures> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = |made: &&Made| now.duration_since(made.at).is_ok_and(|age| age < A_MOMENT);
        if let Some(made) = last.as_ref().filter(is_new) {
            return made.figures.clone();
        }
        let mut figures = Figures::of(&self.mirror, &self.last_hour, self.started, now);
        figures.troubles = troubles(&figures, self.mirror.metrics());
        let figures = Arc::new(figures);
        *last = Some(Made {
            at: now,
            figures: figures.clone(),
        });
        figures
    }

    /// The same, of single registries only those that `may_know` accepts.
    pub fn figures_of(&self, may_know: impl Fn(RegistryName) -> bool, now: SystemTime) -> Figures {
        let all = Figures::clone(&self.figures(now));
        let mut of_them = all.only(&self.mirror, may_know, now);
        of_them.troubles = troubles(&of_them, self.mirror.metrics());
        of_them
    }
}
