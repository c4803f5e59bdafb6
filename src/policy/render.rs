//! [`render`]: an index file in which the versions that can't be had are shown as yanked.
//!
//! As yanked, not removed: no resolver picks a yanked version by itself, but a Cargo.lock that names one still resolves, gets to the download, and there
//! is told why.

use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::domain::{IndexFile, Version};

const YANKED: &[u8] = b"true";

/// The body of `file` with every version that is `hidden` shown as yanked; `None` when that is the body as it is. No other byte changes: unknown
/// fields, their order, blank lines and lines of later formats reach cargo.
pub fn render(file: &IndexFile, hidden: impl Fn(&Version) -> bool) -> Option<Bytes> {
    render_places(file, |place| hidden(&file.versions()[place]))
}

/// The same for versions by their place in the list.
pub fn render_places(file: &IndexFile, hidden: impl Fn(usize) -> bool) -> Option<Bytes> {
    let body = file.body();
    let shown = file.versions().iter().enumerate();
    let shown = shown.filter(|(place, version)| !version.yanked && hidden(*place));
    let mut edits: Vec<Edit> = shown
        .filter_map(|(_, version)| Edit::in_line(body, &version.line))
        .collect();
    if edits.is_empty() {
        return None;
    }
    edits.sort_by_key(|edit| edit.replaced.start);
    let longer: usize = edits.iter().map(|edit| edit.new.len()).sum();
    let mut rendered = Vec::with_capacity(body.len() + longer);
    let mut copied = 0;
    for Edit { replaced, new } in edits {
        rendered.extend_from_slice(&body[copied..replaced.start]);
        rendered.extend_from_slice(new);
        copied = replaced.end;
    }
    rendered.extend_from_slice(&body[copied..]);
    Some(rendered.into())
}

/// Bytes of the body and what stands in their place.
struct Edit {
    replaced: Range<usize>,
    new: &'static [u8],
}

/// Where `yanked` stands in a line. Only a JSON parser can tell: a dependency or a feature may be called so too.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, default, deserialize_with = "even_null")]
    yanked: Option<&'a RawValue>,
}

/// `None` is a missing field; `null` is a value that has its place.
fn even_null<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl Edit {
    /// What makes the line at `line` one of a yanked version; `None` if it isn't an object, which cargo doesn't read either.
    fn in_line(body: &[u8], line: &Range<usize>) -> Option<Self> {
        let text = std::str::from_utf8(body.get(line.clone())?).ok()?;
        text.trim_ascii_start().strip_prefix('{')?;
        match serde_json::from_str::<Line<'_>>(text).ok()?.yanked {
            Some(value) => {
                let value = value.get();
                // Borrowed from the text, so the distance of the two is its place there.
                let start = line.start + (value.as_ptr().addr() - text.as_ptr().addr());
                Some(Self {
                    replaced: start..start + value.len(),
                    new: YANKED,
                })
            }
            None => {
                let end = line.start + text.trim_ascii_end().strip_suffix('}')?.len();
                Some(Self {
                    replaced: end..end,
                    // Not the only field: a version's line has at least its name.
                    new: b",\"yanked\":true",
                })
            }
        }
    }
}
