//! [`IsNeeded`]: what a place that is kept small has to keep all the same.

use std::sync::Arc;

/// Says whether the object under a path may not be removed yet.
pub(super) type IsNeeded = Arc<dyn Fn(&str) -> bool + Send + Sync>;
