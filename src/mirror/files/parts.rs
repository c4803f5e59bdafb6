//! Parts of files: whether one may be given out at all.
//!
//! Who asks for a part has others already, and puts them together unchecked. If those came from a download that failed, or from a stored file that was
//! corrupt, the rest of a good file would make a complete wrong one. Then the whole is all that can be given.

use std::time::Duration;

use bytes::Bytes;
use tokio::{task::consume_budget, time::timeout};

use super::file::CheckedFile;
use crate::{
    domain::{Hasher, Sha256},
    store::{Doubt, Store},
};

/// How long to look into it. Who waits for a part isn't cargo, and has more patience.
const WITHIN: Duration = Duration::from_secs(20);

/// A beginning that clients may hold.
#[derive(Clone, Copy)]
struct Beginning {
    length: u64,
    sha256: Sha256,
}

/// The length of a file of which a client asks for a part, if it can be given one: the length must be known, for which a download may have to go on
/// for a while, and whatever clients may hold of this file unchecked must be how this file begins. Nothing of `file` is read.
pub(super) async fn divisible(store: &Store, file: &mut CheckedFile) -> Option<u64> {
    timeout(WITHIN, looked_into(store, file)).await.ok()?
}

async fn looked_into(store: &Store, file: &mut CheckedFile) -> Option<u64> {
    if let CheckedFile::Arriving(reader, length @ None) = file {
        *length = reader.length().await;
    }
    let length = file.length()?;
    let mut beginnings = Vec::new();
    for doubt in &*store.doubts(file.key()) {
        match *doubt {
            Doubt::Beginning { length, sha256 } => beginnings.push(Beginning { length, sha256 }),
            Doubt::Wrong => return None,
        }
    }
    begins_with(file.again(), beginnings)
        .await
        .then_some(length)
}

/// Whether the file begins with each of these.
async fn begins_with(mut file: CheckedFile, mut beginnings: Vec<Beginning>) -> bool {
    const STEP: usize = 64 << 10;
    beginnings.sort_by_key(|beginning| beginning.length);
    let mut left = beginnings.into_iter().peekable();
    let (mut hasher, mut offset) = (Hasher::default(), 0);
    while left.peek().is_some() {
        let Some(Ok(mut chunk)) = file.next().await else {
            return false;
        };
        while !chunk.is_empty() {
            let step: Bytes = chunk.split_to(chunk.len().min(STEP));
            let end = offset + step.len() as u64;
            while let Some(beginning) = left.next_if(|next| next.length <= end) {
                let mut hasher = hasher.clone();
                hasher.update(&step[..(beginning.length - offset) as usize]);
                if hasher.finish() != beginning.sha256 {
                    return false;
                }
            }
            hasher.update(&step);
            offset = end;
            consume_budget().await;
        }
    }
    true
}
