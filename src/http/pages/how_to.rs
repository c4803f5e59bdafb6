//! How to use the mirror: what to paste into cargo's configuration, for each way of using it.

use crate::{domain::RegistryName, http::authentication::Authentication, mirror::Mirror};

/// One way of using the mirror.
pub(super) struct HowTo {
    /// What it is called, in two words or three.
    pub(super) title: &'static str,
    /// What there is to say of it, a sentence each.
    pub(super) said: Vec<String>,
    /// What to paste, and where.
    pub(super) blocks: Vec<Block>,
}

/// Something to paste.
pub(super) struct Block {
    /// Where it goes.
    pub(super) place: &'static str,
    pub(super) text: String,
}

const CONFIG: &str = ".cargo/config.toml";
const SHELL: &str = "in a shell";

/// All ways of using the mirror at `base`, a URL without a final slash.
pub(super) fn ways(mirror: &Mirror, base: &str, authentication: &Authentication) -> Vec<HowTo> {
    let names = Names::of(mirror, base, authentication);
    let mut ways = vec![HowTo {
        title: "crates.io",
        said: vec![
            "Cargo asks this mirror for everything that is on crates.io. Cargo.lock stays as it is."
                .to_owned(),
        ],
        blocks: vec![Block {
            place: CONFIG,
            text: names.crates_io(),
        }],
    }];
    if !names.others.is_empty() {
        ways.push(HowTo {
            title: "Another registry",
            said: vec![
                "Beside crates.io this mirror has other registries; a dependency names the one it comes from, as in thing = { version = \"1\", registry = \"NAME\" }."
                    .to_owned(),
            ],
            blocks: vec![Block {
                place: CONFIG,
                text: names.others_config(),
            }],
        });
    }
    ways.extend(with_a_token(&names));
    ways.push(view_or_day(mirror, &names));
    ways
}

/// How to show a token, where one is needed.
fn with_a_token(names: &Names<'_>) -> Option<HowTo> {
    let help = names.authentication.help()?;
    let variable = format!("CARGO_REGISTRIES_{}_TOKEN", variable(&names.in_place));
    Some(HowTo {
        title: "With a token",
        said: vec![
            format!("This mirror wants a token; {help}."),
            format!(
                "Cargo takes it from the variable {variable}, or from what `cargo login` has stored; other registries have a variable of their own."
            ),
        ],
        blocks: vec![
            Block {
                place: SHELL,
                text: format!("cargo login --registry {}\n", names.in_place),
            },
            Block {
                place: "in the settings of a CI job",
                text: format!("{variable}=TOKEN\n"),
            },
        ],
    })
}

/// How to see a registry under other rules, or as it was.
fn view_or_day(mirror: &Mirror, names: &Names<'_>) -> HowTo {
    let (base, in_place) = (names.base, &names.in_place);
    let mut blocks = vec![Block {
        place: CONFIG,
        text: format!(
            "[source.crates-io]\nreplace-with = \"{in_place}\"\n\n[registries.{in_place}]\nindex = \"sparse+{}/at/2026-11-01/index/\"\n{}",
            names.root(RegistryName::crates_io()),
            names.provider(RegistryName::crates_io())
        ),
    }];
    let policy = mirror.policy();
    for view in policy.views() {
        blocks.push(Block {
            place: CONFIG,
            text: format!(
                "[registries.{view}]\nindex = \"sparse+{base}/views/{view}/index/\"\n{}",
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
    }
}

/// The same as text: what to paste, once, and what else there is.
pub(super) fn text(mirror: &Mirror, base: &str, authentication: &Authentication) -> String {
    let token = authentication.help().map_or(String::new(), |help| {
        format!(
            "\nIt wants a token; {help}. Cargo takes it from the variable CARGO_REGISTRIES_MIRROR_TOKEN, or from `cargo login --registry mirror`; other registries have a variable of their own.\n"
        )
    });
    let names = Names::of(mirror, base, authentication);
    let day = names.root(RegistryName::crates_io());
    format!(
        "crate-mirror {}\n\nTo use it, put this into .cargo/config.toml:\n\n{}{token}\nThe index as it was at the end of a day is under sparse+{day}/at/2026-11-01/index/, for any date.\n",
        env!("CARGO_PKG_VERSION"),
        snippet(mirror, base, authentication),
    )
}

/// The lines that make cargo use this mirror at `base`, a URL without a final slash: crates.io replaced, every other registry under its name.
///
/// Only ever crates.io is replaced, whichever registry is the default one: replaced by another, its names would bring somebody else's code. What
/// replaces it is a registry with a name, which `cargo info`, `search` and `publish` know and which a token can be given for; a mere source is neither.
pub fn snippet(mirror: &Mirror, base: &str, authentication: &Authentication) -> String {
    let names = Names::of(mirror, base, authentication);
    let mut text = names.crates_io();
    if !names.others.is_empty() {
        text.push('\n');
        text.push_str(&names.others_config());
    }
    text
}

/// What the registries are called, for cargo.
struct Names<'a> {
    base: &'a str,
    authentication: &'a Authentication,
    default: RegistryName,
    /// Those beside crates.io.
    others: Vec<RegistryName>,
    /// What stands in for crates.io.
    in_place: String,
}

impl<'a> Names<'a> {
    fn of(mirror: &Mirror, base: &'a str, authentication: &'a Authentication) -> Self {
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
    fn root(&self, name: RegistryName) -> String {
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
