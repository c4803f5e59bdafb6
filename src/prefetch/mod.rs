//! The store filled before anyone asks: on the way that a client's request takes, with the same checks, into the same store, with the same permits for
//! upstream.

mod fresh_index;
mod list;
mod missing;
mod packaged;
mod parallel;
mod patience;
mod prefetcher;
pub mod readiness;
mod report;
mod select;
mod service;
mod stored;
mod toolchains;

pub use fresh_index::{FreshIndex, keep_fresh};
pub use list::{Aside, List, lockfile};
pub use missing::Missing;
pub use packaged::{Packaged, lockfile_in};
pub use prefetcher::Prefetcher;
pub use report::{Report, RunProgress};
pub use select::Selection;
pub use service::{Warm, keep_warm};
pub use stored::{not_stored, stored_index_files};
pub use toolchains::{
    ToolchainReport, ToolchainWish, ToolchainWishes, files_of, lacking_toolchains, stored_files,
    stored_init, this_machine,
};
