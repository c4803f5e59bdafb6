//! A fleet: mirrors over one bucket, a crates.io of 250,000 crates, and a million builds a day, simulated.
//!
//! `cargo run --release --features testing --example fleet -- --minutes 10`
//!
//! The mirrors are the real ones, in this process: their memory, folders, tiers, index and downloads. What they ask is a crates.io over a real socket and a
//! bucket that counts. Builds come at the rate of a day with a million of them; time passes some times as fast as it should, and `freshness.fresh_for`, by which
//! mirrors ask upstream and tell each other what it has confirmed, is so much shorter. Some minutes of the day are shown, from empty caches on, over an empty bucket
//! or a full one. Crate files are smaller than real ones by a factor, and memory and folders are so by the same.

mod bucket;
mod cost;
mod crates_io;
mod population;
mod run;
mod table;

use clap::Parser;

/// What is simulated.
#[derive(Clone, Debug, Parser)]
pub(crate) struct Options {
    /// How many minutes of the day, at its full rate, from empty caches on.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Which of them are shown.
    #[arg(long, value_delimiter = ',', default_value = "1,10")]
    show: Vec<usize>,
    /// How many times as fast as it should time passes.
    #[arg(long, default_value_t = 1)]
    times: u32,
    /// Whether everything is in the bucket from the beginning.
    #[arg(long)]
    full: bool,
    /// How many mirrors; each number is a run of its own.
    #[arg(long, value_delimiter = ',', default_value = "1,3,10")]
    mirrors: Vec<usize>,
    /// Whether mirrors tell each other what upstream has confirmed; several of them are run both ways.
    #[arg(long, value_delimiter = ',', default_value = "true,false")]
    telling: Vec<bool>,
    /// How many crates there are.
    #[arg(long, default_value_t = 250_000)]
    crates: usize,
    /// The exponent of their popularity (Zipf).
    #[arg(long, default_value_t = 1.0)]
    exponent: f64,
    /// How many builds there are in a day.
    #[arg(long, default_value_t = 1_000_000)]
    builds: u64,
    /// How many crates a build needs, each with its index file.
    #[arg(long, default_value_t = 100)]
    needs: usize,
    /// By which factor crates, memory and folders are smaller than real ones.
    #[arg(long, default_value_t = 10)]
    scale: u64,
}

/// The mirrors of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fleet {
    pub(crate) mirrors: usize,
    /// Whether they tell each other what upstream has confirmed.
    pub(crate) telling: bool,
}

impl std::fmt::Display for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.mirrors, self.telling) {
            (1, _) => write!(f, "1"),
            (mirrors, true) => write!(f, "{mirrors}"),
            (mirrors, false) => write!(f, "{mirrors}, each asking for itself"),
        }
    }
}

/// One alone has nobody to tell anything.
fn fleets(options: &Options) -> Vec<Fleet> {
    let both = |mirrors: &usize| {
        let ways = if *mirrors == 1 {
            &[false][..]
        } else {
            &options.telling
        };
        let mirrors = *mirrors;
        ways.iter().map(move |telling| Fleet {
            mirrors,
            telling: *telling,
        })
    };
    options.mirrors.iter().flat_map(both).collect()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    let mut rows = Vec::new();
    for fleet in fleets(&options) {
        let result = run::run(&options, fleet).await?;
        eprintln!("{fleet:?}: {result:#?}");
        rows.push(result);
    }
    print!("{}", table::table(&options, &rows));
    Ok(())
}
