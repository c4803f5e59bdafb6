//! The way for cargos that read no sparse index.

use super::{
    one_way::{Block, HowTo, Offering},
    registries::{CONFIG, NamesInSettings},
};
use crate::domain::RegistryName;

/// The index as a git repository.
pub(super) fn git_index(offering: Offering<'_>) -> HowTo {
    let names = NamesInSettings::of(offering);
    let in_place = &names.in_place;
    let root = names.root(RegistryName::crates_io());
    let mut said = vec![
        "Cargo before 1.68 (that of Debian 12, for one) reads an index from a git repository. This mirror has one, made of what is stored here: what isn't stored isn't in it, and cargo finds no such package.".to_owned(),
        "Whoever runs the mirror puts crates into it with crate-mirror prefetch --deps NAME, and names those that are to stay fresh in its settings ([git_index]). What newer cargos fetch by the sparse index is in it, too.".to_owned(),
    ];
    if offering.authentication.help().is_some() {
        said.push("Such a cargo shows no token when it downloads. Where access.token_in_path is on, the token stands in the URL: …/t/TOKEN/git/index.".to_owned());
    }
    HowTo {
        title: "Old cargo",
        said,
        text: format!(
            "For cargo before 1.68, the index is a git repository at {root}/git/index. It has what is stored here (crate-mirror prefetch --deps NAME puts crates into it).\n"
        ),
        blocks: vec![Block {
            place: CONFIG,
            text: format!(
                "[source.crates-io]\nreplace-with = \"{in_place}\"\n\n[source.{in_place}]\nregistry = \"{root}/git/index\"\n"
            ),
        }],
    }
}
