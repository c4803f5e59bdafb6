//! The population: crates, their versions and contents, how popular each is and when it changes. All of it follows from numbers, so that nothing is kept.

use std::sync::OnceLock;

use bytes::Bytes;
use fastrand::Rng;
use sha2::{Digest, Sha256};

/// Versions of each crate, with how many of a hundred ask for it: most builds want the newest, many hold on to the one before.
pub(crate) const VERSIONS: [(&str, u64); 3] = [("1.2.0", 70), ("1.1.0", 20), ("1.0.0", 10)];
/// What crates.io sends on average for a crate, in bytes.
const AVERAGE: f64 = 145_000.0;
/// How often an index file changes, in seconds: some 2,500 of 250,000 a day.
const CHANGES_EVERY: u64 = 100 * 24 * 3600;

/// A crate's number; the more popular, the lower.
pub(crate) type Number = usize;

/// How popular crates are.
pub(crate) struct Popularity {
    /// The share of all up to each of them.
    up_to: Vec<f64>,
}

impl Popularity {
    pub(crate) fn zipf(crates: usize, exponent: f64) -> Popularity {
        let mut sum = 0.0;
        let mut up_to: Vec<f64> = (1..=crates)
            .map(|rank| {
                sum += (rank as f64).powf(-exponent);
                sum
            })
            .collect();
        up_to.iter_mut().for_each(|share| *share /= sum);
        Popularity { up_to }
    }

    pub(crate) fn some(&self, rng: &mut Rng) -> Number {
        let at = rng.f64();
        let found = self.up_to.partition_point(|share| *share < at);
        found.min(self.up_to.len() - 1)
    }
}

/// `c0001234`
pub(crate) fn name(number: Number) -> String {
    format!("c{number:07}")
}

/// The number in a name of ours.
pub(crate) fn number(name: &str) -> Option<Number> {
    name.strip_prefix('c')?.parse().ok()
}

/// The version that a build wants.
pub(crate) fn some_version(rng: &mut Rng) -> &'static str {
    let mut at = rng.u64(0..100);
    for (version, share) in VERSIONS {
        match at.checked_sub(share) {
            Some(rest) => at = rest,
            None => return version,
        }
    }
    VERSIONS[0].0
}

/// A crate's file, smaller than a real one by `scale`. Sizes are spread like an exponential distribution.
pub(crate) fn file(number: Number, version: &str, scale: u64) -> Bytes {
    let seed = (number as u64) << 8 | u64::from(version.as_bytes()[2]);
    let mut rng = Rng::with_seed(seed);
    let size = -AVERAGE / scale as f64 * (1.0 - rng.f64()).ln();
    let mut bytes = vec![0; (size as usize).max(200)];
    rng.fill(&mut bytes);
    bytes.into()
}

/// How often a crate's index file has changed by then, in seconds of simulated time.
pub(crate) fn changes(number: Number, at: u64) -> u64 {
    // Each has its own day.
    let offset = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) % CHANGES_EVERY;
    (at + offset) / CHANGES_EVERY
}

/// All index files, each made when it is first asked for: their checksums take longer than everything else that is asked for.
#[derive(Debug)]
pub(crate) struct IndexFiles {
    /// As they are before any change.
    made: Vec<OnceLock<Bytes>>,
    scale: u64,
}

impl IndexFiles {
    pub(crate) fn new(crates: usize, scale: u64) -> IndexFiles {
        let made = (0..crates).map(|_| OnceLock::new()).collect();
        IndexFiles { made, scale }
    }

    /// A crate's index file after so many changes.
    pub(crate) fn get(&self, number: Number, changes: u64) -> Option<Bytes> {
        let made = self.made.get(number)?;
        let first = made.get_or_init(|| index_file(number, self.scale).into());
        // Each has another feature.
        Some(match changes {
            0 => first.clone(),
            _ => {
                let text = String::from_utf8_lossy(first);
                text.replace("{\"c0\"", &format!("{{\"c{changes}\"")).into()
            }
        })
    }
}

/// The tag of an index file after so many changes.
pub(crate) fn tag(number: Number, changes: u64) -> String {
    format!("W/\"{number}-{changes}\"")
}

fn index_file(number: Number, scale: u64) -> String {
    let name = name(number);
    let lines = VERSIONS.iter().rev().map(|(version, _)| {
        let checksum = Sha256::digest(file(number, version, scale));
        let checksum: String = checksum.iter().map(|b| format!("{b:02x}")).collect();
        format!(
            "{{\"name\":\"{name}\",\"vers\":\"{version}\",\"deps\":[],\"cksum\":\"{checksum}\",\"features\":{{\"c0\":[]}},\"yanked\":false}}\n"
        )
    });
    lines.collect()
}
