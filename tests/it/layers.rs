//! The layers: imports go downward only, between folders and inside them, and ARCHITECTURE.md says the truth about it.

mod imports;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use imports::{Imports, Module};
use syn::{Item, Visibility};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn sources() -> Imports {
    imports::read(&root().join("src"))
}

/// The room of a module: its folder or file right below `src`. None for lib.rs and main.rs.
fn room(module: &Module) -> Option<&str> {
    module.first().map(String::as_str)
}

/// Which rooms each room imports, as the sources have it.
fn between_rooms() -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::<String, BTreeSet<String>>::new();
    for (module, imported) in &sources() {
        let Some(room_of_it) = room(module) else {
            continue;
        };
        let others = imported.iter().filter_map(room);
        let others = others.filter(|other| *other != room_of_it);
        let all = found.entry(room_of_it.to_owned()).or_default();
        all.extend(others.map(str::to_owned));
    }
    found
}

/// The rows of the map in ARCHITECTURE.md, highest first: a room and what it says that the room imports.
fn map() -> Vec<(String, BTreeSet<String>)> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let (_, map) = text
        .split_once("## The map")
        .expect("a section with the map");
    let rows = map.lines().skip_while(|line| !line.starts_with("|---"));
    let rows = rows.skip(1).take_while(|line| line.starts_with('|'));
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [room, _, imports] = cells[..] else {
            panic!("a row of the map has three cells: {line}");
        };
        let bare = |name: &str| name.trim_matches(['`', ' ']).to_owned();
        let room = bare(room);
        let room = room
            .trim_end_matches('/')
            .trim_end_matches(".rs")
            .to_owned();
        let names = imports.split(',').map(bare);
        (room, names.filter(|name| !name.is_empty()).collect())
    };
    rows.map(row).collect()
}

#[test]
fn the_map_in_the_architecture_is_what_the_imports_say() {
    let (map, actual) = (map(), between_rooms());
    let rooms: BTreeSet<_> = map.iter().map(|(room, _)| room.clone()).collect();
    assert_eq!(
        rooms,
        actual.keys().cloned().collect(),
        "the rooms of ARCHITECTURE.md and of src"
    );
    for (room, imports) in map {
        assert_eq!(imports, actual[&room], "what `{room}` imports");
    }
}

#[test]
fn imports_go_downward_only() {
    let map = map();
    let height = |name: &str| map.iter().position(|(room, _)| room == name);
    for (name, imports) in between_rooms() {
        for import in imports {
            assert!(
                height(&import) > height(&name),
                "`{name}` imports `{import}`, which is not below it in the map of ARCHITECTURE.md"
            );
        }
    }
}

/// Files that import each other have to be read together, and neither can be changed alone.
#[test]
fn no_files_import_each_other_in_a_circle() {
    let circles = circles(&sources());
    assert!(circles.is_empty(), "circles:\n{}", circles.join("\n"));
}

/// Groups of files that import one another in circles (strongly connected components).
fn circles(imports: &Imports) -> Vec<String> {
    let reach: BTreeMap<&Module, BTreeSet<&Module>> = imports
        .keys()
        .map(|from| (from, reached(from, imports)))
        .collect();
    let mut found = BTreeSet::new();
    for (from, reached) in &reach {
        let back = |to: &&&Module| reach.get(*to).is_some_and(|r| r.contains(*from));
        let group: BTreeSet<String> = reached.iter().filter(back).map(|m| m.join("/")).collect();
        if !group.is_empty() {
            found.insert(group.into_iter().collect::<Vec<_>>().join(", "));
        }
    }
    found.into_iter().collect()
}

fn reached<'a>(from: &'a Module, imports: &'a Imports) -> BTreeSet<&'a Module> {
    let (mut found, mut left) = (BTreeSet::new(), vec![from]);
    while let Some(next) = left.pop() {
        for to in imports.get(next).into_iter().flatten() {
            if found.insert(to) {
                left.push(to);
            }
        }
    }
    found
}

#[test]
fn an_upward_import_and_a_circle_would_be_seen() {
    let text = "use crate::{\n    domain::{A, B},\n    http,\n};\nfn f(x: crate::mirror::Mirror) { super::flight::go() }
        fn g() { log!(crate::store::X) }
        #[cfg(test)] mod tests { use crate::app; }";
    let modules: &[&[&str]] = &[
        &[],
        &["app"],
        &["domain"],
        &["http"],
        &["mirror"],
        &["mirror", "crates"],
        &["mirror", "flight"],
        &["store"],
    ];
    let seen = imports::of_text(&["mirror", "crates"], text, modules);
    let seen: Vec<_> = seen.iter().map(|module| module.join("/")).collect();
    assert_eq!(seen, ["domain", "http", "mirror", "mirror/flight", "store"]);
    let module = |name: &str| vec![name.to_owned()];
    let set = |name: &str| BTreeSet::from([module(name)]);
    let circle = Imports::from([
        (module("a"), set("b")),
        (module("b"), set("c")),
        (module("c"), set("b")),
    ]);
    assert_eq!(circles(&circle), ["b, c"]);
}

#[test]
fn the_domain_knows_no_io_and_no_clock() {
    for (path, text) in files_below("src/domain") {
        for word in [
            "tokio::",
            "std::fs",
            "std::net",
            "SystemTime::now",
            "Instant",
            "reqwest",
        ] {
            assert!(!text.contains(word), "{} mentions {word}", path.display());
        }
    }
}

/// The source files below a folder, with their text.
fn files_below(folder: &str) -> Vec<(PathBuf, String)> {
    let (mut found, mut left) = (Vec::new(), vec![root().join(folder)]);
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a folder").flatten();
            left.extend(entries.map(|entry| entry.path()));
            continue;
        }
        let text = fs::read_to_string(&path).expect("a source file");
        found.push((path, text));
    }
    assert!(found.len() > 5, "the sources were not found");
    found
}

/// `Followed` was four types, and `Look`, `Reply` and `Fetch` were two each: who read of one found the other. What only its own file sees may be named as it likes.
#[test]
fn a_type_that_other_files_see_has_a_name_of_its_own() {
    let mut found = BTreeMap::<String, Vec<PathBuf>>::new();
    for (path, text) in files_below("src") {
        // What stands in for another file on other systems, or without a feature, has its names.
        let stand_ins = ["zero_copy/elsewhere.rs", "traces/off.rs"];
        if stand_ins.iter().any(|file| path.ends_with(file)) {
            continue;
        }
        let file = syn::parse_file(&text).expect("Rust");
        for name in file.items.iter().filter_map(visible_type) {
            found.entry(name).or_default().push(path.clone());
        }
    }
    assert!(found.len() > 200, "the types were not found");
    found.retain(|_, files| files.len() > 1);
    assert!(found.is_empty(), "types of one name: {found:#?}");
}

/// The name of a type or a trait that isn't private.
fn visible_type(item: &Item) -> Option<String> {
    let (visibility, name) = match item {
        Item::Enum(item) => (&item.vis, &item.ident),
        Item::Struct(item) => (&item.vis, &item.ident),
        Item::Trait(item) => (&item.vis, &item.ident),
        Item::Type(item) => (&item.vis, &item.ident),
        _ => return None,
    };
    let is_seen = !matches!(visibility, Visibility::Inherited);
    is_seen.then(|| name.to_string())
}
