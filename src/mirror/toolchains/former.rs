//! [`FormerContents`]: what documents were a moment ago, for who has been given the checksum of that.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::{
    domain::{Sha256, toolchain::ToolchainDocument},
    mirror::kept::DocumentContent,
};

/// So long somebody who was given a checksum may take until he asks for what it is of.
pub(super) const WITHIN: Duration = Duration::from_secs(30);
/// So many are kept. Channels move a few times a day, and together.
const MOST: usize = 16;

/// The contents that were replaced last, the oldest first.
pub(super) struct FormerContents {
    kept: Mutex<VecDeque<Former>>,
    /// How many bytes they may have together, but for the last one, which is kept whatever it has. All of it is leased, so that others can't have it.
    most: u64,
}

struct Former {
    replaced: Instant,
    document: ToolchainDocument,
    content: Arc<DocumentContent>,
}

impl FormerContents {
    /// None yet, of which so many bytes may be kept.
    pub(super) fn of(most: u64) -> Self {
        let kept = Mutex::default();
        Self { kept, most }
    }

    /// Keeps what a document was until now.
    pub(super) fn add(&self, document: &ToolchainDocument, content: Arc<DocumentContent>) {
        let mut kept = self.lock();
        kept.push_back(Former {
            replaced: Instant::now(),
            document: *document,
            content,
        });
        let size = |kept: &VecDeque<Former>| kept.iter().map(Former::size).sum::<u64>();
        while kept.len() > 1 && (kept.len() > MOST || size(&kept) > self.most) {
            kept.pop_front();
        }
    }

    /// What a document was when its checksum was that.
    pub(super) fn find(
        &self,
        document: &ToolchainDocument,
        sha256: &Sha256,
    ) -> Option<Arc<DocumentContent>> {
        let kept = self.lock();
        let is_it =
            |former: &&Former| former.document == *document && former.content.sha256 == *sha256;
        kept.iter().find(is_it).map(|former| former.content.clone())
    }

    /// Lets go of what was replaced by now, when nobody can want it any more.
    pub(super) async fn forget_old(&self) {
        let replaced = Instant::now();
        sleep(WITHIN).await;
        self.lock().retain(|former| former.replaced > replaced);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Former>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Former {
    fn size(&self) -> u64 {
        self.content.size() as u64
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::{
        allowance::Allowance,
        domain::toolchain::{SumFile, ToolchainPath},
    };

    fn document() -> ToolchainDocument {
        let path = ToolchainPath::parse("dist/channel-rust-nightly.toml");
        match path.expect("a path") {
            ToolchainPath::Manifest(name) => ToolchainDocument::Manifest(name),
            other => panic!("{other} is no manifest"),
        }
    }

    /// A manifest with so many bytes, leased.
    fn content(number: usize, bytes: usize, budget: &Allowance) -> Arc<DocumentContent> {
        let head = format!("manifest-version = \"2\"\ndate = \"2026-01-02\"\n# {number}");
        let body = bytes::Bytes::from(format!(
            "{head}{}\n",
            " ".repeat(bytes.saturating_sub(head.len()))
        ));
        let sum = SumFile::parse(Sha256::of(&body).to_string().as_bytes()).expect("a checksum");
        let lease = budget.try_take(2 * body.len() as u64).expect("memory");
        let read =
            DocumentContent::read(&document(), body, Some(sum), SystemTime::UNIX_EPOCH, lease);
        Arc::new(read.expect("a manifest"))
    }

    /// Each client that was given a checksum kept the whole manifest for half a minute, and for as long as nobody else asked: memory that nobody else could have.
    #[tokio::test(start_paused = true)]
    async fn few_are_kept_and_none_for_long() {
        let budget = Allowance::new(64 << 20, 0);
        let former = FormerContents::of(1 << 20);
        let mut contents = Vec::new();
        for number in 0..100 {
            let content = content(number, 100_000, &budget);
            contents.push(content.sha256);
            former.add(&document(), content);
        }
        assert!(budget.taken() <= 1 << 20, "{}", budget.taken());
        assert!(former.find(&document(), &contents[99]).is_some());
        assert!(
            former.find(&document(), &contents[80]).is_none(),
            "too many"
        );
        former.forget_old().await;
        assert_eq!(budget.taken(), 0);
        for number in 0..1_000 {
            former.add(&document(), content(number, 100, &budget));
        }
        assert_eq!(former.lock().len(), MOST);
        former.add(&document(), content(0, 2 << 20, &budget));
        assert_eq!(former.lock().len(), 1, "the last one, whatever it has");
    }
}
