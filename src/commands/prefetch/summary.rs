//! What came of a run, and the words for it.

use std::{io::Write, process::ExitCode, time::Duration};

use bytesize::ByteSize;

use crate::{
    domain::CrateRequest,
    prefetch::{Aside, Missing, Report, ToolchainReport, not_stored},
    store::Store,
};

/// What came of it.
pub(super) struct Summary {
    /// What became of the index files, if they were to be refreshed.
    pub(super) updated: Option<Report>,
    /// What became of the .crate files.
    pub(super) files: Report,
    /// What became of toolchains.
    pub(super) toolchains: ToolchainReport,
    /// How many bytes came from upstream.
    pub(super) bytes: u64,
    /// What no registry here has.
    pub(super) aside: Aside,
    /// What was asked for and comes to no file.
    pub(super) missing: Vec<Missing>,
    /// What else should be known.
    pub(super) notes: Vec<String>,
    /// How many bytes the store has, if that is more than a mirror leaves in it.
    pub(super) too_large: Option<u64>,
}

impl Summary {
    /// Makes sure that what was fetched is in the store and will stay there if the store may grow to `max_size` bytes, and tells a mirror that serves
    /// from it.
    pub(super) async fn confirm(&mut self, store: &Store, max_size: u64) {
        for key in not_stored(store, &self.files.kept).await {
            self.files.fetched = self.files.fetched.saturating_sub(1);
            self.files.missing.push(Missing {
                what: CrateRequest::exactly(key.registry, &key.id).to_string(),
                why: "it was fetched, but the store didn't take it; the log says why".into(),
                by: Vec::new(),
            });
        }
        let lost = self.toolchains.not_stored(store).await;
        self.toolchains.missing.extend(lost);
        if store.written() == 0 {
            return;
        }
        let size = store.size().await.ok();
        self.too_large = size.filter(|size| *size > max_size);
        if let Err(e) = store.announce_change().await {
            tracing::warn!("a mirror that serves from this store may see the change late: {e}");
        }
    }

    /// Says all of it, what is missing last but for the summary.
    pub(super) fn print(self, took: Duration) -> ExitCode {
        let mut missing = self.missing;
        missing.extend(self.files.missing);
        missing.extend(self.toolchains.missing);
        let mut said = String::new();
        let notes = self
            .notes
            .into_iter()
            .map(|note| format!("note     {note}\n"));
        let skipped = self.aside.named.iter();
        said.extend(notes);
        said.extend(skipped.map(|(what, why)| format!("skipped  {what}: {why}\n")));
        if self.aside.paths > 0 {
            said.push_str(&format!(
                "skipped  {} of the projects' own packages, which lie in their folders\n",
                self.aside.paths
            ));
        }
        if let Some(updated) = self.updated {
            said.push_str(&format!(
                "{} index files were out of date, {} were not\n",
                updated.fetched, updated.here
            ));
            let left_out = updated.left_out.iter();
            said.extend(left_out.map(|out| format!("skipped  {}: {}\n", out.what, out.why)));
            missing.extend(updated.missing);
        }
        said.extend(missing.iter().map(line));
        if let Some(size) = self.too_large {
            said.push_str(&format!(
                "note     the store has {} now, more than `store.max_size`: a mirror that serves from it removes what was used least recently\n",
                ByteSize(size).display().iec()
            ));
        }
        said.push_str(&format!(
            "{} fetched, {} already here, {} skipped, {} missing; {} in {:.1} s\n",
            self.files.fetched + self.toolchains.fetched,
            self.files.here + self.toolchains.here,
            self.aside.named.len() + self.aside.paths,
            missing.len(),
            ByteSize(self.bytes).display().iec(),
            took.as_secs_f64()
        ));
        // Whoever started it may have stopped reading.
        let _ = std::io::stdout().write_all(said.as_bytes());
        match missing.is_empty() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }
    }
}

fn line(Missing { what, why, by }: &Missing) -> String {
    match by.is_empty() {
        true => format!("missing  {what}: {why}\n"),
        false => format!("missing  {what}: {why} ({})\n", by.join(", ")),
    }
}
