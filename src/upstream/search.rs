//! Searches that are passed on to upstream's web API. How often that may be asked, who asks knows.

use http::{StatusCode, header};
use serde::Deserialize;
use url::Url;

use super::registry::Upstream;
use crate::{
    domain::{CrateName, CrateVersion},
    error::{Error, Result},
    metrics::UpstreamKind,
};

/// No answer is larger, in bytes: a hundred crates of crates.io have some 150 KB.
const MAX_SIZE: usize = 1 << 20;
/// So many crates are taken of an answer.
const MOST: usize = 100;
/// So many characters are taken of a description.
const DESCRIPTION: usize = 500;

/// What upstream's web API says to a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedCrates {
    /// The crates of the page that was asked for.
    pub crates: Vec<ListedCrate>,
    /// How many there are in all.
    pub total: u64,
}

/// A crate as upstream's web API has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedCrate {
    /// Its name.
    pub name: CrateName,
    /// Its newest version.
    pub version: CrateVersion,
    /// What it is.
    pub description: Option<Box<str>>,
}

/// Where an upstream answers searches.
#[derive(Clone, Debug)]
pub struct WebApi(Url);

impl WebApi {
    /// The host that is asked, with its port: whatever is asked there counts together.
    pub fn host(&self) -> String {
        let port = self.0.port_or_known_default().unwrap_or_default();
        format!("{}:{port}", self.0.host_str().unwrap_or_default())
    }
}

#[derive(Deserialize)]
struct Answer {
    crates: Vec<Listed>,
    #[serde(default)]
    meta: Meta,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    #[serde(default)]
    max_version: Option<String>,
    #[serde(default)]
    description: Option<String>,
}

#[derive(Default, Deserialize)]
struct Meta {
    #[serde(default)]
    total: u64,
}

impl ListedCrates {
    /// About how many bytes of memory this takes.
    pub fn memory(&self) -> usize {
        let description = |listed: &ListedCrate| listed.description.as_ref().map_or(0, |d| d.len());
        let each = |listed: &ListedCrate| size_of::<ListedCrate>() + description(listed);
        self.crates.iter().map(each).sum()
    }
}

impl Upstream {
    /// Where it answers searches; `None` when it doesn't.
    ///
    /// # Errors
    /// One of the upstream kinds of [`Kind`](crate::error::Kind) when it doesn't say.
    pub async fn searched_at(&self) -> Result<Option<WebApi>> {
        Ok(self.api().await?.map(WebApi))
    }

    /// Asks a web API for crates, by one request and no more.
    ///
    /// # Errors
    /// One of the upstream kinds of [`Kind`](crate::error::Kind).
    pub async fn search(
        &self,
        api: &WebApi,
        words: &str,
        per_page: u32,
        page: u32,
    ) -> Result<ListedCrates> {
        let url = search_url(api.0.clone(), words, per_page, page);
        self.surroundings.note(&url);
        let request = self.http.get(url);
        let request = request.header(header::ACCEPT, "application/json");
        let mut answer = self.send_once(UpstreamKind::WebApi, request).await?;
        if answer.status() != StatusCode::OK {
            return Err(self.unexpected(&answer, "a search"));
        }
        let body = self.whole(&mut answer, MAX_SIZE).await?;
        let found: Answer = serde_json::from_slice(&body).map_err(|e| {
            let host = self.host(answer.url());
            Error::upstream_fault(format!("{host} answered a search with what can't be read"))
                .caused_by(e)
        })?;
        Ok(found.listed())
    }
}

impl Answer {
    fn listed(self) -> ListedCrates {
        let listed = |listed: Listed| {
            Some(ListedCrate {
                name: CrateName::parse(&listed.name).ok()?,
                version: CrateVersion::parse(&listed.max_version?).ok()?,
                description: listed.description.map(|text| in_one_line(&text)),
            })
        };
        let crates = self.crates.into_iter().filter_map(listed);
        ListedCrates {
            crates: crates.take(MOST).collect(),
            total: self.meta.total,
        }
    }
}

fn in_one_line(text: &str) -> Box<str> {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let text: String = text.chars().map(plain).take(DESCRIPTION).collect();
    text.trim().into()
}

fn search_url(mut api: Url, words: &str, per_page: u32, page: u32) -> Url {
    let path = format!("{}/api/v1/crates", api.path().trim_end_matches('/'));
    api.set_path(&path);
    api.query_pairs_mut()
        .clear()
        .append_pair("q", words)
        .append_pair("per_page", &per_page.to_string())
        .append_pair("page", &page.to_string());
    api
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_upstream_lists_is_read_and_the_rest_left_out() {
        let text = r#"{"crates":[
            {"name":"serde","max_version":"1.0.0","description":"A\nframework","downloads":5},
            {"name":"not a name","max_version":"1.0.0"},
            {"name":"a","max_version":"<b>","description":null},
            {"name":"b","max_version":"2.0.0-rc.1","description":null}],"meta":{"total":17,"next_page":"?page=2"}}"#;
        let answer: Answer = serde_json::from_str(text).expect("an answer");
        let listed = answer.listed();
        let shown: Vec<_> = listed
            .crates
            .iter()
            .map(|c| format!("{} {} {:?}", c.name, c.version, c.description))
            .collect();
        assert_eq!(
            shown,
            ["serde 1.0.0 Some(\"A framework\")", "b 2.0.0-rc.1 None"]
        );
        assert_eq!(listed.total, 17);
    }

    #[test]
    fn words_can_not_change_what_is_asked_for() {
        let api = Url::parse("https://crates.example/sub").expect("a URL");
        let url = search_url(api, "a&per_page=9#x", 10, 2);
        assert_eq!(
            url.as_str(),
            "https://crates.example/sub/api/v1/crates?q=a%26per_page%3D9%23x&per_page=10&page=2"
        );
    }
}
