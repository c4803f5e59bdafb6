//! What a bucket's requests and its bytes cost: Amazon S3 Standard, us-east-1, list prices as public guides to them gave them in November 2026.

/// Dollars for a thousand GET, HEAD and the like.
pub(crate) const READS: f64 = 0.0004;
/// Dollars for a thousand PUT, POST and LIST.
pub(crate) const WRITES: f64 = 0.005;
/// Dollars for a gigabyte and month, of the first 50 TB.
pub(crate) const STORED: f64 = 0.023;

/// What so many requests a day cost a day.
pub(crate) fn requests(reads: f64, writes: f64) -> f64 {
    (reads * READS + writes * WRITES) / 1_000.0
}

/// What so many bytes cost a month.
pub(crate) fn storage(bytes: f64) -> f64 {
    bytes / 1e9 * STORED
}
