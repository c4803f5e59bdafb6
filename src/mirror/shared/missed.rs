//! Missed requests: what was asked for offline and isn't here. What is said of it, and that it is remembered, so that somebody can bring it.

use std::{fmt::Display, time::SystemTime};

use super::background::Background;
use crate::{
    domain::{MissedCrate, MissedRequest, toolchain::ToolchainItem},
    error::{Error, Kind},
    store::Store,
};

/// Remembers what was asked for in vain, beside the answer.
pub(in crate::mirror) fn note_missed(
    store: &Store,
    background: &Background,
    missed: impl Into<MissedRequest>,
    now: SystemTime,
) {
    let missed = missed.into();
    tracing::info!(wanted = %missed, "asked for and not here");
    let store = store.clone();
    background.run(async move {
        // Who can't write it down (a store on a read-only disk) still serves.
        let _ = store.note_missed(missed, now).await;
    });
}

/// What to say to who asks for what isn't here: that nobody will fetch it, and who can bring it.
pub(in crate::mirror) fn not_in_store(missed: &MissedCrate) -> Error {
    let MissedCrate { registry, name, .. } = missed;
    let what = match missed.version {
        Some(version) => format!("{name} {version}"),
        None => format!("crate {name}"),
    };
    Error::offline(format!(
        "this mirror is offline and {what} of {registry} is not in it; to bring it in, run `crate-mirror prefetch {missed}` and \
         `crate-mirror export -o bundle.tar.zst` where there is a network, and `crate-mirror import bundle.tar.zst` here"
    ))
}

/// The same of a file of a toolchain.
pub(in crate::mirror) fn not_in_store_of_toolchains(item: &ToolchainItem) -> Error {
    Error::offline(format!(
        "this mirror is offline and {item} is not in it; to bring it in, run `crate-mirror prefetch --toolchain NAME --component NAME --target NAME` and \
         `crate-mirror export -o bundle.tar.zst` where there is a network, and `crate-mirror import bundle.tar.zst` here"
    ))
}

/// What to say of `what` when nobody can fetch it again: that it isn't here, that it is corrupt, or that it can't be read at the moment. The causes
/// are for the log.
pub(in crate::mirror) fn unreadable_offline(what: &dyn Display, error: &Error) -> Error {
    match error.kind() {
        Kind::Offline => error.clone(),
        Kind::Corrupt => Error::corrupt(format!(
            "what this mirror has stored of {what} is corrupt, and it is offline and can't fetch it again; import it anew"
        )),
        _ => {
            tracing::warn!("{what} can't be served: {error}");
            let sentence = format!(
                "this mirror can't read its store at the moment, and so doesn't know whether it has {what}; try again in a moment, and tell whoever runs it if that doesn't help"
            );
            Error::new(Kind::Overloaded, sentence)
        }
    }
}
