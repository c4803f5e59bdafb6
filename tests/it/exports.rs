//! Exporting what is in use: a mirror may go on writing, and a mistake is told before anything is read.

use std::{fs, path::Path, sync::Arc};

use crate_mirror::{
    metrics::Metrics,
    mirror::bundle::{self, Order, Output, Watch},
    store::Store,
};

use crate::support::{
    Package,
    bundle::{Desk, export, filled, import, members, objects},
    index_path,
    stored::Record,
};

fn packages() -> Vec<Package> {
    vec![
        Package::new("alpha", "1.0.0"),
        Package::new("alpha", "1.1.0").payload(900_000),
        Package::new("alpha", "1.2.0").payload(900_000),
        Package::new("beta", "1.0.0"),
    ]
}

/// Upstream has confirmed the record once more, an hour later.
fn confirm(store: &Path, name: &str) {
    let path = store.join("crates-io/index").join(index_path(name));
    let mut record = Record::read(&path);
    let checked = record.header["checked_at"].as_u64().expect("milliseconds");
    record.header["checked_at"] = (checked + 3_600_000).into();
    record.write(&path);
}

#[tokio::test]
async fn a_mirror_that_confirms_index_files_meanwhile_does_not_spoil_a_bundle() {
    let (_upstream, folder) = filled(packages()).await;
    let before = objects(folder.path());
    let store = Store::existing(folder.path(), false, Arc::new(Metrics::new()));
    let store = store.expect("a store");
    let watch = Watch {
        total: &|_| {},
        bytes: &|_| {},
        say: &|line| panic!("{line}"),
    };
    let desk = Desk::new();
    for limit in [None, Some(1 << 20)] {
        let order = Order {
            limit,
            ..Order::default()
        };
        let picked = bundle::pick(&store, &order, &watch).expect("picked");
        confirm(folder.path(), "alpha");
        confirm(folder.path(), "beta");
        let file = desk.file("b.tar.zst");
        let output = match limit {
            None => Output::Bundle(file),
            Some(_) => Output::Parts(file),
        };
        let written = bundle::export(&store, picked, &output, None, &watch);
        written.expect("written");
        if limit.is_none() {
            let inside = tempfile::tempdir().expect("a folder");
            import(inside.path(), &[&desk.name("b.tar.zst")])
                .await
                .code(0);
            assert_eq!(objects(inside.path()), before, "as it was looked at");
            // What is picked next is as it is now.
            fs::remove_file(desk.file("b.tar.zst")).expect("removed");
        }
    }
    let inside = tempfile::tempdir().expect("a folder");
    for part in ["b.1.tar.zst", "b.2.tar.zst"] {
        let record = &members(&desk.file(part))[1];
        assert_eq!(record.0, "crates-io/index/al/ph/alpha", "{part}");
        import(inside.path(), &[&desk.name(part)]).await.code(0);
    }
    assert_eq!(objects(inside.path()).len(), before.len());
}
