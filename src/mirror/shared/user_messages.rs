//! What a client is told when upstream fails and there is no copy to serve: what was wanted, that it isn't here, and when to try again. Cargo prints it.

use std::time::Duration;

use crate::error::{Class, Error, Kind, Outlook};

/// The failure of upstream in the words of who asked for `what`. The causes below it are for the log.
pub(in crate::mirror) fn not_here(what: &str, error: &Error) -> Error {
    worded(error, |why| {
        format!("{what} isn't in this mirror yet, and {why}")
    })
}

/// The same where there is a copy that may not be served any more.
pub(in crate::mirror) fn too_old(what: &str, error: &Error) -> Error {
    worded(error, |why| {
        format!(
            "the copy of {what} in this mirror is older than `freshness.max_stale` allows, and {why}"
        )
    })
}

/// The same where the store, which may have it, doesn't give it.
pub(in crate::mirror) fn unreadable(what: &str, error: &Error, store: &Error) -> Error {
    if error.kind().class() != Class::Upstream(Outlook::Passing) {
        return error.clone();
    }
    let said = format!(
        "this mirror's store can't give {what} at the moment, and upstream can't either; try again in a moment"
    );
    let cause = format!("{store}; {error}");
    error.clone().reworded(said).because(cause)
}

fn worded(error: &Error, say: impl FnOnce(&str) -> String) -> Error {
    let kind = error.kind();
    let advice = match kind.class() {
        Class::Upstream(Outlook::Passing) => format!("try again {}", when(kind.retry_after())),
        Class::Upstream(Outlook::Lasting) if kind == Kind::UpstreamRefused => {
            "asking again doesn't help until that is mended".to_owned()
        }
        // These say themselves what is wrong with what was wanted.
        Class::Upstream(Outlook::Lasting)
        | Class::Refused
        | Class::Absent
        | Class::Ours(_)
        | Class::Configuration
        | Class::Cancelled => return error.clone(),
    };
    let said = say(error.message());
    error.clone().reworded(format!("{said}; {advice}"))
}

/// In whole seconds, as `Retry-After` says it.
fn when(wait: Option<Duration>) -> String {
    match wait.map(|wait| wait.as_secs_f64().ceil() as u64) {
        None | Some(0) => "in a moment".to_owned(),
        Some(1) => "in a second".to_owned(),
        Some(seconds) => format!("in {seconds} seconds"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resting(millis: u64) -> Error {
        let retry_after = Duration::from_millis(millis);
        Error::new(Kind::CircuitOpen { retry_after }, "it rests")
    }

    #[test]
    fn it_says_what_and_why_and_when() {
        for (millis, when) in [
            (0, "in a moment"),
            (1, "in a second"),
            (1_001, "in 2 seconds"),
        ] {
            let told = not_here("serde 1.0.0", &resting(millis));
            let expected =
                format!("serde 1.0.0 isn't in this mirror yet, and it rests; try again {when}");
            assert_eq!(told.message(), expected);
            assert_eq!(told.kind(), resting(millis).kind());
        }
    }

    #[test]
    fn the_causes_are_for_the_log() {
        let error = Error::upstream_timeout("it is slow").because("os error 7");
        let told = not_here("serde 1.0.0", &error);
        assert!(!told.message().contains("os error 7"));
        assert!(told.to_string().ends_with(": os error 7"), "{told}");
    }
}
