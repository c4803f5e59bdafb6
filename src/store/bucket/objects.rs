//! Objects as a bucket lists them, and which state of one it is.

use object_store::ObjectMeta;

use super::{places::Places, requests::Requests};
use crate::{
    domain::{Key, license_path},
    error::Result,
    store::{removal::Removal, sight::Stored, version::ObjectVersion},
};

/// Which state of an object it is. Azure quotes an entity tag where it answers a request for the object, and doesn't in a list.
pub(super) fn version_of(meta: &ObjectMeta) -> ObjectVersion {
    let ObjectMeta {
        e_tag,
        last_modified,
        size,
        ..
    } = meta;
    ObjectVersion::new(match e_tag {
        Some(e_tag) => e_tag.trim_matches('"').to_owned(),
        None => format!("{size} {}", last_modified.timestamp_millis()),
    })
}

/// What there is, as a walk or a list shows it, last used when it was last written; nothing of what no key makes.
pub(super) fn stored_at(places: &Places, meta: &ObjectMeta) -> Option<Stored> {
    let path = places.path_of(&meta.location)?;
    Some(Stored {
        key: Key::from_path(path)?,
        path: path.to_owned(),
        size: meta.size,
        used: meta.last_modified.into(),
        version: version_of(meta),
    })
}

/// Removes the object under `path` if it is of that version. Not every service removes only a certain one: who puts another one there at the same moment
/// may lose it, and it is fetched again.
pub(super) async fn remove_exactly(
    requests: &Requests,
    path: &str,
    version: &ObjectVersion,
) -> Result<Removal> {
    let Some(there) = requests.head(path).await? else {
        return Ok(Removal::Gone);
    };
    if version_of(&there) != *version {
        return Ok(Removal::Replaced);
    }
    requests.delete(path).await?;
    if let Some(beside) = license_path(path) {
        // It is read from the file again, should that come back, and is nothing without it.
        let _ = requests.delete(&beside).await;
    }
    Ok(Removal::Removed)
}

#[cfg(test)]
mod tests {
    use object_store::path::Path;

    use super::*;

    fn meta(e_tag: &str) -> ObjectMeta {
        ObjectMeta {
            location: Path::from("a"),
            last_modified: std::time::SystemTime::UNIX_EPOCH.into(),
            size: 1,
            e_tag: Some(e_tag.to_owned()),
            version: None,
        }
    }

    /// Nothing was ever evicted there.
    #[test]
    fn an_object_in_a_list_of_azures_is_the_same_as_when_it_is_looked_at() {
        let (listed, looked_at) = (meta("0x8CBFF45D8A29A19"), meta("\"0x8CBFF45D8A29A19\""));
        assert_eq!(version_of(&listed), version_of(&looked_at));
        assert_ne!(version_of(&listed), version_of(&meta("0x8CBFF45D8A29A18")));
    }
}
