//! The audit: whether what a mirror has stored is true, is served without upstream, and becomes current again with it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::{
    process::Settings,
    reign::{Reign, eventually},
    shelf::Shelf,
};
use crate::support::{client, index_path, sha256};

/// Once upstream is well, a mirror is current again within this.
const RECOVERS_WITHIN: Duration = Duration::from_secs(10);

impl Reign {
    /// Nothing that upstream never had may have reached the disk: it would be served for days.
    pub(super) async fn judge_stored(&self, shelf: &Shelf) {
        let world = &self.world;
        for (name, body) in &shelf.indexes {
            if !world.truth.had_body(name, &sha256(body)).await {
                let start = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
                let what =
                    format!("the stored index file of {name} was never upstream's: {start:?}");
                world.figures.violation(what);
            }
        }
        for ((name, version), checksum) in &shelf.crates {
            if !world.truth.had_content(name, version, checksum).await {
                let what = format!("{name} {version} is stored as {checksum}, which it never was");
                world.figures.violation(what);
            }
        }
    }

    /// When the load is over: the store verifies clean, the mirror recovers, and serves all it has when it is left alone.
    pub(super) async fn settle(&mut self) {
        self.verify().await;
        let world = self.world.clone();
        let _sky = world.sky.lock().await;
        world.upstream.heal();
        let settings = Settings::some(false, &mut self.rng);
        let running = self.program.start(settings).await;
        self.recover(running.addr).await;
        self.end(running, settings).await;
        self.verify().await;

        world.upstream.stop().await;
        let running = self.program.start(settings).await;
        self.ask_for_stored(running.addr, usize::MAX).await;
        self.end(running, settings).await;
        world.figures.committed(self.shelf.crates.len());
        if world.common.is_some() {
            // Others are to recover, too.
            world.upstream.restart().await;
        }
    }

    async fn verify(&self) {
        let (content, said) = self.program.verify().await;
        self.world.figures.verified(&said);
        if !content {
            let what = format!("verify is not content: {said}");
            self.world.figures.violation(what);
        }
    }

    /// Every index file becomes what upstream has, and every crate can be had.
    async fn recover(&self, mirror: SocketAddr) {
        let upstream = &self.world.upstream;
        for (name, versions) in self.world.truth.present() {
            let (path, current) = (
                format!("/index/{}", index_path(&name)),
                upstream.index_file(&name),
            );
            let is_current = async || client::get(mirror, &path, &[]).await.text() == current;
            if !eventually(RECOVERS_WITHIN, is_current).await {
                let what = format!("{name}'s index file is not current again");
                self.world.figures.violation(what);
            }
            for version in versions {
                let path = format!("/api/v1/crates/{name}/{version}/download");
                let reply = client::get(mirror, &path, &[]).await;
                let right =
                    reply.status == 200 && reply.body == upstream.crate_file(&name, &version);
                if !right {
                    let what = format!("{path} can't be had with upstream well: {}", reply.status);
                    self.world.figures.violation(what);
                }
            }
        }
    }

    /// With upstream down: up to `most` of the crates on the disk, and all index files, are served as they are.
    pub(super) async fn ask_for_stored(&mut self, mirror: SocketAddr, most: usize) {
        let (world, shelf) = (self.world.clone(), Arc::clone(&self.shelf));
        for (name, body) in &shelf.indexes {
            let reply = client::get(mirror, &format!("/index/{}", index_path(name)), &[]).await;
            let came = reply.status == 200 && reply.complete;
            // What another mirror has had since is in the bucket.
            let is_newer = came && world.common.is_some() && {
                let body = sha256(&reply.body);
                world.truth.had_body(name, &body).await
            };
            let served = is_newer || (came && reply.body == *body);
            // A mirror may remember that upstream took a crate back.
            let withdrawn = reply.status == 404 && !world.truth.was_always_there(name);
            match served || withdrawn {
                true => world.figures.served_alone(),
                false => world.figures.lost(format!(
                    "{name}'s index file, without upstream: {}",
                    reply.status
                )),
            }
        }
        let mut crates: Vec<_> = shelf.crates.iter().collect();
        self.rng.shuffle(&mut crates);
        for ((name, version), checksum) in crates.into_iter().take(most) {
            let name = world.truth.canonical(name).unwrap_or_default();
            let path = format!("/api/v1/crates/{name}/{version}/download");
            let reply = client::get(mirror, &path, &[]).await;
            match reply.status == 200 && reply.complete && sha256(&reply.body) == *checksum {
                true => world.figures.served_alone(),
                false => world
                    .figures
                    .lost(format!("{path}, without upstream: {}", reply.status)),
            }
        }
    }
}
