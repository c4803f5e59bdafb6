//! The judge: holds every answer against the truth.

use std::time::{Duration, Instant};

use super::{
    World,
    connection::Answer,
    load::{Ask, Condition},
    reign::Life,
};
use crate::support::sha256;

/// A mirror answers before cargo gives up after 30 s; it promises 24 s, and this machine may be busy.
const LATEST: Duration = Duration::from_secs(26);

impl World {
    pub(super) async fn judge(&self, ask: &Ask, answer: &Answer, life: &Life, asked: Instant) {
        if answer.waited > LATEST {
            let waited = answer.waited;
            self.wrong(ask, answer, &format!("came after {waited:?}"));
        }
        match (ask, answer.status) {
            (_, 200) if !answer.complete => {}
            (Ask::Index { name, condition }, 200) => {
                self.judge_index(ask, name, condition, answer).await;
            }
            (Ask::Index { condition, .. }, 304) => self.judge_not_modified(ask, condition, answer),
            (Ask::Download { name, version }, 200) => {
                self.judge_download(ask, name, version, answer).await;
            }
            (Ask::Unknown { .. }, 200) => {
                self.wrong_body(ask, answer, "nothing is there");
            }
            (Ask::Config, 200) => self.judge_config(ask, answer, life),
            (Ask::Health, 200) => {}
            (Ask::Config | Ask::Health, _) => {
                self.wrong(ask, answer, "this needs neither upstream nor store");
            }
            (_, 404) => self.judge_absent(ask, answer, life, asked),
            // 403 is for what can't be had however often it is asked for, such as a redirect in circles.
            (Ask::Index { .. } | Ask::Download { .. }, 403 | 502..=504) => {
                self.judge_failure(ask, answer, life);
            }
            (Ask::Unknown { .. }, 403 | 502..=504) => {}
            _ => self.wrong(ask, answer, "this status is never right here"),
        }
    }

    async fn judge_index(&self, ask: &Ask, name: &str, condition: &Condition, answer: &Answer) {
        let Ok(body) = answer.body() else {
            return self.wrong_body(ask, answer, "its gzip is broken");
        };
        let body = sha256(&body);
        if !self.truth.had_body(name, &body).await {
            self.wrong_body(ask, answer, "upstream never had it");
        }
        match (condition, &answer.etag) {
            (_, None) => self.wrong(ask, answer, "it has no ETag"),
            (Condition::Seen(sent), Some(etag)) if same_tag(sent, etag) => {
                self.wrong(ask, answer, "the client has it already");
            }
            (_, Some(etag)) => {
                if let Err(other) = self.figures.tag(name, etag, &body) {
                    let what = format!("its ETag was that of another body, {other}");
                    self.wrong(ask, answer, &what);
                }
            }
        }
    }

    /// A 304 says that what the ETag came with is current; that body was judged when it came.
    fn judge_not_modified(&self, ask: &Ask, condition: &Condition, answer: &Answer) {
        match condition {
            Condition::Seen(sent) if answer.etag.as_ref().is_some_and(|e| same_tag(sent, e)) => {}
            Condition::Seen(_) => self.wrong(ask, answer, "it names another ETag"),
            Condition::None | Condition::Foreign(_) => {
                self.wrong(ask, answer, "the client has nothing that could be current");
            }
        }
    }

    async fn judge_download(&self, ask: &Ask, name: &str, version: &str, answer: &Answer) {
        let Ok(body) = answer.body() else {
            return self.wrong_body(ask, answer, "its gzip is broken");
        };
        if !self.truth.had_content(name, version, &sha256(&body)).await {
            self.wrong_body(ask, answer, "upstream never had it");
        }
    }

    fn judge_config(&self, ask: &Ask, answer: &Answer, life: &Life) {
        let body = answer.body().unwrap_or_default();
        let body = String::from_utf8_lossy(&body);
        let here = format!("http://{}/api/v1/crates", life.addr);
        if !body.contains(&here) {
            self.wrong_body(ask, answer, "its dl leads elsewhere");
        }
    }

    /// A failure must not be answered with 404: cargo would say that the crate doesn't exist.
    fn judge_absent(&self, ask: &Ask, answer: &Answer, life: &Life, asked: Instant) {
        let (there, promised) = match ask {
            Ask::Index { name, .. } => (
                self.truth.is_certain(name, asked),
                life.has_index(name) && self.truth.was_always_there(name),
            ),
            Ask::Download { name, version } => (
                self.truth.is_certain_version(name, version, asked),
                life.has_crate(name, version) && self.truth.was_always_the_same(name, version),
            ),
            Ask::Unknown { .. } | Ask::Config | Ask::Health => (false, false),
        };
        if promised {
            self.lost(ask, answer);
        } else if there {
            self.figures.denied();
            self.wrong(ask, answer, "it was there all the time");
        }
    }

    /// What the mirror had on its disk when it started is served, whatever upstream does.
    fn judge_failure(&self, ask: &Ask, answer: &Answer, life: &Life) {
        let promised = match ask {
            Ask::Index { name, .. } => life.has_index(name),
            Ask::Download { name, version } => {
                life.has_crate(name, version) && self.truth.was_always_the_same(name, version)
            }
            Ask::Unknown { .. } | Ask::Config | Ask::Health => false,
        };
        if promised {
            self.lost(ask, answer);
        }
    }

    fn wrong_body(&self, ask: &Ask, answer: &Answer, what: &str) {
        self.figures.wrong_body();
        self.wrong(ask, answer, &format!("a complete wrong body: {what}"));
    }

    fn lost(&self, ask: &Ask, answer: &Answer) {
        let said = answer.text();
        self.figures
            .lost(format!("{ask:?}, stored before, got {said}"));
    }

    fn wrong(&self, ask: &Ask, answer: &Answer, what: &str) {
        let said = answer.text();
        self.figures
            .violation(format!("{ask:?} got {said}, but {what}"));
    }
}

/// Whether two ETags match by the weak comparison (RFC 9110, section 8.8.3.2).
fn same_tag(one: &str, other: &str) -> bool {
    one.trim_start_matches("W/") == other.trim_start_matches("W/")
}
