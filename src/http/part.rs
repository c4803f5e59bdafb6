//! [`part_of`]: cuts a part out of a file that comes in chunks, and gives its end away only when the whole file has been checked.

use bytes::Bytes;
use futures_util::{
    Stream, StreamExt,
    stream::{self, Fuse},
};

use super::range::Part;
use crate::error::Result;

/// A file on its way, of which one part is wanted.
struct Cut<C: Stream> {
    /// The whole file from its first byte on. It ends without an error only if the file's checksum is right. Fused, because it is polled again after its
    /// end, when what was held back has gone out.
    chunks: Fuse<C>,
    part: Part,
    /// The offset in the file at which the next chunk begins.
    offset: u64,
    /// The last bytes of the part, while they are held back.
    held: Option<Bytes>,
}

/// How many bytes at the end of a part are held back until the file has been checked. Few, because they take memory for as long as that lasts.
const HELD_BACK: usize = 1 << 10;

/// The bytes of `part`, cut out of `chunks`, which are a whole file. The last ones are held back until all chunks have come, and those of a file whose
/// checksum is wrong never all come. So nobody gets a complete part of a wrong file, even if what is wrong lies far behind the part.
pub(super) fn part_of<C>(chunks: C, part: Part) -> impl Stream<Item = Result<Bytes>>
where
    C: Stream<Item = Result<Bytes>> + Unpin,
{
    let cut = Cut {
        chunks: chunks.fuse(),
        part,
        offset: 0,
        held: None,
    };
    stream::unfold(cut, |mut cut| async move { Some((cut.next().await?, cut)) })
}

impl<C: Stream<Item = Result<Bytes>> + Unpin> Cut<C> {
    async fn next(&mut self) -> Option<Result<Bytes>> {
        while let Some(chunk) = self.chunks.next().await {
            let mut piece = match chunk {
                Ok(chunk) => self.piece_of(chunk),
                Err(e) => {
                    self.held = None;
                    return Some(Err(e));
                }
            };
            if self.offset >= self.part.end() && !piece.is_empty() {
                let last = piece.split_off(piece.len().saturating_sub(HELD_BACK));
                // Copied, because a slice would keep the whole chunk in memory.
                self.held = Some(Bytes::copy_from_slice(&last));
            }
            if !piece.is_empty() {
                return Some(Ok(piece));
            }
        }
        self.held.take().map(Ok)
    }

    /// Those bytes of the next chunk that belong to the part.
    fn piece_of(&mut self, chunk: Bytes) -> Bytes {
        let start = self.offset;
        self.offset += chunk.len() as u64;
        let within = |at: u64| at.saturating_sub(start).min(chunk.len() as u64) as usize;
        chunk.slice(within(self.part.first())..within(self.part.end()))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::range::{ByteRange, Extent},
        *,
    };
    use crate::error::Error;

    fn part(asked: &str, length: u64) -> Part {
        let range = ByteRange::parse(asked.as_bytes()).expect("a range");
        match range.within(length) {
            Extent::Part(part) => part,
            Extent::Nothing => panic!("{asked} of {length}"),
        }
    }

    async fn cut(chunks: Vec<Result<Bytes>>, part: Part) -> Vec<Result<Bytes>> {
        // Like the real streams, this one may not be polled after its end.
        let chunks = stream::unfold(chunks.into_iter(), |mut chunks| async {
            Some((chunks.next()?, chunks))
        });
        part_of(Box::pin(chunks), part).collect().await
    }

    fn chunks(size: usize) -> Vec<Result<Bytes>> {
        let file: Vec<u8> = (0..100).collect();
        let chunks = file.chunks(size).map(Bytes::copy_from_slice);
        chunks.map(Ok).collect()
    }

    #[tokio::test]
    async fn every_part_has_its_bytes_however_the_file_comes() {
        for size in [1, 7, 50, 99, 100] {
            for first in 0..100 {
                for last in first..100 {
                    let part = part(&format!("bytes={first}-{last}"), 100);
                    let pieces = cut(chunks(size), part).await;
                    let bytes: Vec<u8> = pieces
                        .into_iter()
                        .flat_map(|piece| piece.expect("no error"))
                        .collect();
                    let expected: Vec<u8> = (first..=last).collect();
                    assert_eq!(bytes, expected, "{first} to {last} in chunks of {size}");
                }
            }
        }
    }

    /// All bytes of a range may have come long before the file turns out to be wrong. Its client used to have a complete part of a wrong file then.
    #[tokio::test]
    async fn a_part_of_a_file_that_turns_out_wrong_is_never_complete() {
        for size in [1, 7, 50, 100] {
            let mut chunks = chunks(size);
            chunks.pop();
            chunks.push(Err(Error::store("its checksum is another one")));
            for asked in ["bytes=0-0", "bytes=0-10", "bytes=40-60", "bytes=10-"] {
                let part = part(asked, 100);
                let pieces = cut(chunks.clone(), part).await;
                let length: usize = pieces.iter().flatten().map(Bytes::len).sum();
                assert!((length as u64) < part.length(), "{asked} in {size}");
                assert!(pieces.last().is_some_and(Result::is_err), "{asked}");
            }
        }
    }
}
