//! Which source file imports which, as the compiler sees it: `use` lines and written-out paths, with re-exports followed to where the item is.
//!
//! Tests inside the sources don't count, and neither do `mod` lines and re-exports of what is below: a folder's `mod.rs` is its door.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use syn::{
    Attribute, File, Item, ItemMod, ItemUse, Macro, Meta, UseTree, Visibility,
    visit::{self, Visit},
};

/// A module's path below the crate, such as `["store", "walk"]`; the crate itself is empty.
pub(super) type Module = Vec<String>;

/// Every source file as a module, with the modules that it imports.
pub(super) type Imports = BTreeMap<Module, BTreeSet<Module>>;

/// What one source file says.
#[derive(Default)]
struct Source {
    /// Paths from the crate's root that it names.
    paths: Vec<Module>,
    /// Names that it re-exports, with where they are.
    doors: BTreeMap<String, Module>,
}

/// Reads the sources below `root`, which is `src`.
pub(super) fn read(root: &Path) -> Imports {
    let mut files = BTreeMap::new();
    find(root, &[], &mut files);
    assert!(files.len() > 30, "the sources were not found");
    let modules: BTreeSet<Module> = files.keys().cloned().collect();
    let sources: BTreeMap<Module, Source> = files
        .iter()
        .map(|(module, text)| (module.clone(), source(module, text, &modules)))
        .collect();
    let imported = |module: &Module, source: &Source| {
        let targets = source.paths.iter().map(|path| target(path, &sources, 0));
        targets.filter(|target| target != module).collect()
    };
    let all = sources.iter();
    all.map(|(module, source)| (module.clone(), imported(module, source)))
        .collect()
}

/// What is imported by one piece of source text that is the module `module` among `modules`.
pub(super) fn of_text(module: &[&str], text: &str, modules: &[&[&str]]) -> BTreeSet<Module> {
    let owned = |path: &[&str]| path.iter().map(|&s| s.to_owned()).collect::<Module>();
    let modules: BTreeSet<Module> = modules.iter().map(|path| owned(path)).collect();
    let module = owned(module);
    let source = source(&module, text, &modules);
    let sources = modules.iter().map(|m| (m.clone(), Source::default()));
    let sources: BTreeMap<_, _> = sources.collect();
    let targets = source.paths.iter().map(|path| target(path, &sources, 0));
    targets.filter(|target| *target != module).collect()
}

/// Finds the source files in `folder` whose modules are below `module`.
fn find(folder: &Path, module: &[String], files: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        let stem = path.file_stem().and_then(|s| s.to_str()).expect("a name");
        let mut inner = module.to_vec();
        match (path.is_dir(), stem) {
            (true, _) => {
                inner.push(stem.to_owned());
                find(&path, &inner, files);
                continue;
            }
            (false, "mod" | "lib") => {}
            (false, "main") if module.is_empty() => continue,
            (false, _) => inner.push(stem.to_owned()),
        }
        let text = fs::read_to_string(&path).expect("a source file");
        files.insert(inner, text);
    }
}

fn source(module: &Module, text: &str, modules: &BTreeSet<Module>) -> Source {
    let file: File = syn::parse_file(text).expect("Rust");
    let mut reader = Reader {
        at: module.clone(),
        modules,
        source: Source::default(),
    };
    reader.visit_file(&file);
    reader.source
}

/// The module that holds what `path` names.
fn target(path: &Module, sources: &BTreeMap<Module, Source>, depth: usize) -> Module {
    let is_module = |length: &usize| sources.contains_key(&path[..*length]);
    let length = (0..=path.len()).rev().find(is_module).unwrap_or(0);
    let (module, rest) = path.split_at(length);
    let door = rest
        .first()
        .and_then(|name| sources[module].doors.get(name));
    match door {
        Some(door) if depth < 8 => {
            let further: Module = door.iter().chain(&rest[1..]).cloned().collect();
            target(&further, sources, depth + 1)
        }
        Some(_) | None => module.to_vec(),
    }
}

/// Walks through one file.
struct Reader<'a> {
    /// The module that is being read; inline ones count.
    at: Module,
    modules: &'a BTreeSet<Module>,
    source: Source,
}

impl Reader<'_> {
    /// `path` from the crate's root; nothing when it leads to another crate.
    fn absolute(&self, path: &[String]) -> Option<Module> {
        let first = path.first()?;
        let mut absolute = match first.as_str() {
            "crate" => Vec::new(),
            "self" => self.at.clone(),
            "super" => self.at[..self.at.len().checked_sub(1)?].to_vec(),
            name => {
                let mut child = self.at.clone();
                child.push(name.to_owned());
                return self
                    .modules
                    .contains(&child)
                    .then(|| [&self.at[..], path].concat());
            }
        };
        for part in &path[1..] {
            match part.as_str() {
                "super" => drop(absolute.pop()),
                "self" => {}
                _ => absolute.push(part.clone()),
            }
        }
        Some(absolute)
    }

    fn note(&mut self, path: &[String]) {
        let path = self.absolute(path);
        self.source.paths.extend(path);
    }

    fn note_use(&mut self, item: &ItemUse) {
        let mut found = Vec::new();
        leaves(&item.tree, &mut Vec::new(), &mut found);
        for (path, name) in found {
            let Some(absolute) = self.absolute(&path) else {
                continue;
            };
            let opens = !matches!(item.vis, Visibility::Inherited);
            let is_below = absolute.starts_with(&self.at) && absolute.len() > self.at.len();
            if opens {
                self.source.doors.insert(name, absolute.clone());
            }
            if !(opens && is_below) {
                self.source.paths.push(absolute);
            }
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !attributes(item).iter().any(is_for_tests) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if item.content.is_some() {
            self.at.push(item.ident.to_string());
            visit::visit_item_mod(self, item);
            self.at.pop();
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.note_use(item);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<_> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        if names.len() > 1 {
            self.note(&names);
        }
        visit::visit_path(self, path);
    }

    /// `pub(in crate::…)` says who may see something, and imports nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    /// Inside a macro call there are only words: those that begin with `crate` or `super` are paths.
    fn visit_macro(&mut self, call: &'ast Macro) {
        let text = call.tokens.to_string().replace(" :: ", "::");
        let begins = |word: &&str| word.starts_with("crate::") || word.starts_with("super::");
        let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
        for word in words.filter(begins) {
            let names: Vec<_> = word.split("::").map(str::to_owned).collect();
            self.note(&names);
        }
    }
}

/// The paths that a `use` names, with the name that each has from then on.
fn leaves(tree: &UseTree, above: &mut Module, found: &mut Vec<(Module, String)>) {
    match tree {
        UseTree::Path(path) => {
            above.push(path.ident.to_string());
            leaves(&path.tree, above, found);
            above.pop();
        }
        UseTree::Group(group) => {
            for item in &group.items {
                leaves(item, above, found);
            }
        }
        UseTree::Name(name) => {
            let path = [&above[..], &[name.ident.to_string()]].concat();
            found.push((path, name.ident.to_string()));
        }
        UseTree::Rename(name) => {
            let path = [&above[..], &[name.ident.to_string()]].concat();
            found.push((path, name.rename.to_string()));
        }
        UseTree::Glob(_) => found.push((above.clone(), String::new())),
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Mod(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        _ => &[],
    }
}

/// `#[cfg(test)]`.
fn is_for_tests(attribute: &Attribute) -> bool {
    match &attribute.meta {
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        Meta::Path(_) | Meta::NameValue(_) => false,
    }
}
