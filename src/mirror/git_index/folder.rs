//! [`GitFolder`]: a folder of the index as git sees it. Two states of an index share all folders in which nothing has changed.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    error::Result,
    git::{EntryMode, ObjectId, ObjectKind, TreeWriter},
};

/// A folder and all that is below it.
pub(super) struct GitFolder {
    /// What git calls it.
    pub(super) id: ObjectId,
    /// In git's order.
    entries: Box<[FolderEntry]>,
}

#[derive(Clone)]
struct FolderEntry {
    name: Arc<str>,
    node: FolderNode,
}

#[derive(Clone)]
enum FolderNode {
    File(ObjectId),
    Folder(Arc<GitFolder>),
}

/// What becomes of files, by the segments of their paths.
#[derive(Default)]
pub(super) struct FolderChanges(BTreeMap<Box<str>, Change>);

enum Change {
    /// It is this file now, or isn't there any more.
    File(Option<ObjectId>),
    Folder(FolderChanges),
}

impl FolderChanges {
    /// The file at `path` is this one now, or isn't there any more.
    pub(super) fn set(&mut self, path: &str, file: Option<ObjectId>) {
        match path.split_once('/') {
            None => drop(self.0.insert(path.into(), Change::File(file))),
            Some((folder, rest)) => {
                let folder = self.0.entry(folder.into());
                let folder = folder.or_insert_with(|| Change::Folder(Self::default()));
                if let Change::Folder(folder) = folder {
                    folder.set(rest, file);
                }
            }
        }
    }
}

impl FolderEntry {
    fn mode(&self) -> EntryMode {
        match self.node {
            FolderNode::File(_) => EntryMode::File,
            FolderNode::Folder(_) => EntryMode::Folder,
        }
    }

    fn id(&self) -> ObjectId {
        match &self.node {
            FolderNode::File(id) => *id,
            FolderNode::Folder(folder) => folder.id,
        }
    }

    /// Its place in git's order: a folder's name counts with a slash behind it.
    fn order(&self) -> impl Iterator<Item = u8> {
        let slash = matches!(self.node, FolderNode::Folder(_)).then_some(b'/');
        self.name.bytes().chain(slash)
    }
}

impl GitFolder {
    /// An empty one.
    pub(super) fn empty() -> Arc<Self> {
        Arc::new(Self {
            id: ObjectId::of(ObjectKind::Tree, b""),
            entries: Box::default(),
        })
    }

    /// The folder after some changes; `keep` is given the content of each folder below it that is another one then. A folder without files isn't there.
    ///
    /// # Errors
    /// Those of `keep`.
    pub(super) fn changed(
        self: &Arc<Self>,
        changes: &FolderChanges,
        keep: &mut impl FnMut(ObjectId, &[u8]) -> Result<()>,
    ) -> Result<Arc<Self>> {
        let mut entries: BTreeMap<Arc<str>, FolderNode> = self
            .entries
            .iter()
            .map(|entry| (entry.name.clone(), entry.node.clone()))
            .collect();
        for (name, change) in &changes.0 {
            let node = match change {
                Change::File(file) => file.map(FolderNode::File),
                Change::Folder(changes) => {
                    let before = match entries.get(&**name) {
                        Some(FolderNode::Folder(folder)) => folder.clone(),
                        Some(FolderNode::File(_)) | None => Self::empty(),
                    };
                    let after = before.changed(changes, keep)?;
                    if after.id != before.id {
                        keep(after.id, &after.content(None))?;
                    }
                    (!after.entries.is_empty()).then_some(FolderNode::Folder(after))
                }
            };
            match node {
                Some(node) => drop(entries.insert((&**name).into(), node)),
                None => drop(entries.remove(&**name)),
            }
        }
        let entries = entries.into_iter();
        let mut entries: Box<[_]> = entries
            .map(|(name, node)| FolderEntry { name, node })
            .collect();
        entries.sort_by(|a, b| a.order().cmp(b.order()));
        let id = ObjectId::of(ObjectKind::Tree, &content(&entries, None));
        Ok(Arc::new(Self { id, entries }))
    }

    /// The folder's content as git writes it, with one more file in it if that is wanted.
    pub(super) fn content(&self, extra: Option<(&str, ObjectId)>) -> Vec<u8> {
        content(&self.entries, extra)
    }

    /// How many entries it has itself.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn find(&self, name: &str, mode: EntryMode) -> Option<&FolderEntry> {
        let slash = (mode == EntryMode::Folder).then_some(b'/');
        let order = || name.bytes().chain(slash);
        let place = self
            .entries
            .binary_search_by(|entry| entry.order().cmp(order()));
        place.ok().map(|place| &self.entries[place])
    }
}

fn content(entries: &[FolderEntry], mut extra: Option<(&str, ObjectId)>) -> Vec<u8> {
    let mut tree = TreeWriter::with_room(entries.len() + 1);
    for entry in entries {
        if let Some((name, id)) = extra.take_if(|(name, _)| name.bytes().lt(entry.order())) {
            tree.add(EntryMode::File, name, &id);
        }
        tree.add(entry.mode(), &entry.name, &entry.id());
    }
    if let Some((name, id)) = extra {
        tree.add(EntryMode::File, name, &id);
    }
    tree.finish()
}

/// What is below a folder and not below another one, with each folder before what is in it. Found as it is asked for.
pub(super) struct Difference(Vec<Level>);

/// A folder that is being looked through.
struct Level {
    new: Arc<GitFolder>,
    old: Option<Arc<GitFolder>>,
    /// Its next entry.
    next: usize,
}

impl Difference {
    /// What is below `new` and not below `old`. The two themselves aren't part of it.
    pub(super) fn of(new: &Arc<GitFolder>, old: Option<&Arc<GitFolder>>) -> Self {
        let level = Level {
            new: new.clone(),
            old: old.cloned(),
            next: 0,
        };
        match old.is_some_and(|old| old.id == new.id) {
            true => Self(Vec::new()),
            false => Self(vec![level]),
        }
    }

    /// Nothing.
    pub(super) fn nothing() -> Self {
        Self(Vec::new())
    }

    /// Whether what came last has the same path and content below `folder`.
    pub(super) fn is_also_in(&self, folder: &Arc<GitFolder>, id: ObjectId) -> bool {
        let mut folder = Some(folder);
        let mut found = None;
        // Each level has gone into the entry before its next one, but for one that was begun just now.
        for level in self.0.iter().filter(|level| level.next > 0) {
            let entry = &level.new.entries[level.next - 1];
            let same = folder.and_then(|folder| folder.find(&entry.name, entry.mode()));
            folder = same.and_then(|same| match &same.node {
                FolderNode::Folder(below) => Some(below),
                FolderNode::File(_) => None,
            });
            found = same.map(FolderEntry::id);
        }
        found == Some(id)
    }
}

impl Iterator for Difference {
    type Item = ObjectId;

    fn next(&mut self) -> Option<ObjectId> {
        loop {
            let level = self.0.last_mut()?;
            let Some(entry) = level.new.entries.get(level.next) else {
                self.0.pop();
                continue;
            };
            level.next += 1;
            let old = level.old.as_ref();
            let old = old.and_then(|old| old.find(&entry.name, entry.mode()));
            let id = entry.id();
            if old.is_some_and(|old| old.id() == id) {
                continue;
            }
            if let FolderNode::Folder(new) = &entry.node {
                let old = old.and_then(|old| match &old.node {
                    FolderNode::Folder(old) => Some(old.clone()),
                    FolderNode::File(_) => None,
                });
                let level = Level {
                    new: new.clone(),
                    old,
                    next: 0,
                };
                self.0.push(level);
            }
            return Some(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use proptest::{collection::btree_map, prelude::*};

    use super::*;

    type Files = BTreeMap<&'static str, u8>;

    const PATHS: [&str; 9] = [
        "1/a",
        "2/ab",
        "3/a/abc",
        "ab/cd/abcd",
        "ab/cd/abcde",
        "ab/c-/abc-",
        "ab/c0/abc0",
        "a-/bc/a-bc",
        "zz/zz/zzzz",
    ];

    fn files() -> impl Strategy<Value = Files> {
        btree_map(proptest::sample::select(PATHS.to_vec()), 0_u8..3, 0..9)
    }

    fn id(path: &str, content: u8) -> ObjectId {
        ObjectId::of(ObjectKind::Blob, format!("{path} {content}").as_bytes())
    }

    /// The folder with these files in place of those before; what is new is added to what is kept.
    fn with(
        before: &Arc<GitFolder>,
        old: &Files,
        new: &Files,
        kept: &mut HashMap<ObjectId, Vec<u8>>,
    ) -> Arc<GitFolder> {
        let mut changes = FolderChanges::default();
        for path in PATHS {
            if old.get(path) != new.get(path) {
                changes.set(path, new.get(path).map(|content| id(path, *content)));
            }
        }
        let after = before.changed(&changes, &mut |id, content| {
            kept.insert(id, content.to_vec());
            Ok(())
        });
        after.expect("kept")
    }

    fn below(folder: &Arc<GitFolder>) -> Vec<ObjectId> {
        Difference::of(folder, None).collect()
    }

    proptest! {
        #[test]
        fn a_folder_is_the_same_however_it_came_about_and_its_differences_are_all_there_is(
            first in files(),
            second in files(),
        ) {
            let (empty, none, mut kept) = (GitFolder::empty(), Files::new(), HashMap::new());
            let before = with(&empty, &none, &first, &mut kept);
            let after = with(&before, &first, &second, &mut kept);
            let anew = with(&empty, &none, &second, &mut HashMap::new());
            prop_assert_eq!(after.id, anew.id);
            let (old, new) = (below(&before), below(&after));
            let distinct: BTreeSet<_> = new.iter().copied().collect();
            prop_assert_eq!(distinct.len(), new.len(), "nothing comes twice");
            for (path, content) in &second {
                prop_assert!(distinct.contains(&id(path, *content)));
            }
            let blobs: BTreeSet<_> = second.iter().map(|(path, content)| id(path, *content)).collect();
            for folder in distinct.difference(&blobs) {
                prop_assert_eq!(ObjectId::of(ObjectKind::Tree, &kept[folder]), *folder);
            }
            let mut difference = Difference::of(&after, Some(&before));
            let mut changed = BTreeSet::new();
            while let Some(id) = difference.next() {
                prop_assert!(difference.is_also_in(&after, id));
                prop_assert!(!difference.is_also_in(&before, id));
                changed.insert(id);
            }
            let expected: BTreeSet<_> = new.iter().filter(|id| !old.contains(id)).copied().collect();
            prop_assert_eq!(changed, expected);
        }
    }

    #[test]
    fn one_more_file_stands_where_git_wants_it() {
        let mut kept = HashMap::new();
        let files: Files = [("zz/zz/zzzz", 0), ("ab/cd/abcd", 0)].into();
        let folder = with(&GitFolder::empty(), &Files::new(), &files, &mut kept);
        let content = folder.content(Some(("config.json", id("", 0))));
        let at = |name: &str| {
            let name = format!(" {name}\0").into_bytes();
            content
                .windows(name.len())
                .position(|window| window == name)
        };
        let order = [at("ab"), at("config.json"), at("zz")];
        assert!(
            order.iter().all(Option::is_some) && order.is_sorted(),
            "{order:?}"
        );
    }
}
