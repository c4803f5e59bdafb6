//! Ways that cargo takes to the registries: what to paste into its settings.

use super::one_way::{Block, HowTo, Offering};
use crate::{domain::RegistryName, http::authentication::Authentication, mirror::Mirror};

pub(super) const CONFIG: &str = ".cargo/config.toml";
const SHELL: &str = "in a shell";

/// crates.io, which this mirror stands in for.
pub(super) fn crates_io(offering: Offering<'_>) -> HowTo {
    let text = NamesInSettings::of(offering).crates_io();
    HowTo {
        title: "crates.io",
        said: vec![
            "Cargo asks this mirror for everything that is on crates.io. Cargo.lock stays as it is."
                .to_owned(),
        ],
        text: text.clone(),
        blocks: vec![Block {
            place: CONFIG,
            text,
        }],
    }
}

/// The registries beside crates.io, if there are any.
pub(super) fn others(offering: Offering<'_>) -> Option<HowTo> {
    let names = NamesInSettings::of(offering);
    if names.others.is_empty() {
        return None;
    }
    let text = names.others_config();
    Some(HowTo {
        title: "Another registry",
        said: vec![
            "Beside crates.io this mirror has other registries; a dependency names the one it comes from, as in thing = { version = \"1\", registry = \"NAME\" }."
                .to_owned(),
        ],
        text: text.clone(),
        blocks: vec![Block {
            place: CONFIG,
            text,
        }],
    })
}

/// How to show a token, where one is needed.
pub(super) fn with_a_token(offering: Offering<'_>) -> Option<HowTo> {
    let names = NamesInSettings::of(offering);
    let help = offering.authentication.help()?;
    let in_place = &names.in_place;
    let variable = format!("CARGO_REGISTRIES_{}_TOKEN", variable(in_place));
    Some(HowTo {
        title: "With a token",
        said: vec![
            format!("This mirror wants a token; {help}."),
            format!(
                "Cargo takes it from the variable {variable}, or from what `cargo login` has stored; other registries have a variable of their own."
            ),
        ],
        text: format!(
            "It wants a token; {help}. Cargo takes it from the variable {variable}, or from `cargo login --registry {in_place}`; other registries have a variable of their own.\n"
        ),
        blocks: vec![
            Block {
                place: SHELL,
                text: format!("cargo login --registry {in_place}\n"),
            },
            Block {
                place: "in the settings of a CI job",
                text: format!("{variable}=TOKEN\n"),
            },
        ],
    })
}

/// How to see a registry under other rules, or as it was.
pub(super) fn view_or_day(offering: Offering<'_>) -> HowTo {
    let names = NamesInSettings::of(offering);
    let (base, in_place) = (names.base, &names.in_place);
    let root = names.root(RegistryName::crates_io());
    let mut blocks = vec![Block {
        place: CONFIG,
        text: format!(
            "[source.crates-io]\nreplace-with = \"{in_place}\"\n\n[registries.{in_place}]\nindex = \"sparse+{root}/at/2026-11-01/index/\"\n{}",
            names.provider(RegistryName::crates_io())
        ),
    }];
    let mut text = format!(
        "The index as it was at the end of a day is under sparse+{root}/at/2026-11-01/index/, for any date.\n"
    );
    for view in offering.mirror.policy().views() {
        let index = format!("sparse+{base}/views/{view}/index/");
        text.push_str(&format!("Under the rules of view {view} it is {index}.\n"));
        // Pasted alone it has to be used for something: in place of crates.io, where it is a view of that.
        let of = offering.mirror.policy().registry_of(view).flatten();
        let of = of.unwrap_or_else(|| offering.mirror.default_registry());
        let replaced = match of == RegistryName::crates_io() {
            true => format!("[source.crates-io]\nreplace-with = \"{view}\"\n\n"),
            false => String::new(),
        };
        blocks.push(Block {
            place: CONFIG,
            text: format!(
                "{replaced}[registries.{view}]\nindex = \"{index}\"\n{}",
                names.provider(view.as_registry())
            ),
        });
    }
    HowTo {
        title: "A view or a day",
        said: vec![
            "A registry as it was at the end of a day: put any date into the URL. Versions published later aren't picked.".to_owned(),
            match blocks.len() {
                1 => "A view is the same registry under other rules; whoever runs this mirror has set up none.".to_owned(),
                _ => "A view is the same registry under other rules; those of this mirror follow.".to_owned(),
            },
        ],
        blocks,
        text,
    }
}

/// The lines that make cargo use this mirror at `base`, a URL without a final slash: crates.io replaced, every other registry under its name.
///
/// Only ever crates.io is replaced, whichever registry is the default one: replaced by another, its names would bring somebody else's code. What
/// replaces it is a registry with a name, which `cargo info`, `search` and `publish` know and which a token can be given for; a mere source is neither.
pub fn snippet(mirror: &Mirror, base: &str, authentication: &Authentication) -> String {
    let names = NamesInSettings::of(Offering {
        mirror,
        base,
        authentication,
    });
    let mut text = names.crates_io();
    if !names.others.is_empty() {
        text.push('\n');
        text.push_str(&names.others_config());
    }
    text
}

/// What the registries are called, for cargo.
pub(super) struct NamesInSettings<'a> {
    base: &'a str,
    authentication: &'a Authentication,
    default: RegistryName,
    /// Those beside crates.io.
    others: Vec<RegistryName>,
    /// What stands in for crates.io.
    pub(super) in_place: String,
}

impl<'a> NamesInSettings<'a> {
    pub(super) fn of(offering: Offering<'a>) -> Self {
        let Offering {
            mirror,
            base,
            authentication,
        } = offering;
        let crates_io = RegistryName::crates_io();
        let others = mirror.registries().filter(|name| *name != crates_io);
        let others: Vec<_> = others.collect();
        Self {
            base,
            authentication,
            default: mirror.default_registry(),
            in_place: free_name(&others),
            others,
        }
    }

    /// Where a registry's URLs begin.
    pub(super) fn root(&self, name: RegistryName) -> String {
        let base = self.base;
        match name == self.default {
            true => base.to_owned(),
            false => format!("{base}/registries/{name}"),
        }
    }

    /// Without it cargo refuses to send a token at all.
    fn provider(&self, name: RegistryName) -> &'static str {
        match self.authentication.is_needed(name) {
            true => "credential-provider = [\"cargo:token\"]\n",
            false => "",
        }
    }

    fn registry(&self, called: &str, name: RegistryName) -> String {
        format!(
            "[registries.{called}]\nindex = \"sparse+{}/index/\"\n{}",
            self.root(name),
            self.provider(name)
        )
    }

    fn crates_io(&self) -> String {
        let in_place = &self.in_place;
        format!(
            "[source.crates-io]\nreplace-with = \"{in_place}\"\n\n{}",
            self.registry(in_place, RegistryName::crates_io())
        )
    }

    fn others_config(&self) -> String {
        let others = self.others.iter();
        let others: Vec<_> = others
            .map(|name| self.registry(name.as_str(), *name))
            .collect();
        others.join("\n")
    }
}

/// A registry's name as variables of the environment have it.
fn variable(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

/// The name under which cargo knows what stands in for crates.io: `mirror`, unless a registry is called that.
fn free_name(taken: &[RegistryName]) -> String {
    let is_free = |name: &String| taken.iter().all(|taken| taken.as_str() != name);
    let numbered = (2..).map(|number| format!("mirror-{number}"));
    let mut names = std::iter::once("mirror".to_owned()).chain(numbered);
    names.find(is_free).unwrap_or_default()
}
