//! The threads on which a disk is waited for: so many and no more, and nobody waits for them without end.
//!
//! A dead network mount neither answers nor fails. Who asks it can be told so after a while, but the thread that asked stays with the system until that
//! lets it go, which may be never. So reads and writes have threads of their own, apart from those of everything else; and when several of them are
//! stuck and nothing that was begun later has come to an end, the disk is left alone, but for one operation now and then that finds out whether it
//! answers again.

mod hook;
mod lane;
mod on_disk;
mod operations;
mod pulse;
mod read_at;
mod threads;
mod touch;

#[cfg(feature = "testing")]
pub use hook::DiskStall;
pub use pulse::Pulse;
pub use threads::THREADS;
#[cfg_attr(
    not(feature = "testing"),
    expect(unreachable_pub, reason = "what tests name is public")
)]
pub use touch::Touch;

#[cfg(feature = "testing")]
pub(super) use hook::Hook;
pub(super) use on_disk::OnDisk;
pub(super) use read_at::read_at;
pub(super) use threads::Disk;
