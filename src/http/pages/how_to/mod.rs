//! How to use the mirror: what to paste, for each way of using it. A way is told in one place, and everything that shows it follows from that: a tab of the page, and a
//! paragraph in a terminal.

mod old_cargo;
mod one_way;
mod registries;
mod toolchains;

pub use registries::snippet;

pub(super) use one_way::{HowTo, Offering};

/// All ways of using the mirror, in the order of their tabs.
pub(super) fn ways(offering: Offering<'_>) -> Vec<HowTo> {
    [
        Some(registries::crates_io(offering)),
        registries::others(offering),
        registries::with_a_token(offering),
        toolchains::toolchains(offering),
        Some(registries::view_or_day(offering)),
        Some(old_cargo::git_index(offering)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The same as text: what to paste, once, and what else there is.
pub(super) fn text(ways: &[HowTo]) -> String {
    let said: Vec<_> = ways.iter().map(|way| way.text.as_str()).collect();
    format!(
        "crate-mirror {}\n\nTo use it, put this into .cargo/config.toml:\n\n{}",
        env!("CARGO_PKG_VERSION"),
        said.join("\n"),
    )
}
