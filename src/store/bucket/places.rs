//! [`Places`]: where in a bucket an object is.

use object_store::path::Path;

use crate::{
    domain::BucketUrl,
    error::{Error, Result},
};

/// Where in a bucket a store's objects are.
#[derive(Clone)]
pub(super) struct Places(BucketUrl);

impl Places {
    pub(super) fn new(at: BucketUrl) -> Self {
        Self(at)
    }

    /// Where the object under `path` is; where all of them are for an empty one.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::error::Kind::Internal) for what no key makes. The path is taken as it is: written into a URL, it is encoded once.
    pub(super) fn at(&self, path: &str) -> Result<Path> {
        let prefix = self.0.prefix();
        let whole = match (prefix, path.trim_end_matches('/')) {
            ("", path) => path.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, path) => format!("{prefix}/{path}"),
        };
        Path::parse(&whole).map_err(|e| Error::internal("no object is called so").caused_by(e))
    }

    /// The path of the object that is there; `None` outside of the prefix.
    pub(super) fn path_of<'a>(&self, at: &'a Path) -> Option<&'a str> {
        match self.0.prefix() {
            "" => Some(at.as_ref()),
            prefix => at.as_ref().strip_prefix(prefix)?.strip_prefix('/'),
        }
    }

    /// How to call what is at `path` in messages to people.
    pub(super) fn locate(&self, path: &str) -> String {
        format!("{}/{path}", self.0)
    }

    /// How to call all of it.
    pub(super) fn name(&self) -> String {
        self.0.to_string()
    }
}
