//! [`FileBlocks`]: a file read block by block.

use std::{fs::File, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::{
    blocks::Blocks,
    disk::{Disk, Touch, read_at},
    failed::failed_at,
};
use crate::error::Result;

/// An open file, its path and the disk it is on.
pub(super) struct FileBlocks {
    pub(super) file: Arc<File>,
    pub(super) path: String,
    pub(super) disk: Disk,
}

impl Blocks for FileBlocks {
    fn read(&self, offset: u64, most: usize) -> BoxFuture<'_, Result<Bytes>> {
        let file = self.file.clone();
        let read = move |_: &_| {
            read_at(&file, offset, most).map_err(|e| failed_at("reading a stored file", e))
        };
        Box::pin(self.disk.run(Touch::Read, &self.path, read))
    }
}
