//! `/wanted`: what was asked for offline and isn't here.

use maud::html;

use super::{
    request::PageRequest,
    shell::{Here, Shell, block},
};
use crate::domain::MissedRequest;

/// So many are shown; `crate-mirror wanted` prints all.
const MOST: usize = 1_000;

pub(super) fn page(request: &PageRequest, missed: &[MissedRequest]) -> String {
    let listed = listed(missed);
    let body = html! {
        h1 { "Asked for and not here" }
        p { "Offline, what somebody asks for in vain is remembered for ninety days. Fetched where there is a network and carried over, it is here the next time." }
        section aria-labelledby="list" {
            h2 id="list" { "The list" }
            @if missed.is_empty() {
                p class="soft" { "Nothing: all that was asked for was here, or could be fetched." }
            } @else {
                (block("wanted", "a file wanted.txt", &listed))
                (block("commands", "a shell, where there is a network", "crate-mirror prefetch - < wanted.txt\ncrate-mirror export -o bundle.tar.zst\n"))
                (block("import", "a shell, here", "crate-mirror import bundle.tar.zst\n"))
            }
        }
    };
    Shell {
        title: "Wanted",
        request,
        here: Here::Wanted,
        body,
    }
    .render()
}

/// One a line, as `crate-mirror prefetch` takes it.
pub(super) fn listed(missed: &[MissedRequest]) -> String {
    let shown = missed.iter().take(MOST);
    let mut listed: String = shown.map(|request| format!("{request}\n")).collect();
    if let more @ 1.. = missed.len().saturating_sub(MOST) {
        // A comment, for who takes this as a list.
        listed += &format!("# And {more} more, which `crate-mirror wanted` prints.\n");
    }
    listed
}
