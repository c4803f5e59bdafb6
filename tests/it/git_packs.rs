//! Packs as git sees them: what is written here is what `git index-pack` makes of it, byte for byte in its index.

use std::io::Write;

use crate_mirror::git::{
    Commit, EntryMode, IndexedObject, ObjectId, ObjectKind, PackTrailer, TreeWriter, entry, header,
    pack_index,
};
use proptest::{collection::vec, prelude::*, strategy::ValueTree, test_runner::TestRunner};

use crate::support::Git;

/// A repository of one commit with these files: its objects, the commit first.
fn objects(files: &[Vec<u8>]) -> Vec<(ObjectKind, Vec<u8>)> {
    let mut objects: Vec<_> = files
        .iter()
        .map(|file| (ObjectKind::Blob, file.clone()))
        .collect();
    let mut tree = TreeWriter::default();
    for (number, file) in files.iter().enumerate() {
        let id = ObjectId::of(ObjectKind::Blob, file);
        tree.add(EntryMode::File, &format!("file{number:04}"), &id);
    }
    let tree = tree.finish();
    let commit = Commit {
        tree: ObjectId::of(ObjectKind::Tree, &tree),
        parent: None,
        time: 1_700_000_000,
        message: "Some files",
    };
    objects.insert(0, (ObjectKind::Tree, tree));
    objects.insert(0, (ObjectKind::Commit, commit.content()));
    objects.sort_by_key(|(kind, content)| ObjectId::of(*kind, content));
    objects.dedup();
    objects
}

/// A pack of these objects, and its index.
fn packed(objects: &[(ObjectKind, Vec<u8>)]) -> (Vec<u8>, Vec<u8>) {
    let count = u32::try_from(objects.len()).expect("few");
    let mut pack = header(count).to_vec();
    let mut listed = Vec::new();
    for (kind, content) in objects {
        let entry = entry(*kind, content).expect("compressed");
        let mut crc = flate2::Crc::new();
        crc.update(&entry);
        listed.push(IndexedObject {
            id: ObjectId::of(*kind, content),
            offset: pack.len() as u64,
            crc32: crc.sum(),
        });
        pack.extend(entry);
    }
    let mut trailer = PackTrailer::default();
    trailer.update(&pack);
    let trailer = trailer.finish();
    pack.extend(trailer.as_bytes());
    (pack, pack_index(listed, &trailer))
}

#[tokio::test]
async fn git_reads_what_is_written_and_makes_the_same_index_of_it() {
    let git = Git::new();
    let repository = git.folder().join("repository");
    git.run(git.folder(), &["init", "--quiet", "--bare", "repository"])
        .await
        .success();
    // Lengths around those at which the length of an entry takes one byte more.
    let sizes = [0, 1, 15, 16, 17, 2_047, 2_048, 2_049, 300_000];
    let mut cases = vec![sizes.map(|size| vec![b'a'; size]).to_vec()];
    let mut runner = TestRunner::deterministic();
    for _ in 0..8 {
        let files = vec(vec(any::<u8>(), 0..3_000), 1..40);
        cases.push(files.new_tree(&mut runner).expect("files").current());
    }
    for (number, files) in cases.iter().enumerate() {
        let objects = objects(files);
        let (pack, index) = packed(&objects);
        let path = git.folder().join(format!("{number}.pack"));
        let mut file = std::fs::File::create(&path).expect("a file");
        file.write_all(&pack).expect("written");
        let path = path.display().to_string();
        git.run(&repository, &["index-pack", "--strict", &path])
            .await
            .success();
        let made = std::fs::read(path.replace(".pack", ".idx")).expect("an index");
        assert_eq!(made, index);
        git.run(&repository, &["verify-pack", &path])
            .await
            .success();
    }
}
