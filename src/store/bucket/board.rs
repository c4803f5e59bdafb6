//! [`BucketBoard`]: notes to others who share a bucket, beside its objects.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use object_store::GetOptions;

use super::{objects::version_of, requests::Requests};
use crate::{
    error::Result,
    store::board::{Board, Note},
};

/// Where they are; no registry can be called so.
const FOLDER: &str = ".mirrors";

/// The notes in a bucket.
pub(super) struct BucketBoard(pub(super) Requests);

fn path_of(name: &str) -> String {
    format!("{FOLDER}/{name}")
}

impl Board for BucketBoard {
    fn post<'a>(&'a self, name: &'a str, text: Bytes) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.0.put(&path_of(name), text.into()).await })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Note>>> {
        Box::pin(async move {
            let listed = self.0.list(FOLDER).await?;
            let notes = listed.objects.iter().filter_map(|meta| {
                Some(Note {
                    name: meta.location.filename()?.to_owned(),
                    version: version_of(meta).as_bytes().to_vec(),
                    at: meta.last_modified.into(),
                })
            });
            Ok(notes.collect())
        })
    }

    fn read<'a>(&'a self, name: &'a str, largest: u64) -> BoxFuture<'a, Result<Option<Bytes>>> {
        Box::pin(async move {
            let got = self.0.get(&path_of(name), GetOptions::default()).await?;
            let Some(got) = got.filter(|got| got.meta.size <= largest) else {
                return Ok(None);
            };
            got.body.all(got.meta.size).await.map(Some)
        })
    }

    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.0.delete(&path_of(name)).await })
    }
}
